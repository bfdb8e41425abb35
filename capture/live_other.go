//go:build !linux

package capture

// OpenLive captures from interfaces, on Linux.
func OpenLive(LiveConfig) (LiveSource, error) { return nil, errNoLive }
