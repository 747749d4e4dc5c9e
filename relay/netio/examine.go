package netio

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tandem/relay/netio/nic"
	"tandem/relay/netio/xsk"
)

// Examine tells what there is to know about the devices that have the addresses, for a person who sets up the machine. It changes
// nothing. Loopback and what is not an Ethernet have nothing to set up.
func Examine(o Options) ([]nic.Finding, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("examine devices: %w", err)
	}
	devices, err := nic.Find(o.Addresses)
	if err != nil {
		return nil, fmt.Errorf("examine devices: %w", err)
	}
	var all []nic.Finding
	locked := uint64(0)
	for i := range devices {
		d := &devices[i]
		if d.Loopback || !d.Ethernet {
			continue
		}
		all = append(all, nic.Examine(d, nic.Needs{Workers: o.Workers, Longest: xsk.Longest - ethernetSize, Polls: o.Poll > 0}, os.DirFS("/"))...)
		locked += uint64(d.Queues) * xsk.Locked
	}
	return append(all, examineLimit(locked)...), nil
}

// examineLimit compares the limit of locked memory with what AF_XDP would lock. The limit is nothing to who has CAP_IPC_LOCK.
func examineLimit(locked uint64) []nic.Finding {
	var limit unix.Rlimit
	if hasCapability(unix.CAP_IPC_LOCK) || unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) != nil || limit.Max >= locked {
		return nil
	}
	return []nic.Finding{{
		What: fmt.Sprintf("%d bytes may be locked, AF_XDP needs %d for the devices' queues", limit.Max, locked),
		Do:   "LimitMEMLOCK=infinity of the service",
	}}
}

// raiseLockLimit lets the process lock what it may.
func raiseLockLimit() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit) // opening a socket says so if it was not enough
	}
}
