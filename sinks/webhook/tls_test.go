package webhook

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{}
	a.cert, a.key = a.sign(t, "company", true)
	return a
}

func (a *authority) sign(t *testing.T, name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.n++
	c := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: ca, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, with := a.cert, a.key
	if parent == nil {
		parent, with = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, with)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func put(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// write puts a certificate and its key into files.
func (a *authority) write(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	c, k := a.sign(t, name, false)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return put(t, filepath.Join(dir, name+".crt"), "CERTIFICATE", c.Raw), put(t, filepath.Join(dir, name+".key"), "EC PRIVATE KEY", der)
}

// TestCompanyServer: a server with a certificate of a company's own authority, which wants one from those who call and
// header fields of its own, gets findings; renewed files are read again.
func TestCompanyServer(t *testing.T) {
	ours, dir := newAuthority(t), t.TempDir()
	ca := put(t, filepath.Join(dir, "ca.crt"), "CERTIFICATE", ours.cert.Raw)
	serverCert, serverKey := ours.write(t, dir, "server")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	type call struct {
		caller string
		header http.Header
	}
	calls := make(chan call, 10)
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		calls <- call{r.TLS.PeerCertificates[0].Subject.CommonName, r.Header}
		w.Header().Set("Connection", "close") // the next finding shakes hands anew
	}))
	web.Config.ErrorLog = nil
	web.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	web.StartTLS()
	defer web.Close()

	cert, key := ours.write(t, dir, "sensor1")
	headers := filepath.Join(dir, "headers")
	fields := "# of the SIEM\n\nauthorization: Splunk 1234\r\nX-Scope-OrgID: ray\n"
	if err := os.WriteFile(headers, []byte(fields), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{URL: web.URL, Spool: t.TempDir(), CA: ca, Cert: cert, Key: key, Headers: headers})
	s.Event(finding(1))
	c := <-calls
	if c.caller != "sensor1" || c.header.Get("Authorization") != "Splunk 1234" || c.header.Get("X-Scope-Orgid") != "ray" || c.header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v", c)
	}
	renewed, renewedKey := ours.write(t, dir, "renewed")
	for from, to := range map[string]string{renewed: cert, renewedKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(headers, []byte("Authorization: Splunk 5678"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Event(finding(2))
	if c := <-calls; c.caller != "renewed" || c.header.Get("Authorization") != "Splunk 5678" {
		t.Errorf("%+v", c)
	}

	// Without the authority it is a stranger, and so is a server to who has another one.
	other := put(t, filepath.Join(dir, "other.crt"), "CERTIFICATE", newAuthority(t).cert.Raw)
	said := make(chan string, 10)
	stranger := open(t, Options{URL: web.URL, Spool: t.TempDir(), CA: other, Cert: cert, Key: key, Say: func(m string) { said <- m }})
	stranger.Event(finding(3))
	if m := <-said; !strings.Contains(m, "certificate") {
		t.Errorf("said %q", m)
	}
	stranger.cancel()
}

func TestFilesAreChecked(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	cert, key := newAuthority(t).write(t, dir, "c")
	_, otherKey := newAuthority(t).write(t, dir, "d")
	for name, opt := range map[string]Options{
		"no CA":        {CA: filepath.Join(dir, "none")},
		"empty CA":     {CA: write("empty", "")},
		"no key":       {Cert: cert},
		"no cert":      {Key: key},
		"other key":    {Cert: cert, Key: otherKey},
		"no headers":   {Headers: filepath.Join(dir, "none")},
		"no colon":     {Headers: write("h1", "Authorization s3cret")},
		"a bad name":   {Headers: write("h2", "Auth orization: s3cret")},
		"a bad value":  {Headers: write("h3", "Authorization: s3\x00cret")},
		"framing":      {Headers: write("h4", "Content-Length: 3")},
		"another host": {Headers: write("h5", "host: s3cret")},
		"too long":     {Headers: write("h6", "A: "+strings.Repeat("x", maxHeaders))},
	} {
		opt.URL, opt.Spool = "https://siem.example/", t.TempDir()
		if _, err := New(opt); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Options{URL: "http://siem.example/", Spool: t.TempDir(), Headers: write("h7", "Authorization: x")}); err == nil {
		t.Error("header fields go over http")
	}
}
