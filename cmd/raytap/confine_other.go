//go:build !linux

package main

import "github.com/raytap/raytap"

func confine(*raytap.Config, string) (string, error) { return "", nil }
