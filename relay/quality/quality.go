// Package quality measures one received RTP stream: loss (RFC 3550 appendices A.1 and A.3), interarrival jitter (A.8), and
// the listening quality that follows from them (ITU-T G.107).
//
// The failure it prevents: numbers that lie after an ordinary event. A sender that restarts is not 60,000 lost packets
// (TestRestartIsNotLoss), and neither a long DTMF digit nor a silence is jitter (TestDTMFDoesNotInflateJitter). What does not
// live here: RTCP, one-way delay (nobody in the middle knows it), and any judgement of a packet.
package quality

import "time"

// Sequence distances of RFC 3550 appendix A.1.
const (
	maxDropout  = 3000 // a gap up to here is loss, beyond it a restart
	maxMisorder = 100  // a packet up to here behind the highest is late, beyond it a restart
)

// discontinuity is the largest difference of two transit times that is taken for jitter. Beyond it the sender's timestamps
// jumped, or stood still through a silence; no jitter buffer would have waited so long.
const discontinuity = int64(time.Second)

// Stream is the counters of one stream: 64 bytes of plain memory, one writer. The zero value is ready.
type Stream struct {
	received uint64 // packets, over all spans
	closed   uint64 // packets expected in the spans before this one
	arrived  int64  // time of the packet that jitter is measured against, ns
	jitter   int64  // interarrival jitter, ns, times 16 (RFC 3550 A.8 keeps four fraction bits)
	highest  int64  // of jitter, the same unit

	timestamp uint32 // of the packet that jitter is measured against
	clock     uint32 // its clock rate, Hz; 0: there is none yet
	ssrc      uint32
	first     uint32 // extended sequence number that this span began with
	last      uint32 // highest extended sequence number of this span
	next      uint16 // the sequence number that would confirm a restart
	suspect   bool   // next is set: the packet before jumped
	begun     bool   // a span is open
}

// Update counts one packet that arrived at now, in nanoseconds of a clock that never goes back. clock is the rate of ts,
// in Hz; 0 leaves jitter alone. Another SSRC begins a new span at once; a jump of the sequence number beyond RFC 3550's
// distances does so when the next packet continues it, and a packet that jumps alone is not counted. Totals are kept.
func (s *Stream) Update(now int64, ssrc uint32, seq uint16, ts uint32, clock uint32) {
	if !s.begun || ssrc != s.ssrc {
		s.begin(ssrc, seq)
		s.received++
		s.refer(now, ts, clock)
		return
	}
	switch ahead := seq - uint16(s.last); {
	case s.suspect && seq == s.next: // two in a row: the sender restarted, with the packet before
		s.begin(ssrc, seq-1)
		s.last++
		s.received += 2
		s.refer(now, ts, clock)
		return
	case ahead < maxDropout:
		s.last += uint32(ahead)
	case -ahead <= maxMisorder: // late or twice
	default:
		s.next, s.suspect = seq+1, true
		return
	}
	s.suspect = false
	s.received++
	s.measure(now, ts, clock)
}

// begin closes the span and opens one at seq.
func (s *Stream) begin(ssrc uint32, seq uint16) {
	s.closed += s.span()
	s.ssrc, s.first = ssrc, uint32(seq)
	s.last, s.suspect, s.begun = s.first, false, true
}

// span returns the packets expected in the open span (RFC 3550 A.3).
func (s *Stream) span() uint64 {
	if !s.begun {
		return 0
	}
	return uint64(s.last-s.first) + 1
}

// refer makes a packet the one that jitter is measured against.
func (s *Stream) refer(now int64, ts, clock uint32) {
	s.arrived, s.timestamp, s.clock = now, ts, clock
}

// measure updates the jitter estimate (RFC 3550 A.8) in nanoseconds. Packets with one timestamp, as of an RFC 4733 event or
// a frame in several packets, are sent at different times by design: they are skipped, and the first of them stays the reference, so
// that the audio after an event is compared with its beginning.
func (s *Stream) measure(now int64, ts, clock uint32) {
	if clock == 0 || clock != s.clock {
		s.refer(now, ts, clock)
		return
	}
	if ts == s.timestamp {
		return
	}
	sent := int64(int32(ts-s.timestamp)) * int64(time.Second) / int64(clock)
	d := now - s.arrived - sent
	s.refer(now, ts, clock)
	if d < 0 {
		d = -d
	}
	if d > discontinuity {
		return
	}
	s.jitter += d - (s.jitter+8)>>4
	s.highest = max(s.highest, s.jitter)
}

// Report is what a stream came to.
type Report struct {
	Expected  uint64 // packets, by the sequence numbers
	Lost      int64  // expected - received; negative with duplicates (RFC 3550 A.3)
	Jitter    time.Duration
	MaxJitter time.Duration // the highest that Jitter was
	MOS       float64       // mean opinion score 1.0 to 4.5, of listening alone; 0: nothing was heard
}

// SSRC returns the latest one; 0 before the first packet.
func (s *Stream) SSRC() uint32 { return s.ssrc }

// Report returns the stream's totals.
func (s *Stream) Report(codec Codec) Report {
	r := Report{
		Expected:  s.closed + s.span(),
		Jitter:    time.Duration(s.jitter >> 4),
		MaxJitter: time.Duration(s.highest >> 4),
	}
	r.Lost = int64(r.Expected) - int64(s.received)
	if s.received > 0 {
		r.MOS = mos(codec, r.Expected, r.Lost, r.Jitter)
	}
	return r
}
