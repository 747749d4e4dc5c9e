package relay

import (
	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/pin"
	"tandem/relay/quality"
	"tandem/relay/rtp"
	"tandem/relay/srtp"
	"tandem/relay/verdict"
)

// leg is the state of one end of a stream: what its peer may send us, and what we send to it. It lives in the arena
// (no Go pointers, CLOCK_MONOTONIC times, raw keys), the fields in the order a packet needs them. The worker that owns the
// leg's ports is the only one who reads or writes it.
type leg struct {
	// A packet from the peer.
	peer    uint32 // index of the leg at the other end of the stream; 0: no such leg, the slot is free
	flags   flags
	clockPT uint8     // payload type that clock belongs to
	clock   uint32    // Hz
	known   [2]uint64 // negotiated payload types, a bit each; all zero: any
	pin     pin.State
	rx      srtp.RX
	heard   int64 // the last accepted packet; 0: none yet
	ssrc    uint32
	quality quality.Stream

	// A packet to the peer.
	rtp, rtcp netio.Local // our ports
	out       mapping
	tx        srtp.TX

	// Signalling's word, and what is counted.
	policy   pin.Policy
	opened   int64 // when the session was opened
	since    int64 // when silence began to count: signalled, resumed or watched
	told     int64 // when silence was last reported; 0: not since the last packet
	keyTold  int64 // when a key's age was last reported
	payloads [control.MaxPayloads]payload
	rxKeys   srtp.Keys
	txKeys   srtp.Keys
	in, sent control.Traffic
	drops    verdict.Counters
	place    uint32 // in the worker's round
	session  uint64 // serial number of the session: an event about an earlier owner of the slot is recognised
}

// payload is one negotiated payload type.
type payload struct {
	clock uint32
	typ   uint8
}

// flags are what signalling said, a bit each.
type flags uint16

const (
	hears     flags = 1 << iota // the direction lets media come from the peer
	speaks                      // the direction lets media go to the peer
	secure                      // SRTP in both directions: plain RTP neither leaves nor enters, even before the keys are there
	muxed                       // RTCP shares the RTP port (RFC 5761)
	watched                     // silence is reported
	contested                   // the contest was reported
)

// reports is our port that RTCP leaves by.
func (l *leg) reports() netio.Local {
	if l.flags&muxed != 0 {
		return l.rtp
	}
	return l.rtcp
}

// mapping is how the numbers of one direction change between the peers. The relay's own offset is what makes a sealed
// index unique: the far side's restarts and jumps never reach the cipher (design rule: no nonce twice).
type mapping struct {
	in, out uint32 // SSRC as received, as sent
	last    uint16 // highest sequence number received of in
	offset  uint16 // added to every sequence number
	begun   bool
}

// Sequence distances of RFC 3550 appendix A.1: beyond them the input restarted.
const (
	maxDropout  = 3000
	maxMisorder = 100
)

// follow takes the next packet's SSRC and sequence number and returns those to send.
func (m *mapping) follow(ssrc uint32, seq uint16, tx *srtp.TX) (uint32, uint16) {
	switch ahead := int16(seq - m.last); {
	case !m.begun:
		m.rebase(ssrc, seq, tx)
	case ssrc != m.in:
		m.rebase(ssrc, seq, tx)
	case ahead > 0 && ahead < maxDropout:
		m.last = seq
	case ahead <= 0 && ahead >= -maxMisorder: // late or twice: its own index, which seal refuses if it was used
	default: // the sender restarted
		m.rebase(ssrc, seq, tx)
	}
	return m.out, seq + m.offset
}

// rebase begins to follow a new run of sequence numbers: under its own SSRC while the send table has room for it, else
// under the one in use, and above everything sealed before.
func (m *mapping) rebase(ssrc uint32, seq uint16, tx *srtp.TX) {
	if !m.begun || tx.Room(ssrc) {
		m.out = ssrc
	}
	m.in, m.last, m.begun = ssrc, seq, true
	m.offset = 0
	if next, known := tx.Next(m.out); known {
		m.offset = next - seq
	}
}

