package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/store"
	"github.com/raytap/raytap/sinks/disk"
)

// Dir is the folder of a hub for commands: the hub may run or not.
type Dir struct {
	path     string
	settings Settings
	db       *store.Store
}

// OpenDir opens the folder of a hub; with create it is made if there is none, so that sensors can be enrolled before the hub has
// run.
func OpenDir(path string, create bool) (*Dir, error) {
	if path == "" {
		return nil, errors.New("hub: no folder: set --data")
	}
	if _, err := os.Stat(filepath.Join(path, storeFile)); err != nil && !(create && errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("hub: %s is not the folder of a hub: %w", path, err)
	}
	if err := private().Folder(path); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	s, err := readSettings(path)
	if err != nil {
		return nil, err
	}
	db, err := store.Open(filepath.Join(path, storeFile))
	if err != nil {
		return nil, err
	}
	return &Dir{path, s, db}, nil
}

// Close closes it.
func (d *Dir) Close() error { return d.db.Close() }

// Store is the store.
func (d *Dir) Store() *store.Store { return d.db }

// Settings are those of the hub.
func (d *Dir) Settings() Settings { return d.settings }

// Running reports whether a hub works in the folder.
func (d *Dir) Running() bool {
	f, err := os.OpenFile(filepath.Join(d.path, lockFile), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return disk.Lock(f) != nil
}

// Dial connects to the NATS of the hub of a folder as the hub does: with all rights in its account.
func Dial(path string, opts ...nats.Option) (*nats.Conn, error) {
	s, err := readSettings(path)
	if err != nil {
		return nil, err
	}
	if len(s.Local) == 0 {
		return nil, fmt.Errorf("hub: no hub has run in %s", path)
	}
	c, err := fleet.ReadCredentials(filepath.Join(path, keysDir, hubCreds))
	if err != nil {
		return nil, err
	}
	c.URLs = s.Local
	if s.TLS && !s.External {
		c.CA, err = os.ReadFile(filepath.Join(path, keysDir, "trust.pem"))
		if errors.Is(err, fs.ErrNotExist) {
			c.CA, err = os.ReadFile(filepath.Join(path, keysDir, caCert))
		}
		if err != nil {
			return nil, fmt.Errorf("hub: %w", err)
		}
	}
	nc, err := fleet.Connect(c, append([]nats.Option{nats.RetryOnFailedConnect(false), nats.NoReconnect()}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("hub: the hub of %s does not answer: %w", path, err)
	}
	return nc, nil
}

// locked runs f while no other command changes keys.
func (d *Dir) locked(f func() error) error {
	l, err := private().Open(filepath.Join(d.path, "enrol.lock"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	defer l.Close()
	for deadline := time.Now().Add(30 * time.Second); disk.Lock(l) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("hub: another command holds the keys")
		}
	}
	return f()
}

// valid returns the keys of a sensor that are not revoked.
func (d *Dir) valid(name string) ([]store.Enrolment, error) {
	all, err := d.db.Enrolments()
	return slices.DeleteFunc(all, func(e store.Enrolment) bool { return e.Name != name || !e.Revoked.IsZero() }), err
}

// Enroll makes credentials for a sensor. With renew keys that it has are revoked; without, having one is an error. urls are where it
// connects; without any they are the hub's.
func (d *Dir) Enroll(name string, urls []string, renew bool) (file []byte, err error) {
	if err := fleet.CheckSensor(name); err != nil {
		return nil, err
	}
	if name == fleet.HubSensor {
		return nil, fmt.Errorf("hub: %s is the name of hubs", name)
	}
	err = d.locked(func() error {
		have, err := d.valid(name)
		if err != nil {
			return err
		}
		if len(have) > 0 && !renew {
			return fmt.Errorf("hub: sensor %s has credentials since %s; --renew revokes them and makes others", name, have[0].At.Format(time.DateOnly))
		}
		k, err := openKeys(d.path, d.settings.External)
		if err != nil {
			return err
		}
		c, key, err := k.sensorCredentials(name)
		if err != nil {
			return err
		}
		if c.URLs = urls; len(urls) == 0 {
			if c.URLs = d.settings.URLs; len(c.URLs) == 0 {
				return errors.New("hub: the hub has not run yet, so that where it listens is not known: set --url tls://HOST:4222")
			}
		}
		overTLS := false
		for _, u := range c.URLs {
			if _, err := hostOf(u); err != nil {
				return err
			}
			overTLS = overTLS || strings.HasPrefix(u, "tls:")
		}
		if overTLS {
			if c.CA, err = d.trust(k); err != nil {
				return err
			}
		}
		if file, err = c.Bytes(); err != nil {
			return err
		}
		if err := d.db.Enroll(store.Enrolment{Key: key, Name: name, At: time.Now()}); err != nil {
			return err
		}
		if len(have) > 0 {
			return d.revoke(k, have)
		}
		return nil
	})
	return file, err
}

// trust returns what sensors check the server against: keys/trust.pem, which is there if the server has a certificate of its user's;
// or the hub's own CA.
func (d *Dir) trust(k *keys) ([]byte, error) {
	b, err := os.ReadFile(k.path("trust.pem"))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return b, err
	}
	if d.settings.External {
		c, err := fleet.ReadCredentials(k.path(hubCreds))
		return c.CA, err
	}
	if _, err := openAuthority(k, hostNames("127.0.0.1", nil)); err != nil {
		return nil, err
	}
	return os.ReadFile(k.path(caCert))
}

// Revoke ends the credentials of a sensor. With a hub that runs its connections are closed when Revoke returns.
func (d *Dir) Revoke(name string) error {
	return d.locked(func() error {
		have, err := d.valid(name)
		if err != nil {
			return err
		}
		if len(have) == 0 {
			return fmt.Errorf("hub: no sensor %s has credentials", name)
		}
		k, err := openKeys(d.path, d.settings.External)
		if err != nil {
			return err
		}
		return d.revoke(k, have)
	})
}

func (d *Dir) revoke(k *keys, all []store.Enrolment) error {
	if k.operator == nil || k.account == nil {
		return errors.New("hub: the key of the operator is not here: revoke the users with nsc (see docs/fleet.md): " + all[0].Key)
	}
	c, err := k.accountClaims()
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, e := range all {
		c.Revoke(e.Key)
	}
	if _, err := k.saveAccount(c); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	for _, e := range all {
		if err := d.db.Revoke(e.Key, time.Now()); err != nil {
			return err
		}
	}
	if !d.Running() {
		return nil
	}
	if err := d.reload(); err != nil {
		return fmt.Errorf("hub: the keys are revoked, but the hub that runs does not know: %w; start it again", err)
	}
	return nil
}

func (d *Dir) reload() error {
	nc, err := Dial(d.path)
	if err != nil {
		return err
	}
	defer nc.Close()
	answer, err := nc.Request(controlSubject(d.settings.ID), []byte("keys"), 10*time.Second)
	if err != nil {
		return err
	}
	if s := string(answer.Data); s != "ok" {
		return errors.New(s)
	}
	return nil
}

// SensorState is a sensor as `sensors` lists it.
type SensorState struct {
	Sensor
	State    string   `json:"state"` // ok, silent, never (heard), revoked
	Enrolled string   `json:"enrolled,omitempty"`
	Refusals uint64   `json:"refused_rows"`
	Findings []string `json:"open_findings,omitempty"` // rules
}

// Sensors lists those that are enrolled or were heard.
func (d *Dir) Sensors() ([]SensorState, error) {
	bodies, err := d.db.Sensors()
	if err != nil {
		return nil, err
	}
	keys, err := d.db.Enrolments()
	if err != nil {
		return nil, err
	}
	all := map[string]*SensorState{}
	for name, b := range bodies {
		x := &SensorState{State: "ok"}
		if err := json.Unmarshal(b, &x.Sensor); err != nil {
			return nil, fmt.Errorf("hub: sensor %s: %w", name, err)
		}
		if x.Open[RuleSilent] != nil {
			x.State = "silent"
		}
		x.Findings = slices.Sorted(maps.Keys(x.Open))
		x.Refusals = x.Sensor.refused()
		all[name] = x
	}
	delete(all, fleet.HubSensor)
	valid := map[string]bool{}
	for _, e := range keys {
		x := all[e.Name]
		if x == nil {
			x = &SensorState{Sensor: Sensor{Name: e.Name}, State: "never"}
			all[e.Name] = x
		}
		x.Enrolled = e.At.UTC().Format(time.RFC3339)
		valid[e.Name] = valid[e.Name] || e.Revoked.IsZero()
	}
	var list []SensorState
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x := all[name]
		if ok, enrolled := valid[name]; enrolled && !ok {
			x.State = "revoked"
		}
		list = append(list, *x)
	}
	return list, nil
}

