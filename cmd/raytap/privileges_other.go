//go:build !linux

package main

import (
	"errors"

	"github.com/raytap/raytap/config"
)

func monotonic() string { return "0" }

// dropPrivileges has nothing to give up where interfaces cannot be captured.
func dropPrivileges(cfg *config.Config) error {
	if cfg.User != "" {
		return errors.New("raytap: --user is for Linux")
	}
	return nil
}
