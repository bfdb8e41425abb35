package feeds

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// A server that does not begin to answer, or does not finish a page, for so long is away.
	headerTime, pageTime = 30 * time.Second, 5 * time.Minute
	// maxRedirects is how many one question may lead through.
	maxRedirects = 5
	// maxSecret bounds a file with a token or a password.
	maxSecret = 64 << 10
	// maxWait bounds what Retry-After may ask for.
	maxWait = 24 * time.Hour
)

// client asks one server.
type client struct {
	src  *Source
	home *url.URL // where it was told to ask; credentials go there alone
	http *http.Client
}

func newClient(s *Source) (*client, error) {
	_, address := s.address()
	home, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	c := &client{src: s, home: home}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = headerTime
	t.MaxResponseHeaderBytes = 64 << 10
	t.MaxIdleConnsPerHost, t.IdleConnTimeout = 1, 10*time.Second
	if s.CA != "" {
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("certificates: %w", err)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate", s.CA)
		}
	}
	c.http = &http.Client{Transport: t, CheckRedirect: c.redirect}
	return c, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// redirect follows to the same server; without credentials also to others, and never from https to http.
func (c *client) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("redirects without end")
	}
	return c.allowed(req.URL)
}

// allowed refuses to ask a URL that a server has given.
func (c *client) allowed(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.User != nil:
		return errors.New("redirects to a URL that is not http or https")
	case c.home.Scheme == "https" && u.Scheme != "https":
		return errors.New("leads from https to http")
	case c.src.credentials() && (u.Scheme != c.home.Scheme || !strings.EqualFold(u.Host, c.home.Host)):
		return errors.New("leads to another server, " + u.Host + ", which is not given the credentials; name it in the configuration if that is right")
	}
	return nil
}

// statusError is an answer that is none.
type statusError struct {
	status int
	wait   time.Duration // that the server asks for
	says   string
}

func (e *statusError) Error() string { return e.says }

// answer is what a server said.
type answer struct {
	status int // 200 or 304
	header http.Header
	kind   string            // media type
	params map[string]string // of it
	body   []byte
}

// ask sends one question. body may be nil; limit bounds what comes back. Errors do not show the URL, which may have a secret
// in it.
func (c *client) ask(ctx context.Context, method, address string, body []byte, header map[string]string, limit int64) (*answer, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("redirects to an invalid URL")
	}
	if err := c.allowed(u); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the URL cannot be used")
	}
	req.Header.Set("User-Agent", "raytap")
	for k, v := range header {
		req.Header.Set(k, v)
	}
	if err := c.sign(req); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	a.kind, a.params, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if a.status == http.StatusNotModified {
		return a, nil
	}
	if a.status != http.StatusOK {
		return nil, refusal(resp)
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if int64(len(a.body)) > limit {
		return nil, errTooLarge
	}
	if a.kind == "text/html" {
		return nil, errors.New("answers with a web page (a login, or the wrong URL)")
	}
	return a, nil
}

var errTooLarge = errors.New("has more than the bound on its size (size)")

// refusal is an answer that is neither what was asked for nor that it has not changed.
func refusal(resp *http.Response) error {
	e := &statusError{status: resp.StatusCode}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		e.says = "refuses the credentials, or wants some (status 401)"
	case http.StatusForbidden:
		e.says = "denies access (status 403)"
	case http.StatusNotFound:
		e.says = "has nothing at this URL (status 404)"
	case http.StatusNotAcceptable, http.StatusUnsupportedMediaType:
		e.says = fmt.Sprintf("does not speak the version that is asked for (status %d)", resp.StatusCode)
	default:
		e.says = fmt.Sprintf("answers with status %d", resp.StatusCode)
	}
	if at := resp.Header.Get("Retry-After"); at != "" {
		if n, err := strconv.Atoi(at); err == nil && n > 0 {
			e.wait = min(time.Duration(min(n, int(maxWait/time.Second)))*time.Second, maxWait)
		} else if t, err := http.ParseTime(at); err == nil {
			e.wait = min(max(time.Until(t), 0), maxWait)
		}
	}
	return e
}

// sign adds the credentials, whose files are read anew each time.
func (c *client) sign(req *http.Request) error {
	s := c.src
	switch {
	case s.TokenFile != "":
		token, err := secret(s.TokenFile)
		if err != nil {
			return fmt.Errorf("token: %w", err)
		}
		if kind, _ := s.address(); kind != "misp" {
			token = "Bearer " + token
		}
		req.Header.Set("Authorization", token)
	case s.User != "":
		password, err := secret(s.PasswordFile)
		if err != nil {
			return fmt.Errorf("password: %w", err)
		}
		req.SetBasicAuth(s.User, password)
	}
	return nil
}

func secret(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	text := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxSecret || strings.ContainsAny(text, "\r\n\x00"):
		return "", fmt.Errorf("%s has more than one line", name)
	case text == "":
		return "", fmt.Errorf("%s is empty", name)
	}
	return text, nil
}
