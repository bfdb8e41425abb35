package http

import (
	"bytes"

	"github.com/raytap/raytap/decoders"
)

// again finds HTTP/1 in a stream that was something else, or that nobody knew, up to there.
func again() decoders.Again {
	a := decoders.Again{First: []string{"HT"}, Probe: probeAgain} // of answers
	for _, list := range [][]string{methods[:], extensions[:]} {
		for _, m := range list {
			a.First = append(a.First, m[:2])
		}
	}
	return a
}

// probeAgain wants a request with a known method, a target as clients write it, a version, and a field behind it; or
// the first line of an answer. Where it is not the sender's turn, it wants both.
func probeAgain(orig, resp []byte, turn bool) decoders.Verdict {
	q, p := requestAgain(orig), answerAgain(resp)
	verdict := decoders.Yes
	if q == impossible && p == impossible || len(orig) == 0 && p == impossible || len(resp) == 0 && q == impossible {
		q, p, verdict = requestAgain(resp), answerAgain(orig), decoders.Flipped
	}
	switch {
	case q == certain && p == certain, turn && (q == certain || p == certain):
		return verdict
	case q == impossible && p != certain, p == impossible && q != certain:
		return decoders.No
	case q == impossible || p == impossible:
		// One side is certain, and the other has said something else.
		if len(orig) > 0 && len(resp) > 0 {
			return decoders.No
		}
	}
	return decoders.Maybe
}

// requestAgain says whether a request begins at b; nothing at all may begin one.
func requestAgain(b []byte) certainty {
	if len(b) == 0 {
		return possible
	}
	m := methodAt(b)
	if m == "" {
		return impossible
	}
	if len(b) <= len(m)+1 {
		return possible
	}
	switch t := b[len(m)+1:]; {
	case t[0] == '/', t[0] == '*', m == "CONNECT" && tokens[t[0]]:
	case len(t) < len("https://") && (bytes.HasPrefix([]byte("http://"), t) || bytes.HasPrefix([]byte("https://"), t)):
		return possible
	case bytes.HasPrefix(t, []byte("http://")), bytes.HasPrefix(t, []byte("https://")):
	default:
		return impossible
	}
	n := bytes.IndexByte(b, '\n')
	if n < 0 {
		return possible
	}
	line := bytes.TrimRight(b[:n], " \t\r")
	if r, ok := parseRequestLine(line); !ok || r.http09 || r.major > '1' || !isVersion(line[len(line)-len("HTTP/1.1"):]) {
		return impossible // more behind the version is prose
	}
	if b = b[n+1:]; len(b) == 0 || b[0] == '\r' || b[0] == '\n' {
		return certain
	}
	for i, c := range b[:min(len(b), maxLine)] {
		switch {
		case c == ':' && i > 0:
			return certain
		case !tokens[c]:
			return impossible
		}
	}
	return certain // a field's name that was cut
}

// methodAt gives the method that b begins with, or that it is the beginning of.
func methodAt(b []byte) string {
	for _, list := range [][]string{methods[:], extensions[:]} {
		for _, m := range list {
			if m[0] != b[0] {
				continue
			}
			if n := min(len(b), len(m)); string(b[:n]) == m[:n] && (len(b) <= len(m) || b[len(m)] == ' ') {
				return m
			}
		}
	}
	return ""
}

// answerAgain says whether an answer begins at b; nothing at all may begin one.
func answerAgain(b []byte) certainty {
	if len(b) == 0 {
		return possible
	}
	c := responseAt(b)
	const form = "HTTP/1.1 200"
	if c == certain && len(b) > len(form) && b[len(form)] != ' ' && b[len(form)] != '\r' && b[len(form)] != '\n' {
		return impossible
	}
	return c
}
