package capture

// etherTypeOf knows the names that may follow "ether proto". Up to 1500 it is an 802.2 service access point.
func etherTypeOf(s string) (uint32, bool) {
	n, ok := map[string]uint32{
		"ip": etherIPv4, "ip6": etherIPv6, "arp": 0x806, "rarp": 0x8035, "decnet": 0x6003, "atalk": 0x809b,
		"aarp": 0x80f3, "lat": 0x6004, "sca": 0x6007, "moprc": 0x6002, "mopdl": 0x6001, "loopback": 0x9000,
		"stp": 0x42, "netbeui": 0xf0,
	}[s]
	return n, ok
}

// ipProtoOf knows the names that may follow "proto": those of /etc/protocols that anybody filters for.
func ipProtoOf(s string) (uint32, bool) {
	n, ok := map[string]uint32{
		"icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "egp": 8, "igp": 9, "igrp": 9, "udp": 17, "ipv6": 41, "rsvp": 46,
		"gre": 47, "esp": 50, "ah": 51, "icmp6": 58, "ipv6-icmp": 58, "eigrp": 88, "ospf": 89, "ipip": 94, "pim": 103,
		"vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
	}[s]
	return n, ok
}

// service knows names of ports, with the protocols that they are registered for, as far as anybody filters for them.
func service(s string) (port uint32, tcp, udp bool) {
	v := map[string]struct {
		port     uint32
		tcp, udp bool
	}{
		"ftp-data": {20, true, false}, "ftp": {21, true, false}, "ssh": {22, true, false}, "telnet": {23, true, false},
		"smtp": {25, true, false}, "domain": {53, true, true}, "bootps": {67, false, true}, "bootpc": {68, false, true},
		"tftp": {69, false, true}, "http": {80, true, false}, "kerberos": {88, true, true}, "pop3": {110, true, false},
		"sunrpc": {111, true, true}, "ntp": {123, false, true}, "imap2": {143, true, false}, "imap": {143, true, false},
		"snmp": {161, true, true}, "snmp-trap": {162, true, true}, "bgp": {179, true, false}, "ldap": {389, true, true},
		"https": {443, true, true}, "microsoft-ds": {445, true, true}, "syslog": {514, false, true},
		"submission": {587, true, false}, "ldaps": {636, true, true}, "imaps": {993, true, false},
		"pop3s": {995, true, false}, "socks": {1080, true, false}, "ms-sql-s": {1433, true, false},
		"mysql": {3306, true, false}, "ms-wbt-server": {3389, true, false}, "mdns": {5353, false, true},
		"sip": {5060, true, true}, "postgresql": {5432, true, false}, "redis": {6379, true, false},
		"http-alt": {8080, true, true},
	}[s]
	return v.port, v.tcp, v.udp
}
