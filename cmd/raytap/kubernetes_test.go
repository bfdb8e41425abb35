package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/raytap/raytap/config"
)

const kubernetes = "packaging/kubernetes"

// manifest is of a document what these tests ask.
type manifest struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Data     map[string]string
	Spec     struct {
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		UpdateStrategy struct {
			RollingUpdate struct {
				MaxUnavailable string `yaml:"maxUnavailable"`
			} `yaml:"rollingUpdate"`
		} `yaml:"updateStrategy"`
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Account      string            `yaml:"serviceAccountName"`
				Token        *bool             `yaml:"automountServiceAccountToken"`
				HostNetwork  bool              `yaml:"hostNetwork"`
				NodeSelector map[string]string `yaml:"nodeSelector"`
				Tolerations  []map[string]string
				Containers   []container
				Volumes      []struct{ Name string }
			}
		}
		PolicyTypes []string `yaml:"policyTypes"`
		Endpoints   []struct {
			Port, Path    string
			Authorization struct{ Credentials struct{ Name, Key string } }
		} `yaml:"podMetricsEndpoints"`
	}
}

type container struct {
	Args []string
	Env  []struct {
		Name string
		From struct {
			Field struct {
				Path string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
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

type probe struct{ Exec struct{ Command []string } }

func manifests(t *testing.T, b []byte) (all []manifest) {
	t.Helper()
	dec := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var m manifest
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// TestKubernetesBase: the sensor of the base runs as its configuration says, on whatever machine, by rights that are enough,
// and its flags, probes, paths and name are those that the program has.
func TestKubernetesBase(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(kubernetes, "base", "daemonset.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(filepath.Join(kubernetes, "base", "raytap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	all := manifests(t, b)
	if len(all) != 1 || all[0].Kind != "DaemonSet" || len(all[0].Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%+v", all)
	}
	spec := all[0].Spec
	for k, v := range spec.Selector.MatchLabels {
		if spec.Template.Metadata.Labels[k] != v {
			t.Errorf("the selector %s=%s does not match its pods", k, v)
		}
	}
	pod := spec.Template.Spec
	if len(pod.NodeSelector) != 1 || pod.NodeSelector["kubernetes.io/os"] != "linux" { // any other label nobody has set
		t.Errorf("machines are chosen by %v", pod.NodeSelector)
	}
	if len(pod.Tolerations) != 1 || len(pod.Tolerations[0]) != 1 || pod.Tolerations[0]["operator"] != "Exists" {
		t.Errorf("taints that are tolerated: %v", pod.Tolerations)
	}
	if spec.UpdateStrategy.RollingUpdate.MaxUnavailable == "" || pod.Account != "raytap" || pod.Token == nil || *pod.Token {
		t.Errorf("%+v", spec)
	}
	c := pod.Containers[0]
	if !pod.HostNetwork || c.Security.Escalation == nil || *c.Security.Escalation || !c.Security.ReadOnly ||
		!slices.Equal(c.Security.Capabilities.Drop, []string{"ALL"}) || !slices.Equal(c.Security.Capabilities.Add, []string{"NET_RAW"}) {
		t.Errorf("network %v, security %+v", pod.HostNetwork, c.Security)
	}
	if !slices.Equal(c.Args, []string{"sensor", "--config", "/etc/raytap/raytap.yaml", "--watch-config"}) || !slices.Equal(cfg.Interfaces, []string{"default"}) {
		t.Errorf("arguments %v, interfaces %v", c.Args, cfg.Interfaces)
	}
	if len(c.Env) != 1 || c.Env[0].Name != nameVariable || c.Env[0].From.Field.Path != "spec.nodeName" {
		t.Errorf("environment %+v", c.Env)
	}
	// The probes ask where health asks if it is told nothing, and nobody else gets there.
	if cfg.Metrics.Listen != "127.0.0.1:9477" || len(c.Ports) > 0 || !slices.Equal(c.Live.Exec.Command, []string{"/usr/bin/raytap", "health"}) ||
		!slices.Equal(c.Ready.Exec.Command, []string{"/usr/bin/raytap", "health", "--ready"}) {
		t.Errorf("ports %v, listens at %s, probes %v %v", c.Ports, cfg.Metrics.Listen, c.Live, c.Ready)
	}
	paths := map[string]bool{}
	for _, m := range c.Mounts {
		paths[m.Path] = slices.ContainsFunc(pod.Volumes, func(v struct{ Name string }) bool { return v.Name == m.Name })
	}
	if !paths[cfg.Out] || !paths["/etc/raytap"] {
		t.Errorf("mounts %v, logs at %s", paths, cfg.Out)
	}
}

// TestKubernetesBuilds has kubectl put the parts together.
func TestKubernetesBuilds(t *testing.T) {
	tool, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip(err)
	}
	build := func(dir string) map[string]manifest {
		t.Helper()
		out, err := exec.Command(tool, "kustomize", filepath.Join(kubernetes, dir)).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		all := map[string]manifest{}
		for _, m := range manifests(t, out) {
			all[m.Kind] = m
			if m.Kind != "Namespace" && m.Metadata.Namespace != "raytap" {
				t.Errorf("%s %s is in the namespace %q", m.Kind, m.Metadata.Name, m.Metadata.Namespace)
			}
		}
		for _, kind := range []string{"Namespace", "ServiceAccount", "ConfigMap", "DaemonSet", "NetworkPolicy"} {
			if all[kind].Metadata.Name != "raytap" {
				t.Errorf("%s has no %s", dir, kind)
			}
		}
		if p := all["NetworkPolicy"].Spec.PolicyTypes; !slices.Equal(p, []string{"Ingress", "Egress"}) {
			t.Errorf("the policy is about %v", p)
		}
		return all
	}
	load := func(m manifest) config.Config {
		t.Helper()
		name := filepath.Join(t.TempDir(), "raytap.yaml")
		if err := os.WriteFile(name, []byte(m.Data["raytap.yaml"]), 0o644); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	base := load(build("base")["ConfigMap"])
	all := build("overlays/prometheus")
	cfg := load(all["ConfigMap"])
	c := all["DaemonSet"].Spec.Template.Spec.Containers[0]
	mounted := slices.ContainsFunc(c.Mounts, func(m struct {
		Name string
		Path string `yaml:"mountPath"`
	}) bool {
		return m.Path == filepath.Dir(cfg.Metrics.TokenFile)
	})
	if cfg.Metrics.Listen != ":9477" || !mounted || len(c.Ports) != 1 || c.Ports[0].Port != 9477 || len(c.Mounts) != 4 {
		t.Errorf("metrics %+v, container %+v", cfg.Metrics, c)
	}
	e := all["PodMonitor"].Spec.Endpoints
	if len(e) != 1 || e[0].Port != c.Ports[0].Name || e[0].Path != "/metrics" || e[0].Authorization.Credentials.Key != filepath.Base(cfg.Metrics.TokenFile) {
		t.Errorf("%+v", e)
	}
	// But for that it is the base's.
	cfg.Metrics = base.Metrics
	if now, later := base.Changes(&cfg); len(now)+len(later) > 0 {
		t.Errorf("the overlay's configuration is another: %v %v", now, later)
	}
}

// TestOneDaemonSet: what documents show of the base is the packaged file; -update writes it anew.
func TestOneDaemonSet(t *testing.T) {
	shown := regexp.MustCompile("(?s)(<!-- (kubernetes/\\S+) -->\n```yaml\n)(.*?)(```\n)")
	docs, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatal(docs, err)
	}
	seen := map[string]bool{}
	for _, name := range append(docs, filepath.Join("..", "..", "README.md")) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := shown.ReplaceAllStringFunc(string(b), func(s string) string {
			m := shown.FindStringSubmatch(s)
			file, err := os.ReadFile(filepath.Join("packaging", m[2]))
			if err != nil {
				t.Fatal(err)
			}
			seen[m[2]] = true
			return m[1] + string(file) + m[4]
		})
		if *update && text != string(b) {
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if text != string(b) {
			t.Errorf("%s does not show what is packaged; write it with: go test ./cmd/raytap -run TestOneDaemonSet -update", name)
		}
		if strings.Contains(shown.ReplaceAllString(text, ""), "kind: DaemonSet") {
			t.Errorf("%s has a DaemonSet of its own", name)
		}
	}
	for _, name := range []string{"kubernetes/base/daemonset.yaml", "kubernetes/base/raytap.yaml"} {
		if !seen[name] {
			t.Errorf("no document shows %s", name)
		}
	}
}
