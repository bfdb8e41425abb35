package intel

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	// usualConfidence is what an indicator without one gets.
	usualConfidence = 60
	// maxExamples is how many lines are remembered of each reason to skip, and how many shared services are named.
	maxExamples = 3
	maxShared   = 20
	// maxReasons bounds the different reasons.
	maxReasons = 64
	// sniffLen is how much of a feed says what it is. The longest header of comments in use has 2 KiB.
	sniffLen = 64 << 10
	// maxLine bounds a line; MISP's comments run to kilobytes.
	maxLine = 1 << 20
	// maxDesc bounds a description.
	maxDesc = 120
	// maxNamed bounds the sources that one feed names.
	maxNamed = 1 << 12
)

// Feed is what was made of one feed.
type Feed struct {
	Name    string
	Format  string
	Records int // lines or objects that could have been indicators
	Added   [kinds]int
	Skipped []Skip
	Shared  []string // indicators that are shared services, the first of them
	NShared int
	Ended   int // whose end has passed at the time that Load was given
	Over    int // beyond MaxPerFeed
	Files   int // that it was read from, of a folder
	// Folder says that this is no feed, but tells of a folder, whose files are feeds of their own.
	Folder bool
	Left   []string  // what of a folder is not read, and why
	Remote bool      // it is from a server
	At     time.Time // which confirmed it then; zero: never
	seen   [2]int
}

// Skip is one reason why records were left out.
type Skip struct {
	Reason   string
	Count    int
	Examples []Example
}

// Example is where that happened.
type Example struct {
	Line  int // or the number of the object
	Value string
}

// Indicators is how many it gave.
func (f *Feed) Indicators() int {
	n := 0
	for _, k := range f.Added {
		n += k
	}
	return n
}

// Oldest and Newest are the days of its indicators; zero if it gives none.
func (f *Feed) Oldest() time.Time { return dayTime(f.seen[0]) }

// Newest is the last of them.
func (f *Feed) Newest() time.Time { return dayTime(f.seen[1]) }

func dayTime(d int) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Unix(int64(d)*86400, 0).UTC()
}

// record is one line or object of a feed.
type record struct {
	line       int
	value, typ string
	desc       string
	source     string
	shared     string
	confidence int // -1: not said
	seen       int // day
	until      int
}

// LoadBuiltIn reads the indicators that raytap comes with.
func (b *Builder) LoadBuiltIn(now time.Time) error {
	own, _ := data.Indicators()
	if _, err := b.Load("raytap", strings.NewReader(own), now); err != nil {
		return fmt.Errorf("built-in indicators: %w", err)
	}
	return nil
}

// BuiltIn is the set of those alone.
func BuiltIn(now time.Time) (*Set, error) {
	b := NewBuilder()
	if err := b.LoadBuiltIn(now); err != nil {
		return nil, err
	}
	return b.Build(), nil
}

// Load reads a feed in whatever of the formats it is into b. now is the day by which ended indicators are counted, not
// dropped: a capture may be older. An error is one of reading; what a feed has wrong in it is in Feed.Skipped.
func (b *Builder) Load(name string, r io.Reader, now time.Time) (*Feed, error) {
	l := b.Begin(name, now)
	return l.Feed(), l.Read(r)
}

// Begin is Load for a feed that is in several parts, each of which Read takes: what two of them have is one indicator of one
// source.
func (b *Builder) Begin(name string, now time.Time) *Loader {
	return &Loader{loader{b: b, f: &Feed{Name: name}, now: int(now.Unix() / 86400), named: map[string]uint16{}}}
}

// Loader reads the parts of a feed.
type Loader struct{ l loader }

// Feed is what was made of the parts so far.
func (l *Loader) Feed() *Feed { return l.l.f }

// Read reads a part.
func (l *Loader) Read(r io.Reader) error { return l.l.read(r) }

func (l *loader) read(r io.Reader) error {
	f := l.f
	br := bufio.NewReaderSize(r, sniffLen)
	if head, _ := br.Peek(2); len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(br)
		if err != nil {
			return err
		}
		br = bufio.NewReaderSize(z, sniffLen)
	}
	head, err := br.Peek(sniffLen)
	if err != nil && err != io.EOF && err != bufio.ErrBufferFull && len(head) == 0 {
		return err
	}
	f.Format = sniff(head)
	switch f.Format {
	case formatJSON:
		err = l.json(br)
	case formatZeek:
		err = l.zeek(br)
	case formatCSV:
		err = l.csv(br)
	default:
		err = l.list(br)
	}
	slices.SortStableFunc(f.Skipped, func(x, y Skip) int { return y.Count - x.Count })
	return err
}

// Formats, as Feed.Format names them. JSON is told apart by its objects.
const (
	formatJSON = "json"
	formatZeek = "zeek intel"
	formatCSV  = "csv"
	formatList = "list"
)

