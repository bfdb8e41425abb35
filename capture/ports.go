package capture

// likelyServer says whether a port usually belongs to a server. It is used only to guess who opened a flow whose
// beginning was not seen, as Zeek does with its likely_server_ports; it never chooses a decoder.
func likelyServer(proto uint8, port uint16) bool {
	if proto == ProtoTCP {
		switch port {
		case 21, 2811, 22, 25, 587, 53, 79, 80, 81, 631, 3128, 8000, 8080, 8888, 88, 110, 135, 139, 445, 143, 389, 3268,
			443, 465, 563, 585, 614, 636, 989, 990, 992, 993, 995, 5223, 502, 514, 1080, 1434, 3306, 1883, 3389, 5222, 5269,
			5432, 6379, 6666, 6667, 6668, 6669, 20000:
			return true
		}
		return false
	}
	switch port {
	case 53, 67, 4011, 88, 123, 137, 161, 162, 389, 443, 514, 1812, 2123, 2152, 3389, 3544, 4789, 5060, 5072, 5353, 5355,
		6081, 20000:
		return true
	}
	return false
}
