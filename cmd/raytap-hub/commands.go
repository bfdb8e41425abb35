package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/fleet/hub"
	"github.com/raytap/raytap/fleet/store"
	"github.com/raytap/raytap/sinks/terminal"
)

func enroll(c *call) error {
	var urls list
	c.Var(&urls, "url", "`URL` that the sensor connects to, tls://HOST:PORT; may be repeated (default: as the hub was told)")
	renew := c.Bool("renew", false, "revoke the credentials that the sensor has")
	out := c.String("o", "", "write to `FILE`, which must not exist, instead of standard output")
	if err := c.parse(1); err != nil {
		return err
	}
	d, err := hub.OpenDir(*c.data, true)
	if err != nil {
		return err
	}
	defer d.Close()
	b, err := d.Enroll(c.args[0], urls, *renew)
	if b == nil {
		return err
	}
	if *out == "" {
		_, werr := c.stdout.Write(b)
		return errors.Join(err, werr)
	}
	f, werr := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if werr != nil {
		return errors.Join(err, werr)
	}
	_, werr = f.Write(b)
	return errors.Join(err, werr, f.Close())
}

func revoke(c *call) error {
	if err := c.parse(1); err != nil {
		return err
	}
	d, err := hub.OpenDir(*c.data, false)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Revoke(c.args[0])
}

func backup(c *call) error {
	if err := c.parse(1); err != nil {
		return err
	}
	d, err := hub.OpenDir(*c.data, false)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Backup(c.args[0])
}

func restore(c *call) error {
	second := c.Bool("second", false, "the folder is for another hub at the same NATS")
	if err := c.parse(1); err != nil {
		return err
	}
	return hub.Restore(c.args[0], *c.data, *second)
}

// table prints lines of cells; what cells say is anybody's.
func table(w io.Writer, head string, lines [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(head, " ", "\t"))
	for _, cells := range lines {
		for i := range cells {
			cells[i] = strings.ReplaceAll(terminal.Clean(cells[i]), "\t", " ")
			if cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

func clock(ts float64) string {
	if ts == 0 {
		return ""
	}
	return store.Time(ts).Format("2006-01-02 15:04:05")
}

func ago(ts float64) string {
	if ts == 0 {
		return ""
	}
	return time.Since(store.Time(ts)).Round(time.Second).String()
}

func listSensors(c *call) error {
	asJSON := c.Bool("json", false, "print an array of objects")
	if err := c.parse(0); err != nil {
		return err
	}
	d, err := hub.OpenDir(*c.data, false)
	if err != nil {
		return err
	}
	defer d.Close()
	all, err := d.Sensors()
	if err != nil {
		return err
	}
	if *asJSON {
		return printJSON(c.stdout, all)
	}
	var lines [][]string
	for _, s := range all {
		loss, skew, behind := "", "", ""
		if s.LastSeen != 0 {
			loss = strconv.FormatFloat(s.Loss, 'f', 2, 64) + "%"
			behind = (time.Duration(s.Behind) * time.Second).String()
		}
		if s.Version != "" {
			skew = strconv.FormatFloat(s.Skew, 'f', 1, 64) + "s"
		}
		lines = append(lines, []string{s.Name, s.State, ago(s.LastSeen), clock(s.LastPacket), loss, s.Version, skew, behind,
			strconv.FormatUint(s.Rows, 10), strconv.FormatUint(s.Refusals, 10), strings.Join(s.Findings, ",")})
	}
	return table(c.stdout, "SENSOR STATE SEEN LAST_PACKET LOSS VERSION CLOCK BEHIND ROWS REFUSED OPEN", lines)
}

// query adds the flags of a list.
func query(c *call) (read func() (store.Query, error), asJSON *bool) {
	var q store.Query
	asJSON = c.Bool("json", false, "print an object a line")
	sev := c.String("severity", "info", "at least `SEVERITY`: info, low, medium, high, critical")
	since := c.String("since", "", "last seen at `TIME` or later: 2026-11-30T12:00:00Z, or how long ago: 24h")
	until := c.String("until", "", "first seen at `TIME` or earlier")
	c.StringVar(&q.Sensor, "sensor", "", "seen by sensor `NAME`")
	c.StringVar(&q.Rule, "rule", "", "of rule `RULE`")
	c.StringVar(&q.Host, "host", "", "from or to `IP`")
	c.StringVar(&q.State, "state", "", "in `STATE`: open, closed")
	c.StringVar(&q.ID, "id", "", "with this `ID`")
	c.IntVar(&q.Limit, "n", 1000, "the latest `N`; 0: all")
	return func() (store.Query, error) {
		if err := c.parse(0); err != nil {
			return q, err
		}
		s, err := detectors.ParseSeverity(*sev)
		if err != nil {
			return q, fmt.Errorf("%w: %w", errUsage, err)
		}
		q.Severity = int(s)
		if q.Since, err = moment(*since); err == nil {
			q.Until, err = moment(*until)
		}
		return q, err
	}, asJSON
}

func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%w: %q is no time such as 2026-11-30T12:00:00Z or 24h", errUsage, s)
	}
	return t, nil
}

// listItems is what findings, incidents and assets do alike.
func listItems(c *call, get func(*store.Store, store.Query) ([]store.Item, error), head string, cells func(store.Item, map[string]any) []string) error {
	read, asJSON := query(c)
	q, err := read()
	if err != nil {
		return err
	}
	d, err := hub.OpenDir(*c.data, false)
	if err != nil {
		return err
	}
	defer d.Close()
	all, err := get(d.Store(), q)
	if err != nil {
		return err
	}
	return printAll(c, all, *asJSON, head, func(x store.Item) ([]string, error) {
		row, err := decoded(x.Body)
		return cells(x, row), err
	})
}

// printAll prints a table with a line for each of all, or if so asked an object a line.
func printAll[T any](c *call, all []T, asJSON bool, head string, cells func(T) ([]string, error)) error {
	if asJSON {
		enc := json.NewEncoder(c.stdout)
		for _, x := range all {
			if err := enc.Encode(x); err != nil {
				return err
			}
		}
		return nil
	}
	var lines [][]string
	for _, x := range all {
		line, err := cells(x)
		if err != nil {
			return err
		}
		lines = append(lines, line)
	}
	return table(c.stdout, head, lines)
}

func decoded(body []byte) (row map[string]any, err error) {
	err = json.Unmarshal(body, &row)
	return row, err
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		var all []string
		for _, x := range v {
			all = append(all, text(x))
		}
		return strings.Join(all, ",")
	}
	return fmt.Sprint(v)
}

