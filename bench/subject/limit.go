package subject

import (
	"fmt"
	"syscall"
)

// mostFiles is what a relay of sockets needs for 20,000 sessions in pairs of ports, twice over; the kernel's default
// maximum is above it.
const mostFiles = 1 << 18

// RaiseFileLimit lets this process, and the relays that it starts from now on, have as many open files as they could need:
// a shell's limit of some thousands would decide the comparison. Where even root may not raise the maximum, as in some
// containers, it goes up to that. It returns the limit that holds.
func RaiseFileLimit() (uint64, error) {
	var now syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	more := syscall.Rlimit{Cur: max(now.Max, mostFiles), Max: max(now.Max, mostFiles)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more); err == nil {
		return more.Cur, nil
	}
	now.Cur = now.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
		return 0, fmt.Errorf("raise the limit of open files to %d: %w", now.Max, err)
	}
	return now.Cur, nil
}
