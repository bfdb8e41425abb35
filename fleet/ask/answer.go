package ask

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/record"
)

// Options say what a sensor answers with.
type Options struct {
	Sensor      string   // its name
	Version     string   // of raytap
	Logs        []string // folders of logs
	Record      string   // the recorder's folder; "": none
	Evidence    string   // where evidence is saved; "": in the recorder's folder
	Application string   // named in files of packets
	// Limits bound each answer, whatever is asked for. Bytes bounds rows and packets alike.
	Limits search.Limits
	// Concurrent is how many answers are given at once, 1 if it is 0; others are refused.
	Concurrent int
	// Settings takes over settings from a hub; nil: none are accepted.
	Settings *Accepted
	// Say is told in a sentence what was asked, from goroutines; nil: nobody is.
	Say func(string)
}

// Answerer answers what hubs ask a sensor.
type Answerer struct {
	opt    Options
	nc     *nats.Conn
	sub    *nats.Subscription
	slots  chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex
	closed bool
}

// Answer begins to answer on a connection of the sensor.
func Answer(nc *nats.Conn, opt Options) (*Answerer, error) {
	if opt.Say == nil {
		opt.Say = func(string) {}
	}
	a := &Answerer{opt: opt, nc: nc, slots: make(chan struct{}, max(opt.Concurrent, 1))}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	var err error
	if a.sub, err = nc.Subscribe(fleet.AskSubject(opt.Sensor, "*"), a.take); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	// Requests that wait are few; more are dropped by the library, and their askers hear nothing.
	a.sub.SetPendingLimits(64, 8<<20)
	return a, nil
}

// errClosed ends an answer for which the sensor had no time any more: without a word its asker would wait for minutes.
var errClosed = errors.New("it ended, or read its configuration again, before its answer was whole; ask again")

// Close ends all answers. Who waits for one is told so.
func (a *Answerer) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.sub.Unsubscribe()
	a.cancel()
	a.wg.Wait()
}

// take takes a request.
func (a *Answerer) take(m *nats.Msg) {
	if m.Reply == "" {
		return
	}
	verb := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	if verb == fleet.AskStatus { // which costs nothing
		a.end(m, done{Version: a.opt.Version}, "")
		return
	}
	select {
	case a.slots <- struct{}{}:
	default:
		a.fail(m, fmt.Errorf("it is busy with %d answers", cap(a.slots)))
		return
	}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		<-a.slots
		a.fail(m, errClosed)
		return
	}
	// What takes settings over may wait for who closes, and is not waited for.
	if verb != fleet.AskSettings {
		a.wg.Add(1)
	}
	a.mu.Unlock()
	go func() {
		if verb != fleet.AskSettings {
			defer a.wg.Done()
		}
		defer func() { <-a.slots }()
		switch verb {
		case fleet.AskSearch:
			a.search(m)
		case fleet.AskPackets:
			a.packets(m)
		case fleet.AskSettings:
			a.settings(m)
		default:
			a.fail(m, errors.New("it does not know that request; another version asks"))
		}
	}()
}

func (a *Answerer) fail(m *nats.Msg, err error) {
	text := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "ask: "), "search: "), "record: ")
	a.end(m, done{Version: a.opt.Version, Error: text}, text)
}

// end sends the last part; why is the reason for which the answer is not whole.
func (a *Answerer) end(m *nats.Msg, d done, why string) {
	b, err := json.Marshal(d)
	if err != nil {
		return
	}
	out := nats.NewMsg(m.Reply)
	out.Header.Set(fleet.HeaderDone, oneLine(why))
	out.Data = b
	a.nc.PublishMsg(out)
}

// oneLine is text that may stand in a header.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 512)])
}

// errStopped is that the asker wants no more.
var errStopped = errors.New("ask: nobody waits for the answer any more")

// parts sends an answer in parts.
type parts struct {
	a     *Answerer
	to    string
	n     int
	buf   []byte
	since time.Time // when the first byte of buf came
}

