package mail

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/file"
)

func smtpSpec() decoders.Spec {
	return decodertest.Following(SMTP(file.NewCache(file.Options{HashLimit: 1 << 20})))
}

func pop3Spec() decoders.Spec {
	return decodertest.Following(POP3(file.NewCache(file.Options{HashLimit: 1 << 20})))
}

var c, s = decodertest.C, decodertest.S

// lines ends each line in CR LF.
func lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n" }

// tell writes files down as the tests below do: depth, name, length, and the content by its head.
func tell(events []any) string {
	var out []string
	for _, ev := range events {
		f, ok := ev.(*file.File)
		if !ok {
			out = append(out, fmt.Sprintf("%T", ev))
			continue
		}
		t := fmt.Sprintf("%d:%s:%d", f.Depth, f.Name, f.Seen)
		if f.Missing > 0 {
			t += fmt.Sprintf("-%d", f.Missing)
		}
		if f.MIME != "" {
			t += ":" + f.MIME
		}
		out = append(out, t)
	}
	return strings.Join(out, " ")
}

// sent is a conversation that sends the message.
func sent(message ...string) []decodertest.Step {
	return []decodertest.Step{
		c("EHLO me\r\n"), s("250-host\r\n250 PIPELINING\r\n"), c("MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n"), s("250 ok\r\n250 ok\r\n354 go\r\n"),
		c(lines(message...) + ".\r\n"), s("250 queued\r\n"),
	}
}

var exe = base64.StdEncoding.EncodeToString([]byte("MZ\x90\x00\x03\x00\x00\x00\x04"))

func TestMessages(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		message    []string
	}{
		{"text", "1::23:text/plain", []string{"Subject: hello", "", "hello, world", "..dot", "x"}},
		{"no fields", "1::14:text/plain", []string{"", "only content"}},
		{"no content", "", []string{"Subject: none", ""}},
		{"fields that never end", "", []string{"Subject: none", "X: y"}},
		{"attachment", "2::9 3:a.exe:9:application/x-dosexec", []string{
			`Content-Type: multipart/mixed;`, ` boundary="b1"`, "", "preamble", "--b1", "", "body text", "--b1",
			"Content-Type: application/octet-stream", "Content-Transfer-Encoding: base64", `Content-Disposition: attachment; filename="a.exe"`, "", exe, "--b1--", "epilogue",
		}},
		{"a message within", "3::16:text/plain", []string{"Content-Type: multipart/digest; boundary=b", "", "--b", "Content-Type: message/rfc822", "", "Subject: inner", "", "inner, content", "--b--"}},
		{"a boundary without quotes, and a comment", "2::4", []string{`Content-Type: (x) multipart / alternative; charset=us; boundary=a=_b`, "", "--a=_b", "", "text", "--a=_b--"}},
		{"parts without an end", "2::4 3::6", []string{"Content-Type: multipart/mixed; boundary=b", "", "--b", "", "text", "--b", "", "more", ""}},
		{"parts without a boundary", "1::11:text/plain", []string{"Content-Type: multipart/mixed", "", "--b", "text"}},
		{"another's boundary", "2::10:text/plain", []string{"Content-Type: multipart/mixed; boundary=bb", "", "--bb", "", "text", "--bx", "--bb--"}},
		{"quoted-printable", "1::23", []string{"Content-Transfer-Encoding: Quoted-Printable", "", "a=3Db=", "c =E4=  ", "d=ZZ plain  ", "end"}},
		{"base64 with rubbish and padding", "1::5", []string{"Content-Transfer-Encoding: base64", "", "aGV s*bG8=", "IGlnbm9yZWQ="}},
		{"base64 that stops short", "1::5", []string{"Content-Transfer-Encoding: base64", "", "aGVsbG8"}},
		{"a name in the type", "1:x y.sh:13:text/x-shellscript", []string{"Content-Type: text/plain;", "\tname*=UTF-8''x%20y.sh", "", "#!/bin/sh", ""}},
		{"dots", "1::12:text/plain", []string{"", "..", ". x", "...y"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tell(decodertest.Run(t, smtpSpec(), sent(tc.message...)...)); got != tc.want {
				t.Fatalf("got  %s\nwant %s", got, tc.want)
			}
			decodertest.CutAndPoison(t, smtpSpec(), sent(tc.message...)...)
		})
	}
}

