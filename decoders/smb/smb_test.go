package smb

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/file"
)

func spec() decoders.Spec {
	return decodertest.Following(New(file.NewCache(file.Options{HashLimit: 1 << 20})))
}

func le16(n int) string    { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }
func le32(n int) string    { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
func le64(n uint64) string { return string(binary.LittleEndian.AppendUint64(nil, n)) }
func zeros(n int) string   { return strings.Repeat("\x00", n) }

func wide(s string) string {
	var b []byte
	for _, c := range s {
		b = binary.LittleEndian.AppendUint16(b, uint16(c))
	}
	return string(b)
}

func frame(messages ...string) string {
	m := strings.Join(messages, "")
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(m)))) + m
}

// two is a message of SMB 2; status and tree stand in its header.
func two(cmd, mid, tid, status int, body string) string {
	return "\xfeSMB" + le16(64) + zeros(2) + le32(status) + le16(cmd) + zeros(2) + le32(0) + le32(0) + le64(uint64(mid)) + zeros(4) + le32(tid) + zeros(8+16) + body
}

// chain gives all but the last message the place of the next.
func chain(messages ...string) string {
	for i := range len(messages) - 1 {
		m := messages[i] + zeros((8-len(messages[i])%8)%8)
		messages[i] = m[:20] + le32(len(m)) + m[24:]
	}
	return frame(messages...)
}

func fid(n int) string { return le64(uint64(n)) + le64(0) }

func treeAsk(mid int, path string) string {
	return two(treeConnect, mid, 0, 0, le16(9)+le16(0)+le16(72)+le16(2*len(path))+wide(path))
}
func treeOK(mid, tid, kind int) string {
	return two(treeConnect, mid, tid, 0, le16(16)+string([]byte{byte(kind), 0})+zeros(12))
}
func createAsk(mid, tid int, name string) string {
	return two(create, mid, tid, 0, le16(57)+zeros(42)+le16(120)+le16(2*len(name))+zeros(8)+wide(name))
}
func createOK(mid, tid, f, size int) string {
	return two(create, mid, tid, 0, le16(89)+zeros(22)+le64(epoch+7)+zeros(16)+le64(uint64(size))+zeros(8)+fid(f)+zeros(8))
}
func readAsk(mid, tid, f, off int) string {
	return two(read, mid, tid, 0, le16(49)+zeros(2)+le32(1<<16)+le64(uint64(off))+fid(f)+zeros(17))
}
func readOK(mid, tid int, data string) string {
	return two(read, mid, tid, 0, le16(17)+"\x50\x00"+le32(len(data))+zeros(8)+data)
}
func writeAsk(mid, tid, f, off int, data string) string {
	return two(write, mid, tid, 0, le16(49)+le16(112)+le32(len(data))+le64(uint64(off))+fid(f)+zeros(16)+data)
}
func writeOK(mid, tid int) string { return two(write, mid, tid, 0, le16(17)+zeros(14)) }
func closeAsk(mid, tid, f int) string {
	return two(closeTwo, mid, tid, 0, le16(24)+zeros(6)+fid(f))
}
func renameAsk(mid, tid, f int, name string) string {
	info := zeros(16) + le32(2*len(name)) + wide(name)
	return two(setInfo, mid, tid, 0, le16(33)+"\x01\x0a"+le32(len(info))+le16(96)+zeros(6)+fid(f)+info)
}

var c, s = decodertest.C, decodertest.S

func opened(name string, size int) []decodertest.Step {
	return []decodertest.Step{
		c(frame(treeAsk(1, `\\host\share`))), s(frame(treeOK(1, 5, 1))),
		c(frame(createAsk(2, 5, name))), s(frame(createOK(2, 5, 77, size))),
	}
}

func then(before []decodertest.Step, more ...decodertest.Step) []decodertest.Step {
	return append(slices.Clip(before), more...)
}

// short tells files as the tests below write them down.
func short(events []any) string {
	var out []string
	for _, ev := range events {
		switch f := ev.(type) {
		case *file.File:
			t := fmt.Sprintf("%s %d/%d", f.Name, f.Seen, f.Total)
			if f.Missing > 0 {
				t += fmt.Sprintf(" missing %d", f.Missing)
			}
			if f.Sender == capture.Orig {
				t += " sent"
			}
			if f.TimedOut {
				t += " late"
			}
			if f.From != 0 {
				t += " unlogged"
			}
			if f.Hashed() {
				t += " hashed"
			}
			out = append(out, t)
		case *capture.Weird:
			out = append(out, f.Name)
		}
	}
	return strings.Join(out, "; ")
}

