//go:build !unix

package capture

import "os"

const nonblock = 0

// awaitWriter has nothing to wait for: without named pipes of Unix, opening waits, or there is none.
func awaitWriter(*os.File, <-chan struct{}) error { return nil }
