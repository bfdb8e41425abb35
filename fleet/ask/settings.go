package ask

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/raytap/raytap/sinks/disk"
)

// Bundle is a version of the settings of a fleet.
type Bundle struct {
	Version uint64    `json:"version"` // 1, 2, and so on
	At      time.Time `json:"at"`
	Note    string    `json:"note,omitempty"` // of who set it
	// Text has the form of a configuration file, and keys that config.Overlay takes.
	Text string `json:"text"`
	// Intel are files of indicators, which come to those that a sensor has.
	Intel []File `json:"intel,omitempty"`
}

// File is a file by its name, without a folder.
type File struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

const (
	// MaxSettings is the most that a version may have: compressed, it must fit into a message.
	MaxSettings = 16 << 20
	maxFiles    = 64
	maxFileName = 100
	maxNote     = 500
)

// Check reports what is wrong with the form of a version. What the text says is checked by who takes it over.
func (b *Bundle) Check() error {
	size := len(b.Text)
	seen := map[string]bool{}
	for _, f := range b.Intel {
		size += len(f.Data)
		if !fileName(f.Name) {
			return fmt.Errorf("ask: %.80q is not a name of a file of indicators: letters, digits, '.', '-' and '_', and it begins with a letter or a digit", f.Name)
		}
		if seen[f.Name] {
			return fmt.Errorf("ask: two files of indicators are named %s", f.Name)
		}
		seen[f.Name] = true
	}
	switch {
	case b.Version == 0:
		return errors.New("ask: settings without a version")
	case len(b.Intel) > maxFiles:
		return fmt.Errorf("ask: %d files of indicators; at most %d", len(b.Intel), maxFiles)
	case size > MaxSettings:
		return fmt.Errorf("ask: the settings have %d bytes; at most %d", size, MaxSettings)
	case len(b.Note) > maxNote || !utf8.ValidString(b.Note) || !utf8.ValidString(b.Text):
		return errors.New("ask: the settings are no text, or their note is too long")
	}
	return nil
}

// fileName reports whether a name is of a plain file that is not hidden, and of no folder.
func fileName(s string) bool {
	if s == "" || len(s) > maxFileName || s[0] == '.' || s[0] == '-' || s[0] == '_' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
	})
}

// Encode returns the version as it is sent and kept: JSON, compressed.
func (b *Bundle) Encode() ([]byte, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(text)
	if err := z.Close(); err != nil {
		return nil, err
	}
	if out.Len() > maxRequest {
		return nil, fmt.Errorf("ask: the settings have %d bytes when compressed; at most %d fit into a message", out.Len(), maxRequest)
	}
	return out.Bytes(), nil
}

