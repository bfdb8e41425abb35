package secrets

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"strconv"
)

// verdict is what a check says.
type verdict uint8

const (
	open    verdict = iota // it may be one
	refuted                // it is none
	proven                 // a checksum or structure is right
)

// checks compute what a regular expression cannot. The value is b[v0:v1].
var checks = map[string]func(b []byte, v0, v1 int) verdict{
	"github":         github,
	"npm":            npm,
	"grafana":        grafana,
	"jwt":            jwt,
	"jwt-kubernetes": jwtKubernetes,
	"pem":            pem,
	"url":            password,
	"login":          login,
	"environment":    environment,
	"named":          named,
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// crc62 says that the last six characters are the CRC-32 of the thirty before them, in base 62, as in GitHub's tokens
// since April 2021 and in npm's.
func crc62(v []byte) bool {
	if len(v) < 36 {
		return false
	}
	v = v[len(v)-36:]
	n := crc32.ChecksumIEEE(v[:30])
	for i := 35; i >= 30; i-- {
		if v[i] != base62[n%62] {
			return false
		}
		n /= 62
	}
	return n == 0
}

// github: every token of the shape has the checksum, so one without it is none, or an example.
func github(b []byte, v0, v1 int) verdict {
	if crc62(b[v0:v1]) {
		return proven
	}
	if example(b[v0:v1]) {
		return open
	}
	return refuted
}

func npm(b []byte, v0, v1 int) verdict {
	if crc62(b[v0:v1]) {
		return proven
	}
	return open
}

// grafana: the last eight digits are the CRC-32 of the 32 characters between prefix and underscore.
func grafana(b []byte, v0, v1 int) verdict {
	v := b[v0:v1]
	n, err := strconv.ParseUint(string(v[len(v)-8:]), 16, 32)
	if err == nil && uint32(n) == crc32.ChecksumIEEE(v[len("glsa_"):len(v)-9]) {
		return proven
	}
	return open
}

// part decodes the n-th part of a JSON web token.
func part(v []byte, n int) []byte {
	p := bytes.SplitN(v, []byte("."), 3)
	if len(p) != 3 {
		return nil
	}
	out, err := base64.RawURLEncoding.DecodeString(string(bytes.TrimRight(p[n], "=")))
	if err != nil {
		return nil
	}
	return out
}

// jwt: RFC 7519, a header that names an algorithm and claims that are an object.
func jwt(b []byte, v0, v1 int) verdict {
	var h struct {
		Alg string `json:"alg"`
	}
	if json.Unmarshal(part(b[v0:v1], 0), &h) != nil || h.Alg == "" || h.Alg == "none" {
		return refuted
	}
	if p := part(b[v0:v1], 1); len(p) == 0 || p[0] != '{' {
		return refuted
	}
	return proven
}

// jwtKubernetes: the claims of a service account.
func jwtKubernetes(b []byte, v0, v1 int) verdict {
	if p := part(b[v0:v1], 1); !bytes.Contains(p, []byte("kubernetes.io")) && !bytes.Contains(p, []byte("system:serviceaccount:")) {
		return refuted
	}
	return jwt(b, v0, v1)
}

// pem: what follows the line is base64 of a DER sequence, or of OpenSSH's own format; there may be headers before it.
func pem(b []byte, _, v1 int) verdict {
	const (
		enough = 60 // an Ed25519 key in PKCS #8 has 64 characters
		look   = 1 << 10
	)
	b = b[v1:min(v1+look, len(b))]
	encrypted := bytes.Contains(b[:min(len(b), 128)], []byte("ENCRYPTED"))
	if i := bytes.Index(b, []byte("\n\n")); encrypted && i > 0 {
		b = b[i:]
	}
	n, first := 0, byte(0)
	for i := 0; i < len(b) && n < enough; i++ {
		switch c := b[i]; {
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/':
			if n == 0 {
				first = c
			}
			n++
		case c == '\\' && i+1 < len(b) && (b[i+1] == 'n' || b[i+1] == 'r'):
			i++
		case c != '\n' && c != '\r' && c != ' ' && c != '\t' && c != '=':
			return refuted
		}
	}
	if n < enough || first != 'M' && first != 'b' {
		return refuted // 'M' is 0x30, a sequence; 'b' begins openssh-key-v1
	}
	return proven
}

// password: the password must not be a variable, and what connects to the machine itself is of no use elsewhere.
func password(b []byte, _, v1 int) verdict {
	host := b[min(v1+1, len(b)):]
	for _, own := range [...]string{"localhost", "127.0.0.1", "example."} {
		if bytes.HasPrefix(host, []byte(own)) {
			return refuted
		}
	}
	return open
}

// login: base64 of a name and a password, as Docker's config.json has it.
func login(b []byte, v0, v1 int) verdict {
	d, err := base64.StdEncoding.DecodeString(string(b[v0:v1]))
	if i := bytes.IndexByte(d, ':'); err != nil || i <= 0 || i == len(d)-1 {
		return refuted
	}
	for _, c := range d {
		if c < 0x20 || c > 0x7e {
			return refuted
		}
	}
	return open
}

// usual are variables that nearly every process has.
var usual = [...]string{"PATH=/", "HOME=/", "PWD=/", "OLDPWD=/", "USER=", "LOGNAME=", "SHELL=/", "HOSTNAME=", "LANG=", "LC_ALL=", "TERM=", "SHLVL=",
	"LD_LIBRARY_PATH=", "PYTHONPATH=", "VIRTUAL_ENV=", "KUBERNETES_SERVICE_HOST=", "CUDA_VISIBLE_DEVICES=", "MAIL=/", "XDG_RUNTIME_DIR=", "SSH_CONNECTION="}

// dumpOf is how many of them make a dump: a script sets one or two.
const dumpOf = 4

func environment(b []byte, _, _ int) verdict {
	n := 0
	for _, w := range usual {
		i := bytes.Index(b, []byte(w))
		if i < 0 || i > 0 && b[i-1] == '_' {
			continue
		}
		// A script says export PATH=, or expands what it assigns.
		line := b[max(i-8, 0):i]
		if bytes.HasSuffix(line, []byte("export ")) || bytes.HasSuffix(line, []byte("ENV ")) {
			continue
		}
		if n++; n >= dumpOf {
			return open
		}
	}
	return refuted
}

// named: an environment's variable is upper case, and a secret has more than letters of one case.
func named(b []byte, v0, v1 int) verdict {
	name := nameBefore(b, v0)
	if len(name) < 6 {
		return refuted
	}
	for i := range len(name) {
		if c := name[i]; c >= 'a' && c <= 'z' || c == '-' || c == '.' {
			return refuted
		}
	}
	digits, letters := false, false
	for _, c := range b[v0:v1] {
		digits = digits || c >= '0' && c <= '9'
		letters = letters || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	if !digits || !letters {
		return refuted
	}
	return open
}
