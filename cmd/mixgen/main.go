// Mixgen writes captures for measuring: the same bytes for the same flags, on every machine.
//
//	mixgen -mix http  -packets 2000000 > http.pcap    kept-alive HTTP, 5.4 packets a request, 64 clients
//	mixgen -mix churn -packets 2000000 > churn.pcap   a connection a request, and a DNS look-up before each
//	mixgen -mix bulk  -packets 2000000 > bulk.pcap    eight elephants, full-sized segments
//	mixgen -mix objects -packets 2000000 > objects.pcap    objects of Ray on their way between nodes, over eight connections
//	mixgen -mix jobs  -packets 2000000 > jobs.pcap    http, and after every 100 requests a job submitted to Ray from outside
//	mixgen -mix flows -packets 1000000 > flows.pcap   one SYN, SYN-ACK, ACK each: concurrent flows
//
// Checksums are right, times go on by 2 µs a packet. It exists for the benchmarks of docs/performance.md and nothing else.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
)

type gen struct {
	w    *bufio.Writer
	rng  *rand.Rand
	n    int // packets written
	max  int
	ns   uint64
	junk []byte
	buf  []byte
}

const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// sum16 is the Internet checksum (RFC 1071) over b, continuing s.
func sum16(b []byte, s uint32) uint32 {
	for len(b) >= 2 {
		s += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// packet writes an Ethernet frame with an IPv4 packet.
func (g *gen) packet(src, dst uint32, proto byte, l4 []byte) {
	if g.n >= g.max {
		return
	}
	g.n++
	g.ns += 2000
	f := append(g.buf[:0], make([]byte, 16+14+20)...)
	size := 14 + 20 + len(l4)
	le := binary.LittleEndian
	le.PutUint32(f[0:], uint32(1_700_000_000+g.ns/1e9))
	le.PutUint32(f[4:], uint32(g.ns%1e9))
	le.PutUint32(f[8:], uint32(size))
	le.PutUint32(f[12:], uint32(size))
	eth := f[16:]
	copy(eth, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
	ip := f[30:50]
	be := binary.BigEndian
	ip[0], ip[8], ip[9] = 0x45, 64, proto
	be.PutUint16(ip[2:], uint16(20+len(l4)))
	be.PutUint32(ip[12:], src)
	be.PutUint32(ip[16:], dst)
	be.PutUint16(ip[10:], fold(sum16(ip, 0)))
	at := 16
	if proto == 17 {
		at = 6
	}
	pseudo := sum16(ip[12:20], uint32(proto)+uint32(len(l4)))
	be.PutUint16(l4[at:], fold(sum16(l4, pseudo)))
	f = append(f, l4...)
	g.buf = f
	if _, err := g.w.Write(f); err != nil {
		log.Fatal(err)
	}
}

// conn is a TCP connection; next[0] is the client's next sequence number.
type conn struct {
	g          *gen
	addr       [2]uint32
	port       [2]uint16
	next       [2]uint32
	l4         []byte
	requestNum int
}

func (c *conn) segment(side int, flags byte, data []byte) {
	l4 := append(c.l4[:0], make([]byte, 20)...)
	be := binary.BigEndian
	be.PutUint16(l4, c.port[side])
	be.PutUint16(l4[2:], c.port[side^1])
	be.PutUint32(l4[4:], c.next[side])
	if flags&ack != 0 {
		be.PutUint32(l4[8:], c.next[side^1])
	}
	l4[12], l4[13] = 5<<4, flags
	be.PutUint16(l4[14:], 65000)
	c.l4 = append(l4, data...)
	c.g.packet(c.addr[side], c.addr[side^1], 6, c.l4)
	c.next[side] += uint32(len(data))
	if flags&(syn|fin) != 0 {
		c.next[side]++
	}
}

func (g *gen) open(client, server uint32, cport, sport uint16) *conn {
	c := &conn{g: g, addr: [2]uint32{client, server}, port: [2]uint16{cport, sport}, next: [2]uint32{g.rng.Uint32(), g.rng.Uint32()}}
	c.segment(0, syn, nil)
	c.segment(1, syn|ack, nil)
	c.segment(0, ack, nil)
	return c
}

func (c *conn) close() {
	c.segment(0, fin|ack, nil)
	c.segment(1, fin|ack, nil)
	c.segment(0, ack, nil)
}

// exchange is a request and an answer of size bytes, in full-sized segments, each pair of them acknowledged.
func (c *conn) exchange(size int) {
	c.requestNum++
	c.segment(0, psh|ack, fmt.Appendf(nil, "GET /object/%d?q=%x HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: wrk/4.2\r\nAccept: */*\r\n\r\n",
		c.requestNum, c.g.rng.Uint32()))
	head := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n", size)
	body := append(head, c.g.junk[:size]...)
	for i := 0; len(body) > 0; i++ {
		n := min(len(body), 1448)
		c.segment(1, ack|psh, body[:n])
		body = body[n:]
		if i%2 == 1 {
			c.segment(0, ack, nil)
		}
	}
}

// job submits a command to Ray's dashboard.
func (c *conn) job() {
	body := `{"entrypoint": "python -c 'import os; print(os.environ)'"}`
	c.segment(0, psh|ack, fmt.Appendf(nil, "POST /api/jobs/ HTTP/1.1\r\nHost: 10.2.0.80:8265\r\nUser-Agent: python-requests/2.32\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	id := fmt.Sprintf(`{"job_id": "raysubmit_%016x", "submission_id": "raysubmit_%016[1]x"}`, c.g.rng.Uint64())
	c.segment(1, psh|ack, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\nServer: Python/3.11 aiohttp/3.9.5\r\n\r\n%s", len(id), id))
	c.segment(0, ack, nil)
}

// frame appends a frame of HTTP/2 (RFC 9113 section 4.1), of whose payload of n bytes b is the beginning.
func frame(to []byte, n int, kind, flags byte, stream uint32, b string) []byte {
	to = append(to, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return append(binary.BigEndian.AppendUint32(to, stream), b...)
}

// Fields as HPACK has them that uses no table of its own (RFC 7541 section 6.2.2).
const (
	grpcType = "\x0f\x10\x10application/grpc"
	pushHead = "\x83\x86\x04\x22/ray.rpc.ObjectManagerService/Push\x01\x0f10.2.0.80:41137" + grpcType + "\x00\x02te\x08trailers"
	answered = "\x88" + grpcType
	status   = "\x00\x0bgrpc-status\x010"
)

// pusher is a node that sends objects to another, as Ray 2.60 does: each piece of 5 MiB is a call, whose message is one frame,
// since gRPC asks for long frames on fast connections.
type pusher struct {
	*conn
	stream uint32
	left   int // of the frame
}

func (g *gen) pusher(client, server uint32, port uint16) *pusher {
	const settings = "\x00\x05\x00\xff\xff\xff" // frames of up to 16 MiB
	c := g.open(client, server, port, 41137)
	c.segment(0, psh|ack, frame([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), len(settings), 4, 0, 0, settings))
	c.segment(1, psh|ack, frame(frame(nil, len(settings), 4, 0, 0, settings), 0, 4, 1, 0, ""))
	c.segment(0, psh|ack, frame(nil, 0, 4, 1, 0, ""))
	return &pusher{conn: c, stream: 1}
}

// push sends two segments, which are acknowledged, and begins and ends calls where it is time to.
func (p *pusher) push() {
	const piece = 5 << 20
	if p.left == 0 {
		p.left = piece
		head := frame(nil, len(pushHead), 1, 4, p.stream, pushHead)
		p.segment(0, ack|psh, frame(head, 5+piece, 0, 1, p.stream, string(binary.BigEndian.AppendUint32([]byte{0}, piece))))
	}
	for range 2 {
		n := min(p.left, 1448)
		at := p.g.rng.IntN(len(p.g.junk) - n)
		p.segment(0, ack, p.g.junk[at:at+n])
		p.left -= n
	}
	p.segment(1, ack, nil)
	if p.left > 0 {
		return
	}
	b := frame(nil, 4, 8, 0, 0, string(binary.BigEndian.AppendUint32(nil, piece)))
	b = frame(b, len(answered), 1, 4, p.stream, answered)
	b = frame(b, 5, 0, 0, p.stream, "\x00\x00\x00\x00\x00")
	p.segment(1, ack|psh, frame(b, len(status), 1, 5, p.stream, status))
	p.segment(0, ack, nil)
	p.stream += 2
}

// lookup is a DNS question and its answer.
func (g *gen) lookup(client uint32, cport uint16, n int) {
	msg := make([]byte, 12, 64)
	binary.BigEndian.PutUint16(msg, uint16(g.rng.Uint32()))
	msg[2], msg[5] = 1, 1
	host := fmt.Sprintf("host%d", n%5000)
	msg = append(msg, byte(len(host)))
	msg = append(msg, host...)
	msg = append(msg, 7)
	msg = append(msg, "example\x03com\x00\x00\x01\x00\x01"...)
	send := func(from, to uint32, fp, tp uint16, m []byte) {
		l4 := make([]byte, 8, 8+len(m))
		binary.BigEndian.PutUint16(l4, fp)
		binary.BigEndian.PutUint16(l4[2:], tp)
		binary.BigEndian.PutUint16(l4[4:], uint16(8+len(m)))
		g.packet(from, to, 17, append(l4, m...))
	}
	const resolver = 10<<24 | 53
	send(client, resolver, cport, 53, msg)
	answer := append([]byte(nil), msg...)
	answer[2], answer[3], answer[7] = 0x81, 0x80, 1
	answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, byte(n))
	send(resolver, client, 53, cport, answer)
}

func main() {
	mix := flag.String("mix", "http", "http, churn, bulk, objects, jobs or flows")
	packets := flag.Int("packets", 1_000_000, "how many packets")
	seed := flag.Uint64("seed", 1, "of the random numbers")
	flag.Parse()
	g := &gen{w: bufio.NewWriterSize(os.Stdout, 1<<20), rng: rand.New(rand.NewPCG(*seed, 7)), max: *packets, junk: make([]byte, 1<<16)}
	for i := range g.junk {
		g.junk[i] = byte(g.rng.Uint32())
	}
	hdr := make([]byte, 24)
	binary.LittleEndian.PutUint32(hdr, 0xa1b23c4d)
	binary.LittleEndian.PutUint16(hdr[4:], 2)
	binary.LittleEndian.PutUint16(hdr[6:], 4)
	binary.LittleEndian.PutUint32(hdr[16:], 262144)
	binary.LittleEndian.PutUint32(hdr[20:], 1)
	if _, err := g.w.Write(hdr); err != nil {
		log.Fatal(err)
	}
	client := func(n int) uint32 { return 10<<24 | 1<<16 | uint32(n%60000) }
	const server = 10<<24 | 2<<16 | 80
	switch *mix {
	case "http", "jobs":
		var cs []*conn
		for i := range 64 {
			cs = append(cs, g.open(client(i), server, uint16(20000+i), 80))
		}
		for i := 1; g.n < g.max; i++ {
			cs[g.rng.IntN(len(cs))].exchange(3900)
			if *mix == "jobs" && i%100 == 0 {
				c := g.open(203<<24|113<<8|uint32(i/100%65000), server, uint16(1024+i/100%60000), 8265)
				c.job()
				c.close()
			}
		}
	case "churn":
		for i := 0; g.n < g.max; i++ {
			from, port := client(i%250+i/60000*250), uint16(1024+i%60000) // TIME_WAIT keeps a client from using a port again
			g.lookup(from, port, i)
			c := g.open(from, server+uint32(i%40), port, 80)
			c.exchange(600)
			c.close()
		}
	case "bulk":
		var cs []*conn
		for i := range 8 {
			cs = append(cs, g.open(client(i), server+uint32(i), uint16(30000+i), 9000))
		}
		for g.n < g.max {
			c := cs[g.rng.IntN(len(cs))]
			at := g.rng.IntN(len(g.junk) - 3000)
			c.segment(0, ack, g.junk[at:at+1448])
			c.segment(0, ack|psh, g.junk[at+1448:at+2896])
			c.segment(1, ack, nil)
		}
	case "objects":
		var ps []*pusher
		for i := range 8 {
			ps = append(ps, g.pusher(client(i), server+uint32(i), uint16(30000+i)))
		}
		for g.n < g.max {
			ps[g.rng.IntN(len(ps))].push()
		}
	case "flows":
		for i := 0; g.n < g.max; i++ {
			g.open(10<<24|8<<20|uint32(i/50000), server, uint16(1024+i%50000), 443)
		}
	default:
		log.Fatalf("mixgen: no mix %q", *mix)
	}
	if err := g.w.Flush(); err != nil {
		log.Fatal(err)
	}
}