func listFindings(c *call) error {
	return listItems(c, (*store.Store).Findings, "LAST ID SEVERITY RULE N STATE SENSORS FINDING", func(x store.Item, row map[string]any) []string {
		return []string{clock(x.Last), x.ID, detectors.Severity(x.Severity).String(), text(row["rule"]), strconv.Itoa(x.N), x.State, strings.Join(x.Sensors, ","), text(row["msg"])}
	})
}

func listIncidents(c *call) error {
	return listItems(c, (*store.Store).Incidents, "LAST ID SEVERITY SCORE STATE ATTACKERS VICTIMS SENSORS SUMMARY", func(x store.Item, row map[string]any) []string {
		return []string{clock(x.Last), x.ID, detectors.Severity(x.Severity).String(), text(row["score"]), x.State, text(row["attackers"]), text(row["victims"]),
			strings.Join(x.Sensors, ","), text(row["summary"])}
	})
}

func listAssets(c *call) error {
	return listItems(c, (*store.Store).Assets, "LAST ASSET GRADE VERSION HEADS AUTH SENSORS", func(x store.Item, row map[string]any) []string {
		return []string{clock(x.Last), x.ID, text(row["grade"]), text(row["version"]), text(row["heads"]), text(row["auth"]), strings.Join(x.Sensors, ",")}
	})
}

func listHistory(c *call) error {
	asJSON := c.Bool("json", false, "print an object a line")
	if err := c.parse(1); err != nil {
		return err
	}
	d, err := hub.OpenDir(*c.data, false)
	if err != nil {
		return err
	}
	defer d.Close()
	all, err := d.Store().History(c.args[0])
	if err != nil {
		return err
	}
	return printAll(c, all, *asJSON, "AT REVISION SENSOR STATE SEVERITY TEXT", func(x store.Change) ([]string, error) {
		row, err := decoded(x.Body)
		if err != nil {
			return nil, err
		}
		says := text(row["msg"])
		for _, k := range [...]string{"summary", "reason"} {
			if says == "" {
				says = text(row[k])
			}
		}
		return []string{clock(x.At), strconv.Itoa(x.Revision), x.Sensor, text(row["state"]), text(row["severity"]), says}, nil
	})
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
