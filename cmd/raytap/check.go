package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/files"
	"github.com/raytap/raytap/sinks/inventory"
	"github.com/raytap/raytap/sinks/syslog"
	"github.com/raytap/raytap/sinks/webhook"
	"github.com/raytap/raytap/sinks/zeek"
)

const (
	// A certificate that ends so soon is told of.
	endsSoon = 30 * 24 * time.Hour
	// Files with secrets and certificates are shorter.
	maxSecret = 1 << 20
)

// examiner opens what a configuration names, as a run with it would, and tells what cannot be. What only this process is
// not allowed to see is a warning: the sensor may be.
type examiner struct {
	cfg        *config.Config
	configFile string // the file, if there is one
	// at says where a key stands, its i-th element if i >= 0, and whether it was given at all.
	at       func(key string, i int) (where string, given bool)
	now      time.Time
	who      *person // whom the sensor becomes; nil: who runs this
	wrong    []error
	warnings []string
	notes    []string // what was found to be as it should
}

// whoCanTell is said of what this process may not see.
const whoCanTell = "that cannot be checked by who runs this; as root, or as the sensor's user, it can"

func (x *examiner) bad(key string, i int, format string, a ...any) {
	where, _ := x.at(key, i)
	x.wrong = append(x.wrong, fmt.Errorf("%s: %s: %s", where, key, fmt.Sprintf(format, a...)))
}

func (x *examiner) warn(key string, i int, format string, a ...any) {
	where, _ := x.at(key, i)
	x.warnings = append(x.warnings, fmt.Sprintf("%s: %s: %s", where, key, fmt.Sprintf(format, a...)))
}

func (x *examiner) given(key string) bool {
	_, ok := x.at(key, -1)
	return ok
}

// failed tells of an error in opening something.
func (x *examiner) failed(key string, i int, name string, err error) {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		x.warn(key, i, "%s: %v; %s", name, err, whoCanTell)
		return
	}
	x.bad(key, i, "%s: %v", name, err)
}

func (x *examiner) run() {
	x.person()
	for i, s := range x.cfg.Intel {
		if x.feed(i, s.File); s.Remote() {
			x.server(i, s.TokenFile, s.PasswordFile, s.CA)
		}
	}
	x.outputs()
	x.published()
	x.folders()
	x.sources()
	for _, s := range x.cfg.Rules.Suppress {
		if end, err := detectors.ParseUntil(s.Until); s.Until != "" && err == nil && !end.Std().After(x.now) {
			x.warn("rules.suppress", -1, "until %s has passed: that entry keeps nothing back any more", s.Until)
		}
	}
}

// person finds out whom the sensor becomes.
func (x *examiner) person() {
	if x.cfg.User == "" {
		return
	}
	who, err := findPerson(x.cfg.User)
	if err != nil {
		x.bad("user", -1, "%s", strings.TrimPrefix(err.Error(), "raytap: "))
		return
	}
	x.who = who
	if x.configFile != "" && !x.readable(x.configFile) {
		x.warn("user", -1, "user %s cannot read %s: a signal HUP will change nothing", x.cfg.User, x.configFile)
	}
}

// readable reports whether the sensor can read a file once it is who it becomes. What cannot be told is said to be.
func (x *examiner) readable(name string) bool {
	return x.who == nil || !errors.Is(x.who.may(name, mayRead), fs.ErrPermission)
}

// file reads a file of which the sensor needs the bytes again, as who it becomes.
func (x *examiner) file(key, name string) []byte {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		x.failed(key, -1, name, err)
		return nil
	case !info.Mode().IsRegular():
		x.bad(key, -1, "%s is not a regular file", name)
		return nil
	}
	if !x.readable(name) {
		x.bad(key, -1, "user %s cannot read %s", x.cfg.User, name)
	}
	f, err := os.Open(name)
	if err != nil {
		x.failed(key, -1, name, err)
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		x.failed(key, -1, name, err)
		return nil
	case len(b) > maxSecret:
		x.bad(key, -1, "%s is longer than %d bytes", name, maxSecret)
		return nil
	}
	return b
}

