package fleet

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Credentials are what a sensor, or a hub at a NATS of its user's, connects with. One file has them: lines "sensor: NAME" and
// "url: URL" as comments of their own kind, the two blocks of a NATS .creds file, and certificates in PEM. A plain .creds file of NATS
// is one too; URLs come from elsewhere then.
type Credentials struct {
	Sensor string   // may be empty: not of a sensor
	URLs   []string // tls://HOST:PORT, or nats:// on loopback
	CA     []byte   // certificates that the server's is checked against, in PEM; nil: those of the system
	JWT    string   // of the user
	Seed   []byte   // of the user's NKey
}

const maxCredentials = 1 << 20

// ReadCredentials reads a file of credentials. One that others may read is an error on systems with such modes.
func ReadCredentials(path string) (Credentials, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("fleet: %w", err)
	}
	if st.Size() > maxCredentials {
		return Credentials{}, fmt.Errorf("fleet: %s: too large for a file of credentials", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("fleet: %w", err)
	}
	c, err := ParseCredentials(b)
	if err != nil {
		return Credentials{}, fmt.Errorf("fleet: %s: %w", path, err)
	}
	return c, nil
}

// ParseCredentials reads what Bytes wrote.
func ParseCredentials(b []byte) (Credentials, error) {
	var c Credentials
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "---") {
			break
		}
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "sensor":
			c.Sensor = value
		case "url":
			c.URLs = append(c.URLs, value)
		}
	}
	if c.Sensor != "" {
		if err := CheckSensor(c.Sensor); err != nil {
			return c, err
		}
	}
	for _, u := range c.URLs {
		if err := checkURL(u); err != nil {
			return c, err
		}
	}
	token, err := jwt.ParseDecoratedJWT(b)
	if err != nil || strings.Count(token, ".") != 2 { // of what has no such block it returns all
		return c, errors.New("no user JWT is in it")
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return c, fmt.Errorf("its user JWT: %w", err)
	}
	pair, err := nkeys.ParseDecoratedUserNKey(b)
	if err != nil {
		return c, errors.New("no user NKey seed is in it")
	}
	pub, err := pair.PublicKey()
	if err != nil || pub != claims.Subject {
		return c, errors.New("its NKey seed is not that of its user JWT")
	}
	c.JWT = token
	if c.Seed, err = pair.Seed(); err != nil {
		return c, err
	}
	for rest := b; ; {
		var p *pem.Block
		if p, rest = pem.Decode(rest); p == nil {
			break
		}
		if p.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(p.Bytes); err != nil {
				return c, fmt.Errorf("its certificate: %w", err)
			}
			c.CA = append(c.CA, pem.EncodeToMemory(p)...)
		}
	}
	return c, nil
}

// Bytes returns the file.
func (c Credentials) Bytes() ([]byte, error) {
	var b bytes.Buffer
	if c.Sensor != "" {
		fmt.Fprintf(&b, "sensor: %s\n", c.Sensor)
	}
	for _, u := range c.URLs {
		fmt.Fprintf(&b, "url: %s\n", u)
	}
	blocks, err := jwt.FormatUserConfig(c.JWT, c.Seed)
	if err != nil {
		return nil, fmt.Errorf("fleet: credentials: %w", err)
	}
	b.WriteByte('\n')
	b.Write(blocks)
	if len(c.CA) > 0 {
		b.WriteByte('\n')
		b.Write(c.CA)
	}
	return b.Bytes(), nil
}

// checkURL takes tls://HOST:PORT, and nats:// where HOST is loopback: rows and answers never cross a network in the clear.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("%.200q is not a URL such as tls://HOST:4222", s)
	case u.User != nil:
		return fmt.Errorf("%.200q: user and password are not taken; credentials are", u.Redacted())
	case u.Scheme == "tls":
	case u.Scheme == "nats" && Loopback(u.Hostname()):
	case u.Scheme == "nats":
		return fmt.Errorf("%.200q: off loopback only tls:// is taken", s)
	default:
		return fmt.Errorf("%.200q: not tls://", s)
	}
	return nil
}

// Loopback reports whether a host, a name or an address, is this machine over loopback.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// How often both ends of a connection see whether the other is there, and how many answers in a row may be missing. A network that
// drops packets without a word leaves connections that only this tells to be dead: TCP alone sends again after ever longer pauses, for a
// quarter of an hour.
const (
	PingEvery = 10 * time.Second
	MaxPings  = 2
)

// Connect connects with credentials, with TLS wherever the URL is not loopback. Without a server it does not fail but goes on trying,
// for ever and with growing pauses up to five seconds: IsConnected tells. A connection over which nothing comes any more is given up
// after twenty to thirty seconds. Options of the caller come last.
func Connect(c Credentials, opts ...nats.Option) (*nats.Conn, error) {
	if len(c.URLs) == 0 {
		return nil, errors.New("fleet: the credentials have no url; enroll the sensor again, or name the URL")
	}
	for _, u := range c.URLs {
		if err := checkURL(u); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
	}
	name := c.Sensor
	if name == "" {
		name = "raytap"
	}
	all := []nats.Option{
		nats.Name(name),
		nats.UserJWTAndSeed(c.JWT, string(c.Seed)),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			d := min(4*time.Second, 100*time.Millisecond<<min(attempts, 10))
			return d + rand.N(d/4) // a thousand sensors do not come back at once
		}),
		// An expired or revoked user is asked about again and again, like a server that is away: it may be enrolled again.
		nats.IgnoreAuthErrorAbort(),
		nats.Timeout(5 * time.Second),
		nats.PingInterval(PingEvery),
		nats.MaxPingsOutstanding(MaxPings),
	}
	if c.Sensor != "" {
		all = append(all, nats.CustomInboxPrefix(InboxPrefix(c.Sensor)))
	}
	if len(c.CA) > 0 {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("fleet: the certificates of the credentials cannot be read")
		}
		all = append(all, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}))
	}
	nc, err := nats.Connect(strings.Join(c.URLs, ","), append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	return nc, nil
}

// SensorClaims returns what the sensor may do: publish rows of its own, answer requests to itself, and nothing else. Not even the API
// of JetStream: acknowledgements come to its inbox.
func SensorClaims(sensor, userPublicKey string) *jwt.UserClaims {
	u := jwt.NewUserClaims(userPublicKey)
	u.Name = sensor
	u.Pub.Allow.Add("raytap." + Token(sensor) + ".*")
	u.Sub.Allow.Add(AskSubject(sensor, "*"), InboxPrefix(sensor)+".>")
	u.Resp = &jwt.ResponsePermission{MaxMsgs: -1, Expires: 10 * time.Minute}
	u.Limits.Payload = 1 << 20
	u.Limits.Subs = 64
	u.BearerToken = false
	return u
}
