package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/raytap/raytap/config"
)

// TestPackagedConfiguration holds the file that packages install to the program.
func TestPackagedConfiguration(t *testing.T) {
	c, err := config.Load(filepath.Join("packaging", "raytap.yaml"))
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
	for _, line := range []string{"Type=notify", "WatchdogSec=30", "User=raytap", "NoNewPrivileges=yes", "ProtectSystem=strict", "AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN", "LogsDirectory=raytap", "RestartPreventExitStatus=2"} {
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
		if _, err := os.Stat(filepath.Join("..", "..", c.Src)); err != nil && !strings.HasPrefix(c.Src, "dist/stage/") { // which `make stage` makes
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
	for _, path := range []string{"/usr/bin/raytap", "/usr/bin/raytap-hub", "/usr/lib/systemd/system/raytap.service", "/usr/lib/systemd/system/raytap-hub.service", "/usr/lib/sysusers.d/raytap.conf", "/usr/share/doc/raytap/copyright", "/usr/share/doc/raytap/changelog.gz", "/usr/share/doc/raytap",
		"/usr/share/man/man1/", "/usr/share/man/man5/", "/usr/share/bash-completion/completions/raytap", "/usr/share/zsh/vendor-completions/_raytap", "/usr/share/fish/vendor_completions.d/raytap.fish"} {
		if _, ok := at[path]; !ok {
			t.Errorf("%s is not in the package", path)
		}
	}
}

// TestInstall has `make install` put everything into a folder: programs run, pages and scripts are whole, paths are those of
// PREFIX, and a configuration that is there stays.
func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it builds")
	}
	for _, tool := range []string{"make", "gzip", "awk", "install"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dest := t.TempDir()
	configFile := filepath.Join(dest, "etc", "raytap", "raytap.yaml")
	install := func() {
		t.Helper()
		cmd := exec.Command("make", "-C", filepath.Join("..", ".."), "install", "DESTDIR="+dest, "PREFIX=/opt/raytap", "SYSCONFDIR=/etc", "STAGE="+filepath.Join(t.TempDir(), "stage"))
		cmd.Env = append(os.Environ(), "MAKEFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	install()
	if err := os.WriteFile(configFile, []byte("out: mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	install()
	if b, err := os.ReadFile(configFile); err != nil || string(b) != "out: mine\n" {
		t.Errorf("the configuration was replaced: %s %v", b, err)
	}
	for name, want := range map[string]string{
		"share/bash-completion/completions/raytap":    "complete -F _raytap raytap\n",
		"share/zsh/site-functions/_raytap":            "#compdef raytap\n",
		"share/fish/vendor_completions.d/raytap.fish": "complete -c raytap",
		"lib/systemd/system/raytap.service":           "ExecStart=/opt/raytap/bin/raytap sensor --config /etc/raytap/raytap.yaml\n",
		"lib/sysusers.d/raytap.conf":                  "u raytap",
		"share/doc/raytap/docs/guide.md":              "](../packaging/",
		"share/doc/raytap/README.md":                  "](packaging/README.md)",
		"share/doc/raytap/packaging/README.md":        "systemd",
		"share/doc/raytap/third-party-licenses.txt":   "==== Go go1.",
		"share/doc/raytap/LICENSE":                    "Apache License",
		"share/man/man1/raytap-sensor.1.gz":           "",
		"share/man/man5/raytap.yaml.5.gz":             "",
	} {
		b, err := os.ReadFile(filepath.Join(dest, "opt", "raytap", name))
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %q: %v", name, want, err)
		}
	}
	if out, err := exec.Command(filepath.Join(dest, "opt", "raytap", "bin", "raytap"), "version").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestChangelogOfPackages: each version's notes stand below it, in lines that Debian takes.
func TestChangelogOfPackages(t *testing.T) {
	awk, err := exec.LookPath("awk")
	if err != nil {
		t.Skip(err)
	}
	log := filepath.Join(t.TempDir(), "CHANGELOG.md")
	const text = "# Changelog\n\nAbout it.\n\n## [Unreleased]\n\n### Fixed\n\n- `new` it's\n  two lines\n\n## [0.2.0] - 2027-01-02\n\n- second\n\n## [0.1.0] - 2026-11-30\n\nThe first.\n\n### Added\n\n- first\n"
	if err := os.WriteFile(log, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"0.2.0+git20270103.1.abc": "0.2.0+git20270103.1.abc-1: new it's two lines | 0.2.0-1: second | 0.1.0-1: The first., first",
		"0.2.0":                   "0.2.0-1: new it's two lines, second | 0.1.0-1: The first., first",
		"0.1.0":                   "0.1.0-1: new it's two lines, second, The first., first",
		"0.0.0+git20261130.1.abc": "0.0.0+git20261130.1.abc-1: new it's two lines, second, The first., first",
	} {
		out, err := exec.Command(awk, "-v", "version="+version, "-v", "date=2027-01-03T04:05:06Z", "-v", "packager=a <a@example.org>", "-f", "packaging/changelog.awk", log).Output()
		var entries []struct {
			Semver, Date, Packager string
			Changes                []struct{ Note string }
		}
		if err == nil {
			err = yaml.Unmarshal(out, &entries)
		}
		var got []string
		for _, e := range entries {
			var notes []string
			for _, c := range e.Changes {
				notes = append(notes, c.Note)
			}
			got = append(got, e.Semver+": "+strings.Join(notes, ", "))
		}
		if s := strings.Join(got, " | "); err != nil || s != want {
			t.Errorf("%s: %s, not %s (%v)\n%s", version, s, want, err, out)
		}
	}
}

// TestPackageVersionsSort: whatever is built later is an upgrade to dpkg, between releases, too.
func TestPackageVersionsSort(t *testing.T) {
	for _, tool := range []string{"git", "make", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	makefile, err := filepath.Abs(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(day string, args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE="+day, "GIT_AUTHOR_DATE="+day, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "MAKEFLAGS=",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("", "git", "init", "-q")
	var versions []string
	for _, c := range []struct{ day, tag, want string }{
		{"2026-11-28T10:00:00Z", "", "0.0.0+git20261128.1."},
		{"2026-11-29T10:00:00Z", "", "0.0.0+git20261129.2."},
		{"2026-11-29T23:30:00-05:00", "", "0.0.0+git20261130.3."},
		{"2026-11-30T11:00:00Z", "v1.0.0-rc1", "1.0.0~rc1"},
		{"2026-11-30T12:00:00Z", "", "1.0.0~rc1+git20261130.1."},
		{"2026-12-01T12:00:00Z", "v1.0.0", "1.0.0"},
		{"2026-12-01T13:00:00Z", "", "1.0.0+git20261201.1."},
		{"2026-12-01T14:00:00Z", "", "1.0.0+git20261201.2."},
		{"2026-12-02T14:00:00Z", "v1.0.1", "1.0.1"},
	} {
		run(c.day, "git", "commit", "-q", "--allow-empty", "-m", "x")
		if c.tag != "" {
			run(c.day, "git", "tag", c.tag)
		}
		v := run(c.day, "make", "-s", "-f", makefile, "deb-version")
		if !strings.HasPrefix(v, c.want) || c.tag != "" && v != c.want {
			t.Errorf("version %s, want %s", v, c.want)
		}
		if n := len(versions); n > 0 {
			run(c.day, "dpkg", "--compare-versions", versions[n-1], "lt", v)
		}
		versions = append(versions, v)
	}
}

// TestImage: it says what it is, checks itself with a command that there is, and is built from what the build needs.
func TestImage(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("packaging", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`org.opencontainers.image.licenses="Apache-2.0"`, `org.opencontainers.image.version="${VERSION}"`, `HEALTHCHECK `, `CMD ["/usr/bin/raytap", "health"]`,
		`-X main.version=${VERSION}`, `test -n "${VERSION}" ||`, `org.opencontainers.image.revision="${REVISION}"`, `org.opencontainers.image.created="${CREATED}"`, "\nUSER 65532:65532\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the image lacks %s", want)
		}
	}
	for _, line := range strings.Split(string(b), "\n") { // a default would be what `raytap version` says of most images
		if strings.HasPrefix(line, "ARG VERSION=") {
			t.Errorf("a version of no build: %s", line)
		}
	}
	if make, err := exec.LookPath("make"); err == nil {
		out, err := exec.Command(make, "-n", "-C", filepath.Join("..", ".."), "image", "VERSION=v1.2.3+4", "DOCKER=podman", "IMAGE_FLAGS=--pull").Output()
		for _, want := range []string{"podman build -f cmd/raytap/packaging/Dockerfile --pull -t raytap:v1.2.3-4 ", "--build-arg VERSION='v1.2.3+4'", "--build-arg REVISION="} {
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("make image lacks %s: %v\n%s", want, err, out)
			}
		}
	}
	ignored, err := os.ReadFile(filepath.Join("..", "..", ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".git", "pcaps", "docs", "*.md"} {
		if !slices.Contains(strings.Split(string(ignored), "\n"), want) {
			t.Errorf("%s goes into the image's build", want)
		}
	}
	licence, err := os.ReadFile(filepath.Join("..", "..", "LICENSE"))
	if err != nil || !strings.Contains(string(licence), "Apache License") || !strings.Contains(string(licence), "The raytap authors") {
		t.Errorf("LICENSE: %v", err)
	}
}

func TestHealth(t *testing.T) {
	var code atomic.Int64 // the server asks from a goroutine of its own
	code.Store(http.StatusOK)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(code.Load()))
		io.WriteString(w, r.URL.Path)
	}))
	defer s.Close()
	at := strings.TrimPrefix(s.URL, "http://")
	dir := t.TempDir()
	invoke(t, dir, nil, "health", at).expect(t, 0, "/healthz", "")
	invoke(t, dir, nil, "health", "--ready", at[strings.LastIndex(at, ":"):]).expect(t, 0, "/readyz", "")
	code.Store(http.StatusServiceUnavailable)
	invoke(t, dir, nil, "health", at).expect(t, 1, "", "503 Service Unavailable: /healthz")
	s.Close()
	invoke(t, dir, nil, "health", at).expect(t, 1, "", "refused")
	invoke(t, dir, nil, "health", "nowhere").expect(t, 2, "", "missing port")
}
