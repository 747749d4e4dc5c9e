package netio

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"

	"tandem/relay/netio/frame"
	"tandem/relay/netio/hop"
)

// exit is how packets leave by one port: two cache lines, of which a packet that goes where the last one went reads all
// and writes none.
//
// What the worker wrote is good as long as three things are as they were: the lease (another generation means another call
// or another DSCP), the destination, and the hop's generation (a route, a device or a neighbour changed).
type exit struct {
	socket portSocket    // the port's own, or noSocket while it has none
	dscp   atomic.Uint32 // 0..63; control side writes, before the socket's next generation

	// The rest is the worker's.
	lease    uint32  // generation of socket that this was made for; 0: nothing was made yet
	hop      hop.Ref // how dst is reached
	seen     uint32  // the hop's generation then
	ifindex  int32   // device to send on, if way is Frame
	dst      Addr    // destination that this was made for
	room     uint16  // longest payload in bytes that the hop's MTU takes
	way      Way     // Frame, or why not
	egress   uint8   // 1 + index in funnel.leave of ifindex, or 0
	template frame.Template
}

// fits tells whether what was made holds for a packet to dst.
func (x *exit) fits(lease uint32, dst *Addr, hops *hop.Table) bool {
	return x.lease == lease && x.dst == *dst && x.seen == hops.Generation(x.hop)
}

// renew makes the exit for a packet to dst from what is known about its hop now.
func (x *exit) renew(e *funnel, lease uint32, out Local, dst *Addr) {
	x.lease = 0
	x.way = SocketUnresolved
	ref, known := e.hops.Find(out.Slot(), &dst.IP)
	if !known {
		return
	}
	var h hop.Hop
	generation := e.hops.Read(ref, &h)
	if generation == 0 {
		return
	}
	x.lease, x.dst, x.hop, x.seen = lease, *dst, ref, generation
	if x.way = wayOf(h.State); x.way != Frame {
		return
	}
	x.ifindex, x.egress = h.Ifindex, e.egress(h.Ifindex)
	x.template.Set(&frame.Flow{
		SrcMAC: h.SrcMAC, DstMAC: h.DstMAC,
		Src: e.addresses[out.Slot()].As16(), Dst: dst.IP,
		SrcPort: out.Port(), DstPort: dst.Port,
		DSCP: uint8(x.dscp.Load()),
	})
	headers := x.template.Len() - ethernetSize
	x.room = uint16(min(max(int(h.MTU)-headers, 0), MaxDatagram+Tailroom))
}

// egress is a device that frames leave by otherwise than by the packet socket: itself, or a VLAN on it.
type egress struct {
	ifindex int32
	vlan    uint16 // 0: none
	device  int    // index in xdp.devices
}

// egress returns 1 + the index of the device's entry, or 0.
func (e *funnel) egress(ifindex int32) uint8 {
	for i := range e.leave {
		if e.leave[i].ifindex == ifindex {
			return uint8(i + 1)
		}
	}
	return 0
}

const ethernetSize = 14 // bytes of a frame that do not count for the MTU

// wayOf returns the way for a hop in that state.
func wayOf(s hop.State) Way {
	switch s {
	case hop.Ready:
		return Frame
	case hop.Local:
		return SocketLocal
	case hop.Device:
		return SocketDevice
	case hop.Policy:
		return SocketPolicy
	case hop.Configured:
		return SocketConfigured
	}
	return SocketUnresolved
}

// slotTable finds the slot of a local address: open addressing, at most a quarter full, so that a look is one or two
// entries. Addresses are ours alone to choose, nobody can make them collide.
type slotTable struct {
	addresses [][16]byte // by slot
	entries   []uint16   // slot + 1, or 0
	shift     int        // of the hash: leaves as many bits as entries has
}

func makeSlotTable(addresses []netip.Addr) slotTable {
	width := bits.Len(uint(len(addresses))) + 2
	t := slotTable{entries: make([]uint16, 1<<width), shift: 64 - width}
	for slot, a := range addresses {
		t.addresses = append(t.addresses, a.As16())
		i := t.home(&t.addresses[slot])
		for t.entries[i] != 0 {
			i = (i + 1) % len(t.entries)
		}
		t.entries[i] = uint16(slot + 1)
	}
	return t
}

// home is the entry where the search for an address begins.
func (t *slotTable) home(a *[16]byte) int {
	const spread = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: near addresses end up far from each other
	high, low := binary.LittleEndian.Uint64(a[:8]), binary.LittleEndian.Uint64(a[8:])
	return int((high ^ bits.RotateLeft64(low, 29)) * spread >> t.shift)
}

// find returns the slot of a, or false when it is not one of ours.
func (t *slotTable) find(a *[16]byte) (int, bool) {
	for i := t.home(a); t.entries[i] != 0; i = (i + 1) % len(t.entries) {
		if slot := int(t.entries[i] - 1); t.addresses[slot] == *a {
			return slot, true
		}
	}
	return 0, false
}
