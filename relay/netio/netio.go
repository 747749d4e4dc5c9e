// Package netio moves datagrams: many per system call, in place, without allocation.
//
// It is the only package of the relay that uses unsafe and raw system calls. It knows addresses, ports and buffers; it
// has never heard of RTP, legs or calls. An Engine is one way of doing the work (a socket per port; a funnel of all ports into
// one socket with frames on the way out; AF_XDP past the kernel's network code); the session code never knows which one runs.
package netio

import (
	"net/netip"
	"time"

	"tandem/relay/verdict"
)

// Sizes of a packet's buffer, in bytes. A datagram is received at Headroom, and what the relay adds (an SRTP tag) or an
// engine adds (Ethernet, IP and UDP headers) fits around it without a copy.
const (
	Headroom    = 128  // Ethernet 14 + VLAN 4 + IPv6 40 + UDP 8 = 66, rounded up to two cache lines
	MaxDatagram = 2048 // larger than any RTP packet on an Ethernet; longer ones get verdict.TooLong
	Tailroom    = 64   // SRTP: tag 16 + SRTCP index 4 + MKI, rounded up to a cache line
)

// BatchSize is how many datagrams one receive call takes at most: beyond 64 the gain per system call is gone and the
// batch no longer fits the first-level cache.
const BatchSize = 64

// Addr is a UDP address without pointers: IPv4 addresses are IPv4-mapped, the port is in host order.
// The zero value is "no address". relay/pin has an identical struct, so that conversion costs nothing.
type Addr struct {
	IP   [16]byte
	Port uint16
}

// AddrFrom returns a as an Addr; an invalid a gives the zero value. Zones are not kept.
func AddrFrom(a netip.AddrPort) Addr {
	if !a.IsValid() {
		return Addr{}
	}
	return Addr{IP: a.Addr().As16(), Port: a.Port()}
}

// AddrPort returns the address in the standard library's form, IPv4-mapped addresses as IPv4.
func (a Addr) AddrPort() netip.AddrPort {
	if a == (Addr{}) {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.IP).Unmap(), a.Port)
}

// Local names a port of ours: the slot is the index of the address in Options.Addresses.
type Local uint32

// MakeLocal joins an address slot and a port.
func MakeLocal(slot int, port uint16) Local { return Local(slot)<<16 | Local(port) }

// Slot returns the index of the local address.
func (l Local) Slot() int { return int(l >> 16) }

// Port returns the UDP port.
func (l Local) Port() uint16 { return uint16(l) }

// Packet is one datagram in its buffer, from receive to send.
type Packet struct {
	Data    []byte          // the datagram in place: Headroom bytes before it and Tailroom after it belong to the packet
	In      Local           // the port it came to
	Src     Addr            // where it came from
	Out     Local           // worker: the port it leaves by
	Dst     Addr            // worker: where it goes
	Verdict verdict.Verdict // engine: TooLong; worker: its decision; engine: SendFailed. Send takes only Forward
}

// Batch is the packets of one receive call: the first N entries of Packets. The engine owns the memory that Data points
// to until the next Recv on the same queue.
type Batch struct {
	N       int
	Packets [BatchSize]Packet
}

// Engine is one way to move datagrams. Bind and Unbind are for the control side and may be called by any one goroutine at
// a time while the queues run.
type Engine interface {
	// Name is the engine's name in configuration, logs and relay.hello.
	Name() string
	// Bind makes queue the receiver of port l, or returns an error that wraps ErrPortTaken when another socket holds it.
	Bind(queue int, l Local) error
	// Unbind gives the port back. No packet of it may be in a batch any more: the owner of the queue was told before.
	Unbind(l Local)
	// SetDSCP sets the differentiated services code point (RFC 2474, 0..63) of what leaves by l.
	SetDSCP(l Local, dscp uint8) error
	// Queue returns the receive and send side of worker i, 0 <= i < number of workers.
	Queue(i int) Queue
	// Close gives every descriptor back. The queues' owners have stopped.
	Close() error
}

// Queue is what one worker thread receives from and sends to. All methods but Wake and Borrow belong to that thread.
type Queue interface {
	// Recv fills b with what is there and waits at most wait when nothing is. b.N == 0 means the wait is over, Wake was
	// called, or what came was another queue's. It never waits to fill a batch. An error ends the queue: it names the system
	// call that failed.
	Recv(b *Batch, wait time.Duration) error
	// Send sends the packets of b whose Verdict is Forward, in order, and sets SendFailed on those the kernel refused.
	Send(b *Batch)
	// Stats returns the counters of this queue since the start.
	Stats() QueueStats
	// Wake ends a waiting Recv. Any goroutine may call it.
	Wake()
	// Borrow runs f while the worker sleeps in Recv, which does not return before f has, and returns true; or it returns false at
	// once, because the worker does not sleep. Any goroutine may call it. f is short.
	Borrow(f func()) bool
}

// QueueStats counts what the kernel did for a queue.
type QueueStats struct {
	RecvCalls, RecvPackets uint64 // batch occupancy in: packets / calls (calls that returned something)
	SendCalls, SendPackets uint64 // batch occupancy out
	Overflows              uint64 // datagrams dropped because a receive buffer was full: a socket's (SO_RXQ_OVFL), a ring's, a worker's
	HandedOver             uint64 // datagrams of other workers' ports that this queue received and gave to them
	Invalid                uint64 // frames that the kernel refused to take from an AF_XDP socket: a fault of ours
	Starved                uint64 // times that the kernel found no frame to fill for an AF_XDP socket
	Unmatched              uint64 // datagrams that reached a shared socket without naming one of our addresses; not in RecvPackets
	Sent                   [Ways]uint64
}

// Way is how a packet left, and why not by a better way.
type Way uint8

// The ways. Those beginning with Socket are the UDP socket of the packet's port.
const (
	Socket           Way = iota // the engine's only way
	XDP                         // a frame in the memory of an AF_XDP socket
	Frame                       // a ready-made frame on a packet socket, past the kernel's UDP, IP and queueing code
	FrameFull                   // the same, because the AF_XDP socket's ring was full
	SocketUnresolved            // next hop not known, not yet or not any more
	SocketLocal                 // the destination is this machine
	SocketDevice                // the device is not an Ethernet
	SocketPolicy                // an xfrm policy (IPsec) wants to see the packet
	SocketConfigured            // the network says send: udp
	SocketTooLong               // longer than the route's MTU: the kernel fragments it or refuses it
	Ways                        // how many there are
)

// String returns the way's name in statistics.
func (w Way) String() string {
	return [...]string{
		"socket", "xdp", "frame", "frame_full", "socket_unresolved", "socket_local", "socket_device", "socket_policy", "socket_configured",
		"socket_too_long",
	}[w]
}
