package srtp

import (
	"math/bits"

	"tandem/relay/srtp/kernel"
)

// Messages are hashed side by side, as many as pay, the longest first and so each beside others of about its own number of blocks:
// a kernel of many lanes takes as long as if all were of the longest, two go together as far as the shorter one goes.

const _ = uint(63 - maxBlocks) // Scratch.waiting has a bit for each number of blocks

// add takes lane i: the HMAC of msg and the rollover counter goes to tag i when hash is called.
func (s *Scratch) add(i int, k *Schedule, msg []byte, roc uint32) {
	lane, tag := &s.lanes[i], &s.tags[i]
	lane.Key, lane.Msg, lane.Suffix, lane.WithSuffix = k.proof.HMAC(), msg, roc, true
	tag.roc, tag.ready = roc, true
	b := blocks(len(msg))
	s.next[i] = s.first[b]
	s.first[b] = uint8(i) + 1
	s.waiting |= 1 << b
}

// hash computes what add took.
func (s *Scratch) hash() {
	n := 0
	for s.waiting != 0 {
		b := bits.Len64(s.waiting) - 1
		for i := s.first[b]; i != 0; i = s.next[i-1] {
			s.order[n] = i - 1
			n++
		}
		s.first[b] = 0
		s.waiting &^= 1 << b
	}
	for order := s.order[:n]; len(order) > 0; {
		n := s.together(order)
		s.compute(order[:n])
		order = order[n:]
	}
}

// together returns how many of the first lanes to hash side by side. Of lanes that differ, so many pay for a kernel as have the blocks
// of those from which on it pays that are as long as the longest, each with the outer hash's block.
func (s *Scratch) together(order []uint8) int {
	for _, side := range s.sides {
		n := min(len(order), side.Lanes)
		if n < side.From {
			continue
		}
		if s.blocks(order[n-1]) == s.blocks(order[0]) {
			return n // all of one length: calls of one codec
		}
		sum := 0
		for _, i := range order[:n] {
			sum += s.blocks(i)
		}
		if sum >= side.From*s.blocks(order[0]) {
			return n
		}
	}
	return min(len(order), 2)
}

// blocks returns how many blocks HMAC has for lane i.
func (s *Scratch) blocks(i uint8) int { return blocks(len(s.lanes[i].Msg)) + 1 }

func (s *Scratch) compute(order []uint8) {
	switch first := &s.lanes[order[0]]; len(order) {
	case 1:
		kernel.HMAC1(s.tier, first.Key, first.Msg, first.Suffix, first.WithSuffix, first.Tag)
	case 2:
		kernel.HMAC2(s.tier, first, &s.lanes[order[1]])
	default:
		for n, i := range order {
			s.group[n] = &s.lanes[i]
		}
		kernel.HMAC16(s.tier, s.group[:len(order)])
	}
	for _, i := range order { // neither key nor packet is left behind
		s.lanes[i].Key, s.lanes[i].Msg = nil, nil
	}
}

// blocks returns how many blocks SHA-1 has for n bytes, a rollover counter and its padding (FIPS 180-4 section 5.1.1).
func blocks(n int) int { return (n + 4 + 9 + shaBlock - 1) / shaBlock }