func TestFiles(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		steps      []decodertest.Step
	}{
		{"read as a whole", "a.txt 5/5 hashed", then(opened("a.txt", 5), c(frame(readAsk(3, 5, 77, 0))), s(frame(readOK(3, 5, "hello"))), c(frame(closeAsk(4, 5, 77))))},
		{"read in two, out of order", "a.txt 10/10 hashed", then(opened("a.txt", 10), c(frame(readAsk(3, 5, 77, 5))+frame(readAsk(4, 5, 77, 0))), s(frame(readOK(3, 5, "world"))), s(frame(readOK(4, 5, "hello"))))},
		{"written by a name that nobody saw", " 1/0 sent hashed", []decodertest.Step{c(frame(treeAsk(1, "s"))), s(frame(treeOK(1, 5, 1))), c(frame(closeAsk(2, 5, 77))), s(frame(createOK(3, 5, 77, 0))), c(frame(writeAsk(4, 5, 77, 0, "x"))), c(frame(closeAsk(5, 5, 77)))}},
		{"read twice over", "a.txt 10/10 hashed", then(opened("a.txt", 10), c(frame(readAsk(3, 5, 77, 0))+frame(readAsk(4, 5, 77, 0))+frame(readAsk(5, 5, 77, 4))), s(frame(readOK(3, 5, "hello"))), s(frame(readOK(4, 5, "hello"))), s(frame(readOK(5, 5, "oworld"))))},
		{"whole twice is two files", "a.txt 5/5 hashed; a.txt 5/5 hashed", then(opened("a.txt", 5), c(frame(readAsk(3, 5, 77, 0))+frame(readAsk(4, 5, 77, 0))), s(frame(readOK(3, 5, "hello"))), s(frame(readOK(4, 5, "hello"))))},
		{"read from the middle", "a.txt 4/99 missing 20", then(opened("a.txt", 99), c(frame(readAsk(3, 5, 77, 20))), s(frame(readOK(3, 5, "half"))), c(frame(closeAsk(4, 5, 77))))},
		{"written, never closed", "b.exe 6/0 sent late hashed", then(opened("b.exe", 0), c(frame(writeAsk(3, 5, 77, 0, "MZ\x90"))), c(frame(writeAsk(4, 5, 77, 3, "\x00\x03\x00"))), s(frame(writeOK(3, 5))))},
		{"compounded with its create", "c.ini 8/8 hashed", []decodertest.Step{
			c(chain(createAsk(1, 0, "c.ini"), readAsk(2, 0, 77, 0), closeAsk(3, 0, 77))), s(chain(createOK(1, 0, 77, 8))), c(frame(readAsk(4, 0, 77, 0))), s(chain(readOK(4, 0, "[a]\r\nb=1"))),
		}},
		{"renamed while it is written", "new 2/0 sent hashed; old 1/0 sent late hashed", then(opened("old", 0), c(frame(writeAsk(3, 5, 77, 0, "a"))), c(frame(renameAsk(4, 5, 77, "new"))), c(frame(writeAsk(5, 5, 77, 0, "bc"))), c(frame(closeAsk(6, 5, 77))))},
		{"a write of megabytes in one message", "big 200000/0 sent hashed", then(opened("big", 0), c(frame(writeAsk(3, 5, 77, 0, strings.Repeat("x", 200_000)))), c(frame(closeAsk(4, 5, 77))))},

		{"a pipe by its share", "", []decodertest.Step{
			c(frame(treeAsk(1, `\\host\IPC$`))), s(frame(treeOK(1, 5, 2))), c(frame(createAsk(2, 5, "atsvc"))), s(frame(createOK(2, 5, 77, 0))), c(frame(writeAsk(3, 5, 77, 0, "call"))),
		}},
		{"a pipe by its name", "", []decodertest.Step{c(frame(createAsk(2, 5, "srvsvc"))), s(frame(createOK(2, 5, 77, 0))), c(frame(writeAsk(3, 5, 77, 0, "call")))}},
		{"a handle that nobody saw opened", "", []decodertest.Step{c(frame(readAsk(3, 5, 77, 0))), s(frame(readOK(3, 5, "hello")))}},
		{"a read that failed", "", then(opened("a", 5), c(frame(readAsk(3, 5, 77, 0))), s(frame(two(read, 3, 5, 0x3fffffff, le16(17)+"\x50\x00"+le32(5)+zeros(8)+"hello"))))},
		{"more data than the message has", "", then(opened("a", 0), c(frame(writeAsk(3, 5, 77, 0, "abc")[:114])))},
		{"data inside the header", "", then(opened("a", 0), c(frame(strings.Replace(writeAsk(3, 5, 77, 0, "abc"), le16(49)+le16(112), le16(49)+le16(8), 1))))},
		{"a place beyond all files", "", then(opened("a", 0), c(frame(writeAsk(3, 5, 77, -1, "abc"))))},
		{"encrypted", "", then(opened("a", 0), c(frame("\xfdSMB"+zeros(200))))},
		{"not SMB", "", []decodertest.Step{c(frame("\xfeSMC" + zeros(200))), c("GET / HTTP/1.1\r\n\r\n")}},
		{"an empty frame", "", []decodertest.Step{c(zeros(64))}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := short(decodertest.Run(t, spec(), tc.steps...)); got != tc.want {
				t.Fatalf("got  %s\nwant %s", got, tc.want)
			}
			decodertest.CutAndPoison(t, spec(), tc.steps...)
		})
	}
}

