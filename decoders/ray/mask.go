package ray

import (
	"regexp"
	"strings"
)

// maxMask bounds what Mask looks at; what lies behind is cut off, not shown unmasked.
const maxMask = 128 << 10

// Shapes of credentials that stand on their own. The first group is what stays.
var (
	maskURL    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^/\s'"@]{1,256}@`)
	maskNamed  = regexp.MustCompile(`(?i)([A-Z0-9_-]{0,64}(?:token|secret|passw(?:or)?d|passwd|api[_-]?key|access[_-]?key(?:[_-]?id)?|private[_-]?key|credentials?|x-amz-signature|redis-password)["']?\s{0,4}[=:]\s{0,4}["']?)(?:Bearer\s+)?[^\s"'&;,|}]{3,}`)
	maskOption = regexp.MustCompile(`(?i)(--?(?:[a-z0-9_-]{0,32}(?:token|secret|password|passwd|api-?key))\s+["']?)[^\s"'&;|-][^\s"'&;|]{2,}`)
	maskBearer = regexp.MustCompile(`(?i)((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}`)
	maskKnown  = regexp.MustCompile(`\b(AKIA|ASIA|hf_|sk-(?:proj-|ant-|live_)?|sk_live_|rk_live_|gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|AIza|ya29\.|npm_|pypi-|dckr_pat_|nvapi-|gsk_|r8_|wandb_v1_)[A-Za-z0-9_./+=-]{10,}`)
	maskJWT    = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?`)
	maskPEM    = regexp.MustCompile(`(-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----)[\s\S]*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|$)`)
)

// Mask replaces what looks like a credential in s: passwords in URLs, values of names such as TOKEN or PASSWORD, keys
// of the usual services by their prefix, JSON web tokens, private keys. It is for everything that is shown.
func Mask(s string) string {
	if len(s) < 8 {
		return s
	}
	s = bound(s, maxMask)
	// Regular expressions are slow; most commands hold none of these.
	if strings.Contains(s, "-----BEGIN") {
		s = maskPEM.ReplaceAllString(s, "$1***")
	}
	if strings.Contains(s, "://") && strings.IndexByte(s, '@') >= 0 {
		s = maskURL.ReplaceAllString(s, "$1***@")
	}
	low := strings.ToLower(s)
	for _, w := range [...]string{"token", "secret", "passw", "key", "credential", "signature"} {
		if strings.Contains(low, w) {
			s = maskNamed.ReplaceAllString(s, "$1***")
			s = maskOption.ReplaceAllString(s, "$1***")
			break
		}
	}
	if strings.Contains(low, "bearer") || strings.Contains(low, "basic") {
		s = maskBearer.ReplaceAllString(s, "$1***")
	}
	if strings.Contains(s, "eyJ") {
		s = maskJWT.ReplaceAllString(s, "eyJ***")
	}
	return maskKnown.ReplaceAllString(s, "$1***")
}

func maskAll(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = Mask(s)
	}
	return out
}
