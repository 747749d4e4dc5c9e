package netio

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// MissingCapabilities names the capabilities (capabilities(7)) that OpenFunnel and OpenXDP need and the calling thread does not have;
// nil means that none is missing. CAP_SYS_ADMIN stands in for CAP_BPF.
func MissingCapabilities() []string {
	var missing []string
	if !hasCapability(unix.CAP_BPF) && !hasCapability(unix.CAP_SYS_ADMIN) {
		missing = append(missing, "CAP_BPF")
	}
	if !hasCapability(unix.CAP_NET_ADMIN) {
		missing = append(missing, "CAP_NET_ADMIN")
	}
	if !hasCapability(unix.CAP_NET_RAW) {
		missing = append(missing, "CAP_NET_RAW")
	}
	return missing
}

// hasCapability tells whether the calling thread has it in effect.
func hasCapability(capability int) bool {
	var sets [2]unix.CapUserData // the low 32 capabilities, the others
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return false // it has no error that a process can cause; none is the safe answer
	}
	return sets[capability/32].Effective>>(capability%32)&1 != 0
}

// DropCapabilities gives up the effective, permitted, inheritable and ambient capabilities of all threads for good, and
// forbids to gain any by executing another program (PR_SET_NO_NEW_PRIVS). An engine that is open does not need them.
//
// It works in programs without cgo only: capabilities belong to threads, and only there the runtime knows them all. With
// cgo it changes nothing and says so.
func DropCapabilities() error { return keepCapabilities(0) }

// KeepNetAdmin gives up all of them but CAP_NET_ADMIN, likewise.
func KeepNetAdmin() error { return keepCapabilities(1 << unix.CAP_NET_ADMIN) }

// keepCapabilities keeps a set of the low 32, as far as they are there.
func keepCapabilities(set uint32) error {
	steps := []struct {
		name string
		call func() syscall.Errno
	}{
		{"prctl(PR_SET_NO_NEW_PRIVS)", forbidNewPrivileges},
		{"prctl(PR_CAP_AMBIENT_CLEAR_ALL)", clearAmbientCapabilities},
		{"capset", func() syscall.Errno { return setCapabilities(set & permitted()) }},
	}
	for _, step := range steps {
		errno := step.call()
		if errors.Is(errno, errors.ErrUnsupported) {
			return errors.New("drop capabilities: this program was built with cgo: build it with CGO_ENABLED=0")
		}
		if errno != 0 {
			return fmt.Errorf("drop capabilities: %w", os.NewSyscallError(step.name, errno))
		}
	}
	return nil
}

// permitted returns the low 32 capabilities that the calling thread may have in effect.
func permitted() uint32 {
	var sets [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if unix.Capget(&header, &sets[0]) != nil {
		return 0
	}
	return sets[0].Permitted
}