// DecodeBundle reads what Encode wrote.
func DecodeBundle(data []byte) (*Bundle, error) {
	if len(data) > maxRequest {
		return nil, errors.New("ask: the settings are too long")
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, errors.New("ask: the settings are damaged")
	}
	const most = 2*MaxSettings + 1<<20 // base64, and names
	text, err := io.ReadAll(io.LimitReader(z, most+1))
	if err != nil || len(text) > most {
		return nil, errors.New("ask: the settings are damaged, or too long")
	}
	b := &Bundle{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(b); err != nil {
		return nil, errors.New("ask: the settings are damaged, or of another version of raytap")
	}
	return b, b.Check()
}

// Applied says which version a sensor runs.
type Applied struct {
	Running uint64    `json:"running"` // 0: its own configuration alone
	Since   time.Time `json:"since,omitzero"`
	// Ignored are sections of it that the sensor does not accept.
	Ignored []string `json:"ignored,omitempty"`
	// Refused is why the last version that came was not taken over, and RefusedVersion which; "": it was.
	Refused        string `json:"refused,omitempty"`
	RefusedVersion uint64 `json:"refused_version,omitempty"`
}

// Accepted takes over settings at a sensor: it keeps the version that is in force in a folder, so that it is in force
// after a restart, and changes nothing if a new one is wrong.
type Accepted struct {
	Sections []string // as in publish.accept
	// Apply puts a version in force, whose files of indicators are in the folder; nil: the sensor's own configuration alone. It
	// returns the sections that are not accepted. On an error what was in force stays.
	Apply func(b *Bundle, intel []string) (ignored []string, err error)

	dir     string
	mu      sync.Mutex
	applied Applied
	current *Bundle
}

const (
	settingsFile = "settings.gz"
	intelFolder  = "intel-"
)

// OpenAccepted opens the folder that settings are kept in, which is made if need be. What is in it is the version to begin
// with: Current returns it. That it is damaged is told in Applied, and the sensor runs without.
func OpenAccepted(dir string, sections []string) (*Accepted, error) {
	if err := disk.Private().Folder(dir); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	a := &Accepted{Sections: sections, dir: dir}
	f, err := disk.Read(filepath.Join(dir, settingsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRequest+1))
	if err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	if a.current, err = DecodeBundle(data); err != nil {
		a.current = nil
		a.applied.Refused = "what was kept of it is damaged"
	}
	return a, nil
}

// Current returns the version that is in force, or that was when the sensor ended, with its files of indicators; nil: none.
func (a *Accepted) Current() (b *Bundle, intel []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == nil {
		return nil, nil
	}
	return a.current, a.files(a.current)
}

// Began tells what became of Current at the start.
func (a *Accepted) Began(ignored []string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.current == nil:
	case err != nil:
		a.applied = Applied{Refused: reason(err), RefusedVersion: a.current.Version}
		a.current = nil
	default:
		a.applied = Applied{Running: a.current.Version, Since: a.current.At, Ignored: ignored}
	}
}

// Applied says which version is in force.
func (a *Accepted) Applied() Applied {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applied
}

func (a *Accepted) folder(b *Bundle) string {
	return filepath.Join(a.dir, intelFolder+strconv.FormatUint(b.Version, 10))
}

func (a *Accepted) files(b *Bundle) (all []string) {
	for _, f := range b.Intel {
		all = append(all, filepath.Join(a.folder(b), f.Name))
	}
	return all
}

// Take puts a version in force, if it is not, and says what is in force then.
func (a *Accepted) Take(b *Bundle) Applied {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && a.current.Version == b.Version && a.current.At.Equal(b.At) {
		a.applied.Refused, a.applied.RefusedVersion = "", 0
		return a.applied
	}
	ignored, err := a.take(b)
	if err != nil {
		a.applied.Refused, a.applied.RefusedVersion = reason(err), b.Version
		return a.applied
	}
	a.applied = Applied{Running: b.Version, Since: time.Now().UTC(), Ignored: ignored}
	return a.applied
}

func (a *Accepted) take(b *Bundle) (ignored []string, err error) {
	data, err := b.Encode()
	if err != nil {
		return nil, err
	}
	folder := a.folder(b)
	same := a.current != nil && a.current.Version == b.Version // of a hub that was set up again
	if !same {
		os.RemoveAll(folder)
	}
	if err := disk.Private().Folder(folder); err != nil {
		return nil, err
	}
	for i, f := range b.Intel {
		err := disk.Private().Replace(filepath.Join(folder, b.Intel[i].Name), func(w io.Writer) error {
			_, err := w.Write(f.Data)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if ignored, err = a.Apply(b, a.files(b)); err != nil {
		if !same {
			os.RemoveAll(folder)
		}
		return nil, err
	}
	before := a.current
	a.current = b
	err = disk.Private().Replace(filepath.Join(a.dir, settingsFile), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask: it is in force, and will not be after a restart: %w", err)
	}
	if before != nil && before.Version != b.Version {
		os.RemoveAll(a.folder(before))
	}
	return ignored, nil
}

// reason is an error on one line, without names of packages.
func reason(err error) string {
	text := strings.ReplaceAll(err.Error(), "raytap: ", "")
	text = strings.ReplaceAll(strings.TrimPrefix(text, "ask: "), "\n", "; ")
	const most = 2000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
