package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/syslog"
	"github.com/raytap/raytap/sinks/webhook"
	"github.com/raytap/raytap/sinks/zeek"
)

// Rotate says how long a sensor's log files get and what becomes of them. A capture that is replayed has one file a log.
type Rotate struct {
	Interval     time.Duration `yaml:"interval"`      // at its multiples, counted from midnight UTC; 0: not by time
	Size         uint64        `yaml:"size"`          // of one file; 0: not by size
	Compress     string        `yaml:"compress"`      // none, gzip, zstd
	Names        string        `yaml:"names"`         // interval, begin
	Keep         time.Duration `yaml:"keep"`          // how old a file gets; 0: without bound
	KeepFindings time.Duration `yaml:"keep_findings"` // the same of notice.log and incidents.log
	KeepSize     uint64        `yaml:"keep_size"`     // of all files; 0: without bound
	Fsync        string        `yaml:"fsync"`         // never, rotate, flush
	Reserve      uint64        `yaml:"reserve"`       // of the disk, for findings alone
	Index        bool          `yaml:"index"`         // what raytap search finds rotated rows by, alongside each file
}

// Syslog says where a sensor's findings go besides the logs.
type Syslog struct {
	Address  string `yaml:"address"`  // udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH; "": nowhere
	CA       string `yaml:"ca"`       // a file of certificates for tls; "": the system's
	Facility string `yaml:"facility"` // local0, auth, ...
	Severity string `yaml:"severity"` // the least that is sent
	Message  string `yaml:"message"`  // text, json
	Format   string `yaml:"format"`   // rfc5424, cef
	// Enterprise is the private enterprise number in the name of structured data, raytap@NUMBER.
	Enterprise int `yaml:"enterprise"`
}

// Webhook says which web server gets a sensor's findings.
type Webhook struct {
	URL        string `yaml:"url"`          // "": none
	TokenFile  string `yaml:"token_file"`   // a file with a bearer token
	Headers    string `yaml:"headers_file"` // a file of header fields
	CA         string `yaml:"ca"`           // a file of certificates; "": the system's
	Cert       string `yaml:"client_cert"`  // a file with the certificate that raytap shows
	Key        string `yaml:"client_key"`   // and its key
	PlainToken bool   `yaml:"plain_token"`  // it may go over http
	Template   string `yaml:"template"`     // slack, teams, pagerduty, splunk, elastic, or a file; "": the finding as it is
	Severity   string `yaml:"severity"`     // the least that is sent
	Spool      string `yaml:"spool"`        // folder for what waits; "": webhook-spool in the log folder
	SpoolFiles int    `yaml:"spool_files"`
	SpoolSize  uint64 `yaml:"spool_size"`
}

// Options are those of the sink, of a configuration that was checked; what it does not say is left to the caller.
func (w *Webhook) Options() webhook.Options {
	least, _ := detectors.ParseSeverity(w.Severity)
	return webhook.Options{
		URL: w.URL, TokenFile: w.TokenFile, Headers: w.Headers, CA: w.CA, Cert: w.Cert, Key: w.Key, Plain: w.PlainToken, Template: w.Template,
		Severity: least, Spool: w.Spool, MaxFiles: w.SpoolFiles, MaxBytes: int64(w.SpoolSize),
	}
}

// Options are those of the sink; see Webhook.Options.
func (c *Syslog) Options() syslog.Options {
	least, _ := detectors.ParseSeverity(c.Severity)
	return syslog.Options{Address: c.Address, CA: c.CA, Enterprise: c.Enterprise, Facility: c.Facility, Severity: least, JSON: c.Message == "json", CEF: c.Format == "cef"}
}

// Check refuses to send a credential in clear text.
func (w *Webhook) Check() error {
	if w.URL == "" {
		return nil
	}
	if (w.Cert == "") != (w.Key == "") {
		return errors.New("client_cert and client_key need each other")
	}
	if _, err := webhook.LoadTemplate(w.Template); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "webhook: "))
	}
	if w.Template == "pagerduty" && w.TokenFile == "" {
		return errors.New("template pagerduty takes token_file, with the routing key")
	}
	if err := webhook.CheckPlain(w.URL, w.TokenFile != "" || w.Headers != "", w.PlainToken); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "webhook: "))
	}
	return nil
}

