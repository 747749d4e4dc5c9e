package srtp

import (
	"slices"

	"tandem/relay/verdict"
)

// MaxSSRC is how many SSRCs may speak under one key. More are refused and none is ever evicted: an evicted one would start
// again at rollover counter 0 under the same key. A leg of a call has one or two, a conference bridge a handful.
const MaxSSRC = 16

// RX is what was received under one key. Only packets whose tag verified change it. It holds no pointer; the zero value is
// ready. One writer: the goroutine that opens.
type RX struct {
	opened     uint64 // SRTP packets
	openedRTCP uint64 // SRTCP packets
	n          uint64 // entries of sources in use
	sources    [MaxSSRC]rxSource
}

// rxSource is one SSRC, 64 bytes: a cache line.
type rxSource struct {
	ssrc  uint32
	roc   uint32 // hint: the rollover counter under the former key or endpoint
	rtp   window
	rtcp  window
	retry bool // until the next SRTP packet verifies, indices made from the hint are tried too
	spoke bool // a packet verified under this key; without it the entry is a hint alone and may be overwritten
}

// find returns the entry of ssrc as a copy and where to put it back. An unknown SSRC gets a fresh copy, and a place
// if there is one.
func (rx *RX) find(ssrc uint32) (int, rxSource, verdict.Verdict) {
	hint := -1
	for i := range rx.sources[:rx.n] {
		s := &rx.sources[i]
		if s.ssrc == ssrc {
			return i, *s, verdict.Forward
		}
		if !s.spoke {
			hint = i
		}
	}
	switch {
	case rx.n < MaxSSRC:
		return int(rx.n), rxSource{ssrc: ssrc}, verdict.Forward
	case hint >= 0:
		return hint, rxSource{ssrc: ssrc}, verdict.Forward
	}
	return 0, rxSource{}, verdict.SSRCFull
}

// commit stores an entry that a verified packet has changed.
func (rx *RX) commit(slot int, s *rxSource) {
	s.spoke = true
	rx.sources[slot] = *s
	rx.n = max(rx.n, uint64(slot)+1)
}

// candidates returns the indices that seq may mean, likeliest first. There is one, unless a hint has not been settled.
func (s *rxSource) candidates(seq uint16) (list [4]uint64, n int) {
	if s.rtp.next > 0 {
		list[0], n = estimate(s.rtp.next-1, seq), 1
	} else if !s.retry {
		return [4]uint64{uint64(seq)}, 1
	}
	if !s.retry {
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

// Rekey makes rx the state of a new key that replaces the key of old. For each SSRC of old, rollover counter 0, the one
// carried over and the one after it are tried until a first SRTP packet verifies, and then that one is kept: RFC 3711 section
// 3.3.1 carries the counter over, some peers start again at 0. Windows are fresh: no index was used under the new key.
func (rx *RX) Rekey(old *RX) {
	var fresh RX
	for i := range old.sources[:old.n] {
		s := &old.sources[i]
		roc := s.roc
		if s.rtp.next > 0 {
			roc = uint32((s.rtp.next - 1) >> 16)
		} else if !s.retry {
			continue // only RTCP so far: nothing to carry
		}
		fresh.sources[fresh.n] = rxSource{ssrc: s.ssrc, roc: roc, retry: true}
		fresh.n++
	}
	*rx = fresh
}

// Retry says that the key stays and a new endpoint may speak: the rollover counters that Rekey tries are tried once more.
// Windows stay, since an index must not be accepted twice: a counter that went back is TooOld.
func (rx *RX) Retry() {
	for i := range rx.sources[:rx.n] {
		s := &rx.sources[i]
		if s.rtp.next > 0 {
			s.roc, s.retry = uint32((s.rtp.next-1)>>16), true
		}
	}
}

// Highest returns the highest index opened of an SSRC, and whether one was.
func (rx *RX) Highest(ssrc uint32) (index uint64, known bool) {
	for i := range rx.sources[:rx.n] {
		if s := &rx.sources[i]; s.ssrc == ssrc && s.rtp.next > 0 {
			return s.rtp.next - 1, true
		}
	}
	return 0, false
}

// Expiring reports whether the key is in the last sixteenth of its life, by packets or by index.
func (rx *RX) Expiring() bool {
	if rx.opened >= expiringRTP || rx.openedRTCP >= expiringRTCP {
		return true
	}
	for i := range rx.sources[:rx.n] {
		s := &rx.sources[i]
		if s.rtp.next >= expiringRTP || s.rtcp.next >= expiringRTCP {
			return true
		}
	}
	return false
}
