package xsk

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is a frame's way, in order: filled by the kernel, Receive, Send or GiveBack, completed, filled again.

// Refill takes back what was sent and lends the kernel frames for packets to come, as many as may wait. It is called before
// each batch.
func (s *Socket) Refill() {
	s.complete()
	want := min(Depth-s.lent, len(s.free))
	if want > 0 {
		s.fill.room(uint32(want)) // there is: the ring has Depth entries, and no more are lent
		for range want {
			s.fill.put(s.pop())
		}
		s.lent += want
		s.fill.publish()
	}
}

// complete takes back the frames whose packets were sent.
func (s *Socket) complete() {
	if s.sending == 0 {
		return
	}
	n := s.completion.filled(uint32(s.sending))
	if n == 0 {
		return
	}
	for range n {
		frame := s.completion.take() &^ (FrameSize - 1)
		s.place[frame/FrameSize] = ours
		s.free = append(s.free, frame)
	}
	s.sending -= int(n)
	s.completion.release()
}

// Receive returns the next packet as the device had it, from the Ethernet header on, or nil when there is none. It stays the
// caller's, who may write to it and Longest-len(frame)+128 bytes after it, until GiveBack or Send.
func (s *Socket) Receive() []byte {
	if s.rx.filled(1) == 0 {
		return nil
	}
	d := s.rx.take()
	frame := d.Addr &^ (FrameSize - 1)
	s.lent--
	s.held = append(s.held, frame)
	s.place[frame/FrameSize] = inBatch
	return s.memory[d.Addr : d.Addr+uint64(d.Len) : frame+FrameSize]
}

// Received ends a series of Receive: the kernel may use the places in the ring again.
func (s *Socket) Received() { s.rx.release() }

// GiveBack takes back all packets that were received and not sent.
func (s *Socket) GiveBack() {
	for _, frame := range s.held {
		if s.place[frame/FrameSize] == inBatch {
			s.place[frame/FrameSize] = ours
			s.free = append(s.free, frame)
		}
	}
	s.held = s.held[:0]
}

// Holds tells whether data lies in the socket's memory.
func (s *Socket) Holds(data []byte) bool { return offsetIn(s.memory, data) < uint64(len(s.memory)) }

// Send makes payload, with room for the headers before it, the next packet to be sent, and returns it for the headers to be
// written: what is received here is sent from where it lies, anything else is copied. The result is nil when the packet has to
// wait and there is no place for it. After the last one of a batch comes Kick.
func (s *Socket) Send(headers int, payload []byte) []byte {
	if s.tx.room(1) == 0 {
		return nil
	}
	at := offsetIn(s.memory, payload)
	if at >= uint64(len(s.memory)) || !s.inOnePiece(at, headers, len(payload)) {
		if at = s.copied(payload); at == 0 {
			return nil
		}
	}
	s.place[at/FrameSize] = onItsWay
	s.sending++
	at -= uint64(headers)
	length := uint64(headers + len(payload))
	s.tx.put(unix.XDPDesc{Addr: at, Len: uint32(length)})
	return s.memory[at : at+length]
}

// inOnePiece tells whether the packet whose payload is at that place can be sent from there: it is nobody else's, and
// headers and payload are in one frame.
func (s *Socket) inOnePiece(at uint64, headers, length int) bool {
	in := at % FrameSize
	return s.place[at/FrameSize] == inBatch && in >= uint64(headers) && in+uint64(length) <= FrameSize
}

// copied copies a payload into a free frame and returns where, or 0 when there is none or the payload is too long.
func (s *Socket) copied(payload []byte) uint64 {
	if len(payload) > FrameSize-copyAt {
		return 0
	}
	if len(s.free) == 0 {
		if s.complete(); len(s.free) == 0 {
			return 0
		}
	}
	at := s.pop() + copyAt
	copy(s.memory[at:], payload)
	return at
}

func (s *Socket) pop() uint64 {
	last := len(s.free) - 1
	frame := s.free[last]
	s.free = s.free[:last]
	return frame
}

// Kick makes the kernel send what was given to Send. It returns an error that ended it early: EBUSY or ENOBUFS when the device
// takes no more at the moment, ENETDOWN when it is down, ENXIO when it is gone. What it did not take is taken by a later Kick.
func (s *Socket) Kick() unix.Errno {
	s.tx.publish()
	s.unsent = false
	if !s.tx.wantsWakeup() {
		return 0 // a driver at work: it looks by itself
	}
	var errno unix.Errno
	for range mostKicks {
		if errno = kickSend(s.fd); errno == 0 {
			return 0
		}
		// EAGAIN is the kernel's budget or the socket's buffer; only the ring tells whether something is left.
		if s.tx.room(uint32(len(s.tx.entries))) == uint32(len(s.tx.entries)) {
			return 0
		}
		if errno != unix.EAGAIN && errno != unix.EINTR {
			break
		}
	}
	s.unsent = true
	return errno
}

// Unsent tells whether the last Kick left something behind.
func (s *Socket) Unsent() bool { return s.unsent }

// Look wakes the kernel where it waits for frames, and polls the device where the socket was opened to. It is called before
// waiting for a packet.
func (s *Socket) Look() {
	if s.polls || s.fill.wantsWakeup() {
		kickReceive(s.fd) // its errors are those of a device that is down or gone, which waiting reports
	}
}

// Waiting tells whether a packet can be received.
func (s *Socket) Waiting() bool { return s.rx.filled(1) > 0 }

// Statistics are what the kernel did not put into the ring (XDP_STATISTICS of the kernel's networking/af_xdp.rst), since Open.
type Statistics struct {
	Dropped uint64 // packets for which there was no frame or no place in the ring
	Invalid uint64 // packets to send that the kernel refused to look at: a fault of ours
	Starved uint64 // times that the kernel found no frame to fill
}

// Statistics asks the kernel.
func (s *Socket) Statistics() Statistics {
	var x unix.XDPStatistics
	if errno := getOption(s.fd, unix.XDP_STATISTICS, unsafe.Pointer(&x), unsafe.Sizeof(x)); errno != 0 {
		return Statistics{}
	}
	return Statistics{Dropped: x.Rx_dropped + x.Rx_ring_full, Invalid: x.Tx_invalid_descs, Starved: x.Rx_fill_ring_empty_descs}
}
