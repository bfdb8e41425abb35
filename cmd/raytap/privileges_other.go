//go:build !linux

package main

import (
	"errors"

	"github.com/raytap/raytap/sinks/disk"
)

func monotonic() string { return "0" }

// dropPrivileges has nothing to give up where interfaces cannot be captured.
func dropPrivileges(name, _ string, _ disk.Modes) error {
	if name != "" {
		return errors.New("raytap: --user is for Linux")
	}
	return nil
}
