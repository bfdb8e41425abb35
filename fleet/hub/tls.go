package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	caLife     = 20 * 365 * 24 * time.Hour
	serverLife = 398 * 24 * time.Hour
	renewFrom  = 60 * 24 * time.Hour // before the end
)

// authority is the hub's own CA with the server's certificate. Sensors trust the CA alone, which enrolment gave them; the server's
// certificate is renewed without them.
type authority struct {
	k     *keys
	names []string // of the server: names and addresses

	mu   sync.Mutex
	cert *tls.Certificate
}

// openAuthority makes the CA if need be.
func openAuthority(k *keys, names []string) (*authority, error) {
	a := &authority{k: k, names: names}
	if _, err := os.Stat(k.path(caKey)); errors.Is(err, fs.ErrNotExist) {
		if err := a.makeCA(); err != nil {
			return nil, fmt.Errorf("hub: CA: %w", err)
		}
	}
	if _, err := a.current(); err != nil {
		return nil, fmt.Errorf("hub: certificate: %w", err)
	}
	return a, nil
}

func serial() (*big.Int, error) { return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) }

func (a *authority) makeCA() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	n, err := serial()
	if err != nil {
		return err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: n, Subject: pkix.Name{CommonName: "raytap hub CA"}, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := a.k.put(caCert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return err
	}
	return a.k.put(caKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b}))
}

// current returns the server's certificate; one that ends soon or has other names is replaced. It is asked with every handshake, so
// that a hub that runs for years goes on.
func (a *authority) current() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cert == nil {
		if b, err := os.ReadFile(a.k.path(serverCert)); err == nil {
			if c, err := tls.X509KeyPair(b, b); err == nil {
				a.cert = &c
			}
		}
	}
	if a.cert != nil && time.Until(a.cert.Leaf.NotAfter) > renewFrom && a.covers(a.cert.Leaf) {
		return a.cert, nil
	}
	c, err := a.issue()
	if err != nil {
		return nil, err
	}
	a.cert = c
	return c, nil
}

func (a *authority) covers(leaf *x509.Certificate) bool {
	return !slices.ContainsFunc(a.names, func(name string) bool { return leaf.VerifyHostname(name) != nil })
}

func (a *authority) issue() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(a.k.path(caCert), a.k.path(caKey))
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	n, err := serial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: n, Subject: pkix.Name{CommonName: "raytap hub"}, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range a.names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, pair.Leaf, &key.PublicKey, pair.PrivateKey)
	if err != nil {
		return nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	if err := a.k.put(serverCert, b.Bytes()); err != nil {
		return nil, err
	}
	c, err := tls.X509KeyPair(b.Bytes(), b.Bytes())
	return &c, err
}

// config is that of a server. With files of the user's own these are read with every handshake, so that they may be renewed.
func (a *authority) config(certFile, keyFile string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if certFile == "" {
			return a.current()
		}
		c, err := tls.LoadX509KeyPair(certFile, keyFile)
		return &c, err
	}}
}

// hostNames are what a server that listens at host can be called by, besides what its user says.
func hostNames(host string, more []string) []string {
	all := append([]string{"localhost", "127.0.0.1", "::1"}, more...)
	if name, err := os.Hostname(); err == nil && name != "" {
		all = append(all, name)
	}
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		all = append(all, host)
	} else if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, x := range addrs {
			if n, ok := x.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() && !n.IP.IsLoopback() {
				all = append(all, n.IP.String())
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
