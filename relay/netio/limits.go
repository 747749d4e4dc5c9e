package netio

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// RaiseFileLimit raises the soft limit of open descriptors (RLIMIT_NOFILE, getrlimit(2)) to the hard one and returns the
// limit that now holds. The sockets engine needs up to four descriptors a call: RTP and RTCP on either side.
func RaiseFileLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: getrlimit: %w", err)
	}
	if limit.Cur == limit.Max {
		return limit.Cur, nil
	}
	was := limit.Cur
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return was, fmt.Errorf("raise the limit of open files from %d to %d: setrlimit: %w", was, limit.Max, err)
	}
	return limit.Cur, nil
}