func TestSMTP(t *testing.T) {
	mail := lines("", "some text")
	for _, tc := range []struct {
		name, want string
		steps      []decodertest.Step
	}{
		{"two mails", "1::11:text/plain 2::11:text/plain", []decodertest.Step{c("EHLO me\r\n"), s("250 x\r\n"), c("DATA\r\n"), s("354 go\r\n"), c(mail + ".\r\n"), s("250 ok\r\n"), c("DATA\r\n"), s("354 go\r\n"), c(mail + ".\r\n"), s("250 ok\r\nQUIT\r\n")}},
		{"refused", "", []decodertest.Step{c("DATA\r\n"), s("554 no\r\n"), c("\r\nDATA is a word\r\n")}},
		{"only the client was captured", "1::11:text/plain", []decodertest.Step{c("EHLO me\r\nMAIL FROM:<a>\r\nDATA\r\n" + mail + ".\r\nQUIT\r\n")}},
		{"never ends", "1::11:text/plain", []decodertest.Step{c("DATA\r\n" + mail)}},
		{"who authenticates says DATA", "", []decodertest.Step{c("AUTH LOGIN\r\n"), s("334 VXNlcg==\r\n"), c("DATA\r\n"), s("334 UGFzcw==\r\n"), c("DATA\r\n"), s("235 ok\r\n"), c("QUIT\r\n")}},
		{"chunks", "1::14:text/plain", []decodertest.Step{c("BDAT 9\r\n\r\nsome te"), s("250 ok\r\n"), c("BDAT 6 LAST\r\nxt\r\nx\n"), s("250 ok\r\n"), c("DATA\r\n"), s("500 no\r\n")}},
		{"a chunk of nothing", "", []decodertest.Step{c("BDAT 0 LAST\r\n"), s("250 ok\r\n"), c("BDAT -1\r\nBDAT x\r\nBDAT 99999999999999999999\r\n")}},
		{"bare line feeds", "1::11:text/plain", []decodertest.Step{c("DATA\n\nsome text\n.\n")}},
		{"a word that is none", "", []decodertest.Step{c("DATABASE\r\n" + mail + ".\r\n")}},
		{"a command in a line that is too long", "", []decodertest.Step{c("X" + strings.Repeat("x", 2*maxLine-1) + "DATA\r\n" + mail + ".\r\n")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tell(decodertest.Run(t, smtpSpec(), tc.steps...)); got != tc.want {
				t.Fatalf("got  %s\nwant %s", got, tc.want)
			}
			decodertest.CutAndPoison(t, smtpSpec(), tc.steps...)
		})
	}
}

// TestLoss: a mail ends at a loss, and what may be mail or commands is believed again when the server has spoken.
func TestLoss(t *testing.T) {
	steps := []decodertest.Step{c("DATA\r\n"), s("354 go\r\n"), c("\r\nsome text\r\nand"), {Dir: capture.Orig, Gap: 50}, c("rest\r\nDATA\r\n.\r\n"), s("250 ok\r\n"), c("DATA\r\n"), s("354 go\r\n"), c("\r\nother text\r\n.\r\n")}
	if got, want := tell(decodertest.Run(t, smtpSpec(), steps...)), "1::11-50:text/plain 2::12:text/plain"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	steps = []decodertest.Step{c("RETR 1\r\n"), s("+OK\r\n\r\nsome text\r\nand"), {Dir: capture.Resp, Gap: 50}, s("rest\r\nlast\r\n.\r\n"), c("RETR 2\r\n"), s("+OK\r\n\r\nother text\r\n.\r\n")}
	if got, want := tell(decodertest.Run(t, pop3Spec(), steps...)), "0::23-50:text/plain 0::12:text/plain"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPOP3(t *testing.T) {
	mail := lines("Subject: x", "", "some text")
	for _, tc := range []struct {
		name, want string
		steps      []decodertest.Step
	}{
		{"one after the other", "0::11:text/plain 0::11:text/plain", []decodertest.Step{c("PASS x\r\n"), s("+OK\r\n"), c("LIST\r\n"), s("+OK\r\n1 99\r\n2 99\r\n.\r\n"), c("RETR 1\r\n"), s("+OK 99\r\n" + mail + ".\r\n"), c("top 2 5\r\n"), s("+OK\r\n" + mail + ".\r\n")}},
		{"pipelined", "0::11:text/plain", []decodertest.Step{c("STAT\r\nUIDL\r\nUIDL 1\r\nRETR 1\r\nQUIT\r\n"), s("+OK 1 99\r\n+OK\r\n1 a\r\n.\r\n+OK 1 a\r\n+OK\r\n" + mail + ".\r\n+OK\r\n")}},
		{"no such mail", "", []decodertest.Step{c("RETR 7\r\n"), s("-ERR no\r\n"), c("LIST 1\r\n"), s("+OK 1 99\r\n\r\ntext\r\n.\r\n")}},
		{"a log-in that says RETR", "", []decodertest.Step{c("AUTH PLAIN\r\n"), s("+ \r\n"), c("RETR 1\r\n"), s("+OK\r\n"), c("NOOP\r\n"), s("+OK\r\n\r\ntext\r\n.\r\n")}},
		{"an answer that nobody asked for", "", []decodertest.Step{s("+OK\r\n" + mail + ".\r\n")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tell(decodertest.Run(t, pop3Spec(), tc.steps...)); got != tc.want {
				t.Fatalf("got  %s\nwant %s", got, tc.want)
			}
			decodertest.CutAndPoison(t, pop3Spec(), tc.steps...)
		})
	}
}

// TestBounds: parts within parts, commands without replies, and lines and fields without an end.
func TestBounds(t *testing.T) {
	nested := "DATA\r\n" + strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 3*maxDepth) + "\r\ntext\r\n.\r\n"
	events := decodertest.Run(t, smtpSpec(), c(nested))
	deepest := 0
	for _, ev := range events {
		if f, ok := ev.(*file.File); ok {
			deepest = max(deepest, f.Depth)
		}
	}
	if deepest > maxDepth+1 {
		t.Errorf("depth %d", deepest)
	}
	r := SMTP(file.NewCache(file.Options{}))(nil).(*smtp)
	for range 3 * maxPending {
		r.Data(capture.Orig, []byte("NOOP\r\n"))
		r.Data(capture.Orig, []byte(strings.Repeat("x", 1000)))
	}
	p := POP3(file.NewCache(file.Options{}))(nil).(*pop3)
	for range 3 * maxPending {
		p.Data(capture.Orig, []byte("NOOP\r\n"))
	}
	if len(r.pending) > maxPending || cap(r.line[0].held) > 2*maxLine || len(p.pending) > maxPending {
		t.Error(len(r.pending), cap(r.line[0].held), len(p.pending))
	}
	m := newMessage(&conversation{}, capture.Orig)
	m.line([]byte("Subject: x"), true)
	for range 1000 {
		m.line([]byte(" "+strings.Repeat("y", 1000)), true)
	}
	if len(m.top.field) > maxField {
		t.Error(len(m.top.field))
	}
}

