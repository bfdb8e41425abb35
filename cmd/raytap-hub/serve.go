package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/raytap/raytap/config"

	"github.com/raytap/raytap/fleet/hub"
	"github.com/raytap/raytap/fleet/join"
	"github.com/raytap/raytap/sinks/terminal"
)

// softMemory is what the garbage collector keeps the heap within; a burst of rows otherwise doubles it. GOMEMLIMIT wins.
const softMemory = 320 << 20

func serve(c *call) error {
	o := hub.Options{Version: buildVersion()}
	c.StringVar(&o.Listen, "listen", "127.0.0.1:4222", "`ADDR` that sensors connect to; off loopback with TLS")
	var urls, servers list
	c.Var(&urls, "url", "`URL` that sensors are told to connect to, tls://HOST:PORT; may be repeated (default: made of --listen)")
	c.StringVar(&o.CertFile, "tls-cert", "", "certificate of the server, a `FILE` in PEM (default: of the hub's own CA)")
	c.StringVar(&o.KeyFile, "tls-key", "", "its key, a `FILE` in PEM")
	c.StringVar(&o.CAFile, "tls-ca", "", "`FILE` of certificates that sensors check it against (default: those of their system)")
	c.IntVar(&o.MaxConnections, "max-connections", 4096, "at most `N` connections at a time")
	c.Var(&servers, "nats", "use the NATS at these `URLS` instead of an embedded server")
	c.StringVar(&o.Creds, "creds", "", "`FILE` of credentials for it: all rights in an account with JetStream")
	c.StringVar(&o.NATSCA, "nats-ca", "", "`FILE` of certificates that its servers are checked against (default: those of the system)")
	c.IntVar(&o.Replicas, "replicas", 0, "copies of the stream, `N` (default: 1; with three or more servers 3)")
	stream, most := size(4<<30), size(10<<30)
	c.Var(&stream, "stream-size", "`SIZE` of the stream; when it is full sensors keep their rows")
	c.DurationVar(&o.StreamKeep, "stream-keep", time.Hour, "keep rows in the stream for `TIME` after they were applied")
	c.DurationVar(&o.Keep, "keep", 90*24*time.Hour, "keep findings, incidents, assets and history for `TIME`")
	c.Var(&most, "max-size", "`SIZE` of the store; the oldest goes first")
	c.StringVar(&o.Log, "log", "", "write findings, incidents and assets of all sensors to `DIR`, as JSON lines")
	c.DurationVar(&o.LogKeep, "log-keep", 30*24*time.Hour, "delete files of that log after `TIME`")
	c.StringVar(&o.Metrics, "metrics", "", "serve Prometheus metrics and /healthz at `ADDR`; off loopback with TLS")
	c.StringVar(&o.MetricsToken, "metrics-token", "", "`FILE` with a token that /metrics asks for")
	c.DurationVar(&o.Silent, "silent", 3*time.Minute, "a sensor that was not heard of for `TIME` is a finding")
	c.DurationVar(&o.Skew, "skew", 10*time.Second, "a sensor whose clock is wrong by `TIME` is a finding")
	c.DurationVar(&o.Other, "other-version", 10*time.Minute, "a sensor that runs another version than most for `TIME` is a finding")
	plain := c.Bool("no-join", false, "keep what sensors found as they found it")
	file := c.String("config", "", "`FILE` of settings, as of sensors: home networks, rules and sections of detectors are joined by (default: raytap's); its webhook and syslog are told")
	who := c.String("tell", "hub", "webhook and syslog are told what the `hub` says: joined findings, incidents, silent sensors; all: also what a sensor found alone")
	if err := c.parse(0); err != nil {
		return err
	}
	o.Data, o.URLs, o.NATS, o.StreamSize, o.MaxStore = *c.data, urls, servers, int64(stream), int64(most)
	if *who != "hub" && *who != "all" {
		return fmt.Errorf("%w: --tell takes hub or all", errUsage)
	}
	o.TellAll = *who == "all"
	j := join.Default()
	var cfg config.Config
	if *file != "" {
		var err error
		if cfg, err = config.Load(*file); err != nil {
			return err
		}
		j.Engine = cfg.Config
	}
	if !*plain {
		o.Joining = &j
	}
	o.Say = func(s string) {
		fmt.Fprintf(c.stderr, "%s raytap hub: %s\n", time.Now().UTC().Format(time.RFC3339), terminal.Clean(s))
	}
	o.Extra = func(ctx context.Context, nc *nats.Conn) (func(), error) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			pushSettings(ctx, nc, *c.data, o.Say)
		}()
		return func() { cancel(); <-done }, nil
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	tell, err := openTellers(&o, &cfg)
	if err != nil {
		return err
	}
	h, err := hub.Start(o)
	if err != nil {
		return errors.Join(err, tell.close())
	}
	at, err := h.URLs()
	if err != nil {
		return errors.Join(err, h.Close(), tell.close())
	}
	for _, u := range at {
		o.Say("sensors connect to " + u)
	}
	<-stop
	signal.Stop(stop) // a second one ends at once
	return errors.Join(h.Close(), tell.close())
}
