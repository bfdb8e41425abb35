// Package metrics tells Prometheus, and whoever watches over a cluster's machines, how a sensor does.
//
// In: findings (*detectors.Finding), which it counts by rule and severity, and figures that the caller brings with
// Update, at least every few seconds. Out, over HTTP:
//
//	/metrics   the figures, behind a token if one is set; names begin with raytap_, those of the Go runtime and the process are as everywhere
//	/healthz   200 while figures come; 503 when none came for half a minute: the engine stands, a restart may help
//	/readyz    200 while packets come; 503 when none came for a while although the link is up, or a check of the
//	           caller fails: the sensor runs and sees nothing, a restart will not help
//
// A figure that is a sum over a run is a counter; it begins at 0 with each start, as Prometheus expects. Labels have
// few values each: rules, logs, interfaces, causes of loss.
package metrics

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/raytap/raytap/detectors"
)

const (
	// Figures come every second. Half a minute without is no pause of the collector or the disk.
	deadAfter = 30 * time.Second
	// Whoever asks has this long to do so.
	requestTime = 5 * time.Second
	// Scrapes at a time; more are refused.
	maxScrapes = 4
)

// Options say what there is. All may be zero.
type Options struct {
	Version string
	Rules   []detectors.Rule // their counters begin at 0 instead of appearing with the first finding
	// Quiet is how long no packet may come until /readyz fails; 0: for ever.
	Quiet time.Duration
	// Up says whether a link is up, so that packets are to be expected; nil: always. Called from any goroutine.
	Up func() bool
	// Ready, if set, may name another reason for /readyz to fail, as that logs cannot be written. Called from any
	// goroutine.
	Ready func() error
	// Interfaces, if set, is asked with each scrape what the interfaces delivered. Called from any goroutine.
	Interfaces func() []Interface
	// TokenFile, if set, is a file with a token that whoever asks for /metrics must show. It is read anew each time.
	TokenFile string
	// Feeds, if set, is asked with each scrape how servers of indicators do. Called from any goroutine.
	Feeds func() []Feed
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Values are the figures of a run so far.
type Values struct {
	Packets, Bytes, Filtered uint64
	Flows                    uint64 // seen
	ActiveFlows              uint64
	Weirds, Panics           uint64
	LastPacket               time.Time // zero: none yet
	Losses                   []Loss
	Notes                    []Note
	Logs                     []Log
	Outputs                  []Output
	KeptBack                 []detectors.KeptBack // by the site's own rules
}

// Interface is what one interface delivered, and what the kernel dropped for want of room.
type Interface struct {
	Name                    string
	Packets, Drops, Freezes uint64
	Up                      bool
}

// Feed is what one server of indicators has given.
type Feed struct {
	Name       string
	At         time.Time // when it confirmed last what is in force; zero: never
	Indicators int
	Up         bool // it answered when it was asked last
}

// Loss is one cause of losing something.
type Loss struct {
	Cause, Unit string
	N           uint64
}

// Note is something about the wire that is no loss.
type Note struct {
	What, Unit string
	N          uint64
}

// Log is what became of the rows of a log.
type Log struct {
	Name       string
	Rows, Lost uint64
}

// Output is what became of the findings that went elsewhere.
type Output struct {
	Name          string // syslog, webhook
	Sent, Dropped uint64
	Waiting       int
}

// Metrics counts and answers. Event belongs to one goroutine, the rest may be called from any.
type Metrics struct {
	opt      Options
	registry *prometheus.Registry
	findings *prometheus.CounterVec
	delay    prometheus.Histogram

	mu      sync.Mutex
	values  Values
	updated time.Time // the last Update
	moved   time.Time // the last Update with packets that were not there before
}

// New makes metrics; their clock begins.
func New(opt Options) *Metrics {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	m := &Metrics{opt: opt, registry: prometheus.NewRegistry()}
	m.updated = opt.Now()
	m.moved = m.updated
	m.findings = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "raytap_findings_total", Help: "Findings, repetitions not counted.",
	}, []string{"rule", "severity"})
	for _, r := range opt.Rules {
		// Of every severity: of a series that begins at 1, increase() sees nothing.
		for s := detectors.Info; s <= detectors.Critical; s++ {
			m.findings.WithLabelValues(r.Name, s.String())
		}
	}
	m.delay = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "raytap_finding_delay_seconds", Help: "From the packet that a finding names to the finding.",
		Buckets: []float64{.001, .002, .003, .004, .005, .0075, .01, .015, .02, .03, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
	})
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "raytap_build_info", Help: "1, with the version as a label.", ConstLabels: prometheus.Labels{"version": opt.Version},
	})
	info.Set(1)
	m.registry.MustRegister(info, m.findings, m.delay, (*collector)(m), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Event counts ev if it is a finding, and how late it is by the clock that frames are stamped by.
func (m *Metrics) Event(ev any) {
	if f, ok := ev.(*detectors.Finding); ok {
		m.findings.WithLabelValues(f.Rule, f.Severity.String()).Inc()
		m.delay.Observe(m.opt.Now().Sub(f.Time.Std()).Seconds())
	}
}

// Update brings the figures. The slices are kept and must not be changed afterwards.
func (m *Metrics) Update(v Values) {
	now := m.opt.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.Packets != m.values.Packets {
		m.moved = now
	}
	m.values, m.updated = v, now
}

func (m *Metrics) healthy() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.opt.Now().Sub(m.updated); d > deadAfter {
		return fmt.Errorf("the engine has not moved for %s", d.Round(time.Second))
	}
	return nil
}

