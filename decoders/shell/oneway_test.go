package shell

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/decoders/decodertest"
)

func TestOneSideAlone(t *testing.T) {
	for _, x := range []struct {
		says   string
		steps  []decodertest.Step
		text   string // "": nothing is told
		orders bool
	}{
		{"commands", []decodertest.Step{s("id\nuname -a\n"), s("cd /tmp; ls\r\n")}, "id\nuname -a\ncd /tmp; ls\r\n", true},
		{"an answer", []decodertest.Step{c("uid=0(root) gid=0(root)\n"), c("x\n")}, "uid=0(root) gid=0(root)\nx\n", false},
		{"a long text", []decodertest.Step{c(strings.Repeat("ls\n", 1000))}, strings.Repeat("ls\n", 1000)[:maxOneWay], false},
		{"a conversation", []decodertest.Step{c("id\n"), s("no\n")}, "", false},
	} {
		var got *OneWay
		for _, ev := range decodertest.Run(t, decodertest.Following(Text()), x.steps...) {
			got = ev.(*OneWay)
		}
		switch {
		case got == nil && x.text == "":
		case got == nil || string(got.Text) != x.text || got.Orders() != x.orders:
			t.Errorf("%s: %+v", x.says, got)
		}
	}
}