func sniff(head []byte) string {
	text := strings.TrimLeft(strings.TrimPrefix(string(head), "\ufeff"), " \t\r\n")
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") && !strings.HasPrefix(text, "[Adblock") {
		if c := strings.TrimLeft(text[1:], " \t\r\n"); c != "" && strings.IndexByte(`"{[]}`, c[0]) >= 0 {
			return formatJSON
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#fields\t") {
			return formatZeek
		}
		if columns(csvFields(strings.TrimLeft(line, "# "))) != nil {
			return formatCSV
		}
		if line != "" && line[0] != '#' && line[0] != ';' {
			break
		}
	}
	return formatList
}

type loader struct {
	b     *Builder
	f     *Feed
	now   int
	named map[string]uint16 // sources by name
}

func (l *loader) skip(r *record, reason string) {
	for i := range l.f.Skipped {
		if s := &l.f.Skipped[i]; s.Reason == reason {
			if s.Count++; len(s.Examples) < maxExamples {
				s.Examples = append(s.Examples, Example{r.line, detectors.Clip(r.value, 80)})
			}
			return
		}
	}
	if len(l.f.Skipped) >= maxReasons {
		reason = "other"
		if l.f.Skipped[maxReasons-1].Reason == reason {
			l.f.Skipped[maxReasons-1].Count++
			return
		}
		l.f.Skipped = l.f.Skipped[:maxReasons-1]
	}
	l.f.Skipped = append(l.f.Skipped, Skip{reason, 1, []Example{{r.line, detectors.Clip(r.value, 80)}}})
}

// types are the names that feeds have for what an indicator is. An empty kind of text is classified by its looks.
var types = map[string]func(*loader, *record, string) error{
	"ip": (*loader).address, "ip-dst": (*loader).address, "ip-src": (*loader).address, "ipv4": (*loader).address, "ipv6": (*loader).address,
	"ipv4-addr": (*loader).address, "ipv6-addr": (*loader).address, "addr": (*loader).address, "address": (*loader).address, "dst_ip": (*loader).address,
	"ip address": (*loader).address, "subnet": (*loader).address, "cidr": (*loader).address, "network": (*loader).address, "net": (*loader).address,
	"ip:port": (*loader).address, "ip-dst|port": (*loader).address, "ip-src|port": (*loader).address,
	"domain": (*loader).domain, "hostname": (*loader).domain, "fqdn": (*loader).domain, "domain-name": (*loader).domain, "host": (*loader).domain,
	"domain:port": (*loader).domain, "hostname|port": (*loader).domain, "hostname:port": (*loader).domain,
	"url": (*loader).url, "uri": (*loader).url, "url-prefix": (*loader).urlPrefix,
	"path": textOf(Path, strings.ToLower), "uri-path": textOf(Path, strings.ToLower), "path-part": (*loader).pathPart, "uri-substring": (*loader).pathPart,
	"file-name": (*loader).fileName, "filename": (*loader).fileName, "file_name": (*loader).fileName,
	"md5": (*loader).hash, "sha1": (*loader).hash, "sha256": (*loader).hash, "sha-1": (*loader).hash, "sha-256": (*loader).hash, "md5_hash": (*loader).hash,
	"sha1_hash": (*loader).hash, "sha256_hash": (*loader).hash, "filehash-md5": (*loader).hash, "filehash-sha1": (*loader).hash,
	"filehash-sha256": (*loader).hash, "file_hash": (*loader).hash, "hash": (*loader).hash, "filename|md5": (*loader).hash, "filename|sha1": (*loader).hash,
	"filename|sha256": (*loader).hash,
	"ja3":             (*loader).ja3, "ja3-fingerprint-md5": (*loader).ja3, "ja4": (*loader).ja4, "ja4-fingerprint": (*loader).ja4,
	"cert_hash": (*loader).cert, "x509-fingerprint-sha1": (*loader).cert, "x509-fingerprint-sha256": (*loader).cert, "ssl-cert-sha1": (*loader).cert,
	"wallet": textOf(Wallet, nil), "wallet-xmr": textOf(Wallet, nil), "xmr": textOf(Wallet, nil), "btc": textOf(Wallet, nil), "monero": textOf(Wallet, nil),
	"cryptocurrency": textOf(Wallet, nil), "user-agent": textOf(UserAgent, nil), "software": textOf(UserAgent, nil), "useragent": textOf(UserAgent, nil),
}

