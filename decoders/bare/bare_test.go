package bare

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/file"
)

func spec() decoders.Spec { return Spec(file.NewCache(file.Options{})) }

const elf = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"

func TestFiles(t *testing.T) {
	for _, x := range []struct {
		says  string
		steps []decodertest.Step
		kind  file.Kind
	}{
		{"a program that the server hands out", []decodertest.Step{decodertest.S(elf + strings.Repeat("x", 5000))}, file.Executable},
		{"one that is sent", []decodertest.Step{decodertest.C(elf), decodertest.C("abc")}, file.Executable},
		{"a script", []decodertest.Step{decodertest.S("#!/bin/sh\nid\n")}, file.Script},
		{"a model, and a word of thanks", []decodertest.Step{decodertest.C("\x90\x00\x00\x00\x00\x00\x00\x00{\"a\":{\"dtype\":\"F16\"}}"), decodertest.S("ok\n")}, file.Safetensors},
	} {
		got := decodertest.Run(t, spec(), x.steps...)
		if len(got) != 1 || got[0].(*Transfer).File.Kind != x.kind {
			t.Errorf("%s: %+v", x.says, got)
		}
	}
	for says, steps := range map[string][]decodertest.Step{
		"lines":            {decodertest.S("220 ready\r\n"), decodertest.C("EHLO x\r\n")},
		"a dialogue":       {decodertest.C("\x1f\x8b\x08\x00"), decodertest.S(strings.Repeat("x", 300))},
		"noise":            {decodertest.C("\x90\x00\x00\x00\x00\x00\x00\x00ab")},
		"a greeting first": {decodertest.S("hello\n"), decodertest.C(elf)},
	} {
		if got := decodertest.Run(t, spec(), steps...); len(got) != 0 {
			t.Errorf("%s: %+v", says, got)
		}
	}
}
