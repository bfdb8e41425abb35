package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// mixed makes traffic as a cluster has it, of many connections at once, and says frame by frame what is on the wire.
type mixed struct {
	t     *testing.T
	rng   *rand.Rand
	junk  []byte
	hello []spoken // a handshake of TLS
	talks []*talk
	n     int // connections so far
	over  bool
	large bool // segments are as the kernel has merged them, so that few of them are much
}

// talk is one connection under way.
type talk struct {
	next func() ([]byte, bool)
	burn int // frames that it says in a row
}

// spoken is what one side of a connection wrote at once.
type spoken struct {
	side int
	b    string
}

// handshake has a client and a server of TLS speak, and writes down what they said.
func handshake(t *testing.T) (all []spoken) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "objects.example.com"}, DNSNames: []string{"objects.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * 365 * time.Hour),
	}
	der, err := x509.CreateCertificate(cryptorand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	a, b := net.Pipe()
	note := func(side int) func([]byte) {
		return func(p []byte) {
			mu.Lock()
			all = append(all, spoken{side, string(p)})
			mu.Unlock()
		}
	}
	client := tls.Client(noted{a, note(0)}, &tls.Config{ServerName: "objects.example.com", InsecureSkipVerify: true})
	server := tls.Server(noted{b, note(1)}, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := io.ReadFull(server, make([]byte, 5)); err != nil {
			t.Error(err)
		}
	})
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	both.Wait()
	return all
}

// noted is a connection of which what is written is noted.
type noted struct {
	net.Conn
	note func([]byte)
}

func (n noted) Write(p []byte) (int, error) {
	n.note(p)
	return n.Conn.Write(p)
}

// talk begins a connection that says what script has it say. One in four runs in a tunnel.
func (m *mixed) talk(port uint16, script func(d *dialog)) {
	m.n++
	d := &dialog{
		t: m.t, port: uint16(1024 + m.n%60000), sport: port, wait: func() {}, v6: m.rng.IntN(8) == 0,
		client: [4]byte{10, 21, byte(m.n >> 8), byte(m.n)}, server: [4]byte{10, 20, 0, byte(m.rng.IntN(40))},
	}
	var wrap func([]byte) []byte
	if m.rng.IntN(4) == 0 {
		a := arounds[m.rng.IntN(len(arounds))]
		if a.cut == 0 || !d.v6 {
			wrap = a.wrap
		}
	}
	var say iter.Seq[[]byte] = func(yield func([]byte) bool) {
		d.send = func(b []byte) error {
			if wrap != nil {
				b = wrap(b)
			}
			yield(b)
			return nil
		}
		script(d)
	}
	next, _ := iter.Pull(say)
	m.talks = append(m.talks, &talk{next: next})
}

// open opens a connection.
func (m *mixed) open(d *dialog) { d.open([2]uint32{m.rng.Uint32(), m.rng.Uint32()}) }

// part is a part of the junk.
func (m *mixed) part(n int) []byte {
	at := m.rng.IntN(len(m.junk) - n)
	return m.junk[at : at+n]
}

// bulk sends n bytes of side as networks bring them: one segment in 2,000 is behind the next, comes again, or is not there.
// segment says how large they are.
func (m *mixed) bulk(d *dialog, side int, n, segment int) {
	for i := 0; n > 0; i++ {
		p := m.part(min(n, segment))
		n -= len(p)
		m.put(d, side, p)
		if i%2 == 1 || n == 0 {
			d.segment(1-side, capture.FlagACK, d.seq[1-side], 64, nil, nil)
		}
	}
}

// put sends a segment.
func (m *mixed) put(d *dialog, side int, p []byte) {
	at := d.seq[side]
	d.seq[side] += uint32(len(p))
	switch m.rng.IntN(6000) {
	case 0: // its halves in the wrong order
		half := len(p) / 2
		d.segment(side, capture.FlagACK, at+uint32(half), 64, nil, p[half:])
		d.segment(side, capture.FlagACK, at, 64, nil, p[:half])
	case 1:
		d.segment(side, capture.FlagACK, at, 64, nil, p)
		d.segment(side, capture.FlagACK, at, 64, nil, p)
	case 2: // it came another way
	default:
		d.segment(side, capture.FlagACK, at, 64, nil, p)
	}
}

// size is that of what goes in one segment: as on the wire, or as the kernel has merged it.
func (m *mixed) size() int {
	switch {
	case m.large:
		return 1448 * (20 + m.rng.IntN(21))
	case m.rng.IntN(2) == 0:
		return 1448
	}
	return 1448 * (2 + m.rng.IntN(39))
}

