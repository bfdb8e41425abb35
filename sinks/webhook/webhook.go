// Package webhook posts findings to a web server and keeps each until the server has taken it.
//
// In: findings (*detectors.Finding) and what becomes of them (*detectors.Update); events of other types are ignored. Out:
// one POST each; its body is the object that notice.log has in its JSON form, Content-Type application/json, or what a
// template makes of that. One with "update": true has a finding_id that was sent before: it says more of that, and is no
// alarm of its own. An answer of 2xx takes it. 400, 413, 415
// and 422 say that this finding will never be taken: it is given up and counted. Everything else, redirects and refused
// credentials too, is tried again with growing pauses, or when Retry-After says.
//
// A finding is in a file of the spool folder before it is sent, and is deleted behind the answer, so that a restart, of
// either side, loses none. One that was taken when we were killed is sent again, with the same Idempotency-Key. The
// spool is bounded; when it is full the oldest of the least severe makes room for what is at least as severe, and is
// counted. Where the disk takes nothing, memory holds a part.
//
// Event never waits: two goroutines spool and send. The order is that of the findings, but for those that an earlier
// run has left, which come first.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/zeek"
)

const (
	// Findings on their way to the spool. A disk takes thousands in a second.
	queueLen = 1024
	// Findings that memory holds where the disk does not.
	maxHeld = 1024
	// Bounds of the spool: at the usual kilobyte each, a day of one finding every nine seconds.
	DefaultSpoolFiles = 10_000
	DefaultSpoolBytes = 64 << 20
	// A server that does not answer for this long is tried anew.
	timeout = 10 * time.Second
	// Pauses between attempts double from the first to the second, and vary by a quarter, so that many sensors do not
	// come back at once. Retry-After counts up to the second.
	minPause, maxPause = time.Second, 5 * time.Minute
	// How long Close goes on sending.
	grace = 3 * time.Second
	// Of an answer's body, which is read so that the connection can be used again.
	maxAnswer = 64 << 10
)

// Options say where to and what. URL and Spool are required.
type Options struct {
	URL       string
	Peer      string             // the sensor's name, for peer_descr; may be empty
	Spool     string             // folder, made if need be; one process each
	Severity  detectors.Severity // findings below it are not sent
	TokenFile string             // a file with a token that is sent as Authorization: Bearer, or as the template says; read anew for every POST
	Headers   string             // a file of header fields, "Name: value" a line, that are sent, too; read anew for every POST
	CA        string             // a file of PEM certificates that the server's must descend from; "": the system's
	Cert, Key string             // files of a client certificate with its chain, and of its key; read anew for every handshake
	Plain     bool               // credentials may be sent over http, where everybody on the way reads them
	MaxFiles  int                // findings in the spool; 0: DefaultSpoolFiles
	MaxBytes  int64              // 0: DefaultSpoolBytes
	Template  string             // what the body is made by: see LoadTemplate; "": it is the finding
	Rules     []detectors.Rule   // as for zeek.Options
	Say       func(string)       // is told, in a sentence, when the server goes away and when it is back; from a goroutine
	// Row is the object that is sent of a finding, by Event's goroutine; nil: that of notice.log.
	Row func(f *detectors.Finding, update bool) []byte

	pause time.Duration // the first between attempts; 0: minPause
}

// Sink posts findings. Event belongs to one goroutine.
type Sink struct {
	opt      Options
	client   *http.Client
	template *Template // nil: none
	findings *zeek.Findings
	in       chan entry
	ctx      context.Context
	cancel   context.CancelFunc
	spooled  chan struct{} // closed when everything has been spooled
	done     chan struct{}
	closed   bool

	mu    sync.Mutex
	waits []entry // what is to be sent, the oldest first
	held  int     // of these, in memory
	bytes int64   // of all
	more  chan struct{}
	next  uint64 // number of the next file

	sent, dropped, rejected atomic.Uint64
}

// entry is one finding that waits.
type entry struct {
	seq      uint64
	severity detectors.Severity
	size     int64
	body     []byte        // nil: it is in its file
	synced   chan struct{} // of no finding: closed when those before it are in files
}

func (e *entry) name() string { return fmt.Sprintf("%020d-%d.json", e.seq, e.severity) }

var spooled = regexp.MustCompile(`^(\d{20})-(\d)\.json$`)