// feed reads a feed of indicators.
func (x *examiner) feed(i int, name string) {
	if name == "" {
		return
	}
	_, feeds, err := config.CheckIntel([]string{name})
	if err != nil {
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			x.warn("intel", i, "%s: permission denied; %s", name, whoCanTell)
			return
		}
		says := strings.TrimPrefix(err.Error(), "raytap: ")
		x.bad("intel", i, "%s", says)
		return
	}
	n, skipped := 0, 0
	for _, f := range feeds {
		n += f.Indicators()
		for _, s := range f.Skipped {
			skipped += int(s.Count)
		}
	}
	switch {
	case n == 0:
		x.warn("intel", i, "%s has no indicators", name)
	case skipped == 0:
		x.notes = append(x.notes, fmt.Sprintf("%s has %d indicators", name, n))
	default:
		x.warn("intel", i, "%s: %d indicators; %d entries are skipped (raytap intel %s shows why)", name, n, skipped, name)
	}
	if !x.readable(name) {
		x.warn("intel", i, "user %s cannot read %s: it is read at the start, and not again with a signal HUP", x.cfg.User, name)
	}
}

// server looks for the files that a feed's server takes. Nobody is asked.
func (x *examiner) server(i int, names ...string) {
	for _, name := range names {
		if name == "" {
			continue
		}
		f, err := os.Open(name)
		switch {
		case err == nil:
			f.Close()
			if !x.readable(name) {
				x.bad("intel", i, "user %s cannot read %s", x.cfg.User, name)
			}
		default:
			x.failed("intel", i, name, err)
		}
	}
}

// outputs looks into the files of syslog and webhook.
func (x *examiner) outputs() {
	s, w := &x.cfg.Syslog, &x.cfg.Webhook
	if s.CA != "" {
		x.authorities("syslog.ca", s.CA)
	}
	if network, addr, err := syslog.ParseAddress(s.Address); s.Address != "" && err == nil && strings.HasPrefix(network, "unix") {
		if info, err := os.Stat(addr); err != nil {
			x.warn("syslog.address", -1, "%s is not there now", addr)
		} else if info.Mode()&fs.ModeSocket == 0 {
			x.bad("syslog.address", -1, "%s is not a socket", addr)
		}
	}
	if w.CA != "" {
		x.authorities("webhook.ca", w.CA)
	}
	x.token("webhook.token_file", w.TokenFile)
	x.token("metrics.token_file", x.cfg.Metrics.TokenFile)
	if w.Headers != "" {
		if b := x.file("webhook.headers_file", w.Headers); b != nil {
			if err := webhook.CheckHeaders(w.Headers); err != nil {
				x.bad("webhook.headers_file", -1, "%v", err)
			}
			x.secret("webhook.headers_file", w.Headers)
		}
	}
	if w.Cert != "" && w.Key != "" {
		x.pairOf("webhook.client_cert", w.Cert, "webhook.client_key", w.Key)
	}
	if l := x.cfg.Metrics.Listen; l != "" {
		if s, err := net.Listen("tcp", l); err == nil {
			s.Close()
		} else {
			var sys syscall.Errno
			why := err.Error()
			if errors.As(err, &sys) {
				why = sys.Error()
			}
			if errors.Is(err, syscall.EADDRINUSE) {
				why += ", perhaps by a sensor that runs"
			}
			x.warn("metrics.listen", -1, "%s cannot be had now: %s", l, why)
		}
	}
}

// secret warns of one that anybody can read.
func (x *examiner) secret(key, name string) {
	if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o004 != 0 {
		x.warn(key, -1, "%s can be read by everybody on this machine (chmod o-r)", name)
	}
}

// token sees whether a file, if one is named, has one token in it.
func (x *examiner) token(key, name string) {
	if name == "" {
		return
	}
	b := x.file(key, name)
	if b == nil {
		return
	}
	switch token := strings.TrimSpace(string(b)); {
	case token == "":
		x.bad(key, -1, "%s is empty", name)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		x.bad(key, -1, "%s has more in it than one token", name)
	}
	x.secret(key, name)
}

