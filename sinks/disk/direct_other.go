//go:build !linux

package disk

const direct = 0
