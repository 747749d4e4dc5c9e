package nic

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// said joins the findings that ask for something, or all.
func said(all []Finding, onlyBad bool) string {
	var lines []string
	for _, f := range all {
		if f.Do != "" || !onlyBad {
			lines = append(lines, f.String())
		}
	}
	return strings.Join(lines, "\n")
}

func TestEachFaultIsNamedWithWhatToDo(t *testing.T) {
	good := Device{Name: "eth0", Index: 2, Kind: "device", Driver: "ice", MTU: 1500, Queues: 4, Ethernet: true, Up: true}
	fine := state{deferred: true, hashes: [2]bool{true, true}, hashKnow: [2]bool{true, true}, affinity: []string{"0", "1", "2", "3"}}
	for _, c := range []struct {
		name   string
		change func(*Device, *state)
		want   string // "": nothing to do
	}{
		{"nothing", func(*Device, *state) {}, ""},
		{"down", func(d *Device, _ *state) { d.Up = false }, "eth0: is down: ip link set dev eth0 up"},
		{"another program", func(_ *Device, s *state) { s.program = true }, "ip link set dev eth0 xdp off"},
		{"too few queues", func(d *Device, _ *state) { d.Queues = 3 }, "3 receive queues for 4 workers: those without one get their packets from the others: ethtool -L eth0 combined 4"},
		{"jumbo frames", func(d *Device, _ *state) { d.MTU = 9000 }, "packets over 1600 bytes"},
		{"LRO", func(_ *Device, s *state) { s.lro = true }, "ethtool -K eth0 lro off"},
		{"IPv4 by addresses", func(_ *Device, s *state) { s.hashes[0] = false }, "ethtool -N eth0 rx-flow-hash udp4 sdfn"},
		{"IPv6 by addresses", func(_ *Device, s *state) { s.hashes[1] = false }, "ethtool -N eth0 rx-flow-hash udp6 sdfn"},
		{"by addresses, but one queue", func(d *Device, s *state) { d.Queues, s.hashes = 1, [2]bool{} }, "1 receive queues for 4 workers"},
		{"it does not tell", func(_ *Device, s *state) { s.hashes, s.hashKnow = [2]bool{}, [2]bool{} }, ""},
		{"polling beside interrupts", func(_ *Device, s *state) { s.deferred = false }, "echo 2000000 >/sys/class/net/eth0/gro_flush_timeout"},
		{"interrupts on one processor", func(_ *Device, s *state) { s.affinity = []string{"0", "0", "0"} }, "processors 0 only: give each its own"},
		{"interrupts unknown", func(_ *Device, s *state) { s.affinity = nil }, ""},
	} {
		d, s := good, fine
		s.affinity = slices.Clone(fine.affinity)
		c.change(&d, &s)
		got := said(judge(&d, Needs{Workers: 4, Longest: 1600, Polls: true}, &s), true)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s: said %q, want %q", c.name, got, c.want)
		}
		if all := said(judge(&d, Needs{Workers: 4, Longest: 1600, Polls: true}, &s), false); !strings.Contains(all, "eth0: driver ice, ") {
			t.Errorf("%s: the device is not described: %q", c.name, all)
		}
	}
}

func TestInterruptsAreReadFromTheDevicesDirectory(t *testing.T) {
	root := fstest.MapFS{
		"sys/class/net/eth0/device/msi_irqs/40": {}, "sys/class/net/eth0/device/msi_irqs/41": {}, "sys/class/net/eth0/device/msi_irqs/99": {},
		"proc/irq/40/smp_affinity_list": {Data: []byte("0-1\n")}, "proc/irq/41/smp_affinity_list": {Data: []byte("3\n")},
	}
	if got := affinityOf(root, "eth0"); !slices.Equal(got, []string{"0-1", "3"}) {
		t.Errorf("%q", got)
	}
	root["sys/class/net/eth0/on"], root["sys/class/net/eth0/off"] = &fstest.MapFile{Data: []byte("2000\n")}, &fstest.MapFile{Data: []byte("0\n")}
	if !set(root, "eth0", "on") || set(root, "eth0", "off") || set(root, "eth0", "missing") {
		t.Error("attributes are not read as they are")
	}
	if got := affinityOf(root, "eth1"); got != nil {
		t.Errorf("a device without interrupts: %q", got)
	}
}