// add takes a record in.
func (l *loader) add(r record) {
	l.f.Records++
	if l.f.Indicators() >= MaxPerFeed {
		l.f.Over++
		return
	}
	if len(r.value) > maxValue {
		l.skip(&r, errLong.Error())
		return
	}
	v := refang(r.value)
	if v == "" || v == "-" {
		l.skip(&r, errEmpty.Error())
		return
	}
	typ := strings.ToLower(strings.TrimSpace(r.typ))
	typ = strings.TrimPrefix(typ, "intel::")
	if a, b, ok := strings.Cut(v, "|"); ok && (typ == "domain|ip" || typ == "domain | ip") {
		x := r
		if err := l.domain(&x, a); err != nil {
			l.skip(&r, err.Error())
		}
		if err := l.address(&r, b); err != nil {
			l.skip(&r, err.Error())
		}
		return
	}
	f := types[typ]
	if typ == "" {
		f = (*loader).guess
	}
	if f == nil {
		l.skip(&r, errWire.Error()+" ("+detectors.Clip(typ, 30)+")")
		return
	}
	if err := f(l, &r, v); err != nil {
		l.skip(&r, err.Error())
	}
}

// put makes an entry of what was understood.
func (l *loader) put(r *record, k Kind, h uint64, shared string) {
	if r.shared != "" {
		shared = r.shared
	}
	e := l.entry(r, k, shared)
	e.hash = h
	if l.b.add(k, e) {
		l.count(r, k, shared)
	}
}

// entry is a record without its value.
func (l *loader) entry(r *record, k Kind, shared string) entry {
	src := r.source
	if src == "" {
		src = l.f.Name
	}
	i, ok := l.named[src]
	if !ok && len(l.b.set.sources) < 1<<16-1 && len(l.named) < maxNamed {
		i = uint16(len(l.b.set.sources))
		l.b.set.sources = append(l.b.set.sources, detectors.Clip(strings.Clone(src), maxDesc))
		l.named[strings.Clone(src)] = i
	}
	m := meta{desc: l.b.text(detectors.Clip(r.desc, maxDesc)), shared: l.b.text(shared), confidence: usualConfidence, kind: k}
	m.sources[0] = i
	if r.confidence >= 0 {
		m.confidence = uint8(min(r.confidence, 100))
	}
	return entry{meta: l.b.meta(m), seen: uint16(min(max(r.seen, 0), 1<<16-1)), until: uint16(min(max(r.until, 0), 1<<16-1))}
}

func (l *loader) count(r *record, k Kind, shared string) {
	l.f.Added[k]++
	if shared != "" {
		if l.f.NShared++; len(l.f.Shared) < maxShared {
			l.f.Shared = append(l.f.Shared, detectors.Clip(refang(r.value), 80))
		}
	}
	if r.until != 0 && r.until < l.now {
		l.f.Ended++
	}
	if r.seen != 0 {
		if l.f.seen[0] == 0 || r.seen < l.f.seen[0] {
			l.f.seen[0] = r.seen
		}
		l.f.seen[1] = max(l.f.seen[1], r.seen)
	}
}

func textOf(k Kind, fold func(string) string) func(*loader, *record, string) error {
	return func(l *loader, r *record, v string) error {
		if fold != nil {
			v = fold(v)
		}
		l.put(r, k, hashText(k, v), "")
		return nil
	}
}

// address takes an address, a network, or either with a port behind ':' or '|'.
func (l *loader) address(r *record, v string) error {
	if strings.IndexByte(v, '/') >= 0 {
		p, err := prefixOf(v)
		if err != nil {
			return err
		}
		shared := l.b.shared.addr(p.Addr())
		if p.IsSingleIP() {
			l.put(r, IP, hashAddr(IP, p.Addr(), 0), shared)
			return nil
		}
		v6 := 0
		if p.Addr().Is6() {
			v6 = 1
		}
		l.b.lengths[v6][uint8(p.Bits())] = true
		l.put(r, Network, hashAddr(Network, p.Addr(), uint16(p.Bits())), shared)
		return nil
	}
	if a, port, ok := strings.Cut(v, "|"); ok {
		v = netipJoin(a, port)
	}
	if ap, err := netip.ParseAddrPort(v); err == nil {
		a, err := addrOf(ap.Addr().String())
		if err != nil {
			return err
		}
		if ap.Port() == 0 {
			return errKind
		}
		l.put(r, IPPort, hashAddr(IPPort, a, ap.Port()), l.b.shared.addr(a))
		return nil
	}
	a, err := addrOf(v)
	if err != nil {
		return err
	}
	l.put(r, IP, hashAddr(IP, a, 0), l.b.shared.addr(a))
	return nil
}

func netipJoin(a, port string) string {
	if strings.Contains(a, ":") {
		a = "[" + a + "]"
	}
	return a + ":" + port
}

func (l *loader) domain(r *record, v string) error {
	v = strings.ReplaceAll(v, "|", ":")
	name, port, hasPort := strings.Cut(v, ":")
	if _, err := netip.ParseAddr(name); err == nil {
		return l.address(r, v) // some feeds call an address a host
	}
	d, err := domainOf(name)
	if err != nil {
		return err
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return errKind
		}
		l.put(r, DomainPort, hashText(DomainPort, joinPort(d, uint16(n))), l.b.shared.name(d))
		return nil
	}
	l.put(r, Domain, hashText(Domain, d), l.b.shared.name(d))
	return nil
}