// TestBase64InOneLine: what has no line ends is decoded as it comes.
func TestBase64InOneLine(t *testing.T) {
	content := strings.Repeat("#!/bin/sh\nid\n", 20_000)
	f := decodertest.Run(t, smtpSpec(), sent("Content-Transfer-Encoding: base64", "", base64.StdEncoding.EncodeToString([]byte(content)))...)[0].(*file.File)
	if f.Seen != int64(len(content)) || f.MIME != "text/x-shellscript" || !f.Hashed() {
		t.Errorf("%+v", f)
	}
}

func FuzzConversations(f *testing.F) {
	for _, m := range [][]string{
		{"Content-Type: multipart/mixed; boundary=b", "", "--b", "Content-Transfer-Encoding: quoted-printable", "", "a=3D=", "--b--"},
		{"Content-Type: message/rfc822", "", "Content-Transfer-Encoding: base64", "", "aGVsbG8="},
	} {
		f.Add([]byte("DATA\r\n"+lines(m...)+".\r\nBDAT 5\r\n12345AUTH X\r\n"), []byte("354 x\r\n250 y\r\n"), uint16(30))
		f.Add([]byte("RETR 1\r\nAUTH PLAIN\r\n"), []byte("+OK\r\n"+lines(m...)+".\r\n-ERR\r\n"), uint16(0))
	}
	f.Fuzz(func(t *testing.T, orig, resp []byte, gap uint16) {
		cut := int(gap) % (len(orig) + 1)
		for _, spec := range []decoders.Spec{smtpSpec(), pop3Spec()} {
			decodertest.Run(t, spec, decodertest.Step{Dir: capture.Orig, Data: orig[:cut]}, decodertest.Step{Dir: capture.Orig, Gap: int64(gap)}, decodertest.Step{Dir: capture.Resp, Data: resp},
				decodertest.Step{Dir: capture.Orig, Data: orig}, decodertest.Step{Dir: capture.Resp, Data: resp, Gap: int64(gap % 7)}, decodertest.Step{Dir: capture.Resp, Data: resp})
			if len(orig)+len(resp) < 300 {
				decodertest.CutAndPoison(t, spec, decodertest.Step{Dir: capture.Orig, Data: orig}, decodertest.Step{Dir: capture.Resp, Data: resp}, decodertest.Step{Dir: capture.Orig, Data: orig[:cut]})
			}
		}
	})
}
