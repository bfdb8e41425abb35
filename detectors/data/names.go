package data

import "strings"

// Private reports whether nobody can own a host name on the Internet, so that it can only mean a machine of the site: names
// without a dot, and those under top-level domains that are not delegated (RFC 2606, 6761 and 6762, RFC 8375 for home.arpa,
// .internal as ICANN reserves it, and what sites and Kubernetes make up). Names below .arpa are addresses read backwards.
// Not among them are .test and .example, which exercises use for machines of an attacker. The name is in lower case.
func Private(name string) bool {
	name = strings.TrimSuffix(name, ".")
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return true
	}
	switch name[i+1:] {
	case "local", "localhost", "localdomain", "internal", "intranet", "lan", "corp", "home", "private", "svc", "arpa", "invalid":
		return true
	}
	return false
}