// backedUp are the files that go into a backup with the store.
var backedUp = []string{settings, "keys/" + operatorKey, "keys/" + accountKey, "keys/" + accountJWT, "keys/" + systemKey, "keys/" + hubCreds, "keys/" + caKey,
	"keys/" + caCert, "keys/" + serverCert, "keys/trust.pem", "keys/account.id"}

// Backup writes store and keys to a file, while the hub runs or not.
func (d *Dir) Backup(path string) error {
	files := map[string][]byte{}
	return d.locked(func() error {
		for _, name := range backedUp {
			b, err := os.ReadFile(filepath.Join(d.path, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("hub: %w", err)
			}
			files[name] = b
		}
		return d.db.Backup(path, files)
	})
}

// Restore makes the folder of a hub out of a backup. The folder must not be there, or be empty. With another identity it is that of a
// second hub, at the same NATS.
func Restore(file, dir string, second bool) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("hub: %s is not empty", dir)
	}
	if err := private().Folder(filepath.Join(dir, keysDir)); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	in, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	defer in.Close()
	out, err := private().Create(filepath.Join(dir, storeFile))
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	_, err = out.ReadFrom(in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	db, err := store.Open(filepath.Join(dir, storeFile))
	if err != nil {
		return err
	}
	defer db.Close()
	files, err := db.TakeFiles()
	if err != nil {
		return err
	}
	for _, name := range backedUp { // no other names, whatever the file has
		b, ok := files[name]
		if !ok {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return fmt.Errorf("hub: %w", err)
		}
	}
	if second {
		s, err := readSettings(dir)
		if err != nil {
			return err
		}
		s.ID = ""
		return writeSettings(dir, s)
	}
	return nil
}
