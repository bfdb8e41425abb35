//go:build !linux

package capture

import "errors"

// OpenLive captures from interfaces, on Linux.
func OpenLive(LiveConfig) (LiveSource, error) {
	return nil, errors.New("capture: interfaces cannot be captured on this system: Linux can; elsewhere write a pipe of pcap and read that")
}
