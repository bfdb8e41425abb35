package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/feeds"
)

// What a sensor that was taken over could still do to the machine is bounded by Landlock: once it runs it can write to
// its logs, state and spool, read its configuration and what the network and Prometheus' collector need, and nothing
// else, on all threads and for good. Network and interfaces stay as they are.

// Renaming from one folder to another, as rotation does, is possible under Landlock from its second version on (Linux
// 5.19), and truncating is bound from its third on.
const leastLandlock = 2

// readFor are what resolving names and checking certificates take; what is missing is left out. /etc/resolv.conf is
// opened by its name again and again, so a link must lead to the folder that its target is replaced in.
var readFor = [...]string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/etc/gai.conf", "/etc/localtime",
	"/run/systemd/resolve", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/proc/self", "/proc/stat",
}

// confine leaves the process the files that it needs with cfg, from the file config if there is one. It says in a few
// words what is in force, or that the kernel cannot do that.
func confine(cfg *config.Config, configFile string) (says string, err error) {
	version, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 || version < leastLandlock {
		return "the kernel has no Landlock, or an old one: files are protected by permissions alone", nil
	}
	write, read := folders(cfg, configFile)
	rules := []landlock.Rule{landlock.RWDirs(write...).WithRefer(), landlock.RODirs(read...).IgnoreIfMissing()}
	for _, name := range readFor {
		if info, err := os.Stat(name); err != nil {
			continue
		} else if info.IsDir() {
			rules = append(rules, landlock.RODirs(name))
		} else {
			rules = append(rules, landlock.ROFiles(name))
		}
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		return "", fmt.Errorf("raytap: cannot be confined (--confine=false does without): %w", err)
	}
	return fmt.Sprintf("Landlock leaves it %d folders to write to", len(write)), nil
}

// folders gives what is written to, which must be there, and what is read. A file's folder stands for the file: files
// that are replaced are others.
func folders(cfg *config.Config, configFile string) (write, read []string) {
	write = append(write, cfg.Out)
	// Root can make the folder of the logs anew, if somebody removes it, and must then be able to.
	if out, err := filepath.Abs(cfg.Out); err == nil && os.Geteuid() == 0 && filepath.Dir(out) != "/" {
		write = append(write, filepath.Dir(out))
	}
	for _, d := range ownFolders(cfg) {
		write = append(write, d.name)
		if dir, err := filepath.Abs(d.name); err == nil && os.Geteuid() == 0 && filepath.Dir(dir) != "/" {
			write = append(write, filepath.Dir(dir))
		}
	}
	if cfg.Webhook.URL != "" && cfg.Webhook.Spool != "" {
		write = append(write, cfg.Webhook.Spool)
	}
	if dir := filesFolder(cfg); dir != "" {
		write = append(write, dir)
	}
	if cfg.IntelCache != "" {
		write = append(write, cfg.IntelCache)
	}
	if cfg.State != "" {
		write = append(write, filepath.Dir(cfg.State))
	}
	for _, name := range []string{configFile, cfg.ReadFIFO, cfg.Syslog.CA, cfg.Webhook.TokenFile, cfg.Webhook.Headers, cfg.Webhook.Cert, cfg.Webhook.Key, cfg.Metrics.TokenFile} {
		if name != "" && name != "-" {
			read = append(read, filepath.Dir(name))
		}
	}
	for _, name := range cfg.Publish.Files() {
		read = append(read, filepath.Dir(name)) // also of what a folder of credentials leads to, as in Kubernetes
	}
	for _, s := range cfg.Intel {
		if s.File != "" {
			read = append(read, feeds.Root(s.File))
		}
		for _, name := range []string{s.TokenFile, s.PasswordFile, s.CA} {
			if name != "" {
				read = append(read, filepath.Dir(name))
			}
		}
	}
	return write, read
}
