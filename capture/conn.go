package capture

// Log implements Record.
func (c *Conn) Log() string { return "conn" }

// Row implements Record: Zeek's conn.log, with community_id behind it.
func (c *Conn) Row(w Fields) {
	f := c.Flow
	if f == nil {
		f = &Flow{}
	}
	w.Time("ts", f.Start, true)
	f.ID(w)
	w.Enum("proto", ProtoName(f.Proto), true)
	service := ""
	for i, s := range c.Services {
		if i > 0 {
			service += ","
		}
		service += s
	}
	w.String("service", service, service != "")
	lasted := c.Duration > 0
	w.Interval("duration", c.Duration, lasted)
	w.Count("orig_bytes", c.Bytes[Orig], lasted)
	w.Count("resp_bytes", c.Bytes[Resp], lasted)
	w.String("conn_state", c.State, true)
	w.Bool("local_orig", c.Local[Orig], true)
	w.Bool("local_resp", c.Local[Resp], true)
	w.Count("missed_bytes", c.Missed, true)
	w.String("history", c.History, c.History != "")
	w.Count("orig_pkts", c.Pkts[Orig], true)
	w.Count("orig_ip_bytes", c.IPBytes[Orig], true)
	w.Count("resp_pkts", c.Pkts[Resp], true)
	w.Count("resp_ip_bytes", c.IPBytes[Resp], true)
	w.Set("tunnel_parents", "string", f.Tunnels, len(f.Tunnels) > 0)
	w.Count("ip_proto", uint64(f.Proto), true)
	w.String("community_id", c.CommunityID, true)
}

// Log implements Record.
func (x *Weird) Log() string { return "weird" }

// Row implements Record: Zeek's weird.log.
func (x *Weird) Row(w Fields) {
	w.Time("ts", x.Time, true)
	if x.Flow != nil {
		x.Flow.ID(w)
	} else {
		w.String("uid", "", false)
		Endpoints(w, x.Src, x.Dst)
	}
	w.String("name", x.Name, true)
	w.String("addl", x.Addl, x.Addl != "")
	w.Bool("notice", false, true)
	w.String("peer", "raytap", true)
	w.String("source", x.From, x.From != "")
}