// Metrics says where a sensor tells how it does.
type Metrics struct {
	Listen string `yaml:"listen"` // HOST:PORT for /metrics, /healthz and /readyz; "": nowhere
	// TokenFile is a file with a token that /metrics asks for; "": it asks for none.
	TokenFile string        `yaml:"token_file"`
	Quiet     time.Duration `yaml:"quiet"` // without a packet before /readyz fails; 0: for ever
}

// The defaults suit a sensor that nobody looks after: a month of logs and a year of findings, if that is under 20 GB.
func defaultRotate() Rotate {
	return Rotate{Interval: time.Hour, Size: 1 << 30, Compress: "gzip", Names: zeek.NamesInterval, Keep: 30 * 24 * time.Hour, KeepFindings: 365 * 24 * time.Hour, KeepSize: 20e9, Fsync: "rotate", Reserve: 16 << 20, Index: true}
}

func defaultSyslog() Syslog {
	return Syslog{Facility: "local0", Severity: "low", Message: "text", Format: "rfc5424"}
}

func defaultWebhook() Webhook {
	return Webhook{Severity: "medium", SpoolFiles: webhook.DefaultSpoolFiles, SpoolSize: webhook.DefaultSpoolBytes}
}

func defaultMetrics() Metrics { return Metrics{Quiet: 5 * time.Minute} }

const (
	// Below these the files are too many to be of use.
	minInterval   = minute
	minRotateSize = 64 << 10
	// More than this for findings is a mistake in the unit.
	maxReserve    = 1 << 30
	maxSpoolFiles = 1 << 20
	minSpoolSize  = 64 << 10
)

// checkOutput is check for the keys of these sections.
func checkOutput(key string, v any) error {
	oneOf := func(names ...string) error { return checkOneOf(v, names) }
	switch key {
	case "rotate.compress":
		return oneOf("none", "gzip", "zstd")
	case "rotate.names":
		return oneOf(zeek.NamesInterval, zeek.NamesBegin)
	case "rotate.fsync":
		return oneOf("never", "rotate", "flush")
	}
	return checkRemote(key, v)
}

func checkOneOf(v any, names []string) error {
	if s := v.(string); !slices.Contains(names, s) {
		return fmt.Errorf("%q is not one of %s", s, strings.Join(names, ", "))
	}
	return nil
}

// checkRemote is check for the keys of what is sent to other machines, or kept for them.
func checkRemote(key string, v any) error {
	oneOf := func(names ...string) error { return checkOneOf(v, names) }
	switch key {
	case "syslog.address":
		if s := v.(string); s != "" {
			if _, _, err := syslog.ParseAddress(s); err != nil {
				return errors.New(strings.TrimPrefix(err.Error(), "syslog: "))
			}
		}
	case "syslog.facility":
		return oneOf(syslog.Facilities...)
	case "syslog.format":
		return oneOf("rfc5424", "cef")
	case "syslog.message":
		return oneOf("text", "json")
	case "evidence.severity":
		if v.(string) == "" {
			return nil
		}
		return checkOutput("webhook.severity", v)
	case "record.snap", "record.compress", "record.whole":
		return checkRecord(key, v)
	case "syslog.severity", "webhook.severity":
		if _, err := detectors.ParseSeverity(v.(string)); err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "detectors: "))
		}
	case "webhook.url":
		if s := v.(string); s != "" {
			if err := webhook.CheckURL(s); err != nil {
				return errors.New(strings.TrimPrefix(err.Error(), "webhook: "))
			}
		}
	case "publish.logs", "publish.nats", "publish.accept":
		return checkPublish(key, v)
	case "metrics.listen":
		if s := v.(string); s != "" {
			if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
				return fmt.Errorf("%q is not HOST:PORT", s)
			}
		}
	default:
		return checkFiles(key, v)
	}
	return nil
}
