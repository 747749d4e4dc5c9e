package netio

import (
	"time"

	"golang.org/x/sys/unix"
)

// The clock is read once from the kernel when the process starts; from then on the runtime's own monotonic clock, which
// needs no system call, tells how far it has moved. Neither variable changes after start.
var (
	clockStart = time.Now()
	clockBase  = readMonotonic()
)

// Now returns CLOCK_MONOTONIC (clock_gettime(2)) in nanoseconds. It is the relay's one clock: a worker reads it once a
// batch and passes it down. Its values mean the same in every process of this boot, so they may lie in an arena that
// another process takes over.
func Now() int64 { return clockBase + int64(time.Since(clockStart)) }

func readMonotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic("netio: clock_gettime(CLOCK_MONOTONIC): " + err.Error()) // impossible on Linux; a zero clock would be a lie
	}
	return now.Nano()
}
