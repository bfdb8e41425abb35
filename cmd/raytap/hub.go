package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const hubSynopsis = `hub --data DIR [flags]
hub COMMAND [flags]

Runs a hub, which takes the rows of many sensors, keeps and joins what they found, and answers questions; or a command about one:
enroll NAME, revoke NAME, sensors, findings, incidents, assets, history ID, backup FILE, restore FILE. This executes the program
raytap-hub, from the directory of raytap or from PATH; raytap hub help lists its commands, and raytap hub COMMAND --help their flags.

Exit status: 0 it ended as it should; 1 it failed, or there is no program raytap-hub; 2 wrong usage.
`

// hubProgram is a program of its own: a server of NATS and a database are nothing that a sensor should carry.
const hubProgram = "raytap-hub"

func runHub(args []string, stdout, stderr *os.File) int {
	if len(args) > 0 && strings.TrimLeft(args[0], "-") == "help="+describeAs {
		return newFlags("hub", hubSynopsis).fail(errDescribe, stdout, stderr)
	}
	path, err := findHub()
	if err != nil {
		if len(args) == 0 || len(args) == 1 && strings.TrimLeft(args[0], "-") == "help" {
			newFlags("hub", hubSynopsis).help(stdout)
			return exitOK
		}
		complain(stderr, err)
		return exitInput
	}
	if err := replaceBy(path, append([]string{hubProgram}, args...)); err != nil {
		complain(stderr, fmt.Errorf("%s: %w", path, err))
	}
	return exitInput
}

func findHub() (string, error) {
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), hubProgram)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(hubProgram)
	if err != nil {
		return "", errors.New("no program " + hubProgram + " alongside raytap or in PATH; packages and make build have it")
	}
	return filepath.Abs(path)
}