// pairOf looks into the files of a certificate and of its key, and sees whether they belong together.
func (x *examiner) pairOf(certKey, certFile, keyKey, keyFile string) {
	cert, key := x.file(certKey, certFile), x.file(keyKey, keyFile)
	if key != nil {
		x.secret(keyKey, keyFile)
	}
	if cert == nil {
		return
	}
	if key == nil {
		x.lifetimes(certKey, certFile, cert)
		return
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		k := certKey
		if strings.Contains(err.Error(), "key") {
			k = keyKey
		}
		x.bad(k, -1, "%s and %s: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
		return
	}
	if leaf, err := x509.ParseCertificate(c.Certificate[0]); err == nil {
		x.lifetime(certKey, certFile, leaf, true)
	}
}

// authorities looks into a file of certificates that servers must descend from.
func (x *examiner) authorities(key, name string) {
	if b := x.file(key, name); b != nil {
		x.lifetimes(key, name, b)
	}
}

// lifetimes looks into a file of certificates. One that has ended is a mistake if there is no other.
func (x *examiner) lifetimes(key, name string, b []byte) {
	var all []*x509.Certificate
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			x.bad(key, -1, "%s: %s", name, strings.TrimPrefix(err.Error(), "x509: "))
			return
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		x.bad(key, -1, "%s has no certificate (PEM)", name)
		return
	}
	good := slices.ContainsFunc(all, func(c *x509.Certificate) bool { return !x.now.After(c.NotAfter) && !x.now.Before(c.NotBefore) })
	for _, c := range all {
		x.lifetime(key, name, c, !good)
	}
}

// lifetime tells of a certificate that has ended, begins later, or ends soon.
func (x *examiner) lifetime(key, name string, c *x509.Certificate, needed bool) {
	tell := x.warn
	if needed {
		tell = x.bad
	}
	of := c.Subject.CommonName
	if of == "" && len(c.DNSNames) > 0 {
		of = c.DNSNames[0]
	}
	switch {
	case x.now.After(c.NotAfter):
		tell(key, -1, "%s: the certificate of %q ended %s", name, of, c.NotAfter.UTC().Format(time.DateOnly))
	case x.now.Before(c.NotBefore):
		tell(key, -1, "%s: the certificate of %q begins %s", name, of, c.NotBefore.UTC().Format(time.DateOnly))
	case c.NotAfter.Sub(x.now) < endsSoon:
		x.warn(key, -1, "%s: the certificate of %q ends %s", name, of, c.NotAfter.UTC().Format(time.DateOnly))
	}
}

// folders sees whether what is to be written to can be.
func (x *examiner) folders() {
	c := x.cfg
	if x.given("out") {
		x.folder("out", c.Out, zeek.Marked)
	}
	if c.Webhook.URL != "" && c.Webhook.Spool != "" {
		x.folder("webhook.spool", c.Webhook.Spool, webhook.IsSpool)
	}
	if len(c.Files.Extract) > 0 && c.Files.Folder != "" {
		x.folder("files.folder", c.Files.Folder, files.IsFolder)
	}
	if c.State == "" {
		return
	}
	dir := filepath.Dir(c.State)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		x.warn("state", -1, "directory %s does not exist; the sensor will not start without it", dir) // a service manager makes it
		return
	} else if err == nil && !info.IsDir() {
		x.bad("state", -1, "%s is not a directory", dir)
		return
	}
	x.folder("state", dir, nil)
	info, err := os.Lstat(c.State)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		x.failed("state", -1, c.State, err)
	case !info.Mode().IsRegular():
		x.bad("state", -1, "%s is not a regular file", c.State)
	default:
		if _, err := inventory.Load(c.State); errors.Is(err, fs.ErrPermission) {
			x.failed("state", -1, c.State, err)
		} else if err != nil {
			x.bad("state", -1, "%s", strings.TrimPrefix(err.Error(), "inventory: "))
		} else if !x.readable(c.State) && !ownedBy(info, 0) { // root's own it hands over
			x.bad("state", -1, "user %s cannot read %s", c.User, c.State)
		}
	}
}

