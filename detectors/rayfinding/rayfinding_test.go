package rayfinding

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

func TestServer(t *testing.T) {
	flow := &capture.Flow{Resp: netip.MustParseAddrPort("[::ffff:10.20.0.10]:8265")}
	for _, x := range []struct {
		call ray.Call
		want string
	}{
		{ray.Call{}, "the Ray cluster at 10.20.0.10:8265"},
		{ray.Call{Prefix: "/ray"}, "the Ray cluster at 10.20.0.10:8265 behind /ray"},
		{ray.Call{Service: ray.Agent}, "the Ray agent at 10.20.0.10:8265"},
		{ray.Call{Service: ray.Agent, Outcome: ray.NotRay}, "the server at 10.20.0.10:8265"},
		{ray.Call{Service: ray.KubeRayAPI}, "the KubeRay API server at 10.20.0.10:8265"},
		{ray.Call{Service: ray.Kubernetes}, "the Kubernetes API at 10.20.0.10:8265"},
	} {
		x.call.Flow = flow
		if got := Server(&x.call); got != x.want {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for o, want := range map[ray.Outcome]string{
		ray.BlockedToken: " (refused for want of a token, 403)", ray.BlockedBrowser: " (refused as browser traffic, 403)",
		ray.Rejected: " (refused, 403)", ray.NotRay: " (refused, 403)", ray.Failed: " (failed, 403)", ray.Unknown: " (no answer seen)",
		ray.Executed: "", ray.Answered: "",
	} {
		if got := Refused(&ray.Call{Outcome: o, Status: 403}); got != want {
			t.Errorf("%v: %q, want %q", o, got, want)
		}
	}
	for o, want := range map[raygrpc.Outcome]string{
		raygrpc.NoToken: " (refused for want of a token)", raygrpc.Rejected: " (refused)", raygrpc.Failed: " (failed)", raygrpc.Unseen: " (no answer seen)",
	} {
		if got := RefusedRPC(&raygrpc.Call{Outcome: o}); got != want {
			t.Errorf("%v: %q, want %q", o, got, want)
		}
	}
}
