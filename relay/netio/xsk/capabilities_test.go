package xsk

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheProgramIsVerifiedWithTheCapabilitiesOfTheService: root has CAP_PERFMON too, with which the verifier allows what it refuses the
// relay (kernel/bpf/verifier.c, bypass_spec_v1). The device is attached to, and a frame runs through the program, with no more either.
func TestTheProgramIsVerifiedWithTheCapabilitiesOfTheService(t *testing.T) {
	s := newTables(t)
	enterNamespace(t) // and with it the thread is the test's, and ends with it
	var sets [2]unix.CapUserData
	for _, c := range []int{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_NET_RAW} {
		sets[c/32].Effective |= 1 << (c % 32)
		sets[c/32].Permitted |= 1 << (c % 32)
	}
	must(t, unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]))
	p, err := Load(ProgramOptions{Slots: s.slots.FD(), Leases: s.leases.FD(), MAC: ourMAC, VLANs: []uint16{ourVLAN}, Queues: 1})
	must(t, err)
	defer p.Close()
	must(t, p.Attach(loopback, true))
	fd, err := Descriptor()
	must(t, err)
	defer unix.Close(fd)
	must(t, p.Enter(0, fd))
	if got, err := p.verdict(packet(ours4, leased)); err != nil || got != redirect {
		t.Errorf("verdict %d, %v", got, err)
	}
}
