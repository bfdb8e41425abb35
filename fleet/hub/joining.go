package hub

import (
	"math"
	"slices"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/join"
	"github.com/raytap/raytap/fleet/store"
)

// A sensor that publishes observations is joined: its own findings are kept as local until joining says what they are in the whole, or
// that they are nothing but what they are. Its incidents are those of a part, and are not kept; its assets are, for as long as there
// are none of the whole. Rows of a sensor without observations are kept as they come.

// logObservations is the log that is joined.
const logObservations = "observations"

// joined is what the joiner said while a message was applied.
type joined struct {
	log     string
	row     []byte
	sensors []string
	told    []string // of a finding: what sensors call it
	promote string   // a local finding that stands as it is, by its id
}

// joining is a joiner with what it said.
type joining struct {
	j    *join.Joiner
	said []joined
	// What was measured of clocks, by sensor: the last ones, of its status rows.
	skews map[string][]float64
	ahead map[string]time.Duration
	told  int64 // the second of the stream that the joiner was told
	names names
}

func newJoining(cfg join.Config) (*joining, error) {
	x := &joining{names: newNames(), skews: map[string][]float64{}, ahead: map[string]time.Duration{}}
	cfg.Finding = func(f *join.Finding) {
		var told []string
		for _, t := range f.Told {
			told = append(told, t.ID)
		}
		x.said = append(x.said, joined{log: "notice", row: f.Body, sensors: f.Sensors, told: told})
	}
	cfg.Incident = func(i *join.Incident) {
		x.said = append(x.said, joined{log: "incidents", row: i.Body, sensors: i.Sensors})
	}
	cfg.Asset = func(a *join.Asset) { x.said = append(x.said, joined{log: "assets", row: a.Body}) }
	cfg.Local = func(sensor string, f *detectors.Finding) {
		x.said = append(x.said, joined{log: "notice", promote: f.ID(), sensors: []string{sensor}})
	}
	var err error
	x.j, err = join.New(cfg)
	return x, err
}

// add takes a message that was applied, or is fed again.
func (x *joining) add(m *message) error {
	switch m.row.Log {
	case logObservations:
		return x.j.Add(m.row.Sensor, m.row.Body, m.seq, m.at)
	case fleet.LogStatus:
		if m.row.Sensor != fleet.HubSensor {
			x.clock(m)
		}
	}
	return nil
}

// advance tells the joiner the time of the stream, once a second.
func (x *joining) advance(at time.Time) {
	if s := at.Unix(); s > x.told {
		x.told = s
		x.j.Advance(at)
	}
}

// clock tells the joiner of clocks that are wrong by seconds. What is less may be the way of the message.
func (x *joining) clock(m *message) {
	s := Sensor{}
	now := float64(m.at.UnixMicro()) / 1e6
	if s.status(m.row.Body, now) != nil {
		return
	}
	name := m.row.Sensor
	all := append(x.skews[name], s.Skew)
	if len(all) > skewSamples {
		all = all[1:]
	}
	x.skews[name] = all
	sorted := slices.Sorted(slices.Values(all))
	median := sorted[len(sorted)/2]
	ahead := time.Duration(0)
	if math.Abs(median) >= 2 {
		ahead = -time.Duration(median * float64(time.Second)).Round(100 * time.Millisecond)
	}
	if d := ahead - x.ahead[name]; d > time.Second || d < -time.Second || ahead == 0 && d != 0 {
		x.ahead[name] = ahead
		x.j.SetClock(name, ahead)
	}
}

// take returns what was said since the last time.
func (x *joining) take() []joined {
	all := x.said
	x.said = nil
	return all
}

// store keeps what the joiner said.
func (m *machine) storeJoined(tx *store.Tx, x *message, said joined) (changed bool, err error) {
	from := store.Source{Seq: x.seq, At: x.at, Sensor: fleet.HubSensor, Sensors: said.sensors}
	if said.promote != "" {
		from.By = said.sensors[0]
		return tx.Promote(from, said.promote)
	}
	switch said.log {
	case "notice":
		f, err := readFinding(said.row)
		if err != nil {
			return false, err
		}
		return tx.Joined(from, f, said.told)
	case "incidents":
		i, err := readIncident(said.row)
		if err != nil {
			return false, err
		}
		return tx.Incident(from, i)
	case "assets":
		a, c, err := readAsset(said.row)
		if err != nil {
			return false, err
		}
		return c, tx.Asset(from, a, c)
	}
	return false, nil
}
