package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/raytap/raytap/detectors/data"
)

// version is set by the linker (-X main.version=v1.2.3); without, the build says what it knows.
var version string

const versionSynopsis = `version

Prints the version, the Go version and platform of the build, and the ATLAS and ATT&CK releases in use.

Exit status: 0 printed; 1 it could not be printed; 2 wrong usage.
`

func printVersion(args []string, stdout, stderr *os.File) int {
	f := newFlags("version", versionSynopsis)
	rest, err := f.parse(args)
	if err == nil && len(rest) > 0 {
		err = errors.New("takes no arguments")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	atlas, attack, file := data.Versions()
	_, err = fmt.Fprintf(stdout, "raytap %s (%s, %s/%s)\nATLAS %s, ATT&CK %s, list of techniques %s\n",
		buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, atlas, attack, file)
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	return exitOK
}

func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	rev, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if rev == "" {
		return "development build"
	}
	return rev + dirty
}
