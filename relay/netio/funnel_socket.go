package netio

import (
	"golang.org/x/sys/unix"
)

// A port of the funnel has a UDP socket of its own only if a packet had to leave by one. At 40,000 ports sockets that nobody
// uses would be 40,000 descriptors and as many times the kernel's memory.

const (
	// noSocket stands in a port's word, beside its generation, while the port is bound and has no socket.
	noSocket = 1<<32 - 1

	// socketShare is the part of the open files that the funnel's port sockets may take together: one half, the rest
	// belongs to everybody else in the process.
	socketShare               = 2
	leastSockets, mostSockets = 64, 1 << 17 // of one queue
)

// ownSockets are the sockets that one worker has opened for its ports, oldest first. When there is no room for another, the
// oldest is closed; its port opens it again when it has to.
type ownSockets struct {
	held []ownSocket // a ring
	next int         // the oldest entry
}

// ownSocket is one opened socket. The port's word tells whether it is still the port's.
type ownSocket struct {
	at   Local
	word uint64 // generation<<32 | descriptor
}

// makeOwnSockets has room for as many sockets as the limit of open files allows each of the workers.
func makeOwnSockets(workers int) ownSockets {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		limit.Cur = 0
	}
	room := limit.Cur / socketShare / uint64(workers)
	return ownSockets{held: make([]ownSocket, min(max(room, leastSockets), mostSockets))}
}

// socketOf returns the socket of port l, whose word was read in this section, and opens it if there is none. It is closed by
// Unbind, by SetDSCP (it would carry the old mark), or by this worker for want of room.
func (q *funnelQueue) socketOf(x *exit, l Local, word uint64) (int, bool) {
	if fd := uint32(word); fd != noSocket {
		return int(fd), true
	}
	q.makeRoom()
	e := q.engine
	length := q.from.put(&Addr{IP: e.slots.addresses[l.Slot()], Port: l.Port()}, e.ipv6(l.Slot()))
	fd, errno := q.calls.openPort(&q.from, length, int(x.dscp.Load())<<2)
	if errno != 0 {
		return -1, false
	}
	open := word&^noSocket | uint64(fd)
	if !x.socket.CompareAndSwap(word, open) {
		_ = unix.Close(fd) // unbound, or marked anew, meanwhile
		return -1, false
	}
	q.own.held[q.own.next] = ownSocket{at: l, word: open}
	q.own.next = (q.own.next + 1) % len(q.own.held)
	return fd, true
}

// makeRoom closes the oldest socket if its place is needed and it is still its port's.
func (q *funnelQueue) makeRoom() {
	oldest := &q.own.held[q.own.next]
	if oldest.word == 0 {
		return
	}
	if x := q.engine.exit(oldest.at); x.socket.CompareAndSwap(oldest.word, oldest.word|noSocket) {
		_ = unix.Close(int(uint32(oldest.word))) // only this worker sends by it, and it is here
	}
	*oldest = ownSocket{}
}
