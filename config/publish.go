package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/ship"
	"github.com/raytap/raytap/sinks/zeek"
)

// Publish says where the rows of a sensor's logs go beside the files, for a fleet or a company's own Kafka.
type Publish struct {
	Logs []string `yaml:"logs"` // beside ship.Always; all: every log

	// A hub, or a NATS JetStream of the company's.
	Creds string   `yaml:"creds"` // a file of credentials, as raytap hub enroll prints it; "": none is published to
	NATS  []string `yaml:"nats"`  // URLs instead of those in the file

	Kafka             []string `yaml:"kafka"` // brokers, HOST:PORT; none: none is published to
	KafkaTopic        string   `yaml:"kafka_topic"`
	KafkaTransactions bool     `yaml:"kafka_transactions"`
	KafkaSASL         string   `yaml:"kafka_sasl"`
	KafkaUser         string   `yaml:"kafka_user"`
	KafkaPassword     string   `yaml:"kafka_password_file"`
	KafkaTLS          bool     `yaml:"kafka_tls"`
	KafkaCA           string   `yaml:"kafka_ca"`
	KafkaCert         string   `yaml:"kafka_cert"`
	KafkaKey          string   `yaml:"kafka_key"`

	Accept []string `yaml:"accept"` // sections of settings that a hub may set: OverlaySections; none: it may not
}

func defaultPublish() Publish {
	return Publish{KafkaTopic: "raytap.{log}", KafkaTransactions: true}
}

// On reports whether anything is published.
func (p *Publish) On() bool { return p.Creds != "" || len(p.Kafka) > 0 }

// WrittenLogs returns the logs to write, none for all: those of Logs, and those that are read from their files while rows are
// published.
func (c *Config) WrittenLogs() []string {
	if len(c.Logs) == 0 || !c.Publish.On() && c.Observer == nil || slices.Contains(c.Publish.Logs, ship.All) {
		return c.Logs
	}
	all := slices.Concat(c.Logs, ship.Always(), c.Publish.Logs)
	slices.Sort(all)
	return slices.Compact(all)
}

// Files are those that it names.
func (p *Publish) Files() (all []string) {
	for _, name := range []string{p.Creds, p.KafkaPassword, p.KafkaCA, p.KafkaCert, p.KafkaKey} {
		if name != "" {
			all = append(all, name)
		}
	}
	return all
}

// KafkaOptions are the settings as package ship takes them.
func (p *Publish) KafkaOptions() ship.KafkaOptions {
	return ship.KafkaOptions{
		Brokers: p.Kafka, Topic: p.KafkaTopic, Idempotent: !p.KafkaTransactions, SASL: p.KafkaSASL, User: p.KafkaUser, PasswordFile: p.KafkaPassword,
		TLS: p.KafkaTLS, CA: p.KafkaCA, Cert: p.KafkaCert, Key: p.KafkaKey,
	}
}

// Check refuses what does not go together, and a password in clear text.
func (p *Publish) Check() error {
	if len(p.NATS) > 0 && p.Creds == "" {
		return errors.New("nats needs creds, a file of credentials (raytap hub enroll, or nsc generate creds)")
	}
	o := p.KafkaOptions()
	return o.Check()
}

// checkPublish is check for the keys of this section.
func checkPublish(key string, v any) error {
	switch key {
	case "publish.accept":
		return checkAccept(v.(string))
	case "publish.logs":
		s := v.(string)
		if s != ship.All && !slices.Contains(ship.Always(), s) && !slices.Contains(zeek.Logs(), s) {
			return fmt.Errorf("%q is none of the logs: all, %s", s, strings.Join(zeek.Logs(), ", "))
		}
	case "publish.nats":
		s := v.(string)
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Hostname() == "" || u.Scheme != "tls" && u.Scheme != "nats":
			return fmt.Errorf("%q is not a URL such as tls://HOST:4222", s)
		case u.User != nil:
			return errors.New("a password does not belong into a URL: creds takes a file")
		case u.Scheme == "nats" && !fleet.Loopback(u.Hostname()):
			return fmt.Errorf("%q: to another machine only with TLS, tls://", s)
		}
	}
	return nil
}
