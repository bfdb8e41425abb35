//go:build !linux

package main

import "github.com/raytap/raytap/config"

func confine(*config.Config, string) (string, error) { return "", nil }
