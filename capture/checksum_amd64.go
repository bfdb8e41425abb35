package capture

import "golang.org/x/sys/cpu"

// sumAVX2 adds up the 32-bit words of the n bytes at b; n is a multiple of 32 and below 4 GiB.
//
//go:noescape
func sumAVX2(b *byte, n int) uint64

// sumBlocks adds up as many whole blocks at the beginning of b as are worth it, and returns the rest. 1,460 bytes take
// a quarter of the time that sum needs without (BenchmarkChecksum), which is 11 % of all that a packet of bulk traffic
// costs, and 4 % with HTTP.
func sumBlocks(b []byte) (s uint64, rest []byte) {
	if len(b) < 96 || len(b) >= 1<<31 || !cpu.X86.HasAVX2 {
		return 0, b
	}
	n := len(b) &^ 31
	return sumAVX2(&b[0], n), b[n:]
}
