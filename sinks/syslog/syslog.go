// Package syslog sends findings to a syslog server, in the form of RFC 5424.
//
// In: findings (*detectors.Finding) and what becomes of them (*detectors.Update); events of other types are ignored. Out:
// one message each, that of an update with update="true" and the finding_id of the first, over UDP (RFC
// 5426), TCP with octet counting (RFC 6587), TLS (RFC 5425) or a local datagram socket:
//
//	<130>1 2026-11-23T16:42:37.01Z sensor1 raytap 4711 jobsubmit/external [raytap@0 confidence="95" dst="10.20.0.10"
//	note="Raytap::Job_Submit_External" outcome="succeeded" port="8265" rule="jobsubmit/external" severity="critical"
//	src="203.0.113.66" uid="CM1bz9rnVNPpvIbUSf"] 203.0.113.66 ran a job on the Ray cluster at 10.20.0.10:8265: ...
//
// The time is that of the packet. The text is the finding's sentence, or, if asked for, the whole finding as JSON, with
// the names of notice.log. The structured data's name has the number of an enterprise behind it (RFC 5424, section 7.2.2):
// Options.Enterprise. 0 is IANA's own reserve, nobody's; 32473 is for examples in documents (RFC 5612) and not to be sent.
//
// Event never waits: a goroutine sends, and holds a bounded queue while the server is away; what does not fit is
// counted. Syslog has no receipts: over UDP any message, and over TCP what was under way when a connection broke, can be
// lost without anybody's knowing. notice.log has them all, and sinks/webhook keeps what nobody has acknowledged.
package syslog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/terminal"
	"github.com/raytap/raytap/sinks/zeek"
)

const (
	// Messages that wait: at a kilobyte or two each, a few megabytes at most.
	queueLen = 1024
	// A server that neither takes a message nor refuses it for this long is tried anew.
	timeout = 10 * time.Second
	// Pauses between attempts double from the first to the second.
	minPause, maxPause = 500 * time.Millisecond, 30 * time.Second
	// How long Close waits for the queue to empty.
	grace = 3 * time.Second

	// Over UDP a message is one datagram; this fits one of IPv4 with room for its headers.
	maxDatagram = 65000
)

// severities gives syslog's for ours: critical 2, high (error) 3, medium (warning) 4, low (notice) 5, info 6.
var severities = [...]uint8{detectors.Info: 6, detectors.Low: 5, detectors.Medium: 4, detectors.High: 3, detectors.Critical: 2}

// Facilities are the names that Options.Facility takes, each at the place of its number.
var Facilities = []string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp", "audit", "alert", "clock",
	"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// Options say where to and what. Address is required.
type Options struct {
	Address    string             // udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH
	Enterprise int                // the private enterprise number in the name of structured data
	CA         string             // a file of PEM certificates that a TLS server's must descend from; "": the system's
	Facility   string             // "": local0
	Severity   detectors.Severity // findings below it are not sent
	JSON       bool               // the text of a message is the whole finding
	CEF        bool               // or it is in the Common Event Format, and there is no structured data
	Version    string             // raytap's, for CEF
	Host       string             // the sensor's name, for the messages' heads and peer_descr; "": the machine's
	Rules      []detectors.Rule   // as for zeek.Options
	Say        func(string)       // is told, in a sentence, when the server goes away and when it is back; from a goroutine
	// Row is the finding as JSON; nil: as notice.log has it. Sensors are those that saw it, where it is not Host that did; nil: none
	// are told. Both are called by Event's goroutine.
	Row     func(f *detectors.Finding, update bool) []byte
	Sensors func(f *detectors.Finding) []string
}

// Sink sends findings. Event belongs to one goroutine.
type Sink struct {
	opt           Options
	element       string // the name of structured data
	network, addr string
	tls           *tls.Config
	facility      uint8
	pid           string
	findings      *zeek.Findings
	queue         chan []byte
	ctx           context.Context
	cancel        context.CancelFunc
	done          chan struct{}
	closed        bool
	sent, dropped atomic.Uint64
}

