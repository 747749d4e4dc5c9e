package srtp

import "tandem/relay/srtp/kernel"

// Two messages are hashed side by side as far as the shorter one goes, so lanes of as many blocks go together: each lane waits under
// its number of blocks until a second one comes. What is left over, at most one of each number, goes in pairs of neighbours.

// add takes lane i: the HMAC of msg and the rollover counter goes to tag i, at once or when hash is called.
func (s *Scratch) add(i int, k *Schedule, msg []byte, roc uint32) {
	lane, tag := &s.lanes[i], &s.tags[i]
	k.hmac(&s.keys[i])
	lane.Msg, lane.Suffix, lane.WithSuffix = msg, roc, true
	tag.roc, tag.ready = roc, true
	waiting := &s.waiting[blocks(len(msg))]
	if *waiting == 0 {
		*waiting = uint8(i) + 1
		return
	}
	s.pair(int(*waiting)-1, i)
	*waiting = 0
}

// hash computes what is left over.
func (s *Scratch) hash() {
	single := -1
	for b := range s.waiting {
		i := int(s.waiting[b]) - 1
		s.waiting[b] = 0
		switch {
		case i < 0:
		case single < 0:
			single = i
		default:
			s.pair(single, i)
			single = -1
		}
	}
	if single >= 0 {
		l := &s.lanes[single]
		kernel.HMAC1(s.tier, l.Key, l.Msg, l.Suffix, l.WithSuffix, l.Tag)
		s.done(single)
	}
}

func (s *Scratch) pair(i, j int) {
	kernel.HMAC2(s.tier, &s.lanes[i], &s.lanes[j])
	s.done(i)
	s.done(j)
}

// done leaves neither key nor packet behind.
func (s *Scratch) done(i int) { s.keys[i], s.lanes[i].Msg = kernel.HMAC{}, nil }

// blocks returns how many blocks SHA-1 has for n bytes, a rollover counter and its padding (FIPS 180-4 section 5.1.1).
func blocks(n int) int { return (n + 4 + 9 + shaBlock - 1) / shaBlock }
