// Command raytap-hub takes the rows of many sensors, keeps and joins what they found, and answers. `raytap hub` executes it.
//
//	raytap hub --data DIR [flags]           run a hub
//	raytap hub enroll NAME                  make credentials for a sensor
//	raytap hub revoke NAME                  end those of a sensor
//	raytap hub sensors                      list sensors
//	raytap hub findings|incidents|assets    list what they found
//	raytap hub history ID                   list what became of one
//	raytap hub backup FILE                  write store and keys to a file
//	raytap hub restore FILE                 make a folder of a backup
//
// It is a program of its own, because it has a server of NATS, a database and a listener, none of which a sensor needs.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/raytap/raytap/sinks/terminal"
)

// version is set by the linker (-X main.version=v1.2.3).
var version string

// Exit statuses, as those of raytap.
const (
	exitOK    = 0
	exitInput = 1
	exitUsage = 2
)

type command struct {
	name, args, says string
	run              func(c *call) error
}

func commands() []command {
	return []command{
		{"enroll", "NAME", "make credentials for a sensor and print them", enroll},
		{"revoke", "NAME", "end the credentials of a sensor, at once", revoke},
		{"sensors", "", "list sensors: last packet, loss, version, clock", listSensors},
		{"findings", "", "list findings, each with the sensors that saw it", listFindings},
		{"incidents", "", "list incidents", listIncidents},
		{"assets", "", "list Ray clusters and AI servers", listAssets},
		{"history", "ID", "list what became of a finding, an incident or an asset", listHistory},
		{"backup", "FILE", "write store and keys to a file, also while the hub runs", backup},
		{"restore", "FILE", "make the folder of a hub of a backup", restore},
		{"version", "", "print the version", printVersion},
	}
}

// call is one run of a command.
type call struct {
	*flag.FlagSet
	args           []string // besides flags
	raw            []string
	data           *string
	stdout, stderr *os.File
	usage          string
}

var errUsage = errors.New("usage")

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr *os.File) int {
	if len(args) > 0 && args[0] == "help" {
		if args = args[1:]; len(args) == 0 {
			args = []string{"--help"}
		} else {
			args = append(args, "--help")
		}
	}
	name, does := "", serve
	usage := "hub --data DIR [flags]"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		found := false
		for _, c := range commands() {
			if c.name == args[0] {
				name, does, args, found = c.name, c.run, args[1:], true
				usage = strings.TrimSpace("hub " + c.name + " " + c.args)
			}
		}
		if !found {
			fmt.Fprintf(stderr, "raytap hub: unknown command %q\nraytap hub help lists the commands.\n", terminal.Clean(args[0]))
			return exitUsage
		}
	}
	c := &call{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), raw: args, stdout: stdout, stderr: stderr, usage: usage}
	c.SetOutput(io.Discard)
	c.data = c.String("data", defaultData(), "`DIR` of the hub: keys, store, stream")
	switch err := does(c); {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		c.help(stdout, name)
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "raytap hub: %s\nusage: raytap %s\n", terminal.Clean(strings.TrimPrefix(err.Error(), "usage: ")), usage)
		return exitUsage
	default:
		for line := range strings.Lines(err.Error()) {
			line = strings.TrimSpace(line)
			for _, p := range [...]string{"hub: ", "store: ", "fleet: "} {
				line = strings.TrimPrefix(line, p)
			}
			fmt.Fprintf(stderr, "raytap hub: %s\n", terminal.Clean(line))
		}
		return exitInput
	}
}

func defaultData() string {
	if dir := os.Getenv("RAYTAP_HUB_DATA"); dir != "" {
		return dir
	}
	return "/var/lib/raytap-hub"
}

// parse reads flags, which may stand anywhere, and n other arguments.
func (c *call) parse(n int) error {
	args := c.raw
	for {
		if err := c.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if c.NArg() == 0 {
			break
		}
		if strings.HasPrefix(c.Arg(0), "-") { // after --
			c.args = append(c.args, c.Args()...)
			break
		}
		c.args, args = append(c.args, c.Arg(0)), c.Args()[1:]
	}
	if len(c.args) != n {
		return fmt.Errorf("%w: %d arguments", errUsage, len(c.args))
	}
	return nil
}

func (c *call) help(w io.Writer, name string) {
	fmt.Fprintf(w, "usage: raytap %s\n", c.usage)
	if name == "" {
		fmt.Fprintf(w, "       raytap hub COMMAND [flags]\n\nRuns a hub: it takes the rows of sensors, keeps and joins what they found. See docs/fleet.md.\n\n")
		for _, x := range commands() {
			fmt.Fprintf(w, "  %-16s %s\n", strings.TrimSpace(x.name+" "+x.args), x.says)
		}
	} else {
		for _, x := range commands() {
			if x.name == name {
				fmt.Fprintf(w, "\n%s%s.\n", strings.ToUpper(x.says[:1]), x.says[1:])
			}
		}
	}
	fmt.Fprintln(w)
	c.VisitAll(func(f *flag.Flag) {
		value, says := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			says += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  --%-24s %s\n", strings.TrimSpace(f.Name+" "+value), says)
	})
}

// list is a flag that may be repeated and takes commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }
func (l *list) Set(s string) error {
	for _, v := range strings.Split(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			*l = append(*l, v)
		}
	}
	return nil
}

// size is a flag of bytes: 500MB, 4GiB.
type size int64

func (s *size) String() string {
	switch n := int64(*s); {
	case n == 0:
		return ""
	case n%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", n>>30)
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	default:
		return strconv.FormatInt(n, 10)
	}
}

func (s *size) Set(v string) error {
	for _, u := range []struct {
		name string
		n    float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}, {"", 1}} {
		if num, ok := strings.CutSuffix(v, u.name); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
			if err != nil || !(f > 0 && f*u.n < 1<<60) {
				return errors.New("not a size such as 500MB or 4GiB")
			}
			*s = size(f * u.n)
			return nil
		}
	}
	return nil
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "unknown"
}

func printVersion(c *call) error {
	if err := c.parse(0); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "raytap-hub %s\n", buildVersion())
	return nil
}
