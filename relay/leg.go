package relay

import (
	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/pin"
	"tandem/relay/quality"
	"tandem/relay/srtp"
	"tandem/relay/verdict"
)

// leg is the hot state of one end of a stream: what a packet of media from its peer, or to it, needs, and nothing else. It lives in
// the arena (no Go pointers, CLOCK_MONOTONIC times), in groups of one cache line each, in the order a packet meets them. A
// packet reads the in-part of the leg it came to and the out-part of the leg it leaves by; the first two lines are in both.
//
// The worker that owns the leg's ports is the only one who reads or writes it; before the ports are entered in the worker's
// table, that is the control side, and what only change writes the control side may read as well.
type leg struct {
	// Who it is, where it listens, whom it trusts.
	peer      uint32 // index of the leg at the other end of the stream; 0: no such leg, the slot is free
	flags     flags
	clockPT   uint8 // payload type that clock belongs to
	_         uint8
	clock     uint32      // Hz
	rtp, rtcp netio.Local // our ports
	pin       pin.State

	// What is counted, and for how long it has been silent.
	known           [2]uint64 // negotiated payload types, a bit each; all zero: any
	heard           int64     // the last accepted packet; 0: none yet
	since           int64     // when silence began to count: signalled, resumed or watched
	in, inBytes     uint64    // from the peer, accepted
	sent, sentBytes uint64    // to the peer

	// A packet from the peer, and the next line one to the peer.
	quality quality.Stream
	rx      srtp.RXNow
	tx      srtp.TXNow
	out     mapping

	// Expanded keys, six lines each. Legs of plain RTP do not touch them.
	rxKey, txKey srtp.Schedule
}

// cold is the rest of a leg's state, in an array of its own: drops, strangers, signalling, the watch. Writers as for leg.
type cold struct {
	pin     pin.Rest
	session uint64 // serial number of the session: an event about an earlier owner of the slot is recognised
	opened  int64  // when the session was opened
	told    int64  // when silence was last reported
	keyTold int64  // when a key's age was last reported; 0: never
	place   uint32 // in the worker's round
	said    word

	inRTCP, sentRTCP     uint64 // included in the packets of the hot part, like the next
	inOpaque, sentOpaque uint64
	drops                verdict.Counters
}

// word is what signalling said and no packet asks for. Only change writes it.
type word struct {
	pinned bool     // the pin mode was named, not derived
	rtcp   pin.Addr // where the peer wants RTCP, if it named that
	rx, tx srtp.Keys
}

// reports is the expanded keys of SRTCP. Legs of plain RTP do not touch them.
type reports struct {
	rxKey, txKey srtp.Schedule
}

// rare is what most legs never use: memory that is touched only once it is needed.
type rare struct {
	rx     srtp.RXRest
	tx     srtp.TXRest
	clocks [control.MaxPayloads]payload // negotiated payload types, if one has another clock than the default
}

// payload is one negotiated payload type.
type payload struct {
	clock uint32 // Hz; 0: the default
	typ   uint8
}

// flags are what signalling said, a bit each, and some of what the worker remembers. Only change writes the former.
type flags uint16

const (
	hears       flags = 1 << iota // the direction lets media come from the peer
	speaks                        // the direction lets media go to the peer
	secure                        // SRTP in both directions: plain RTP neither leaves nor enters, even before the keys are there
	muxed                         // RTCP shares the RTP port (RFC 5761)
	watched                       // silence is reported
	clocked                       // a payload type has a clock of its own, in rare
	keyedRX                       // there is a key to open with
	keyedTX                       // there is a key to seal with
	renewed                       // a receive key was replaced: it is among the worker's keys
	retires                       // not long ago, and it may still open packets
	opaque                        // what comes to the media port crosses as it is: UDPTL (opaque.go)
	unreported                    // the peer is not expected to send RTCP while media flows: no silence of it is reported then
	holdReports                   // the peer sends RTCP while it is held: silence is reported then as well
	announced                     // a new SSRC was reported since the watch looked
	owed                          // and another came, which the watch is to report
)

// reportPort is our port that RTCP leaves by.
func (l *leg) reportPort() netio.Local {
	if l.flags&muxed != 0 {
		return l.rtp
	}
	return l.rtcp
}

// clockOf returns the clock rate of a payload type, in Hz.
func (l *leg) clockOf(r *rare, pt uint8) uint32 {
	if l.flags&clocked == 0 {
		return defaultClock
	}
	if pt == l.clockPT && l.clock != 0 {
		return l.clock
	}
	clock := uint32(defaultClock)
	for i := range r.clocks {
		if p := &r.clocks[i]; p.typ == pt && p.clock != 0 {
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