// folder sees whether a folder is there, or can be made, and be written to. Where ours is set, the sensor makes it before
// it becomes another user, and hands it over; also one of root's that is empty or ours.
func (x *examiner) folder(key, name string, ours func(dir string) bool) {
	at, err := filepath.Abs(name)
	if err != nil {
		x.failed(key, -1, name, err)
		return
	}
	info, err := os.Stat(at)
	missing := false
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(at) != at {
		missing = true
		at = filepath.Dir(at)
		info, err = os.Stat(at)
	}
	switch {
	case err != nil:
		x.failed(key, -1, at, err)
		return
	case !info.IsDir():
		x.bad(key, -1, "%s is not a directory", at)
		return
	}
	what := name + " cannot be written to"
	if missing {
		what = name + " cannot be made"
	}
	if x.who != nil && ours != nil && missing {
		if errors.Is(x.who.may(at, mayEnter), fs.ErrPermission) {
			x.bad(key, -1, "user %s cannot enter %s", x.cfg.User, at)
			return
		}
	} else if x.who != nil {
		switch err := x.who.may(at, mayWrite|mayEnter); {
		case errors.Is(err, fs.ErrPermission) && ours != nil && ownedBy(info, 0) && (isEmpty(at) || ours(at)):
		case errors.Is(err, fs.ErrPermission):
			x.bad(key, -1, "%s by user %s", what, x.cfg.User)
		case err != nil:
			x.warn(key, -1, "%s: %v; %s", at, err, whoCanTell)
		}
		return
	}
	if err := self(at, mayWrite|mayEnter); err != nil {
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			x.warn(key, -1, "%s by who runs this; another who runs the sensor may", what)
			return
		}
		x.bad(key, -1, "%s: %v", what, err)
	}
}

// isEmpty reports whether nothing is in a folder.
func isEmpty(dir string) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.ReadDir(1)
	return err == io.EOF
}

// onlyLeavesOut reports whether a list of interfaces has nothing that others are left out of.
func onlyLeavesOut(list []string) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(s string) bool { return !strings.HasPrefix(s, "-") })
}

// sources looks for what is to be captured from.
func (x *examiner) sources() {
	c := x.cfg
	if onlyLeavesOut(c.Interfaces) {
		x.bad("interfaces", -1, "it only excludes interfaces (from what: any?)")
	}
	if len(c.Interfaces) > 0 && c.ReadFIFO != "" {
		x.bad("read_fifo", -1, "interfaces are given, too: it is one or the other")
	}
	all, err := net.Interfaces()
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	for i, name := range c.Interfaces {
		switch is := func(n string) bool { ok, _ := path.Match(name, n); return ok }; {
		case err != nil || capture.CheckInterface(name) != nil || name == "any" || name == "default" || strings.HasPrefix(name, "-"):
		case capture.IsPattern(name) && !slices.ContainsFunc(names, is):
			x.warn("interfaces", i, "no interface fits %s on this machine now (%s); the sensor waits for some", name, strings.Join(names, ", "))
		case !capture.IsPattern(name) && !slices.Contains(names, name):
			x.warn("interfaces", i, "interface %s does not exist on this machine (it has %s); the sensor will not start without it", name, strings.Join(names, ", "))
		}
	}
	if p := c.ReadFIFO; p != "" && p != "-" {
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			x.warn("read_fifo", -1, "%s does not exist; the sensor will not start without it", p)
		case err != nil:
			x.failed("read_fifo", -1, p, err)
		case !info.IsDir() && info.Mode()&fs.ModeNamedPipe == 0 && !info.Mode().IsRegular():
			x.bad("read_fifo", -1, "%s is neither a pipe nor a capture", p)
		case !x.readable(p):
			x.bad("read_fifo", -1, "user %s cannot read %s", c.User, p)
		case x.who == nil:
			if err := self(p, mayRead); err != nil {
				x.failed("read_fifo", -1, p, err)
			}
		}
	}
}