// ParseAddress takes an address of Options apart.
func ParseAddress(s string) (network, addr string, err error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", "", fmt.Errorf("syslog: %q is not an address", s)
	}
	switch u.Scheme {
	case "unix":
		if u.Host != "" || u.Path == "" {
			return "", "", fmt.Errorf("syslog: %q lacks a path (unix:///dev/log)", s)
		}
		return "unixgram", u.Path, nil
	case "udp", "tcp", "tls":
		if u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.User != nil || u.RawQuery != "" {
			return "", "", fmt.Errorf("syslog: %q is not %s://HOST:PORT", s, u.Scheme)
		}
		return u.Scheme, u.Host, nil
	}
	return "", "", fmt.Errorf("syslog: %q begins with none of udp://, tcp://, tls://, unix://", s)
}

// New makes a sink. That the server is not there is no error: it may come.
func New(opt Options) (*Sink, error) {
	s := &Sink{opt: opt, pid: strconv.Itoa(os.Getpid()), findings: zeek.NewFindings(opt.Rules), queue: make(chan []byte, queueLen), done: make(chan struct{})}
	if opt.Enterprise < 0 {
		return nil, fmt.Errorf("syslog: %d is not an enterprise number", opt.Enterprise)
	}
	s.element = "raytap@" + strconv.Itoa(opt.Enterprise)
	var err error
	if s.network, s.addr, err = ParseAddress(opt.Address); err != nil {
		return nil, err
	}
	if opt.Facility == "" {
		opt.Facility = "local0"
	}
	i := slices.Index(Facilities, opt.Facility)
	if i < 0 {
		return nil, fmt.Errorf("syslog: unknown facility %q", opt.Facility)
	}
	s.facility = uint8(i)
	if s.opt.Host == "" {
		s.opt.Host, _ = os.Hostname()
	}
	s.findings.Peer = opt.Host
	if opt.Row == nil {
		s.opt.Row = s.findings.Update
	}
	if s.network == "tls" {
		host, _, _ := net.SplitHostPort(s.addr)
		s.tls = &tls.Config{ServerName: host}
		if opt.CA != "" {
			pem, err := os.ReadFile(opt.CA)
			if err != nil {
				return nil, fmt.Errorf("syslog: certificates: %w", err)
			}
			s.tls.RootCAs = x509.NewCertPool()
			if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("syslog: %s has no certificate", opt.CA)
			}
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	go s.loop()
	return s, nil
}

// Event sends ev if it is a finding of the severity that was asked for.
func (s *Sink) Event(ev any) {
	f, known := detectors.Told(ev, s.opt.Severity)
	if f == nil {
		return
	}
	if !s.closed {
		if m, err := s.message(f, known); err == nil {
			select {
			case s.queue <- m:
				return
			default:
			}
		}
	}
	s.dropped.Add(1)
}

// message formats a finding. known says that the server has heard of it.
func (s *Sink) message(f *detectors.Finding, known bool) ([]byte, error) {
	m := &rfc5424.SyslogMessage{}
	m.SetPriority(s.facility*8 + severities[min(int(f.Severity), len(severities)-1)])
	m.SetVersion(1)
	m.SetTimestamp(f.Time.Std().Format("2006-01-02T15:04:05.000000Z07:00"))
	m.SetHostname(s.opt.Host)
	m.SetAppname("raytap")
	m.SetProcID(s.pid)
	m.SetMsgID(f.Rule)
	param := func(name, value string) {
		if value != "" && !s.opt.CEF {
			m.SetParameter(s.element, name, escape.Replace(terminal.Clean(value)))
		}
	}
	param("rule", f.Rule)
	param("finding_id", f.ID())
	param("incident_id", f.Incident)
	param("evidence_file", f.File)
	param("note", s.findings.Note(f))
	param("severity", f.Severity.String())
	param("n", strconv.Itoa(max(f.Count, 1)))
	param("revision", strconv.Itoa(max(f.Revision, 1)))
	if known {
		param("update", "true")
	}
	param("confidence", strconv.Itoa(f.Confidence))
	param("outcome", string(f.Outcome))
	if f.Src.IsValid() {
		param("src", f.Src.String())
	}
	if f.Dst.IsValid() {
		param("dst", f.Dst.String())
	}
	if f.Port != 0 {
		param("port", strconv.Itoa(int(f.Port)))
	}
	if f.Flow != nil {
		param("uid", f.Flow.UID)
		param("community_id", f.Flow.CommunityID())
	}
	param("sensors", s.sensors(f))
	if s.opt.CEF {
		m.SetMessage(s.cef(f, s.findings.Note(f), known))
	} else if s.opt.JSON {
		m.SetMessage(string(s.opt.Row(f, known)))
	} else {
		m.SetMessage(terminal.Clean(f.Msg))
	}
	text, err := m.String()
	if err != nil {
		return nil, fmt.Errorf("syslog: %w", err)
	}
	switch s.network {
	case "tcp", "tls":
		text = strconv.Itoa(len(text)) + " " + text
	default:
		if len(text) > maxDatagram {
			return nil, errors.New("syslog: longer than a datagram")
		}
	}
	return []byte(text), nil
}

func (s *Sink) sensors(f *detectors.Finding) string {
	if s.opt.Sensors == nil {
		return ""
	}
	return strings.Join(s.opt.Sensors(f), ",")
}

// escape writes what a value may not hold as it is (RFC 5424, 6.3.3).
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)

