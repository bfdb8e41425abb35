//go:build !linux

package main

func restrict() (string, error) { return "", nil }
