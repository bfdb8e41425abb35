//go:build !linux

package main

func restrict(bool) (string, error) { return "", nil }