// open authenticates and decrypts an RTP packet in place. It returns the new length, and whether the packet is newer than
// all before it.
func (l *leg) open(k *keys, data []byte, view rtp.View, now int64) (n int, fresh, late bool, v verdict.Verdict) {
	if l.flags&secure == 0 {
		return len(data), true, false, verdict.Forward
	}
	if k.rx == nil {
		return 0, false, false, verdict.NoKey
	}
	newest, known := l.rx.Highest(view.SSRC)
	n, index, v := k.rx.OpenRTP(&l.rx, data, view.Header)
	if v != verdict.Forward && k.retired != nil && now < k.retired.until {
		if n, _, old := k.retired.cipher.OpenRTP(&k.retired.rx, data, view.Header); old == verdict.Forward {
			return n, false, true, old
		}
	}
	return n, !known || index > newest, false, v
}

// openRTCP is open for RTCP.
func (l *leg) openRTCP(k *keys, data []byte, now int64) (n int, v verdict.Verdict) {
	if l.flags&secure == 0 {
		return len(data), verdict.Forward
	}
	if k.rx == nil {
		return 0, verdict.NoKey
	}
	n, v = k.rx.OpenRTCP(&l.rx, data)
	if v != verdict.Forward && k.retired != nil && now < k.retired.until {
		if n, old := k.retired.cipher.OpenRTCP(&k.retired.rx, data); old == verdict.Forward {
			return n, old
		}
	}
	return n, v
}

// clockOf returns the clock rate of a payload type, in Hz.
func (l *leg) clockOf(pt uint8) uint32 {
	if pt == l.clockPT && l.clock != 0 {
		return l.clock
	}
	clock := uint32(defaultClock)
	for i := range l.payloads {
		if p := &l.payloads[i]; p.typ == pt && p.clock != 0 {
			clock = p.clock
			break
		}
	}
	l.clockPT, l.clock = pt, clock
	return clock
}

// defaultClock is the clock rate of G.711 and of RFC 4733 events, in Hz.
const defaultClock = 8000

// knows tells whether the payload type was negotiated.
func (l *leg) knows(pt uint8) bool {
	return l.known == [2]uint64{} || l.known[pt>>6&1]&(1<<(pt&63)) != 0
}

// seal writes the numbers of this direction into an RTP packet for the leg's peer and encrypts it in place.
func (l *leg) seal(k *keys, data []byte, v rtp.View) (n int, fate verdict.Verdict) {
	if l.flags&secure == 0 {
		l.out.in, l.out.out, l.out.last, l.out.offset, l.out.begun = v.SSRC, v.SSRC, v.Seq, 0, true
		return len(data), verdict.Forward
	}
	if k.tx == nil {
		return 0, verdict.NoKey
	}
	ssrc, seq := l.out.follow(v.SSRC, v.Seq, &l.tx)
	rtp.PutSSRC(data, ssrc)
	rtp.PutSeq(data, seq)
	return k.tx.SealRTP(&l.tx, data, v.Header)
}

// sealRTCP maps the SSRCs and sequence numbers of a compound packet from the other leg and encrypts it in place.
func (l *leg) sealRTCP(k *keys, data []byte, from *leg) (n int, fate verdict.Verdict) {
	if l.out.begun || from.out.begun {
		m := rtp.Mapping{
			SenderIn: l.out.in, SenderOut: l.out.out,
			MediaOut: from.out.out, MediaIn: from.out.in,
			SeqOffset: from.out.offset,
		}
		rtp.RewriteRTCP(data, &m)
	}
	if l.flags&secure == 0 {
		return len(data), verdict.Forward
	}
	if k.tx == nil {
		return 0, verdict.NoKey
	}
	return k.tx.SealRTCP(&l.tx, data)
}
