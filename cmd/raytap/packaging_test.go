package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/raytap/raytap"
)

// TestPackagedConfiguration holds the file that packages install to the program.
func TestPackagedConfiguration(t *testing.T) {
	c, err := raytap.LoadConfig(filepath.Join("packaging", "raytap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Out != "/var/log/raytap" || c.Metrics.Listen == "" {
		t.Errorf("%+v", c)
	}
}

// TestUnit has systemd itself read the unit, where it is installed.
func TestUnit(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("packaging", "raytap.service"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Type=notify", "WatchdogSec=30", "User=raytap", "NoNewPrivileges=yes", "ProtectSystem=strict", "AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN", "LogsDirectory=raytap"} {
		if !strings.Contains(string(b), "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip(err)
	}
	unit := filepath.Join(t.TempDir(), "raytap.service")
	b = bytes.Replace(b, []byte("ExecStart=/usr/bin/raytap "), []byte("ExecStart="+program+" "), 1) // verify wants it to be there
	if err := os.WriteFile(unit, b, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "verify", "--man=no", unit)
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("raytap.service:")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPackageList: what nfpm puts into the package is there, and where the unit and the configuration look for it.
func TestPackageList(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("packaging", "nfpm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Contents []struct{ Src, Dst, Type string }
		Scripts  map[string]string
	}
	if err := yaml.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for _, c := range list.Contents {
		at[c.Dst] = c.Type
		if _, err := os.Stat(filepath.Join("..", "..", c.Src)); err != nil && c.Src != "bin/raytap" { // which `make build` makes
			t.Error(err)
		}
	}
	for _, s := range list.Scripts {
		info, err := os.Stat(filepath.Join("..", "..", s))
		if err != nil {
			t.Error(err)
		} else if info.Mode()&0o111 == 0 {
			t.Errorf("%s cannot be run", s)
		}
	}
	if len(list.Scripts) != 3 || at["/etc/raytap/raytap.yaml"] != "config|noreplace" {
		t.Errorf("scripts %v, contents %v", list.Scripts, at)
	}
	for _, path := range []string{"/usr/bin/raytap", "/usr/lib/systemd/system/raytap.service", "/usr/lib/sysusers.d/raytap.conf"} {
		if _, ok := at[path]; !ok {
			t.Errorf("%s is not in the package", path)
		}
	}
}

// TestDaemonSet: the documents parse, the configuration in them is one of ours, and probes, capability, host network
// and paths fit together.
func TestDaemonSet(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("packaging", "daemonset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	type probe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	}
	type container struct {
		Args  []string
		Ports []struct {
			Name string
			Port int `yaml:"containerPort"`
		}
		Security struct {
			Escalation   *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities struct{ Add, Drop []string }
		} `yaml:"securityContext"`
		Live   probe `yaml:"livenessProbe"`
		Ready  probe `yaml:"readinessProbe"`
		Mounts []struct {
			Name string
			Path string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	var config string
	var pod struct {
		HostNetwork bool `yaml:"hostNetwork"`
		Containers  []container
		Volumes     []struct{ Name string }
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var kinds []string
	for {
		var doc struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
			Data     map[string]string
			Spec     struct {
				Selector struct {
					MatchLabels map[string]string `yaml:"matchLabels"`
				}
				Template struct {
					Metadata struct{ Labels map[string]string }
					Spec     yaml.RawMessage
				}
			}
		}
		if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, doc.Kind)
		switch doc.Kind {
		case "ConfigMap":
			config = doc.Data["raytap.yaml"]
		case "DaemonSet":
			for k, v := range doc.Spec.Selector.MatchLabels {
				if doc.Spec.Template.Metadata.Labels[k] != v {
					t.Errorf("the selector %s=%s does not match its pods", k, v)
				}
			}
			if err := yaml.Unmarshal(doc.Spec.Template.Spec, &pod); err != nil {
				t.Fatal(err)
			}
		}
	}
	if strings.Join(kinds, " ") != "Namespace ConfigMap DaemonSet" || len(pod.Containers) != 1 {
		t.Fatalf("documents %v, %d containers", kinds, len(pod.Containers))
	}
	name := filepath.Join(t.TempDir(), "raytap.yaml")
	if err := os.WriteFile(name, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := raytap.LoadConfig(name)
	if err != nil {
		t.Fatal(err)
	}
	c := pod.Containers[0]
	if !pod.HostNetwork || c.Security.Escalation == nil || *c.Security.Escalation || !c.Security.ReadOnly ||
		!slices.Equal(c.Security.Capabilities.Drop, []string{"ALL"}) || !slices.Equal(c.Security.Capabilities.Add, []string{"NET_RAW"}) {
		t.Errorf("network %v, security %+v", pod.HostNetwork, c.Security)
	}
	if len(c.Ports) != 1 || c.Ports[0].Port != 9477 || cfg.Metrics.Listen != ":9477" || c.Live.HTTPGet.Port != c.Ports[0].Name || c.Ready.HTTPGet.Port != c.Ports[0].Name ||
		c.Live.HTTPGet.Path != "/healthz" || c.Ready.HTTPGet.Path != "/readyz" {
		t.Errorf("ports %v, listens at %s, probes %v %v", c.Ports, cfg.Metrics.Listen, c.Live, c.Ready)
	}
	paths := map[string]bool{}
	for _, m := range c.Mounts {
		paths[m.Path] = slices.ContainsFunc(pod.Volumes, func(v struct{ Name string }) bool { return v.Name == m.Name })
	}
	if !paths[cfg.Out] || !paths["/etc/raytap"] || len(c.Args) == 0 || c.Args[len(c.Args)-1] != "/etc/raytap/raytap.yaml" {
		t.Errorf("mounts %v, logs at %s, arguments %v", paths, cfg.Out, c.Args)
	}
}