// one is a message of SMB 1 with one command.
func one(cmd byte, mid, tid int, words, data string) string {
	return "\xffSMB" + string([]byte{cmd}) + zeros(6) + "\x80" + zeros(12) + le16(tid) + zeros(4) + le16(mid) + string([]byte{byte(len(words) / 2)}) + words + le16(len(data)) + data
}

func TestFilesOfOldVersion(t *testing.T) {
	name := zeros(1) + wide(`\dir\eicar.com`) + zeros(2)
	create := []decodertest.Step{
		c(frame(one(treeAndX, 1, 0, "\xff\x00"+zeros(4)+le16(1), "\x00"+wide(`\\h\C$`)+"\x00\x00?????\x00"))),
		s(frame(one(treeAndX, 1, 3, "\xff\x00"+zeros(4), "A:\x00"+wide("NTFS")+"\x00\x00"))),
		c(frame(one(createAndX, 2, 3, "\xff\x00"+zeros(46), name))),
		s(frame(one(createAndX, 2, 3, "\xff\x00"+zeros(3)+le16(0x4001)+zeros(20)+le64(epoch+9)+zeros(20)+le64(4)+zeros(5), ""))),
	}
	readOK := func(mid int, data string) decodertest.Step {
		return s(frame(one(readAndX, mid, 3, "\xff\x00"+zeros(8)+le16(len(data))+le16(32+1+24+2)+zeros(10), data)))
	}
	readAsk := func(mid, off int) decodertest.Step {
		return c(frame(one(readAndX, mid, 3, "\xff\x00"+zeros(2)+le16(0x4001)+le32(off)+zeros(10), "")))
	}
	writeAsk := func(mid, off int, data string) decodertest.Step {
		return c(frame(one(writeAndX, mid, 3, "\xff\x00"+zeros(2)+le16(0x4001)+le32(off)+zeros(10)+le16(len(data))+le16(32+1+28+2)+le32(0), data)))
	}
	closing := c(frame(one(closeOne, 9, 3, le16(0x4001)+zeros(4), "")))
	for _, tc := range []struct {
		name, want string
		steps      []decodertest.Step
	}{
		{"read", `\dir\eicar.com 4/4 hashed`, then(create, readAsk(3, 0), readOK(3, "X5O!"))},
		{"written in two", `\dir\eicar.com 8/4 sent hashed`, then(create, writeAsk(3, 4, "P%@A"), writeAsk(4, 0, "X5O!"), closing)},
		{"a second command in the message", `\dir\eicar.com 4/4 hashed`, then(create,
			c(frame(func() string {
				m := one(0x24, 3, 3, "\x2e\x00"+le16(55)+zeros(12), "")
				return m + "\x0a\xff\x00\x00\x00" + le16(0x4001) + le32(0) + zeros(10) + le16(0)
			}())), readOK(3, "X5O!"))},
		{"a command that names itself", "", then(create, c(frame(one(0x24, 3, 3, "\x24\x00"+le16(32)+zeros(12), ""))))},
		{"words beyond the message", "", then(create, c(frame(one(readAndX, 3, 3, zeros(20), "")[:40])))},
		{"the shared handle of pipes", "", []decodertest.Step{
			c(frame(one(treeAndX, 1, 0, "\xff\x00"+zeros(4)+le16(1), "\x00"+wide(`\\h\IPC$`)+"\x00\x00?????\x00"))),
			s(frame(one(treeAndX, 1, 3, "\xff\x00"+zeros(4), "IPC\x00"))), create[2], create[3], writeAsk(3, 0, "call"),
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := short(decodertest.Run(t, spec(), tc.steps...)); got != tc.want {
				t.Fatalf("got  %s\nwant %s", got, tc.want)
			}
			decodertest.CutAndPoison(t, spec(), tc.steps...)
		})
	}
}

