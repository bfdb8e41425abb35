package hub

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/raytap/raytap/fleet"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("raytap_hub_"+name, help, labels, nil)
}

var (
	descSpeaks    = desc("speaker", "1 of the hub that has the lease, 0 of others.")
	descApplied   = desc("stream_applied", "Message of the stream up to which it was applied.")
	descGaps      = desc("stream_lost_total", "Messages that the stream deleted before this hub had read them, since it started.")
	descMessages  = desc("stream_messages", "Messages in the stream.")
	descBytes     = desc("stream_bytes", "Bytes in the stream.")
	descPending   = desc("stream_pending", "Messages of the stream that were not applied yet.")
	descStore     = desc("store_bytes", "Content of the store.")
	descItems     = desc("items", "What the store has.", "kind")
	descRows      = desc("rows_total", "Rows taken.", "sensor")
	descRowBytes  = desc("row_bytes_total", "Bytes of rows taken.", "sensor")
	descRepeated  = desc("repeated_total", "Rows that were there already.", "sensor")
	descRefused   = desc("refused_total", "Rows refused.", "sensor", "reason")
	descSeen      = desc("sensor_last_seen_timestamp_seconds", "Last message of a sensor.", "sensor")
	descPacket    = desc("sensor_last_packet_timestamp_seconds", "Last packet, by the clock of the sensor.", "sensor")
	descLoss      = desc("sensor_loss_percent", "Frames that the kernel dropped, of those of the last minute.", "sensor")
	descSkew      = desc("sensor_clock_skew_seconds", "How late the clock of a sensor is.", "sensor")
	descBehind    = desc("sensor_behind_seconds", "Age of the oldest row that a sensor has not sent.", "sensor")
	descLostFiles = desc("sensor_lost_files_total", "Files of logs that a sensor deleted before they were sent.", "sensor")
	descOpen      = desc("sensor_open", "1 while a finding about a sensor is open.", "sensor", "rule")
	descVersion   = desc("sensor_info", "1, with the version of a sensor.", "sensor", "version")
)

// Describe is empty: series come and go with sensors.
func (h *Hub) Describe(chan<- *prometheus.Desc) {}

// Collect gives the figures.
func (h *Hub) Collect(to chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		if m, err := prometheus.NewConstMetric(d, kind, v, labels...); err == nil { // labels are UTF-8 and as many as described
			to <- m
		}
	}
	c := h.counts.Load()
	speaks := 0.0
	if h.lease.has() {
		speaks = 1
	}
	put(descSpeaks, prometheus.GaugeValue, speaks)
	applied := h.applied.Load()
	put(descApplied, prometheus.CounterValue, float64(applied))
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	if s, err := h.js.Stream(ctx, fleet.Stream); err == nil {
		st := s.CachedInfo().State
		put(descMessages, prometheus.GaugeValue, float64(st.Msgs))
		put(descBytes, prometheus.GaugeValue, float64(st.Bytes))
		put(descPending, prometheus.GaugeValue, float64(max(st.LastSeq, applied)-applied))
	}
	if n, err := h.db.Size(); err == nil {
		put(descStore, prometheus.GaugeValue, float64(n))
	}
	if f, i, a, err := h.db.Counts(); err == nil {
		put(descItems, prometheus.GaugeValue, float64(f), "findings")
		put(descItems, prometheus.GaugeValue, float64(i), "incidents")
		put(descItems, prometheus.GaugeValue, float64(a), "assets")
	}
	if c == nil {
		return
	}
	put(descGaps, prometheus.CounterValue, float64(c.gaps))
	for name, s := range c.sensors {
		put(descRows, prometheus.CounterValue, float64(s.Rows), name)
		put(descRowBytes, prometheus.CounterValue, float64(s.Bytes), name)
		put(descRepeated, prometheus.CounterValue, float64(s.Repeated), name)
		for reason, n := range s.Refused {
			put(descRefused, prometheus.CounterValue, float64(n), name, reason)
		}
		if name == fleet.HubSensor {
			continue
		}
		put(descSeen, prometheus.GaugeValue, s.LastSeen, name)
		put(descPacket, prometheus.GaugeValue, s.LastPacket, name)
		put(descLoss, prometheus.GaugeValue, s.Loss, name)
		put(descSkew, prometheus.GaugeValue, s.Skew, name)
		put(descBehind, prometheus.GaugeValue, s.Behind, name)
		put(descLostFiles, prometheus.CounterValue, float64(s.LostFiles), name)
		if s.Version != "" {
			put(descVersion, prometheus.GaugeValue, 1, name, s.Version)
		}
		for _, rule := range [...]string{RuleSilent, RuleClock, RuleVersion, RuleUnsent, RuleRefused} {
			open := 0.0
			if s.Open[rule] != nil {
				open = 1
			}
			put(descOpen, prometheus.GaugeValue, open, name, rule)
		}
	}
}

// serveMetrics answers /metrics and /healthz at an address: off loopback with TLS alone.
func (h *Hub) serveMetrics(addr, tokenFile string, tc *tls.Config) (close func(), err error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("hub: metrics: %w", err)
	}
	if !fleet.Loopback(host) && tc == nil {
		return nil, fmt.Errorf("hub: metrics: no listener at %s without TLS", addr)
	}
	registry := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "raytap_hub_build_info", Help: "1, with the version as a label.", ConstLabels: prometheus.Labels{"version": h.o.Version}})
	info.Set(1)
	registry.MustRegister(info, h, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if tokenFile != "" && !shows(r, tokenFile) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="raytap"`)
			http.Error(w, "a token is asked for", http.StatusUnauthorized)
			return
		}
		metrics.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("hub: metrics: %w", err)
	}
	if !fleet.Loopback(host) {
		l = tls.NewListener(l, tc)
	}
	s := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go s.Serve(l)
	return func() { s.Close() }, nil
}

func shows(r *http.Request, tokenFile string) bool {
	b, err := os.ReadFile(tokenFile)
	want := strings.TrimSpace(string(b))
	if err != nil || want == "" {
		return false
	}
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	x, y := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(strings.TrimSpace(got)))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}
