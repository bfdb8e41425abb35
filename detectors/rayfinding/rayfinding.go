// Package rayfinding has the words with which detectors of Ray's protocols name a server and say why nothing came of a call,
// so that findings about the same thing read the same.
package rayfinding

import (
	"fmt"
	"net/netip"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

// HostPort gives the server's address and port: "10.20.0.10:8265".
func HostPort(f *capture.Flow) string {
	return netip.AddrPortFrom(f.Resp.Addr().Unmap(), f.Resp.Port()).String()
}

// Server says whom an HTTP call is for: "the Ray cluster at 10.20.0.10:8265 behind /ray".
func Server(c *ray.Call) string {
	what := "the Ray cluster"
	switch {
	case c.Outcome == ray.NotRay:
		what = "the server"
	case c.Service == ray.Agent:
		what = "the Ray agent"
	case c.Service == ray.KubeRayAPI:
		what = "the KubeRay API server"
	case c.Service == ray.Kubernetes:
		what = "the Kubernetes API"
	}
	s := what + " at " + HostPort(c.Flow)
	if c.Prefix != "" {
		s += " behind " + detectors.Clip(c.Prefix, 60)
	}
	return s
}

const (
	noToken = "refused for want of a token"
	browser = "refused as browser traffic"
	refused = "refused"
	failed  = "failed"
	unseen  = " (no answer seen)"
)

// Refused says in brackets, behind a space, why nothing came of an HTTP call, "" if something did: " (refused, 403)".
func Refused(c *ray.Call) string {
	why := ""
	switch c.Outcome {
	case ray.BlockedToken:
		why = noToken
	case ray.BlockedBrowser:
		why = browser
	case ray.Rejected, ray.NotRay:
		why = refused
	case ray.Failed:
		why = failed
	case ray.Unknown:
		return unseen
	default:
		return ""
	}
	return fmt.Sprintf(" (%s, %d)", why, c.Status)
}

// RefusedRPC says it of a call over gRPC, whose status is no number that anybody knows: " (refused)".
func RefusedRPC(c *raygrpc.Call) string {
	switch c.Outcome {
	case raygrpc.NoToken:
		return " (" + noToken + ")"
	case raygrpc.Rejected:
		return " (" + refused + ")"
	case raygrpc.Failed:
		return " (" + failed + ")"
	case raygrpc.Unseen:
		return unseen
	}
	return ""
}