// begin begins an answer with an empty part. It returns nil if nobody waits for one.
func (a *Answerer) begin(m *nats.Msg) *parts {
	p := &parts{a: a, to: m.Reply}
	if p.send() == nil {
		return p
	}
	if a.ctx.Err() != nil {
		a.fail(m, errClosed)
	}
	return nil
}

// send sends what there is, and waits for its acknowledgement.
func (p *parts) send() error {
	out := nats.NewMsg(p.to)
	out.Header.Set(headerPart, strconv.Itoa(p.n))
	out.Data = p.buf
	ctx, cancel := context.WithTimeout(p.a.ctx, ackWithin)
	defer cancel()
	ack, err := p.a.nc.RequestMsgWithContext(ctx, out)
	if err != nil {
		return fmt.Errorf("%w: %w", errStopped, err)
	}
	if string(ack.Data) == ackStop {
		return errStopped
	}
	p.n++
	p.buf = p.buf[:0]
	return nil
}

// row adds a row. The first one goes at once.
func (p *parts) row(row []byte) error {
	if len(p.buf) == 0 {
		p.since = time.Now()
	} else if len(p.buf)+len(row)+1 > maxPart {
		if err := p.send(); err != nil {
			return err
		}
		p.since = time.Now()
	}
	p.buf = append(append(p.buf, row...), '\n')
	if p.n == 1 || len(p.buf) >= partBytes || time.Since(p.since) >= partEvery {
		return p.send()
	}
	return nil
}

