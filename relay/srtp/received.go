package srtp

import (
	"slices"

	"tandem/relay/verdict"
)

// MaxSSRC is how many SSRCs may speak under one key. More are refused and none is ever evicted: an evicted one would start
// again at rollover counter 0 under the same key. A leg of a call has one or two, a conference bridge a handful.
const MaxSSRC = 16

// RXNow is what was received under one key from the SSRC in use now, and the counters of all: one cache line, hot. It holds no
// pointer; the zero value is ready. One writer: the goroutine that opens.
type RXNow struct {
	rtp        window
	rtcp       [2]uint64 // the SRTCP window's bits
	rtcpNext   uint32    // and its next
	ssrc       uint32
	opened     uint64 // SRTP packets under this key
	openedRTCP uint32 // SRTCP packets under this key
	n          uint8  // SSRCs known: this one and n-1 in RXRest
	marks      marks
	_          uint16
}

// all returns how many packets were opened: when it has changed, so may have everything else.
func (n *RXNow) all() uint64 { return n.opened + uint64(n.openedRTCP) }

// RXRest is the other SSRCs. A leg that hears one SSRC under one key never touches it.
type RXRest struct {
	sources [MaxSSRC - 1]rxStored
	roc     uint32 // hint for the SSRC in use now, if it is marked retry
}

// rxStored is an SSRC that is not in use now.
type rxStored struct {
	rtp      window
	rtcp     [2]uint64
	rtcpNext uint32
	ssrc     uint32
	roc      uint32
	marks    marks
}

// marks are what is known of an SSRC, a bit each.
type marks uint8

const (
	spoke marks = 1 << iota // a packet was proven, or sealed, under this key; without it the entry may be overwritten
	retry                   // until the next SRTP packet verifies, indices made from the hint are tried too
)

// Received is what was received under one key: both halves of it, wherever they lie. Only packets whose tag verified change them.
type Received struct {
	Now  *RXNow
	Rest *RXRest
}

// rxSource is one SSRC while a packet of it is looked at.
type rxSource struct {
	rtp   window
	rtcp  window
	ssrc  uint32
	roc   uint32 // hint: the rollover counter under the former key or endpoint; meaningless unless marked retry
	marks marks
}

// at returns a copy of an entry: 0 is the one in use now.
func (r Received) at(slot int) rxSource {
	if slot > 0 {
		s := &r.Rest.sources[slot-1]
		return rxSource{rtp: s.rtp, rtcp: window{uint64(s.rtcpNext), s.rtcp}, ssrc: s.ssrc, roc: s.roc, marks: s.marks}
	}
	n := r.Now
	s := rxSource{rtp: n.rtp, rtcp: window{uint64(n.rtcpNext), n.rtcp}, ssrc: n.ssrc, marks: n.marks}
	if s.marks&retry != 0 {
		s.roc = r.Rest.roc
	}
	return s
}

// window returns an entry's SRTP window.
func (r Received) window(slot int) *window {
	if slot > 0 {
		return &r.Rest.sources[slot-1].rtp
	}
	return &r.Now.rtp
}

// unsettled tells whether an entry's hint has yet to be settled.
func (r Received) unsettled(slot int) bool {
	if slot > 0 {
		return r.Rest.sources[slot-1].marks&retry != 0
	}
	return r.Now.marks&retry != 0
}

// put stores an entry.
func (r Received) put(slot int, s *rxSource) {
	next := uint32(s.rtcp.next) // at most 2^31
	if slot > 0 {
		r.Rest.sources[slot-1] = rxStored{s.rtp, s.rtcp.used, next, s.ssrc, s.roc, s.marks}
		return
	}
	n := r.Now
	n.rtp, n.rtcp, n.rtcpNext, n.ssrc, n.marks = s.rtp, s.rtcp.used, next, s.ssrc, s.marks
	if s.marks&retry != 0 {
		r.Rest.roc = s.roc
	}
}

// find returns where ssrc is, and whether it is known there. An unknown SSRC gets a place if there is one: a free one, or that of
// a hint. Nothing is written.
func (r Received) find(ssrc uint32) (slot int, known bool, v verdict.Verdict) {
	n := int(r.Now.n)
	switch {
	case n == 0:
		return 0, false, verdict.Forward
	case r.Now.ssrc == ssrc:
		return 0, true, verdict.Forward
	}
	hint := -1
	if r.Now.marks&spoke == 0 {
		hint = 0
	}
	for i := range r.Rest.sources[:n-1] {
		s := &r.Rest.sources[i]
		if s.ssrc == ssrc {
			return i + 1, true, verdict.Forward
		}
		if s.marks&spoke == 0 {
			hint = i + 1
		}
	}
	switch {
	case n < MaxSSRC:
		return n, false, verdict.Forward
	case hint >= 0:
		return hint, false, verdict.Forward
	}
	return 0, false, verdict.SSRCFull
}

