package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/ask"
	"github.com/raytap/raytap/fleet/hub"
	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/fleet/store"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/terminal"
)

// errNone is that nothing was found, or not everywhere: standard error has said so.
var errNone = errors.New("")

// asking is a command that asks sensors.
type asking struct {
	*ask.Asker
	dir    *hub.Dir
	ctx    context.Context
	closes []func()
}

// dial opens the hub's folder and connects to its NATS, which must run.
func dial(c *call) (*asking, error) {
	d, err := hub.OpenDir(*c.data, false)
	if err != nil {
		return nil, err
	}
	nc, err := hub.Dial(*c.data)
	if err != nil {
		d.Close()
		return nil, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	return &asking{&ask.Asker{Conn: nc}, d, ctx, []func(){nc.Close, func() { d.Close() }, stop}}, nil
}

func (a *asking) close() {
	for _, f := range a.closes {
		f()
	}
}

// sensors returns those that are named, or else all that are enrolled and not revoked.
func (a *asking) sensors(named []string) ([]string, error) {
	if len(named) > 0 {
		for _, n := range named {
			if err := fleet.CheckSensor(n); err != nil {
				return nil, err
			}
		}
		return named, nil
	}
	all, err := a.dir.Store().Enrolments()
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range all {
		if e.Revoked.IsZero() {
			names[e.Name] = true
		}
	}
	if a.dir.Settings().External { // whose credentials may be made elsewhere
		seen, err := a.dir.Store().Sensors()
		if err != nil {
			return nil, err
		}
		for n := range seen {
			names[n] = n != fleet.HubSensor
		}
		maps.DeleteFunc(names, func(_ string, is bool) bool { return !is })
	}
	if len(names) == 0 {
		return nil, errors.New("no sensor is enrolled")
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// say prints a line about a sensor.
func say(c *call, sensor, format string, a ...any) {
	fmt.Fprintf(c.stderr, "raytap hub: %s: %s\n", terminal.Clean(sensor), terminal.Clean(fmt.Sprintf(format, a...)))
}

func searchSensors(c *call) error {
	x := search.AddFlags(c.FlagSet)
	var named list
	c.Var(&named, "sensor", "ask only these sensors, `NAMES`; may be repeated (default: all)")
	within := c.Duration("answer-within", 3*time.Second, "a sensor that has said nothing for `TIME` does not answer")
	if err := c.parse(0); err != nil {
		return err
	}
	if err := x.Check(); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	a, err := dial(c)
	if err != nil {
		return err
	}
	defer a.close()
	names, err := a.sensors(named)
	if err != nil {
		return err
	}
	a.Within = *within
	out := bufio.NewWriterSize(c.stdout, 64<<10)
	p := search.NewPrinter(out, x)
	rows, flushed := 0, time.Time{}
	all, err := a.Search(a.ctx, names, &x.Query, x.Limits, func(row []byte) error {
		rows++
		if err := p.Row(row); err != nil {
			return err
		}
		if time.Since(flushed) > 100*time.Millisecond {
			flushed = time.Now()
			return out.Flush()
		}
		return nil
	})
	if perr := errors.Join(p.Close(), out.Flush()); err == nil {
		err = perr
	}
	if err != nil {
		return err
	}
	whole := true
	for _, o := range all {
		switch {
		case o.Err != nil:
			say(c, o.Sensor, "%v", o.Err)
			whole = false
		case o.Result.Cut != "":
			say(c, o.Sensor, "%s: there may be more", o.Result.Cut)
		}
		if o.Bad > 0 {
			say(c, o.Sensor, "%d rows were damaged, and are left out", o.Bad)
			whole = false
		}
		for _, u := range o.Result.Unread[:min(len(o.Result.Unread), 20)] {
			say(c, o.Sensor, "%s", u)
			whole = false
		}
	}
	if !whole || rows == 0 {
		return errNone
	}
	return nil
}

func fetchPackets(c *call) error {
	var asked record.Asked
	var named list
	c.StringVar(&asked.ID, "finding", "", "packets of the finding or incident `ID`")
	c.StringVar(&asked.UID, "uid", "", "packets of the flow `UID`, of a sensor that is named")
	c.StringVar(&asked.Community, "community-id", "", "packets of flows with the Community ID `CID`")
	c.Var(&named, "sensor", "ask only these sensors, `NAMES`; may be repeated (default: those that saw the finding; for a Community ID, all)")
	each := c.Bool("each", false, "fetch from each sensor that has some, into FILE with its name in front of the extension")
	out := c.String("o", "", "write to `FILE` (default: the ID, with .pcapng)")
	most := size(1 << 30)
	c.Var(&most, "max-size", "fetch at most `SIZE` from a sensor")
	if err := c.parse(0); err != nil {
		return err
	}
	set := 0
	for _, s := range [...]string{asked.ID, asked.UID, asked.Community} {
		if s != "" {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("%w: one of --finding, --uid and --community-id is needed", errUsage)
	case asked.ID != "" && !record.CheckID(asked.ID):
		return fmt.Errorf("%w: %q is not the id of a finding or an incident", errUsage, asked.ID)
	case asked.UID != "" && len(named) == 0:
		return fmt.Errorf("%w: --uid needs --sensor: a flow has another UID at each", errUsage)
	}
	a, err := dial(c)
	if err != nil {
		return err
	}
	defer a.close()
	names := []string(named)
	if asked.ID != "" && len(names) == 0 {
		get := a.dir.Store().Findings
		if asked.ID[0] == 'I' {
			get = a.dir.Store().Incidents
		}
		items, err := get(store.Query{ID: asked.ID})
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return fmt.Errorf("there is no %s here; --sensor NAME asks a sensor nevertheless", asked.ID)
		}
		names = slices.DeleteFunc(items[0].Sensors, func(n string) bool { return n == fleet.HubSensor })
	}
	if names, err = a.sensors(names); err != nil {
		return err
	}
	if *out == "" {
		*out = strings.NewReplacer("/", "_", "+", "-", ":", "-").Replace(asked.ID+asked.UID+asked.Community) + ".pcapng"
	}
	got, whole := 0, true
	for _, n := range names {
		file := *out
		if *each && len(names) > 1 {
			ext := filepath.Ext(file)
			file = strings.TrimSuffix(file, ext) + "-" + fleet.Token(n) + ext
		}
		var res ask.PacketsResult
		var failed error
		err := disk.Private().Replace(file, func(w io.Writer) error {
			res, failed = a.Packets(a.ctx, n, asked, uint64(most), w)
			return failed
		})
		if failed != nil {
			err = failed
		}
		if err != nil {
			if a.ctx.Err() != nil {
				return a.ctx.Err()
			}
			say(c, n, "%v", err)
			whole = false
			continue
		}
		packets := ""
		if res.Packets > 0 {
			packets = terminal.Number(res.Packets) + " packets, "
		}
		fmt.Fprintf(c.stdout, "%s: %s%s from %s\n", terminal.Clean(file), packets, terminal.Size(res.Bytes), terminal.Clean(n))
		if res.Cut != "" {
			say(c, n, "%s: there is more", res.Cut)
		}
		for _, t := range res.Told {
			say(c, n, "%s", t)
		}
		if got++; !*each {
			return nil
		}
	}
	if got == 0 || *each && !whole {
		return errNone
	}
	return nil
}

func settings(c *call) error {
	note := c.String("note", "", "`TEXT` that history shows")
	var intel, named list
	c.Var(&intel, "intel", "`FILE` of indicators that goes with the settings; may be repeated")
	c.Var(&named, "sensor", "with status: only these sensors, `NAMES` (default: all)")
	c.usage = `hub settings show|history|status
       raytap hub settings set FILE [--intel FILE] [--note TEXT]
       raytap hub settings rollback N`
	if err := c.parseSome(); err != nil {
		return err
	}
	verb, rest := "", c.args
	if len(rest) > 0 {
		verb, rest = rest[0], rest[1:]
	}
	need := map[string]int{"set": 1, "show": 0, "history": 0, "rollback": 1, "status": 0}
	n, ok := need[verb]
	if verb == "show" && len(rest) == 1 { // a version
		n = 1
	}
	if !ok || len(rest) != n {
		return fmt.Errorf("%w: set FILE, show [N], history, rollback N or status", errUsage)
	}
	a, err := dial(c)
	if err != nil {
		return err
	}
	defer a.close()
	v, err := ask.OpenVersions(a.ctx, a.Conn)
	if err != nil {
		return err
	}
	s := &fleetSettings{c, a, v, named}
	switch verb {
	case "set":
		return s.set(rest[0], intel, *note)
	case "rollback":
		return s.rollback(rest[0])
	case "show":
		return s.show(rest)
	case "history":
		return s.history()
	default:
		return s.status()
	}
}

// fleetSettings is what the settings command works on.
type fleetSettings struct {
	c     *call
	a     *asking
	v     *ask.Versions
	named []string // sensors
}

// set makes a file, and indicators, the settings of all sensors.
func (s *fleetSettings) set(file string, intel []string, note string) error {
	text, err := readSettings(file)
	if err != nil {
		return err
	}
	var files []ask.File
	for _, name := range intel {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files = append(files, ask.File{Name: filepath.Base(name), Data: data})
	}
	b, err := s.v.Set(s.a.ctx, text, files, note)
	if err != nil {
		return err
	}
	return s.send(b)
}

// rollback sets again what an earlier version was.
func (s *fleetSettings) rollback(text string) error {
	version, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%w: %q is not a version", errUsage, text)
	}
	b, err := s.v.Rollback(s.a.ctx, version)
	if err != nil {
		return err
	}
	return s.send(b)
}

// show prints the version that is named, or else the current one.
func (s *fleetSettings) show(version []string) error {
	var b *ask.Bundle
	var err error
	if len(version) == 0 {
		b, err = s.v.Current(s.a.ctx)
	} else {
		b, err = versionOf(s.a.ctx, s.v, version[0])
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(s.c.stdout, "# version %d, %s\n", b.Version, about(b))
	for _, f := range b.Intel {
		fmt.Fprintf(s.c.stdout, "# indicators: %s, %s\n", f.Name, terminal.Size(uint64(len(f.Data))))
	}
	_, err = io.WriteString(s.c.stdout, terminal.CleanLines(b.Text))
	return err
}

// history lists the versions.
func (s *fleetSettings) history() error {
	all, err := s.v.History(s.a.ctx)
	if err != nil {
		return err
	}
	var lines [][]string
	for _, b := range all {
		lines = append(lines, []string{strconv.FormatUint(b.Version, 10), b.At.Format("2006-01-02 15:04:05"), strconv.Itoa(strings.Count(b.Text, "\n")), strconv.Itoa(len(b.Intel)), b.Note})
	}
	return table(s.c.stdout, "VERSION SET LINES INDICATOR_FILES NOTE", lines)
}

// status asks sensors what they run.
func (s *fleetSettings) status() error {
	names, err := s.a.sensors(s.named)
	if err != nil {
		return err
	}
	told, err := s.a.Settings(s.a.ctx, names, nil)
	if err != nil {
		return err
	}
	return s.printTold(told)
}

// send sends a version that was just set to the sensors that there are.
func (s *fleetSettings) send(b *ask.Bundle) error {
	names, err := s.a.sensors(s.named)
	fmt.Fprintf(s.c.stdout, "version %d is set\n", b.Version)
	if err != nil { // nobody to wait for: the hub brings it to sensors that come
		return nil
	}
	told, err := s.a.Settings(s.a.ctx, names, b)
	if err != nil {
		return err
	}
	err = s.printTold(told)
	if errors.Is(err, errNone) {
		fmt.Fprintln(s.c.stdout, "Sensors that are away get it when they are back.")
	}
	return err
}

// printTold prints what sensors run. It returns errNone if one of them did not answer, or refused its settings.
func (s *fleetSettings) printTold(told []ask.Told) error {
	whole := true
	var lines [][]string
	for _, t := range told {
		running, state := strconv.FormatUint(t.Running, 10), "in force"
		switch {
		case t.Err != nil:
			running, state = "", t.Err.Error()
			whole = false
		case t.Refused != "":
			state = fmt.Sprintf("version %d was refused: %s", t.RefusedVersion, t.Refused)
			whole = false
		case t.Running == 0:
			state = "its own configuration"
		case len(t.Ignored) > 0:
			state += ", without " + strings.Join(t.Ignored, ", ")
		}
		lines = append(lines, []string{t.Sensor, running, strings.Join(t.Accept, ","), state})
	}
	if err := table(s.c.stdout, "SENSOR VERSION ACCEPTS STATE", lines); err != nil {
		return err
	}
	if !whole {
		return errNone
	}
	return nil
}

func about(b *ask.Bundle) string {
	s := "set " + b.At.Format("2006-01-02 15:04:05 UTC")
	if b.Note != "" {
		s += ": " + terminal.Clean(b.Note)
	}
	return s
}

func versionOf(ctx context.Context, v *ask.Versions, text string) (*ask.Bundle, error) {
	all, err := v.History(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if strconv.FormatUint(b.Version, 10) == text {
			return b, nil
		}
	}
	return nil, fmt.Errorf("there is no version %s; raytap hub settings history lists them", text)
}

// readSettings reads a file of settings; "-" is standard input.
func readSettings(name string) (string, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return "", err
		}
		defer f.Close()
	}
	b, err := io.ReadAll(io.LimitReader(f, ask.MaxSettings+1))
	return string(b), err
}

// pushEvery is how often the hub looks whether sensors run what they should.
const pushEvery = 5 * time.Second

// pushSettings brings settings to sensors while the hub runs.
func pushSettings(ctx context.Context, nc *nats.Conn, data string, told func(string)) {
	for ctx.Err() == nil {
		if err := pushOnce(ctx, nc, data, told); err != nil && ctx.Err() == nil {
			told("settings: " + err.Error())
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * pushEvery):
		}
	}
}