func (s *Sink) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	d := &net.Dialer{Timeout: timeout}
	if s.network == "tls" {
		return (&tls.Dialer{NetDialer: d, Config: s.tls}).DialContext(ctx, "tcp", s.addr)
	}
	return d.DialContext(ctx, s.network, s.addr)
}

// loop sends what is in the queue, each message until it is gone or the sink is cancelled.
func (s *Sink) loop() {
	defer close(s.done)
	var conn *watched
	defer func() { conn.close() }()
	away := false
	for m := range s.queue {
		for pause := minPause; ; pause = min(2*pause, maxPause) {
			var err error
			if conn == nil || conn.gone.Load() {
				conn.close()
				conn = nil
				var c net.Conn
				if c, err = s.dial(); err == nil {
					conn = watch(c)
				}
			}
			if err == nil {
				if err = conn.send(m); err == nil {
					s.sent.Add(1)
					if away {
						away = false
						s.say("syslog server %s is back", s.opt.Address)
					}
					break
				}
				conn.close()
				conn = nil
			}
			if !away && s.ctx.Err() == nil {
				away = true
				s.say("syslog server %s cannot be reached: %v", s.opt.Address, err)
			}
			select {
			case <-time.After(pause):
				continue
			case <-s.ctx.Done():
			}
			s.dropped.Add(1)
			break
		}
	}
}

func (s *Sink) say(format string, a ...any) {
	if s.opt.Say != nil {
		s.opt.Say(fmt.Sprintf(format, a...))
	}
}

// watched is a connection that notices when the other side ends it, which the first write after that would not.
type watched struct {
	net.Conn
	gone atomic.Bool
	once sync.Once
}

func watch(c net.Conn) *watched {
	w := &watched{Conn: c}
	switch c.(type) {
	case *net.TCPConn, *tls.Conn:
		go func() {
			io.Copy(io.Discard, c) // a syslog server says nothing
			w.gone.Store(true)
		}()
	}
	return w
}

func (w *watched) send(m []byte) error {
	if err := w.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	_, err := w.Write(m)
	return err
}

func (w *watched) close() {
	if w != nil {
		w.once.Do(func() { w.Conn.Close() })
	}
}

// Counts says how many findings were sent and how many were given up.
func (s *Sink) Counts() (sent, dropped uint64) { return s.sent.Load(), s.dropped.Load() }

// Close sends what is in the queue if that takes no longer than a few seconds; the rest is counted as dropped.
func (s *Sink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.queue)
	select {
	case <-s.done:
	case <-time.After(grace):
	}
	s.cancel()
	<-s.done
	if n := s.dropped.Load(); n > 0 {
		return fmt.Errorf("syslog: %d findings could not be sent", n)
	}
	return nil
}
