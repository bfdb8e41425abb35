package hub

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/sinks/disk"
)

// maxPayload is that of messages, headers included.
const maxPayload = 1 << 20

// node is the embedded server.
type node struct {
	opts *server.Options
	say  func(string)

	hurt atomic.Bool // a stream could not be written

	mu sync.Mutex
	s  *server.Server
}

// serverOptions are those of an embedded server. TLS is missing only on loopback.
func serverOptions(o Options, k *keys, tc *tls.Config) (*server.Options, error) {
	host, port, err := splitListen(o.Listen)
	if err != nil {
		return nil, err
	}
	if tc == nil && !fleet.Loopback(host) {
		return nil, fmt.Errorf("hub: no listener at %s without TLS", o.Listen)
	}
	op, err := k.operatorClaims()
	if err != nil {
		return nil, fmt.Errorf("hub: operator: %w", err)
	}
	account, err := k.accountToken()
	if err != nil {
		return nil, fmt.Errorf("hub: account: %w", err)
	}
	system, err := k.systemToken()
	if err != nil {
		return nil, fmt.Errorf("hub: account: %w", err)
	}
	var resolver server.MemAccResolver
	for pub, token := range map[string]string{public(k.account): account, public(k.system): system} {
		if err := resolver.Store(pub, token); err != nil {
			return nil, fmt.Errorf("hub: account: %w", err)
		}
	}
	return &server.Options{
		ServerName: "raytap-hub", Host: host, Port: port, NoSigs: true, NoLog: false, MaxPayload: maxPayload,
		MaxConn: o.MaxConnections, MaxControlLine: 4096, MaxPending: 32 << 20, AuthTimeout: 3, TLSTimeout: 3, TLS: tc != nil, TLSConfig: tc,
		PingInterval: fleet.PingEvery, MaxPingsOut: fleet.MaxPings, WriteDeadline: 10 * time.Second,
		TrustedOperators: []*jwt.OperatorClaims{op}, AccountResolver: &resolver, SystemAccount: public(k.system),
		JetStream: true, StoreDir: filepath.Join(o.Data, streamDir), JetStreamMaxStore: o.StreamSize + 256<<20, JetStreamMaxMemory: 64 << 20,
		// What waits to be stored is bounded: beyond it messages are refused, and come again.
		StreamMaxBufferedMsgs: 20000, StreamMaxBufferedSize: 32 << 20,
		SyncInterval: 10 * time.Second, DisableJetStreamBanner: true,
	}, nil
}

func splitListen(s string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(s)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("hub: %q is not HOST:PORT", s)
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func startNode(opts *server.Options, say func(string)) (*node, error) {
	n := &node{opts: opts, say: say}
	if err := n.start(); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *node) start() error {
	opts := n.opts.Clone() // which the server changes
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("hub: nats-server: %w", err)
	}
	n.hurt.Store(false)
	log := &serverLog{say: n.say, hurt: &n.hurt}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		s.Shutdown()
		return errors.Join(fmt.Errorf("hub: nats-server does not listen at %s", net.JoinHostPort(opts.Host, strconv.Itoa(opts.Port))), log.last())
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return errors.Join(errors.New("hub: JetStream does not start"), log.last())
	}
	n.s = s
	return nil
}

// works reports whether the server and its JetStream do.
func (n *node) works() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.hurt.Load() && n.s.Running() && n.s.JetStreamEnabled()
}

// restart starts it again at the address where it was.
func (n *node) restart() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, ok := n.s.Addr().(*net.TCPAddr); ok {
		n.opts.Port = a.Port
	}
	n.s.Shutdown()
	n.s.WaitForShutdown()
	return n.start()
}

// InProcessConn is that of the server that runs now.
func (n *node) InProcessConn() (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.s.InProcessConn()
}

// stop ends the server, with what it has not written.
func (n *node) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.s.Shutdown()
	n.s.WaitForShutdown()
}

// addr is where it listens.
func (n *node) addr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.s.Addr().String()
}

// reload puts an account in force: connections of users that it revokes are closed.
func (n *node) reload(token string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return fmt.Errorf("hub: account: %w", err)
	}
	if err := n.opts.AccountResolver.Store(c.Subject, token); err != nil {
		return fmt.Errorf("hub: account: %w", err)
	}
	a, err := n.s.LookupAccount(c.Subject)
	if err != nil {
		return fmt.Errorf("hub: account: %w", err)
	}
	n.s.UpdateAccountClaims(a, c)
	return nil
}

// serverLog passes warnings and errors of the server on, a bounded number a minute: whoever connects can cause them.
type serverLog struct {
	say  func(string)
	hurt *atomic.Bool
	seen limiter
	text lastText
}

func (l *serverLog) Noticef(string, ...any)    {}
func (l *serverLog) Debugf(string, ...any)     {}
func (l *serverLog) Tracef(string, ...any)     {}
func (l *serverLog) Warnf(f string, a ...any)  { l.pass(f, a) }
func (l *serverLog) Errorf(f string, a ...any) { l.pass(f, a) }
func (l *serverLog) Fatalf(f string, a ...any) { l.pass(f, a) }

func (l *serverLog) pass(f string, a []any) {
	s := fmt.Sprintf(f, a...)
	l.text.set(s)
	// The server tells of it in its log alone: a stream that a full disk stopped stays as it is until the server starts again.
	if strings.Contains(strings.ToLower(s), "critical write error") || strings.Contains(s, syscall.ENOSPC.Error()) {
		l.hurt.Store(true)
	}
	if ok, left := l.seen.allow(time.Now()); ok {
		if left > 0 {
			s = fmt.Sprintf("%s (and %d messages before it)", s, left)
		}
		l.say("nats-server: " + s)
	}
}

func (l *serverLog) last() error {
	if s := l.text.get(); s != "" {
		return errors.New("nats-server: " + s)
	}
	return nil
}

// hasRoom reports whether a folder's disk has more than n bytes free.
func hasRoom(dir string, n uint64) bool {
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	free, known := disk.Free(f)
	return !known || free > n
}