// New makes a sink and goes on with what an earlier run has left in the spool. That the server is not there is no
// error: it may come.
func New(opt Options) (*Sink, error) {
	if err := CheckURL(opt.URL); err != nil {
		return nil, err
	}
	if err := CheckPlain(opt.URL, opt.TokenFile != "" || opt.Headers != "", opt.Plain); err != nil {
		return nil, err
	}
	if opt.MaxFiles <= 0 {
		opt.MaxFiles = DefaultSpoolFiles
	}
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = DefaultSpoolBytes
	}
	if opt.pause <= 0 {
		opt.pause = minPause
	}
	s := &Sink{opt: opt, findings: zeek.NewFindings(opt.Rules), in: make(chan entry, queueLen), spooled: make(chan struct{}), done: make(chan struct{}), more: make(chan struct{}, 1)}
	s.findings.Peer = opt.Peer
	if opt.Row == nil {
		s.opt.Row = s.findings.Update
	}
	transport, err := opt.transport()
	if err != nil {
		return nil, err
	}
	if s.template, err = LoadTemplate(opt.Template); err != nil {
		return nil, err
	}
	s.client = &http.Client{Timeout: timeout, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if err := s.folder(); err != nil {
		return nil, fmt.Errorf("webhook: spool: %w", err)
	}
	if err := s.recall(); err != nil {
		return nil, fmt.Errorf("webhook: spool: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.spool()
	go s.send()
	return s, nil
}

// transport is http.DefaultTransport with the certificates that were asked for. What is wrong with files now is said now.
func (o *Options) transport() (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("webhook: certificates: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("webhook: %s has no certificate", o.CA)
		}
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, errors.New("webhook: a client certificate takes a file with its key, and a key one with the certificate")
	}
	if o.Cert != "" {
		if _, err := tls.LoadX509KeyPair(o.Cert, o.Key); err != nil {
			return nil, fmt.Errorf("webhook: client certificate: %w", err)
		}
		t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(o.Cert, o.Key) // those of a mesh live for a day
			return &pair, err
		}
	}
	if o.Headers != "" {
		if _, err := readHeaders(o.Headers); err != nil {
			return nil, fmt.Errorf("webhook: headers: %w", err)
		}
	}
	return t, nil
}

// maxHeaders bounds a file of header fields.
const maxHeaders = 64 << 10

// readHeaders reads header fields, one "Name: value" a line. Empty lines and those that begin with # are none. Errors do not
// show values.
func readHeaders(name string) (http.Header, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHeaders+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxHeaders {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, maxHeaders)
	}
	h := http.Header{}
	for i, line := range strings.Split(string(b), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		field, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !ok || !httpguts.ValidHeaderFieldName(field) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%s:%d: not of the form Name: value", name, i+1)
		}
		switch field = http.CanonicalHeaderKey(field); field {
		case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade": // of the connection, not of the message
			return nil, fmt.Errorf("%s:%d: %s cannot be given", name, i+1, field)
		}
		h.Add(field, value)
	}
	return h, nil
}

// CheckURL says what is wrong with a URL of Options.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("webhook: %q is not a URL of http or https", secrets.Mask(s))
	}
	return nil
}

// CheckPlain refuses to send a credential in clear text: a token, or one in the URL itself, over http to another machine,
// unless that is allowed.
func CheckPlain(s string, token, allowed bool) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" || allowed {
		return nil
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	addr, err := netip.ParseAddr(host)
	if err == nil && addr.Unmap().IsLoopback() || host == "localhost" {
		return nil
	}
	what := ""
	switch {
	case token:
		what = "the token"
	case u.User != nil:
		what = "the user of the URL"
	case secrets.Mask(s) != s:
		what = "the credential in the URL"
	default:
		return nil
	}
	return fmt.Errorf("webhook: %s would be sent in clear text over http: use https, or allow it with plain_token", what)
}

