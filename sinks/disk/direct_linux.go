package disk

import "golang.org/x/sys/unix"

const direct = unix.O_DIRECT
