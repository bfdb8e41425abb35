package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const healthSynopsis = `health [--ready] [HOST:PORT]

Asks a running sensor at its metrics.listen address (default 127.0.0.1:9477) whether it works. For health checks in
containers that have no other HTTP client.

Exit status: 0 it works; 1 it does not, or does not answer; 2 wrong usage.
`

// askFor bounds a question: a sensor that stands does not answer.
const askFor = 4 * time.Second

func askHealth(args []string, stdout, stderr *os.File) int {
	f := newFlags("health", healthSynopsis)
	ready := f.Bool("ready", false, "also check that packets arrive and logs can be written")
	rest, err := f.parse(args)
	at := "127.0.0.1:9477"
	switch {
	case err != nil:
	case len(rest) > 1:
		err = errors.New("takes one HOST:PORT")
	case len(rest) == 1:
		at = rest[0]
		if strings.HasPrefix(at, ":") { // as it may stand in the configuration
			at = "127.0.0.1" + at
		}
		_, _, err = net.SplitHostPort(at)
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	path := "/healthz"
	if *ready {
		path = "/readyz"
	}
	client := http.Client{Timeout: askFor, Transport: &http.Transport{Proxy: nil}}
	resp, err := client.Get("http://" + at + path)
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
	says := strings.TrimSpace(string(text))
	if resp.StatusCode != http.StatusOK {
		complain(stderr, fmt.Errorf("%s: %s", resp.Status, says))
		return exitInput
	}
	fmt.Fprintln(stdout, says)
	return exitOK
}