func (m *Metrics) ready() error {
	if err := m.healthy(); err != nil {
		return err
	}
	m.mu.Lock()
	silent := m.opt.Now().Sub(m.moved)
	m.mu.Unlock()
	if m.opt.Quiet > 0 && silent > m.opt.Quiet && (m.opt.Up == nil || m.opt.Up()) {
		return fmt.Errorf("the link is up and no packet has come for %s", silent.Round(time.Second))
	}
	if m.opt.Ready != nil {
		return m.opt.Ready()
	}
	return nil
}

// Handler answers the three paths.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.guard(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})))
	say := func(check func() error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			if err := check(); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintln(w, err)
				return
			}
			fmt.Fprintln(w, "ok")
		}
	}
	mux.Handle("GET /healthz", say(m.healthy))
	mux.Handle("GET /readyz", say(m.ready))
	return mux
}

// guard has h answer those who show the token, if there is one.
func (m *Metrics) guard(h http.Handler) http.Handler {
	if m.opt.TokenFile == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := readToken(m.opt.TokenFile)
		if err != nil { // nobody is let in, and nobody told where the file is
			http.Error(w, "the token cannot be read", http.StatusInternalServerError)
			return
		}
		scheme, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		// Sums have one length whatever was shown, so that the time of a comparison tells nothing.
		want, got := sha256.Sum256(token), sha256.Sum256([]byte(strings.TrimSpace(shown)))
		if subtle.ConstantTimeCompare(want[:], got[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="raytap"`)
			http.Error(w, "a token is asked for", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// maxToken bounds what is read of a token's file.
const maxToken = 4096

// readToken reads a token without the space around it.
func readToken(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	switch b = bytes.TrimSpace(b); {
	case err != nil:
		return nil, err
	case len(b) == 0:
		return nil, fmt.Errorf("%s has no token", name)
	case len(b) > maxToken:
		return nil, fmt.Errorf("%s is not a token: more than %d bytes", name, maxToken)
	}
	return b, nil
}

// Server answers at an address.
type Server struct {
	http *http.Server
	addr net.Addr
}

// Listen begins to answer at addr (HOST:PORT; an empty host is every address of the machine) on a goroutine.
func (m *Metrics) Listen(addr string) (*Server, error) {
	if m.opt.TokenFile != "" { // later it may be replaced, and be away for a moment
		if _, err := readToken(m.opt.TokenFile); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	s := &Server{addr: l.Addr(), http: &http.Server{
		Handler: m.Handler(), ReadTimeout: requestTime, WriteTimeout: 2 * requestTime, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}}
	go s.http.Serve(l)
	return s, nil
}

// Addr is where it answers.
func (s *Server) Addr() net.Addr { return s.addr }

// Close ends it; answers that are under way get a second.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// collector gives Prometheus the values of the last Update.
type collector Metrics

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("raytap_"+name, help, labels, nil)
}

var (
	packets    = desc("packets_total", "Frames read.")
	octets     = desc("bytes_total", "Length of the frames on the wire, in bytes.")
	filtered   = desc("packets_filtered_total", "Frames excluded by the filter.")
	flows      = desc("flows_total", "Flows seen.")
	active     = desc("flows_active", "Flows in the tables.")
	weirds     = desc("weirds_total", "Oddities of the traffic.")
	panics     = desc("decoder_panics_total", "Bugs of a decoder that cost a flow its reading.")
	lastPacket = desc("last_packet_timestamp_seconds", "When the last frame was captured.")
	received   = desc("interface_packets_total", "Frames that an interface delivered.", "interface")
	drops      = desc("kernel_drops_total", "Frames that the kernel dropped because the ring was full.", "interface")
	freezes    = desc("ring_freezes_total", "Times the ring was full.", "interface")
	up         = desc("interface_up", "1 if the interface is there and its link is up.", "interface")
	feedAge    = desc("feed_age_seconds", "Time since a feed server last confirmed the indicators in force.", "feed")
	feedSize   = desc("feed_indicators", "Indicators that a server gave.", "feed")
	feedUp     = desc("feed_up", "1 if a server of indicators answered when it was asked last.", "feed")
	lost       = desc("lost_total", "What was lost, by cause, in packets, bytes, flows, rows and the like.", "cause", "unit")
	noted      = desc("wire_total", "Conditions on the wire that are not losses, by kind, in packets, flows and so on.", "kind", "unit")
	rows       = desc("log_rows_total", "Rows of a log.", "log")
	rowsLost   = desc("log_rows_lost_total", "Rows of a log that could not be written.", "log")
	sent       = desc("output_sent_total", "Findings that were sent on.", "output")
	keptBack   = desc("findings_kept_back_total", "Findings that the site's own rules kept back.", "rule")
	dropped    = desc("output_dropped_total", "Findings that could not be sent on.", "output")
	waiting    = desc("output_waiting", "Findings that wait to be sent on.", "output")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{
		packets, octets, filtered, flows, active, weirds, panics, lastPacket, received, drops, freezes, up, feedAge, feedSize, feedUp, lost, noted, rows, rowsLost, sent, dropped, waiting, keptBack,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	m := (*Metrics)(c)
	m.mu.Lock()
	v := m.values
	m.mu.Unlock()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, x float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
	}
	count(packets, v.Packets)
	count(octets, v.Bytes)
	count(filtered, v.Filtered)
	count(flows, v.Flows)
	gauge(active, float64(v.ActiveFlows))
	count(weirds, v.Weirds)
	count(panics, v.Panics)
	if !v.LastPacket.IsZero() {
		gauge(lastPacket, float64(v.LastPacket.UnixNano())/1e9)
	}
	var interfaces []Interface
	if m.opt.Interfaces != nil {
		interfaces = m.opt.Interfaces()
	}
	for _, i := range interfaces {
		count(received, i.Packets, i.Name)
		count(drops, i.Drops, i.Name)
		count(freezes, i.Freezes, i.Name)
		x := 0.0
		if i.Up {
			x = 1
		}
		gauge(up, x, i.Name)
	}
	var feeds []Feed
	if m.opt.Feeds != nil {
		feeds = m.opt.Feeds()
	}
	for _, f := range feeds {
		x := 0.0
		if f.Up {
			x = 1
		}
		gauge(feedUp, x, f.Name)
		gauge(feedSize, float64(f.Indicators), f.Name)
		if !f.At.IsZero() {
			gauge(feedAge, m.opt.Now().Sub(f.At).Seconds(), f.Name)
		}
	}
	for _, l := range v.Losses {
		count(lost, l.N, l.Cause, l.Unit)
	}
	for _, n := range v.Notes {
		count(noted, n.N, n.What, n.Unit)
	}
	for _, l := range v.Logs {
		count(rows, l.Rows, l.Name)
		count(rowsLost, l.Lost, l.Name)
	}
	for _, k := range v.KeptBack {
		count(keptBack, k.N, k.Rule)
	}
	for _, o := range v.Outputs {
		count(sent, o.Sent, o.Name)
		count(dropped, o.Dropped, o.Name)
		gauge(waiting, float64(o.Waiting), o.Name)
	}
}