// begin begins the next connection.
func (m *mixed) begin() {
	switch k := m.rng.IntN(100); {
	case k < 5: // what nodes encrypt, of UDP
		port, size := uint16(1024+m.n%60000), m.size()
		a := &around{proto: 17, port: 51820, header: []byte("\x04\x00\x00\x00\x01\x02\x03\x04")}
		m.talk(51820, func(d *dialog) {
			for range 1 + m.rng.IntN(4000) {
				if m.over {
					break
				}
				b := a.wrap(m.part(size))
				binary.BigEndian.PutUint16(b[34:], port)
				if m.rng.IntN(3) == 0 {
					b = answer(b)
				}
				_ = d.send(b)
			}
		})
	case k < 30: // kept alive
		m.talk(80, func(d *dialog) {
			m.open(d)
			for range 1 + m.rng.IntN(40) {
				if m.over {
					break
				}
				m.get(d, 3900, 1448)
			}
			d.close()
		})
	case k < 60: // a connection a request, and a look-up before
		m.talk(80, func(d *dialog) {
			m.open(d)
			m.get(d, 600, 1448)
			d.close()
		})
	case k < 65: // objects, with a job behind them now and then
		size := m.size()
		m.talk(8265, func(d *dialog) {
			m.open(d)
			for range 1 + m.rng.IntN(2) {
				if !m.over {
					m.get(d, 66<<20+m.rng.IntN(40<<20), size)
				}
			}
			if m.rng.IntN(3) == 0 {
				d.job()
			}
			d.close()
		})
	case k < 75:
		size := m.size()
		m.talk(443, func(d *dialog) {
			m.open(d)
			for _, s := range m.hello {
				d.say(s.side, s.b)
			}
			for range 1 + m.rng.IntN(300) {
				if m.over {
					break
				}
				const record = 16384
				d.say(0, "\x17\x03\x03\x00\x40"+string(m.part(64)))
				for range 1 + m.rng.IntN(20) {
					head := binary.BigEndian.AppendUint16([]byte{0x17, 3, 3}, record)
					m.put(d, 1, append(head, m.part(min(record, size))...))
					if size < record {
						m.bulk(d, 1, record-size, size)
					}
				}
			}
			d.close()
		})
	case k < 83: // objects of Ray
		size := m.size()
		m.talk(uint16(30000+m.rng.IntN(100)), func(d *dialog) {
			m.open(d)
			h := newH2(d)
			h.bulk = func(side int, n int64) { m.bulk(d, side, int(n), size) }
			h.open()
			for range 1 + m.rng.IntN(8) {
				if m.over {
					break
				}
				h.push(5<<20, 1<<24-1)
				if m.rng.IntN(4) == 0 {
					d.say(1, frameH2(6, 0, 0, "12345678"))
				}
			}
			if m.rng.IntN(3) == 0 {
				h.job()
			}
			d.close()
		})
	case k < 90: // nobody knows what
		size := m.size()
		m.talk(uint16(30000+m.rng.IntN(100)), func(d *dialog) {
			m.open(d)
			d.say(0, "\x85\x01\x02\x03hello")
			for range 1 + m.rng.IntN(8) {
				if m.over {
					break
				}
				m.bulk(d, m.rng.IntN(2), 1+m.rng.IntN(16<<20), size)
			}
			d.close()
		})
	default:
		m.talk(8265, func(d *dialog) {
			d.client = [4]byte{203, 0, 113, byte(m.rng.IntN(200))}
			m.open(d)
			d.job()
			d.close()
		})
	}
}

// get asks for n bytes and has them.
func (m *mixed) get(d *dialog, n, segment int) {
	d.say(0, fmt.Sprintf("GET /object/%d HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n\r\n", m.rng.Uint32()))
	d.say(1, fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", n))
	m.bulk(d, 1, n, segment)
}

// frame gives the next frame; nil: all has been said.
func (m *mixed) frame() []byte {
	for {
		for !m.over && len(m.talks) < 48 {
			m.begin()
		}
		if len(m.talks) == 0 {
			return nil
		}
		i := m.rng.IntN(len(m.talks))
		if m.talks[0].burn > 0 { // trains of packets, as they are
			i = 0
		}
		k := m.talks[i]
		m.talks[0], m.talks[i] = k, m.talks[0]
		if k.burn--; k.burn < 0 {
			k.burn = m.rng.IntN(16)
		}
		if b, ok := k.next(); ok {
			return b
		}
		m.talks[0] = m.talks[len(m.talks)-1]
		m.talks = m.talks[:len(m.talks)-1]
	}
}

// TestShuntedMix: an hour of a cluster's traffic says the same whether flows are shunted or not. What is sent goes as fast as
// the sensor takes it that reads all: RAYTAP_SHUNT_MIX says for how long.
func TestShuntedMix(t *testing.T) {
	span, long := time.Second, os.Getenv("RAYTAP_SHUNT_MIX")
	if long != "" {
		var err error
		if span, err = time.ParseDuration(long); err != nil {
			t.Fatal(err)
		}
	}
	send := cable(t)
	shunting := &capture.ShuntConfig{After: capture.ShuntAfter, Least: capture.ShuntLeast, Tail: capture.ShuntTail}
	plain, shunt := listenLive(t, engine.Default(), capture.LiveConfig{}, nil), listenLive(t, engine.Default(), capture.LiveConfig{}, shunting)
	m := &mixed{t: t, rng: rand.New(rand.NewPCG(1, 2)), junk: make([]byte, 1<<20), hello: handshake(t), large: long == ""}
	for i := range m.junk {
		m.junk[i] = byte(m.rng.Uint32())
	}
	n, begin := 0, time.Now()
	for {
		b := m.frame()
		if b == nil {
			break
		}
		if err := send(b); err != nil {
			t.Fatal(err)
		}
		if n++; n%64 == 0 {
			for n > int(plain.seen.Load())+2000 {
				time.Sleep(time.Millisecond)
			}
			if time.Since(begin) > span {
				m.over = true
			}
		}
	}
	took := time.Since(begin)
	plain.end()
	shunt.end()
	f, live := &shunt.stats.Flow, shunt.stats.Live
	t.Logf("%d packets, %d connections in %v: at 20,000 packets in a second %v; %d packets shunted, %d times; %d and %d findings",
		n, m.n, took.Round(time.Second), (time.Duration(n) * time.Second / 20000).Round(time.Second), f.Shunted, f.Shunts, len(plain.ear.findings), len(shunt.ear.findings))
	if lost := plain.stats.Live.Dropped + live.Dropped; lost > 0 {
		t.Fatalf("%d packets were lost", lost)
	}
	if f.Shunted == 0 {
		tooFew(t, "nothing was shunted")
	}
	sameConns(t, plain, shunt, false)
	sameFindings(t, plain, shunt)
	sameCalls(t, plain, shunt)
	sameTunnels(t, plain, shunt)
	sameCounts(t, plain, shunt)
}
