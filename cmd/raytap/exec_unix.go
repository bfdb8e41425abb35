//go:build unix

package main

import (
	"os"
	"syscall"
)

// replaceBy runs a program in place of this one: it has its signals and its exit status.
func replaceBy(path string, args []string) error { return syscall.Exec(path, args, os.Environ()) }