// recall takes up what is in the spool.
func (s *Sink) recall() error {
	files, err := os.ReadDir(s.opt.Spool)
	if err != nil {
		return err
	}
	for _, f := range files { // sorted by name: by number
		if strings.HasPrefix(f.Name(), ".") && strings.HasSuffix(f.Name(), ".json") { // not finished
			os.Remove(filepath.Join(s.opt.Spool, f.Name()))
			continue
		}
		m := spooled.FindStringSubmatch(f.Name())
		if m == nil {
			continue
		}
		seq, err := strconv.ParseUint(m[1], 10, 64)
		info, e := f.Info()
		if err != nil || e != nil || !info.Mode().IsRegular() {
			continue
		}
		s.next = max(s.next, seq+1)
		if entry := (entry{seq: seq, severity: detectors.Severity(m[2][0] - '0'), size: info.Size()}); s.room(&entry) {
			s.add(entry)
		} else {
			os.Remove(filepath.Join(s.opt.Spool, f.Name()))
		}
	}
	return nil
}

// Event sends ev if it is a finding of the severity that was asked for.
func (s *Sink) Event(ev any) {
	f, known := detectors.Told(ev, s.opt.Severity)
	if f == nil {
		return
	}
	if u, ok := ev.(*detectors.Update); ok && known && s.template != nil && s.template.once && u.Was >= f.Severity {
		return
	}
	if !s.closed {
		b := s.opt.Row(f, known)
		select {
		case s.in <- entry{severity: f.Severity, size: int64(len(b)), body: b}:
			return
		default:
		}
	}
	s.dropped.Add(1)
}

// Sync returns when all that Event was called with is in files, or in memory where the disk takes nothing. It belongs to Event's
// goroutine.
func (s *Sink) Sync() {
	if s.closed {
		return
	}
	done := make(chan struct{})
	s.in <- entry{synced: done}
	<-done
}

// spool puts what comes on the disk.
func (s *Sink) spool() {
	defer close(s.spooled)
	failing := false
	for e := range s.in {
		if e.synced != nil {
			close(e.synced)
			continue
		}
		s.mu.Lock()
		if !s.room(&e) {
			s.mu.Unlock()
			s.dropped.Add(1)
			continue
		}
		e.seq = s.next
		s.next++
		s.mu.Unlock()
		err := s.store(&e)
		if !failing && err != nil {
			s.say("the spool of the webhook cannot be written; findings are held in memory: %v", err)
		}
		failing = err != nil
		s.mu.Lock()
		if err == nil {
			e.body = nil
		}
		if err == nil || s.held < maxHeld {
			s.add(e)
		} else {
			s.dropped.Add(1)
		}
		s.mu.Unlock()
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
}

// store writes a finding to its file, which has its name only when it is whole and on the disk.
func (s *Sink) store(e *entry) error {
	tmp := filepath.Join(s.opt.Spool, "."+e.name())
	f, err := disk.Private().Renew(tmp)
	if errors.Is(err, os.ErrNotExist) { // the folder was removed
		if err = s.folder(); err == nil {
			f, err = disk.Private().Renew(tmp)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(e.body)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, filepath.Join(s.opt.Spool, e.name()))
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// folder makes the spool's.
func (s *Sink) folder() error {
	dir := filepath.Clean(s.opt.Spool)
	return disk.Private().Within(filepath.Dir(dir), filepath.Base(dir))
}

// stored reads the file of a finding.
func (s *Sink) stored(e *entry) ([]byte, error) {
	f, err := disk.Read(filepath.Join(s.opt.Spool, e.name()))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, s.opt.MaxBytes))
}

// room makes room for e, at the cost of the oldest of the least severe, and says whether there is any.
func (s *Sink) room(e *entry) bool {
	for len(s.waits) >= s.opt.MaxFiles || s.bytes+e.size > s.opt.MaxBytes {
		least := -1
		for i := range s.waits {
			if w := &s.waits[i]; w.severity <= e.severity && (least < 0 || w.severity < s.waits[least].severity) {
				least = i
			}
		}
		if least < 0 {
			return false
		}
		s.remove(least)
		s.dropped.Add(1)
	}
	return true
}

func (s *Sink) add(e entry) {
	s.waits = append(s.waits, e)
	s.bytes += e.size
	if e.body != nil {
		s.held++
	}
}

// remove forgets what waits at i, and its file.
func (s *Sink) remove(i int) {
	e := s.waits[i]
	s.waits = slices.Delete(s.waits, i, i+1)
	s.bytes -= e.size
	if e.body != nil {
		s.held--
	} else {
		os.Remove(filepath.Join(s.opt.Spool, e.name()))
	}
}

// drop takes e off the list if it is still there.
func (s *Sink) drop(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.waits, func(w entry) bool { return w.seq == seq }); i >= 0 {
		s.remove(i)
	}
}