// TestDigest: a file that came in any order has the digest of the file.
func TestDigest(t *testing.T) {
	data := strings.Repeat("0123456789abcdef", 9000)
	steps := opened("x", len(data))
	for i, off := range []int{100_000, 0, 70_000, 35_000, 30_000} {
		end := min(off+40_000, len(data))
		steps = append(steps, c(frame(readAsk(10+i, 5, 77, off))), s(frame(readOK(10+i, 5, data[off:end]))))
	}
	for i, off := range []int{135_000} {
		steps = append(steps, c(frame(readAsk(20+i, 5, 77, off))), s(frame(readOK(20+i, 5, data[off:]))))
	}
	f := decodertest.Run(t, spec(), steps...)[0].(*file.File)
	if f.MD5 != fmt.Sprintf("%x", md5.Sum([]byte(data))) || f.Seen != int64(len(data)) || f.Missing+f.Overflow != 0 {
		t.Errorf("%+v", f)
	}
}

// TestLoss: a message that is not whole does not count, but a hole in a long one is no more than that; reading goes on
// where a message begins.
func TestLoss(t *testing.T) {
	steps := then(opened("a.txt", 20), c(frame(readAsk(3, 5, 77, 0))), s(frame(readOK(3, 5, "0123456789"))[:90]))
	steps = append(steps, decodertest.Step{Dir: capture.Resp, Gap: 4})
	steps = append(steps, s("rest"), c(frame(readAsk(4, 5, 77, 10))), s(frame(readOK(4, 5, "0123456789"))), c(frame(closeAsk(5, 5, 77))))
	if got, want := short(decodertest.Run(t, spec(), steps...)), "a.txt 10/20 missing 10"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	long := frame(writeAsk(3, 5, 77, 0, strings.Repeat("x", 300_000)))
	steps = then(opened("a.bin", 0), c(long[:1000]), decodertest.Step{Dir: capture.Orig, Gap: 500}, c(long[1500:]), c(frame(closeAsk(5, 5, 77))))
	if got, want := short(decodertest.Run(t, spec(), steps...)), "a.bin 299500/0 missing 500 sent unlogged"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// Zeek reads none of that message, but those behind it.
	steps = then(opened("a.bin", 0), c(long[:1000]), decodertest.Step{Dir: capture.Orig, Gap: 500}, c(long[1500:]),
		c(frame(writeAsk(4, 5, 77, 300_000, "more"))), c(frame(closeAsk(5, 5, 77))))
	if got, want := short(decodertest.Run(t, spec(), steps...)), "a.bin 299504/0 missing 500 sent"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestIdle: Zeek's timer ends a file that nobody touches, at the second round at the latest.
func TestIdle(t *testing.T) {
	for _, tc := range []struct {
		last, now int64 // seconds since the first piece
		want      bool
	}{{0, 119, false}, {0, 120, true}, {60, 200, false}, {60, 239, false}, {60, 240, true}, {120, 241, true}, {121, 250, false}} {
		x := transfer{begun: true, first: capture.At{Time: 5e9}, last: capture.At{Time: capture.Time(5+tc.last) * 1e9}}
		if got := x.stale(capture.Time(5+tc.now) * 1e9); got != tc.want {
			t.Errorf("last %d s, now %d s: %v", tc.last, tc.now, got)
		}
	}
}

// TestBounds: handles, answers, trees and files of which none ends.
func TestBounds(t *testing.T) {
	r := New(file.NewCache(file.Options{HashLimit: 1 << 20}))(nullContext{}).(*reader)
	for i := range 3 * maxHandles {
		for _, x := range []string{frame(createAsk(i, i, fmt.Sprint("f", i))), frame(readAsk(i+1<<20, i, i, 0))} {
			r.Data(capture.Orig, []byte(x))
		}
		r.Data(capture.Resp, []byte(frame(createOK(i, i, i, 0))))
		r.Data(capture.Orig, []byte(frame(writeAsk(1<<30, i, i, 1000, "x"))))
		if len(r.pending) > maxPending || len(r.handles) > maxHandles || len(r.trees) > maxTrees || len(r.open) > maxOpen {
			t.Fatalf("%d: %d answers, %d handles, %d trees, %d files", i, len(r.pending), len(r.handles), len(r.trees), len(r.open))
		}
	}
	r.End(capture.Orig)
	r.End(capture.Resp)
	if len(r.open) != 0 {
		t.Error(len(r.open))
	}
}

type nullContext struct{ decoders.Context }

func (nullContext) Flow() *capture.Flow  { return &capture.Flow{} }
func (nullContext) At() capture.At       { return capture.At{} }
func (nullContext) Emit(any)             {}
func (nullContext) Weird(string, string) {}

// FuzzStream feeds both directions, cut, with a gap.
func FuzzStream(f *testing.F) {
	f.Add([]byte(frame(treeAsk(1, "s"))+frame(createAsk(2, 5, "n"))+frame(readAsk(3, 5, 77, 0))), []byte(frame(treeOK(1, 5, 1))+frame(createOK(2, 5, 77, 9))+frame(readOK(3, 5, "data"))), uint16(50))
	f.Add([]byte(chain(createAsk(1, 0, "c"), readAsk(2, 0, 77, 0))+frame(renameAsk(4, 0, 77, "d"))+frame(writeAsk(3, 0, 77, 1<<30, "x"))), []byte(frame(createOK(1, 0, 77, 0))), uint16(0))
	f.Add([]byte(frame(one(createAndX, 2, 3, "\x2e\x00\x20\x00"+zeros(44), wide("n")))+frame(one(readAndX, 3, 3, zeros(24), ""))), []byte(frame(one(createAndX, 2, 3, zeros(68), ""))+frame(one(readAndX, 3, 3, zeros(12)+"\x3a\x00"+zeros(10), "xx"))), uint16(9))
	f.Fuzz(func(t *testing.T, orig, resp []byte, gap uint16) {
		cut := int(gap) % (len(orig) + 1)
		decodertest.Run(t, spec(), decodertest.Step{Dir: capture.Orig, Data: orig[:cut]}, decodertest.Step{Dir: capture.Orig, Data: orig[cut:]}, decodertest.Step{Dir: capture.Resp, Data: resp},
			decodertest.Step{Dir: capture.Orig, Gap: int64(gap)}, decodertest.Step{Dir: capture.Orig, Data: orig}, decodertest.Step{Dir: capture.Resp, Data: resp, Gap: int64(gap)}, decodertest.Step{Dir: capture.Resp, Data: resp})
	})
}

// TestEncrypted: a connection on which all is encrypted is not read for ever, one that still says something is.
func TestEncrypted(t *testing.T) {
	r := New(file.NewCache(file.Options{}))(nullContext{}).(*reader)
	sealed := []byte(frame("\xfdSMB" + zeros(100)))
	for i := range 3 * maxSealed {
		if i%(maxSealed-1) == 0 {
			r.Data(capture.Orig, []byte(frame(treeAsk(i, "s"))))
		}
		if r.Data(capture.Resp, sealed); r.Done() {
			t.Fatal(i)
		}
	}
	for range maxSealed {
		r.Data(capture.Resp, sealed)
	}
	if !r.Done() {
		t.Error("reads on")
	}
}
