package feeds

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Source is one entry of the configuration: a name for List, or a server that is asked again and again.
type Source struct {
	File     string `yaml:"file"`      // a file, a folder, a pattern
	URL      string `yaml:"url"`       // a file of any form that is read from disk
	TAXII    string `yaml:"taxii"`     // a server of TAXII 2.1: its discovery, an API root, or a collection
	MISP     string `yaml:"misp"`      // a MISP server, asked through its REST API
	MISPFeed string `yaml:"misp_feed"` // a folder that MISP publishes a feed in, or its manifest.json

	Collection   string        `yaml:"collection"`    // of TAXII: id, alias or title; "": the only one
	Name         string        `yaml:"name"`          // what findings call it; "": the host's name
	Interval     time.Duration `yaml:"interval"`      // between questions; 0: an hour
	Since        time.Duration `yaml:"since"`         // what was added, or changed, longer ago is left out; 0: nothing
	TokenFile    string        `yaml:"token_file"`    // a file with a token: MISP's key, for others Authorization: Bearer
	User         string        `yaml:"user"`          // or a user
	PasswordFile string        `yaml:"password_file"` // and a file with the password
	CA           string        `yaml:"ca"`            // a file of certificates that the server's must descend from; "": the system's
	PlainToken   bool          `yaml:"plain_token"`   // credentials may go over http
	Size         uint64        `yaml:"size"`          // bytes of what is kept; 0: 64 MiB
}

const (
	defaultInterval = time.Hour
	minInterval     = time.Minute
	maxInterval     = 31 * 24 * time.Hour
	defaultSize     = 64 << 20
	minSize         = 1 << 10
	maxSize         = 1 << 30
	maxName         = 100
)

// Files are sources of files.
func Files(names ...string) (all []Source) {
	for _, n := range names {
		all = append(all, Source{File: n})
	}
	return all
}

// SetText makes it what a single word in the configuration, or behind a flag, stands for.
func (s *Source) SetText(text string) error {
	*s = Source{File: text}
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") {
		*s = Source{URL: text}
	}
	return s.Check()
}

// Text is the single word that SetText makes it of, if there is one.
func (s Source) Text() (string, bool) {
	for _, word := range [...]string{s.File, s.URL} {
		var t Source
		if word != "" && t.SetText(word) == nil && t == s {
			return word, true
		}
	}
	return "", false
}

// address gives the URL of one that is remote.
func (s *Source) address() (kind, address string) {
	switch {
	case s.TAXII != "":
		return "taxii", s.TAXII
	case s.MISP != "":
		return "misp", s.MISP
	case s.MISPFeed != "":
		return "misp_feed", s.MISPFeed
	}
	return "url", s.URL
}

// Remote reports whether it is asked over the network.
func (s *Source) Remote() bool { return s.File == "" }

// Title is what findings and logs call a remote one.
func (s *Source) Title() string {
	if s.Name != "" {
		return s.Name
	}
	_, address := s.address()
	u, err := url.Parse(address)
	if err != nil {
		return "feed"
	}
	name := u.Hostname()
	if s.Collection != "" {
		name += " " + s.Collection
	}
	return name
}

// every is the interval, and size the bound, that are in force.
func (s *Source) every() time.Duration {
	if s.Interval == 0 {
		return defaultInterval
	}
	return s.Interval
}

func (s *Source) size() int64 {
	if s.Size == 0 {
		return defaultSize
	}
	return int64(s.Size)
}

// Check says what is wrong with it.
func (s *Source) Check() error {
	n := 0
	for _, v := range [...]string{s.File, s.URL, s.TAXII, s.MISP, s.MISPFeed} {
		if v != "" {
			n++
		}
	}
	switch {
	case n == 0 && *s == Source{}:
		return errors.New("is empty")
	case n == 0:
		return errors.New("names no source: file, url, taxii, misp or misp_feed")
	case n > 1:
		return errors.New("is one of file, url, taxii, misp and misp_feed, not several")
	}
	if s.File != "" {
		if (*s != Source{File: s.File}) {
			return errors.New("a file has no settings of its own; it is read at the start and with a signal HUP")
		}
		return nil
	}
	kind, address := s.address()
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("%s: not a URL of http or https", kind)
	case u.User != nil:
		return fmt.Errorf("%s: credentials belong into user and password_file, or token_file", kind)
	case u.Fragment != "":
		return fmt.Errorf("%s: a URL with #", kind)
	case s.Collection != "" && kind != "taxii":
		return errors.New("collection: only a server of TAXII has any")
	}
	if err := s.checkCredentials(kind); err != nil {
		return err
	}
	if err := s.checkLimits(kind); err != nil {
		return err
	}
	if u.Scheme == "http" && !s.PlainToken && s.credentials() && !loopback(u.Hostname()) {
		return fmt.Errorf("%s: credentials would be sent in clear text over http: use https, or allow it with plain_token", kind)
	}
	return nil
}

// checkCredentials says what is wrong with user, password and token for a server of this kind.
func (s *Source) checkCredentials(kind string) error {
	switch {
	case kind == "misp" && s.TokenFile == "":
		return errors.New("misp: takes token_file with a key; a published feed, which takes none, is misp_feed")
	case kind == "misp" && s.User != "":
		return errors.New("user: MISP's API takes a key, in token_file")
	case s.User != "" && s.TokenFile != "":
		return errors.New("user and token_file: one of them")
	case (s.User == "") != (s.PasswordFile == ""):
		return errors.New("user and password_file need each other")
	case strings.Contains(s.User, ":"):
		return errors.New("user: a colon cannot be in it")
	}
	return nil
}

// checkLimits says what is wrong with the settings of how much is asked for, how often, and as what it is shown.
func (s *Source) checkLimits(kind string) error {
	switch {
	case s.Interval != 0 && (s.Interval < minInterval || s.Interval > maxInterval):
		return fmt.Errorf("interval: %v is not between %v and %v", s.Interval, minInterval, maxInterval)
	case s.Since < 0 || s.Since != 0 && kind == "url":
		return errors.New("since: a url always returns everything")
	case s.Size != 0 && (s.Size < minSize || s.Size > maxSize):
		return fmt.Errorf("size: %d is not between %d and %d", s.Size, minSize, maxSize)
	case len(s.Name) > maxName || strings.ContainsFunc(s.Name, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("name: up to %d letters, digits and signs of ASCII", maxName)
	}
	return nil
}

func (s *Source) credentials() bool { return s.TokenFile != "" || s.User != "" }

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}
