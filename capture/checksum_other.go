//go:build !amd64

package capture

// sumBlocks leaves everything to sum.
func sumBlocks(b []byte) (s uint64, rest []byte) { return 0, b }
