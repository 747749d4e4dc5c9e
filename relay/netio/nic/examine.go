package nic

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Finding is one thing that is worth knowing about a device.
type Finding struct {
	Device string // "" for the machine
	What   string // the fact
	Do     string // how to mend it; "" when nothing is wrong
}

// String is the finding in a line.
func (f Finding) String() string {
	text := f.What
	if f.Device != "" {
		text = f.Device + ": " + text
	}
	if f.Do != "" {
		text += ": " + f.Do
	}
	return text
}

// Needs is what an engine wants of a device.
type Needs struct {
	Workers int  // threads that take packets
	Longest int  // bytes of an IP packet that the fast way takes
	Polls   bool // the workers poll the device
}

// state is what is asked of the kernel about a device, apart from what is in Device.
type state struct {
	hashes   [2]bool // the ports of UDP over IPv4, IPv6 packets decide about their queue
	hashKnow [2]bool // and whether the device tells
	gro, lro bool
	program  bool     // an XDP program is attached
	deferred bool     // while somebody polls, the device does not interrupt
	affinity []string // of its interrupts, as the kernel writes lists of processors; empty: it does not tell
}

// Examine looks at a device and tells what an engine should know of it. Root is the file system (os.DirFS("/")).
func Examine(d *Device, n Needs, root fs.FS) []Finding {
	s := state{affinity: affinityOf(root, d.Name), deferred: set(root, d.Name, "gro_flush_timeout") && set(root, d.Name, "napi_defer_hard_irqs")}
	for i, flow := range []uint32{udp4Flow, udp6Flow} {
		ports, err := hashesPorts(d.Name, flow)
		s.hashes[i], s.hashKnow[i] = ports, err == nil
	}
	s.gro, s.lro = gluesPackets(d.Name)
	if l, err := netlink.LinkByIndex(d.Index); err == nil && l.Attrs().Xdp != nil {
		s.program = l.Attrs().Xdp.Attached
	}
	return judge(d, n, &s)
}

// judge is Examine once everything is known.
func judge(d *Device, n Needs, s *state) []Finding {
	var all []Finding
	say := func(do, format string, v ...any) { all = append(all, Finding{d.Name, fmt.Sprintf(format, v...), do}) }
	kind := "driver " + d.Driver
	if d.Driver == "" {
		kind = "a " + d.Kind + " that names no driver"
	}
	say("", "%s, %d receive queues, MTU %d", kind, d.Queues, d.MTU)
	if !d.Up {
		say("ip link set dev "+d.Name+" up", "is down")
	}
	if s.program {
		say("if it is not a relay's that runs, end the process that holds it (bpftool net), or ip link set dev "+d.Name+
			" xdp off if none does; or use the engine funnel", "has an XDP program already")
	}
	if d.Queues < n.Workers {
		say(fmt.Sprintf("ethtool -L %s combined %d, or lower media.workers", d.Name, n.Workers),
			"%d receive queues for %d workers: those without one get their packets from the others", d.Queues, n.Workers)
	}
	if d.MTU > n.Longest {
		say("nothing, if media packets are not longer", "packets over %d bytes do not fit AF_XDP's frames and take the funnel's way", n.Longest)
	}
	if s.lro {
		say("ethtool -K "+d.Name+" lro off", "LRO glues packets together, and drivers refuse XDP programs beside it")
	}
	if s.gro {
		say("", "GRO is on: AF_XDP takes packets before it, the funnel's are not glued together by it unless rx-udp-gro-forwarding is on")
	}
	if n.Polls && !s.deferred {
		say(fmt.Sprintf("echo 1 >/sys/class/net/%s/napi_defer_hard_irqs, echo 2000000 >/sys/class/net/%s/gro_flush_timeout", d.Name, d.Name),
			"its interrupts come in between when workers poll it")
	}
	for i, flow := range []string{"udp4", "udp6"} {
		if d.Queues > 1 && s.hashKnow[i] && !s.hashes[i] {
			say(fmt.Sprintf("ethtool -N %s rx-flow-hash %s sdfn", d.Name, flow),
				"the queue of %s packets is chosen by addresses alone: all calls with one peer meet in one queue", flow)
		}
	}
	if cpus := slices.Compact(slices.Sorted(slices.Values(s.affinity))); d.Queues > 1 && len(s.affinity) > 1 && len(cpus) == 1 {
		say("give each its own: /proc/irq/*/smp_affinity_list, or irqbalance", "all its interrupts may go to processors %s only", cpus[0])
	}
	return all
}

// set tells whether a number among the device's attributes is there and not 0.
func set(root fs.FS, device, attribute string) bool {
	text, err := fs.ReadFile(root, path.Join("sys/class/net", device, attribute))
	return err == nil && strings.TrimSpace(string(text)) != "0"
}

// affinityOf returns which processors each of the device's interrupts may go to.
func affinityOf(root fs.FS, device string) []string {
	irqs, err := fs.ReadDir(root, path.Join("sys/class/net", device, "device/msi_irqs"))
	if err != nil {
		return nil
	}
	var all []string
	for _, irq := range irqs {
		if list, err := fs.ReadFile(root, path.Join("proc/irq", irq.Name(), "smp_affinity_list")); err == nil {
			all = append(all, strings.TrimSpace(string(list)))
		}
	}
	return all
}
