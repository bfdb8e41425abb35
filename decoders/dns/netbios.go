package dns

const netbiosPort = 137

// netbiosName decodes the first-level encoding of RFC 1001 section 14.1: 16 bytes, each as two letters from A to P, of
// which the last byte is the type of service and no part of the name. Like Zeek it ends the name at the first byte
// that cannot be printed (0, 1 and 2 occur in names and stand) and drops the padding. It appends to dst and returns
// nil when s is no such name.
func netbiosName(dst, s []byte) []byte {
	if len(s) != 32 {
		return nil
	}
	for _, c := range s {
		if c|0x20 < 'a' || c|0x20 > 'p' {
			return nil
		}
	}
	for i := 0; i < 30; i += 2 {
		c := (s[i]|0x20-'a')<<4 | (s[i+1] | 0x20 - 'a')
		if c >= 3 && c < 0x20 || c >= 0x7f {
			break
		}
		dst = append(dst, c)
	}
	for len(dst) > 0 && (dst[len(dst)-1] == ' ' || dst[len(dst)-1] == 0) {
		dst = dst[:len(dst)-1]
	}
	return dst
}
