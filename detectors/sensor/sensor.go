// Package sensor says when the sensor itself misses too much.
//
// In: *capture.Loss, which a live capture gives once a minute. Out: findings of sensor/loss: more than a bound was lost
// in that minute, by the kernel's count of frames that found no room, or, where the kernel knows of nothing, by the
// acknowledgements in TCP connections for bytes that nobody saw. The latter is the idea of Zeek's capture_loss: it sees
// what a mirror port or a tap dropped before the frames came here.
//
// In, too: *capture.Standstill, whenever a live capture got no further for more than a second by the clock of the machine.
// Out: findings of sensor/standstill, with the flow whose packet was at hand. Whoever makes a sensor stand still knows of
// it, and does something meanwhile.
//
// It does not see: loss on a link without established TCP connections, unless the kernel dropped the frames; what a
// filter or a mirror leaves out by whole connections.
package sensor

import (
	"fmt"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// Config are the settings, the section `sensor` of the configuration file.
type Config struct {
	Name string  `yaml:"name"` // of the sensor, in what it says; "": RAYTAP_SENSOR in the environment, or the host's
	Loss float64 `yaml:"loss"` // percent of a minute's frames, or of its acknowledgements
}

// Default is what holds when nothing is said. One frame in a hundred is a tenth of the HTTP transactions of ten
// frames: what is not found is then worth knowing. A busy mirror port that loses a frame here and there stays below.
func Default() Config { return Config{Loss: 1} }

const (
	// A share of fewer acknowledgements than these says nothing: one connection whose other direction takes another
	// way would be half of them.
	minAcks = 200
	// As of fewer frames, for the kernel's count: a ring that is just being opened may lose a handful.
	minFrames = 100
)

const (
	rule       = "sensor/loss"
	standstill = "sensor/standstill"
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "sensor", Settings: settings(), Late: true,
		Rules: []detectors.Rule{{
			Name: rule, Note: "Sensor_Loss", Severity: detectors.Medium,
			Says: "The sensor lost more than the configured share of the packets in a minute: an attack may have " +
				"gone unseen.",
			ATTACK:         []string{"T1562"},
			Needs:          "A live capture: the kernel's counters, or both directions of TCP connections.",
			FalsePositives: "Asymmetric routing, when the tap sees one direction only.",
			Story:          detectors.Story{Role: detectors.RoleNone},
		}, {
			Name: standstill, Note: "Sensor_Standstill", Severity: detectors.Medium,
			Says:   "The sensor stalled for more than a second: packets in that time were read late or lost.",
			ATTACK: []string{"T1562", "T1499"},
			Needs:  "A live capture.",
			FalsePositives: "A machine that was suspended, or whose CPUs and disks are kept busy by other programs; the " +
				"evidence shows for how much of the time the sensor ran.",
			Story: detectors.Story{Role: detectors.RoleNone},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{bus: bus}
			detectors.Configure(env, bus, "sensor", Default(), func(c Config) { d.cfg = c })
			detectors.On(bus, d.loss)
			detectors.On(bus, d.stood)
		},
	}
}

type detector struct {
	cfg Config
	bus *detectors.Bus
}

func (d *detector) loss(l *capture.Loss) {
	var msg, key string
	switch kernel, estimate := l.Kernel(), l.Estimate(); {
	case l.Live.Received >= minFrames && kernel >= d.cfg.Loss:
		key = "kernel"
		msg = fmt.Sprintf("The sensor lost %.3g%% of the frames in %.0f seconds: %d of %d found no room in its ring",
			kernel, l.Span.Seconds(), l.Live.Dropped, l.Live.Received)
	case l.Acks >= minAcks && estimate >= d.cfg.Loss:
		key = "unseen"
		msg = fmt.Sprintf("The sensor did not see all that passed in %.0f seconds: %.3g%% of the acknowledgements were for bytes that never came by, though its own ring lost %d of %d frames",
			l.Span.Seconds(), estimate, l.Live.Dropped, l.Live.Received)
	default:
		return
	}
	d.bus.Report(&detectors.Finding{
		At: l.At, Rule: rule, Severity: detectors.Medium, Confidence: 90, Outcome: detectors.Observed, Msg: msg, Key: key,
		Evidence: []detectors.Evidence{
			{Field: "frames", Value: fmt.Sprintf("%d received, %d dropped, ring full %d times, %d cut", l.Live.Received, l.Live.Dropped, l.Live.Freezes, l.Live.Snapped)},
			{Field: "acknowledgements", Value: fmt.Sprintf("%d, %d with gaps; %d bytes, %d unseen", l.Acks, l.Gaps, l.AckedBytes, l.Unseen)},
			{Field: "sensor", Value: fmt.Sprintf("%d flows evicted, %d bodies and new flows and %d bytes of bulk flows shed, %d rows lost", l.Evicted, l.Shed, l.ShedBytes, l.Rows)},
		},
	})
}

func (d *detector) stood(s *capture.Standstill) {
	f := &detectors.Finding{
		At: s.At, Rule: standstill, Severity: detectors.Medium, Confidence: 90, Outcome: detectors.Observed, Flow: s.Flow,
		Key: standstill + " " + s.Stage,
		Evidence: []detectors.Evidence{
			{Field: "stood", Value: fmt.Sprintf("%.1f s, of which it ran for %.1f s", s.Took.Seconds(), s.Ran.Seconds())},
			{Field: "stage", Value: s.Stage},
		},
	}
	why := ""
	if s.Ran < s.Took/2 {
		why = ", most of it without a processor"
	}
	if s.Flow != nil {
		f.Src, f.Dst, f.Port = s.Flow.Orig.Addr(), s.Flow.Resp.Addr(), s.Flow.Resp.Port()
		f.Key += " " + s.Flow.UID
		f.Msg = fmt.Sprintf("The sensor stood still for %.1f seconds%s, over a packet between %s and %s", s.Took.Seconds(), why, s.Flow.Orig, s.Flow.Resp)
	} else {
		f.Msg = fmt.Sprintf("The sensor stood still for %.1f seconds%s, in %s", s.Took.Seconds(), why, s.Stage)
	}
	d.bus.Report(f)
}