// url takes a URL. One without a path is its host: a request for anything there is meant.
func (l *loader) url(r *record, v string) error {
	u, err := urlOf(v)
	if err != nil {
		return err
	}
	host, path, _ := strings.Cut(u, "/")
	if path == "" {
		return l.guessHost(r, host)
	}
	l.put(r, URL, hashText(URL, u), "")
	return nil
}

func (l *loader) urlPrefix(r *record, v string) error {
	u, err := urlOf(v)
	if err != nil {
		return err
	}
	u = strings.TrimRight(u, "/")
	if !strings.Contains(u, "/") {
		return l.guessHost(r, u)
	}
	l.put(r, URLPrefix, hashText(URLPrefix, u), "")
	return nil
}

func (l *loader) pathPart(r *record, v string) error {
	const short = 6 // what is shorter is in too many paths
	if v = strings.ToLower(v); len(v) < short || len(l.b.set.parts) >= maxParts {
		return errKind
	}
	l.b.set.parts = append(l.b.set.parts, part{v, l.entry(r, PathPart, "")})
	l.count(r, PathPart, "")
	return nil
}

// fileName wants one with an extension, of some length: netsh and a.sh are in too many paths.
func (l *loader) fileName(r *record, v string) error {
	const short = 8
	if v = strings.ToLower(v); len(v) < short || strings.IndexByte(v, '.') < 0 || strings.IndexByte(v, '/') >= 0 {
		return errCommon
	}
	l.put(r, FileName, hashText(FileName, v), "")
	return nil
}

func (l *loader) hash(r *record, v string) error {
	if i := strings.LastIndexByte(v, '|'); i >= 0 {
		v = v[i+1:]
	}
	if n := len(v); n != 32 && n != 40 && n != 64 || !isHex(v) {
		return errKind
	}
	l.put(r, Hash, hashText(Hash, strings.ToLower(v)), "")
	return nil
}

func (l *loader) ja3(r *record, v string) error {
	if len(v) != 32 || !isHex(v) {
		return errKind
	}
	l.put(r, JA3, hashText(JA3, strings.ToLower(v)), "")
	return nil
}

func (l *loader) ja4(r *record, v string) error {
	if v = strings.ToLower(v); !isJA4(v) {
		return errKind
	}
	l.put(r, JA4, hashText(JA4, v), "")
	return nil
}

func (l *loader) cert(r *record, v string) error {
	v = strings.ReplaceAll(v, ":", "")
	if len(v) == 40 && isHex(v) {
		return errSHA1
	}
	if len(v) != 64 || !isHex(v) {
		return errKind
	}
	l.put(r, Cert, hashText(Cert, strings.ToLower(v)), "")
	return nil
}

// guess takes a value by its looks.
func (l *loader) guess(r *record, v string) error {
	switch {
	case strings.Contains(v, "://"):
		return l.url(r, v)
	case v[0] == '/':
		if len(v) < 4 {
			return errKind
		}
		l.put(r, Path, hashText(Path, strings.ToLower(v)), "")
		return nil
	case isHex(v) && (len(v) == 32 || len(v) == 40 || len(v) == 64):
		return l.hash(r, v)
	case isJA4(strings.ToLower(v)):
		return l.ja4(r, v)
	case isWallet(v):
		l.put(r, Wallet, hashText(Wallet, v), "")
		return nil
	case strings.IndexByte(v, '/') > 0:
		if _, err := netip.ParsePrefix(v); err == nil {
			return l.address(r, v)
		}
		return l.url(r, v)
	}
	return l.guessHost(r, v)
}

func (l *loader) guessHost(r *record, v string) error {
	if c := v[len(v)-1]; c >= '0' && c <= '9' || c == ']' || strings.Count(v, ":") > 1 {
		if err := l.address(r, v); err != errKind {
			return err
		}
	}
	if err := l.domain(r, v); err != errName {
		return err
	}
	return errKind
}

// parseDay reads the times that feeds write; 0 if it is none.
func parseDay(s string) int {
	s = strings.TrimSpace(s)
	if len(s) < 8 {
		return 0
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n > 1e12 {
			n /= 1000
		}
		if n > 1e8 && n < 1e10 { // seconds
			return int(n / 86400)
		}
		return 0
	}
	if len(s) >= 10 {
		for _, layout := range [...]string{"2006-01-02", "2006/01/02", "02.01.2006"} {
			if t, err := time.Parse(layout, s[:10]); err == nil {
				return max(int(t.Unix()/86400), 0)
			}
		}
	}
	return 0
}