// first gives the finding that is to go next.
func (s *Sink) first() (e entry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waits) == 0 {
		return e, false
	}
	return s.waits[0], true
}

// send posts one finding after the other.
func (s *Sink) send() {
	defer close(s.done)
	pause := s.opt.pause
	away := false
	for {
		e, ok := s.first()
		if !ok {
			select {
			case <-s.more:
				continue
			case <-s.ctx.Done():
				return
			case <-s.spooled:
				if _, ok := s.first(); ok {
					continue
				}
				return
			}
		}
		body := e.body
		if body == nil {
			var err error
			if body, err = s.stored(&e); err != nil {
				s.dropped.Add(1) // somebody removed it
				s.drop(e.seq)
				continue
			}
		}
		status, wait, err := s.post(body)
		switch {
		case err == nil && status/100 == 2:
			s.drop(e.seq)
			s.sent.Add(1)
			if pause = s.opt.pause; away {
				away = false
				s.say("the webhook is back")
			}
			continue
		case err == nil && final(status):
			s.drop(e.seq)
			s.rejected.Add(1)
			s.say("the webhook takes no such finding: status %d", status)
			continue
		case err == nil:
			err = fmt.Errorf("status %d", status)
		}
		if s.ctx.Err() != nil {
			return
		}
		if !away {
			away = true
			s.say("the webhook cannot be reached: %v", err)
		}
		if wait == 0 {
			wait = pause*3/4 + rand.N(pause/2)
			pause = min(2*pause, maxPause)
		}
		select {
		case <-time.After(wait):
		case <-s.ctx.Done():
			return
		}
	}
}

// final says whether an answer will be the same for the same body for ever.
func final(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// post sends one finding. wait is what the server asks for before the next attempt. Errors do not show the URL, which
// often holds a secret.
func (s *Sink) post(body []byte) (status int, wait time.Duration, err error) {
	token := ""
	if s.opt.TokenFile != "" {
		b, err := os.ReadFile(s.opt.TokenFile)
		if err != nil {
			return 0, 0, fmt.Errorf("token: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	key, scheme, content := strconv.FormatUint(xxhash.Sum64(body), 16), "Bearer", "application/json"
	if t := s.template; t != nil {
		if body, err = t.Render(body, token); err != nil { // it was tried before: this one will never do
			s.say("the template of the webhook fails: %v", err)
			return http.StatusUnprocessableEntity, 0, nil
		}
		scheme = t.scheme
		if t.content != "" {
			content = t.content
		}
	}
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.opt.URL, bytes.NewReader(body))
	if err != nil {
		return 0, 0, errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", content)
	req.Header.Set("User-Agent", "raytap")
	req.Header.Set("Idempotency-Key", key)
	if token != "" && scheme != "" {
		req.Header.Set("Authorization", scheme+" "+token)
	}
	if s.opt.Headers != "" {
		given, err := readHeaders(s.opt.Headers)
		if err != nil {
			return 0, 0, fmt.Errorf("headers: %w", err)
		}
		for name, values := range given {
			req.Header[name] = values
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return 0, 0, err
	}
	defer resp.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if s.template != nil {
		resp.StatusCode = s.template.answered(resp.StatusCode, said)
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		wait = min(time.Duration(min(n, int(maxPause/time.Second)))*time.Second, maxPause)
	}
	return resp.StatusCode, wait, nil
}

func (s *Sink) say(format string, a ...any) {
	if s.opt.Say != nil {
		s.opt.Say(fmt.Sprintf(format, a...))
	}
}

// Counts are what became of findings so far.
type Counts struct {
	Sent, Dropped uint64
	Rejected      uint64 // that the server will never take
	Waiting       int
}

// Counts may be called from any goroutine.
func (s *Sink) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{s.sent.Load(), s.dropped.Load(), s.rejected.Load(), len(s.waits)}
}

// Close spools what has come and sends for a few seconds more. What is left in files is for the next start; what only
// memory holds is lost, and counted.
func (s *Sink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.in)
	<-s.spooled
	select {
	case <-s.done:
	case <-time.After(grace):
	}
	s.cancel()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped.Add(uint64(s.held))
	if n := s.dropped.Load(); n > 0 {
		return fmt.Errorf("webhook: %d findings could not be sent", n)
	}
	return nil
}
