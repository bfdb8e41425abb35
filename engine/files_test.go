package engine

import (
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/registry"
)

// Under overload bodies are shed, but not the package of a job that is to be kept.
func TestShedNeverThePackage(t *testing.T) {
	w := &worker{shed: capture.ShedBodies, label: registry.Labels(&file.Copies{Classes: file.RayPackages})}
	for target, shed := range map[string]bool{"/api/packages/gcs/_ray_pkg_00.zip": false, "/upload/_ray_pkg_00.zip": true} {
		tx := &http.Transaction{Flow: &capture.Flow{}, Request: &http.Request{Method: "PUT", Target: target}}
		if got := w.shedding(tx, false); got != shed {
			t.Errorf("%s: shed %v", target, got)
		}
	}
}
