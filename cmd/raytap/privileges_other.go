//go:build !linux

package main

import "errors"

func monotonic() string { return "0" }

// dropPrivileges has nothing to give up where interfaces cannot be captured.
func dropPrivileges(name string, _ []ownFolder) error {
	if name != "" {
		return errors.New("raytap: --user is for Linux")
	}
	return nil
}