// Write implements io.Writer.
func (p *parts) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		k := min(len(b), partBytes-len(p.buf))
		p.buf = append(p.buf, b[:k]...)
		b = b[k:]
		if len(p.buf) == partBytes {
			if err := p.send(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (a *Answerer) search(m *nats.Msg) {
	var req searchRequest
	err := decode(m.Data, &req)
	if err == nil {
		err = req.Query.Check()
	}
	if err != nil {
		a.fail(m, err)
		return
	}
	lim, own := req.Limits, a.opt.Limits
	lim.Time, lim.Rows, lim.Bytes, lim.Read, lim.Share = within(lim.Time, own.Time), within(lim.Rows, own.Rows), within(lim.Bytes, own.Bytes),
		within(lim.Read, own.Read), own.Share
	p := a.begin(m)
	if p == nil {
		return
	}
	long := 0
	res, err := search.Run(a.ctx, &req.Query, lim, func(row []byte) error {
		if len(row) > maxPart-1 {
			long++
			return nil
		}
		return p.row(row)
	}, a.opt.Logs...)
	if err == nil && len(p.buf) > 0 {
		err = p.send()
	}
	switch {
	case a.ctx.Err() != nil:
		a.fail(m, errClosed)
		return
	case errors.Is(err, errStopped):
		return
	}
	if long > 0 {
		res.Rows -= uint64(long)
		res.Unread = append(res.Unread, fmt.Sprintf("%d rows were too long to be sent", long))
	}
	for i, u := range res.Unread { // where its folders are is nobody's business
		for _, dir := range a.opt.Logs {
			u = strings.ReplaceAll(u, dir+"/", "")
		}
		res.Unread[i] = u
	}
	d := done{Version: a.opt.Version, Search: &res}
	if err != nil {
		d.Error = strings.TrimPrefix(err.Error(), "search: ")
		a.end(m, d, d.Error)
		return
	}
	a.end(m, d, res.Cut)
}

func (a *Answerer) packets(m *nats.Msg) {
	var req packetsRequest
	if err := decode(m.Data, &req); err != nil {
		a.fail(m, err)
		return
	}
	if a.opt.Record == "" && a.opt.Evidence == "" {
		a.fail(m, errors.New("it records no packets (record.folder)"))
		return
	}
	p := a.begin(m)
	if p == nil {
		return
	}
	sum := sha256.New()
	var res PacketsResult
	began, slice := time.Now(), time.Now()
	rest := func() error {
		if a.ctx.Err() != nil {
			return a.ctx.Err()
		}
		if t := a.opt.Limits.Time; t > 0 && time.Since(began) > t {
			return fmt.Errorf("ask: the packets were not all read within %v (answer.time)", t)
		}
		if s := a.opt.Limits.Share; s > 0 && s < 100 {
			time.Sleep(time.Since(slice) * time.Duration(100-s) / time.Duration(s))
		}
		slice = time.Now()
		return nil
	}
	count := &counter{w: io.MultiWriter(p, sum)}
	bound := within(req.Bytes, a.opt.Limits.Bytes)
	x, err := a.extract(count, req.Asked, bound, rest)
	if err == nil && len(p.buf) > 0 {
		err = p.send()
	}
	switch {
	case a.ctx.Err() != nil:
		a.fail(m, errClosed)
		return
	case errors.Is(err, errStopped):
		return
	case errors.Is(err, record.ErrUnknown):
		a.fail(m, errors.New("it has no packets of that: they were not recorded, or are too long ago"))
		return
	case err != nil:
		a.fail(m, err)
		return
	}
	res.Bytes, res.SHA256, res.Packets, res.Saved, res.Told = count.n, hex.EncodeToString(sum.Sum(nil)), x.Packets, x.Saved, x.Told
	for i, t := range res.Told {
		res.Told[i] = strings.ReplaceAll(t, a.opt.Record+"/", "")
	}
	if x.Cut {
		res.Cut = fmt.Sprintf("cut at %d bytes", bound)
	}
	a.end(m, done{Version: a.opt.Version, Packets: &res}, res.Cut)
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n uint64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += uint64(n)
	return n, err
}

// extract writes the file that was saved as evidence, which has the flow to its end, or else what the ring has.
func (a *Answerer) extract(w io.Writer, asked record.Asked, bound uint64, rest func() error) (record.Extracted, error) {
	for _, s := range [...]string{asked.ID, asked.UID, asked.Community} {
		if len(s) > 256 {
			return record.Extracted{}, record.ErrUnknown
		}
	}
	if asked.ID != "" {
		folder := a.opt.Evidence
		if folder == "" {
			folder = record.EvidenceFolder(a.opt.Record)
		}
		f, err := record.Saved(folder, asked.ID)
		if err == nil {
			defer f.Close()
			x := record.Extracted{Saved: true}
			var b [64 << 10]byte
			for sent := uint64(0); ; {
				n, err := f.Read(b[:])
				if bound > 0 && sent+uint64(n) > bound {
					n, x.Cut = int(bound-sent), true
				}
				if _, werr := w.Write(b[:n]); werr != nil {
					return x, werr
				}
				sent += uint64(n)
				if errors.Is(err, io.EOF) || x.Cut {
					return x, nil
				} else if err != nil {
					return x, err
				}
				if err := rest(); err != nil {
					return x, err
				}
			}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return record.Extracted{}, err
		}
	}
	if a.opt.Record == "" {
		return record.Extracted{}, record.ErrUnknown
	}
	folder, err := record.OpenFolder(a.opt.Record)
	if err != nil {
		return record.Extracted{}, err
	}
	return folder.Extract(w, asked, a.opt.Application, bound, rest)
}

func (a *Answerer) settings(m *nats.Msg) {
	if a.opt.Settings == nil {
		a.fail(m, errors.New("it accepts no settings (publish.accept)"))
		return
	}
	var applied Applied
	if len(bytes.TrimSpace(m.Data)) == 0 {
		applied = a.opt.Settings.Applied()
	} else {
		b, err := DecodeBundle(m.Data)
		if err != nil {
			a.fail(m, err)
			return
		}
		applied = a.opt.Settings.Take(b)
	}
	a.end(m, done{Version: a.opt.Version, Accept: a.opt.Settings.Sections, Applied: &applied}, applied.Refused)
}