func pushOnce(ctx context.Context, nc *nats.Conn, data string, told func(string)) error {
	d, err := hub.OpenDir(data, false)
	if err != nil {
		return err
	}
	defer d.Close()
	v, err := ask.OpenVersions(ctx, nc)
	if err != nil {
		return err
	}
	p := &ask.Pusher{Asker: &ask.Asker{Conn: nc}, Versions: v, Told: func(t ask.Told) {
		switch {
		case errors.Is(t.Err, ask.ErrSilent):
		case t.Err != nil:
			told(fmt.Sprintf("sensor %s took no settings over: %v", t.Sensor, t.Err))
		case t.Refused != "":
			told(fmt.Sprintf("sensor %s refused version %d of the settings: %s", t.Sensor, t.RefusedVersion, t.Refused))
		default:
			told(fmt.Sprintf("sensor %s runs version %d of the settings", t.Sensor, t.Running))
		}
	}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		seen := map[string]float64{}
		for tick := time.NewTicker(pushEvery); ; {
			all, err := d.Sensors()
			for _, s := range all {
				if err == nil && s.LastSeen > seen[s.Name] { // it has said something since
					seen[s.Name] = s.LastSeen
					p.Seen(s.Name, s.Settings)
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	}()
	return p.Run(ctx)
}
