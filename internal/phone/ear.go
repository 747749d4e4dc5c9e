package phone

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v2"
)

// ear judges what arrives on one call. Its owner holds a lock around every method.
type ear struct {
	voice voice         // of the far phone
	rtp   *srtp.Context // nil: plain
	rtcp  *srtp.Context // of its own: two readers, and pion's contexts are for one

	received, corrupt, duplicates, reports uint64

	first   time.Time // when the first packet was heard
	closed  uint64    // packets expected of the streams before this one
	started bool
	ssrc    uint32
	begin   uint32 // extended sequence number of the stream's first packet
	highest uint32 // and the highest
	seen    [seenBits / 64]uint64

	jitter  float64 // RFC 3550 A.8, in timestamp units
	arrived time.Time
	stamp   uint32

	header rtp.Header
	plain  []byte
}

const seenBits = 1024 // sequence numbers behind the highest that are known to be new or a duplicate: 20 s

// unlock takes the keys that the peer seals with.
func (e *ear) unlock(s *suite, inline string) error {
	var err error
	if e.rtp, err = s.context(inline); err != nil {
		return err
	}
	e.rtcp, err = s.context(inline)
	return err
}

// hear takes one packet.
func (e *ear) hear(packet []byte, now time.Time) {
	if e.rtp != nil {
		var err error
		if packet, err = e.rtp.DecryptRTP(e.plain[:0], packet, &e.header); err != nil {
			e.corrupt++
			return
		}
		e.plain = packet
	}
	n, err := e.header.Unmarshal(packet)
	if err != nil || e.header.PayloadType != payloadPCMU || !e.voice.is(packet[n:], e.header.Timestamp) {
		e.corrupt++
		return
	}
	if !e.fresh(e.header.SSRC, e.header.SequenceNumber) {
		e.duplicates++
		return
	}
	if e.first.IsZero() {
		e.first = now
	} else {
		moved := float64(now.Sub(e.arrived)) * clock / float64(time.Second)
		e.jitter += (abs(moved-float64(int32(e.header.Timestamp-e.stamp))) - e.jitter) / 16
	}
	e.arrived, e.stamp = now, e.header.Timestamp
	e.received++
}

// fresh tells whether a sequence number is new, and notes it.
func (e *ear) fresh(ssrc uint32, seq uint16) bool {
	if !e.started || ssrc != e.ssrc {
		e.closed += e.span()
		e.started, e.ssrc = true, ssrc
		e.begin = 1<<16 + uint32(seq) // room for a first packet that is not the lowest
		e.highest, e.seen = e.begin, [seenBits / 64]uint64{}
		e.mark(e.begin)
		return true
	}
	n := e.highest + uint32(int32(int16(seq-uint16(e.highest))))
	switch {
	case n > e.highest:
		for i := e.highest + 1; i < n && i-e.highest <= seenBits; i++ {
			e.seen[i%seenBits/64] &^= 1 << (i % 64)
		}
		e.highest = n
	case e.highest-n >= seenBits:
		return false
	case e.seen[n%seenBits/64]&(1<<(n%64)) != 0:
		return false
	}
	e.begin = min(e.begin, n)
	e.mark(n)
	return true
}

func (e *ear) mark(n uint32) { e.seen[n%seenBits/64] |= 1 << (n % 64) }

// span is how many packets the present stream should have had so far (RFC 3550 A.3).
func (e *ear) span() uint64 {
	if !e.started {
		return 0
	}
	return uint64(e.highest-e.begin) + 1
}

// lost is what the sequence numbers say is missing. The end of a stream that never arrived is not seen by them.
func (e *ear) lost() uint64 { return e.closed + e.span() - e.received }

// jitterMS is the interarrival jitter in milliseconds.
func (e *ear) jitterMS() float64 { return e.jitter * 1000 / clock }

// report takes one RTCP packet: a sender report that can be read counts.
func (e *ear) report(packet []byte) {
	if e.rtcp != nil {
		var err error
		if packet, err = e.rtcp.DecryptRTCP(nil, packet, nil); err != nil {
			e.corrupt++
			return
		}
	}
	if len(packet) < reportLen || packet[1] != senderReport || int(binary.BigEndian.Uint16(packet[2:]))*4+4 > len(packet) {
		e.corrupt++
		return
	}
	e.reports++
}

// MOS estimates the mean opinion score, 1 to 4.5, of G.711 with concealment from the share of lost packets and the jitter in
// milliseconds, of which a playout buffer costs twice (ITU-T G.107 with G.113 appendix I: Bpl 25.1). 0: nothing was heard.
func MOS(received, lost uint64, jitterMS float64) float64 {
	if received == 0 {
		return 0
	}
	percent := 100 * float64(lost) / float64(received+lost)
	r := 93.2 - 95*percent/(percent+25.1) - 0.024*2*jitterMS
	if r <= 0 {
		return 1
	}
	return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6)
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}
