// Command raytap looks for attacks on Ray clusters in network traffic.
//
//	raytap replay [flags] FILE...   read captures; write Zeek logs and findings
//	raytap sensor -i IFACE [flags]  watch interfaces; write Zeek logs and findings
//	raytap watch DIR [flags]        read the captures of a folder as they are written
//	raytap assets [flags] FILE...   read captures; list the Ray clusters and AI servers that they show
//	raytap config check|show        check a configuration file, or show what is in force
//	raytap report [flags] LOGDIR    make an HTML report of logs
//	raytap tail [flags] DIR         follow the findings of a sensor
//	raytap search WHAT DIR          find rows in the logs of a sensor or a replay
//	raytap extract --finding ID ... write the packets of a finding to a file
//	raytap record ls DIR            tell what a sensor has recorded
//	raytap publish DIR              send the rows of logs to a hub or to Kafka
//	raytap hub --data DIR           take the rows of many sensors, by the program raytap-hub
//	raytap intel FILE...            check and describe feeds of indicators
//	raytap rules [--json] [RULE]    list what it can find
//	raytap health [HOST:PORT]       ask a running sensor whether it works
//	raytap completion SHELL         print what completes commands in a shell
//	raytap version                  say which build this is
//
// Each subcommand is a thin main over package raytap.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/raytap/raytap/sinks/terminal"
)

// Exit statuses, a contract with scripts.
const (
	exitOK      = 0
	exitInput   = 1 // an input could not be read, was cut short or is damaged; or the output could not be written
	exitUsage   = 2 // wrong usage or configuration
	exitFinding = 3 // --fail-on was reached; it stands above exitInput
	// Ended by a signal: 128 and its number, as shells have it.
	exitSignal = 128
)

type command struct {
	name, says string
	run        func(args []string, stdout, stderr *os.File) int
}

func commands() []command {
	return []command{
		{"replay", "read captures; write Zeek logs and findings", replay},
		{"sensor", "watch interfaces; write Zeek logs and findings", sensor},
		{"watch", "read the captures of a folder as they are written", watchFolder},
		{"assets", "read captures; list the Ray clusters and AI servers that they show", listAssets},
		{"config", "check a configuration file, or show what is in force", configure},
		{"report", "make an HTML report of logs", makeReport},
		{"tail", "follow the findings of a sensor", follow},
		{"search", "find rows in the logs of a sensor or a replay", searchLogs},
		{"publish", "send the rows of logs to a hub or to Kafka", publishLogs},
		{"extract", "write the packets of a finding to a file", extract},
		{"record", "tell what a sensor has recorded", aboutRecord},
		{"hub", "run the hub of a fleet of sensors, or a command about it", runHub},
		{"intel", "check and describe feeds of indicators", describeIntel},
		{"rules", "list what raytap can find", listRules},
		{"health", "ask a running sensor whether it works", askHealth},
		{"completion", "print what completes commands in a shell", printCompletion},
		{"version", "say which build this is", printVersion},
	}
}

func main() {
	// A sensor does so itself, when it knows what it holds.
	if len(os.Args) < 2 || os.Args[1] != "sensor" && os.Args[1] != "watch" {
		paceMemory(func() uint64 { return 0 })
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr *os.File) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		if len(args) == 0 {
			usage(stdout)
			return exitOK
		}
		if args[0] == "--json" {
			return describeAll(args[1:], stdout, stderr)
		}
		name, args = args[0], []string{"--help"}
	case "-v", "-V", "-version", "--version":
		name = "version"
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(args, stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "raytap: unknown command %q%s\nraytap help lists the commands.\n", name, meantCommand(name))
	return exitUsage
}

// meantCommand is what an error about an unknown command ends with.
func meantCommand(name string) string {
	var all []string
	for _, c := range commands() {
		all = append(all, c.name)
	}
	if near := nearest(name, all); len(near) > 0 {
		return didYouMean(near)
	}
	if _, err := os.Stat(name); err == nil {
		return "; captures are read by raytap replay"
	}
	if strings.HasPrefix(name, "-") {
		return "; flags go after a command: raytap replay " + name
	}
	return ""
}

func usage(w io.Writer) {
	fmt.Fprint(w, "raytap looks for attacks on Ray clusters in network traffic.\n\nusage: raytap COMMAND [flags] [arguments]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s  %s\n", c.name, c.says)
	}
	fmt.Fprint(w, "\nraytap help COMMAND tells the flags of one.\n")
}

// complain prints an error, each part of a joined one on a line of its own, with the program's name in place of the
// package's.
func complain(w io.Writer, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			complain(w, e)
		}
		return
	}
	s := err.Error()
	for _, pkg := range [...]string{
		"raytap: ", "capture: ", "zeek: ", "detectors: ", "inventory: ", "syslog: ", "webhook: ", "metrics: ", "report: ", "logs: ", "record: ", "search: ", "ask: ", "ship: ", "fleet: ",
	} {
		s = strings.TrimPrefix(s, pkg)
	}
	fmt.Fprintf(w, "raytap: %s\n", terminal.CleanLines(s)) // names of files and what a server answered are anybody's
}