// entry returns a copy of what was found, fresh if it was unknown.
func (r Received) entry(slot int, known bool, ssrc uint32) rxSource {
	if !known {
		return rxSource{ssrc: ssrc}
	}
	return r.at(slot)
}

// commit takes note of a verified SRTP packet: its SSRC is the one in use from here on.
func (r Received) commit(slot int, known bool, ssrc uint32, index uint64) {
	n := r.Now
	if slot > 0 || !known {
		s, was := r.entry(slot, known, ssrc), r.at(0)
		r.put(slot, &was)
		r.put(0, &s)
		n.n = max(n.n, uint8(slot)+1)
	}
	n.rtp.mark(index)
	n.marks = n.marks&^retry | spoke
	n.opened++
}

// commitRTCP stores an entry that a verified SRTCP packet has changed, where it was: reports come too seldom to be in use.
func (r Received) commitRTCP(slot int, s *rxSource) {
	s.marks |= spoke
	r.put(slot, s)
	r.Now.n = max(r.Now.n, uint8(slot)+1)
	r.Now.openedRTCP++
}

// candidates returns the indices that seq may mean, likeliest first. There is one, unless a hint has not been settled.
func (s *rxSource) candidates(seq uint16) (list [4]uint64, n int) {
	again := s.marks&retry != 0
	if s.rtp.next > 0 {
		list[0], n = estimate(s.rtp.next-1, seq), 1
	} else if !again {
		return [4]uint64{uint64(seq)}, 1
	}
	if !again {
		return list, n
	}
	carried := uint64(s.roc)
	for _, roc := range [...]uint64{0, carried, carried + 1} {
		index := roc<<16 | uint64(seq)
		if !slices.Contains(list[:n], index) {
			list[n] = index
			n++
		}
	}
	return list, n
}

// Rekey makes r the state of a new key that replaces the one before. For each SSRC heard, rollover counter 0, the one carried over
// and the one after it are tried until a first SRTP packet verifies, and then that one is kept: RFC 3711 section 3.3.1 carries
// the counter over, some peers start again at 0. Windows are fresh: no index was used under the new key. Who still needs
// the state of the key before copies it first.
func (r Received) Rekey() {
	var hints [MaxSSRC]rxSource
	n := 0
	for slot := range int(r.Now.n) {
		s := r.at(slot)
		roc := s.roc
		if s.rtp.next > 0 {
			roc = uint32((s.rtp.next - 1) >> 16)
		} else if s.marks&retry == 0 {
			continue // only RTCP so far: nothing to carry
		}
		hints[n] = rxSource{ssrc: s.ssrc, roc: roc, marks: retry}
		n++
	}
	r.Clear()
	for slot := range hints[:n] {
		r.put(slot, &hints[slot])
	}
	r.Now.n = uint8(n)
}

// Retry says that the key stays and a new endpoint may speak: the rollover counters that Rekey tries are tried once more.
// Windows stay, since an index must not be accepted twice: a counter that went back is TooOld.
func (r Received) Retry() {
	for slot := range int(r.Now.n) {
		if s := r.at(slot); s.rtp.next > 0 {
			s.roc = uint32((s.rtp.next - 1) >> 16)
			s.marks |= retry
			r.put(slot, &s)
		}
	}
}

// Copy makes r what old is. Where neither has heard a second SSRC, nothing of the rest is touched.
func (r Received) Copy(old Received) {
	if r == old {
		return
	}
	r.Clear()
	for slot := range int(old.Now.n) {
		s := old.at(slot)
		r.put(slot, &s)
	}
	*r.Now = *old.Now
}

// Clear forgets everything, for a leg without a key. What was never used stays untouched.
func (r Received) Clear() {
	if r.Now.n > 1 || r.Now.marks&retry != 0 {
		*r.Rest = RXRest{}
	}
	*r.Now = RXNow{}
}

// Highest returns the highest index opened of an SSRC, and whether one was.
func (r Received) Highest(ssrc uint32) (index uint64, known bool) {
	slot, known, _ := r.find(ssrc)
	if !known {
		return 0, false
	}
	w := r.window(slot)
	if w.next == 0 {
		return 0, false
	}
	return w.next - 1, true
}

// Expiring reports whether the key is in the last sixteenth of its life, by packets or by index.
func (r Received) Expiring() bool {
	n := r.Now
	if n.opened >= expiringRTP || n.openedRTCP >= expiringRTCP || n.rtp.next >= expiringRTP || n.rtcpNext >= expiringRTCP {
		return true
	}
	for i := 1; i < int(n.n); i++ {
		if s := &r.Rest.sources[i-1]; s.rtp.next >= expiringRTP || s.rtcpNext >= expiringRTCP {
			return true
		}
	}
	return false
}
