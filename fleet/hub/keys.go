package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/sinks/disk"
)

// Files in the folder of a hub. Those in keys are secrets but for the certificates; the mode of all is 0600.
const (
	keysDir     = "keys"
	operatorKey = "operator.nk"
	accountKey  = "account.nk"
	accountJWT  = "account.jwt" // with the revocations
	systemKey   = "system.nk"
	hubCreds    = "hub.creds" // of the hub itself and of its commands
	caKey       = "ca.key"
	caCert      = "ca.pem"
	serverCert  = "server.pem" // with its key
	settings    = "hub.json"
	storeFile   = "hub.db"
	streamDir   = "jetstream"
	lockFile    = "lock"
)

// private are the modes of all that a hub writes.
func private() disk.Modes { return disk.Private() }

// keys are those of the operator and its account: who has them decides who may connect.
type keys struct {
	dir               string
	operator, account nkeys.KeyPair // account is nil at a NATS of the user's whose key the hub was not given
	system            nkeys.KeyPair
}

// openKeys reads the keys of a folder, and makes those that are missing. Of a hub at a NATS of the user's (external) it makes none.
func openKeys(dir string, external bool) (*keys, error) {
	k := &keys{dir: filepath.Join(dir, keysDir)}
	if err := private().Folder(k.dir); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	for _, x := range []struct {
		name string
		make func() (nkeys.KeyPair, error)
		into *nkeys.KeyPair
	}{
		{operatorKey, nkeys.CreateOperator, &k.operator}, {accountKey, nkeys.CreateAccount, &k.account}, {systemKey, nkeys.CreateAccount, &k.system},
	} {
		pair, err := k.pair(x.name)
		if errors.Is(err, fs.ErrNotExist) && !external {
			if pair, err = x.make(); err == nil {
				var seed []byte
				if seed, err = pair.Seed(); err == nil {
					err = k.put(x.name, append(seed, '\n'))
				}
			}
		}
		if err != nil && !(external && errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("hub: keys: %w", err)
		}
		if pair != nil {
			*x.into = pair
		}
	}
	return k, nil
}

func (k *keys) path(name string) string { return filepath.Join(k.dir, name) }

func (k *keys) put(name string, b []byte) error {
	return private().Replace(k.path(name), func(w io.Writer) error { _, err := w.Write(b); return err })
}

func (k *keys) pair(name string) (nkeys.KeyPair, error) {
	b, err := os.ReadFile(k.path(name))
	if err != nil {
		return nil, err
	}
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(b))))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.path(name), err)
	}
	return pair, nil
}

func public(pair nkeys.KeyPair) string {
	pub, _ := pair.PublicKey() // of one that has a seed there is one
	return pub
}

// operatorClaims is what the server trusts.
func (k *keys) operatorClaims() (*jwt.OperatorClaims, error) {
	c := jwt.NewOperatorClaims(public(k.operator))
	c.Name = "raytap"
	c.SystemAccount = public(k.system)
	token, err := c.Encode(k.operator)
	if err != nil {
		return nil, err
	}
	return jwt.DecodeOperatorClaims(token)
}

func (k *keys) systemToken() (string, error) {
	c := jwt.NewAccountClaims(public(k.system))
	c.Name = "SYS"
	return c.Encode(k.operator)
}

// accountClaims returns the account with its revocations.
func (k *keys) accountClaims() (*jwt.AccountClaims, error) {
	b, err := os.ReadFile(k.path(accountJWT))
	if errors.Is(err, fs.ErrNotExist) {
		c := jwt.NewAccountClaims(public(k.account))
		c.Name = "raytap"
		c.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := jwt.DecodeAccountClaims(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.path(accountJWT), err)
	}
	if c.Subject != public(k.account) || c.Issuer != public(k.operator) {
		return nil, fmt.Errorf("%s is not signed by the keys alongside it", k.path(accountJWT))
	}
	return c, nil
}

// saveAccount signs the account and returns its token.
func (k *keys) saveAccount(c *jwt.AccountClaims) (string, error) {
	token, err := c.Encode(k.operator)
	if err != nil {
		return "", err
	}
	return token, k.put(accountJWT, []byte(token+"\n"))
}

// accountToken returns the account as it stands, signed, and makes it if need be.
func (k *keys) accountToken() (string, error) {
	c, err := k.accountClaims()
	if err != nil {
		return "", err
	}
	return k.saveAccount(c)
}

// hubCredentials returns those that the hub and its commands connect to the embedded server with: everything in the account. They
// are made if need be.
func (k *keys) hubCredentials() (fleet.Credentials, error) {
	c, err := fleet.ReadCredentials(k.path(hubCreds))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		return c, err
	}
	claims := jwt.NewUserClaims(public(user))
	claims.Name = fleet.HubSensor
	if c.JWT, err = claims.Encode(k.account); err != nil {
		return c, err
	}
	if c.Seed, err = user.Seed(); err != nil {
		return c, err
	}
	b, err := c.Bytes()
	if err != nil {
		return c, err
	}
	return c, k.put(hubCreds, b)
}

// sensorCredentials signs a new user.
func (k *keys) sensorCredentials(name string) (c fleet.Credentials, key string, err error) {
	if k.account == nil {
		return c, "", fmt.Errorf("hub: the key of the account is not here, so that it cannot sign: put its seed into %s, or make the user with nsc (see docs/fleet.md)", k.path(accountKey))
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		return c, "", fmt.Errorf("hub: %w", err)
	}
	key = public(user)
	claims := fleet.SensorClaims(name, key)
	if b, err := os.ReadFile(k.path("account.id")); err == nil { // the key is a signing key of this account
		claims.IssuerAccount = strings.TrimSpace(string(b))
	}
	if c.JWT, err = claims.Encode(k.account); err != nil {
		return c, "", fmt.Errorf("hub: %w", err)
	}
	if c.Seed, err = user.Seed(); err != nil {
		return c, "", fmt.Errorf("hub: %w", err)
	}
	c.Sensor = name
	return c, key, nil
}

// Settings are what commands need to know of the hub of a folder: it writes them when it starts.
type Settings struct {
	ID       string   `json:"id"`       // among several hubs
	URLs     []string `json:"urls"`     // that sensors connect to
	Local    []string `json:"local"`    // that commands on this machine connect to
	External bool     `json:"external"` // a NATS of the user's, whose credentials are keys/hub.creds
	TLS      bool     `json:"tls"`
}

func readSettings(dir string) (Settings, error) {
	var s Settings
	b, err := os.ReadFile(filepath.Join(dir, settings))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("hub: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("hub: %s: %w", filepath.Join(dir, settings), err)
	}
	return s, nil
}

func writeSettings(dir string, s Settings) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return private().Replace(filepath.Join(dir, settings), func(w io.Writer) error { _, err := w.Write(append(b, '\n')); return err })
}
