package pin

import (
	"encoding/binary"
	"time"

	"tandem/relay/verdict"
)

// Budgets of tag checks for sources that are not pinned. A leg that gets 50 packets/s from its peer can spare 20 more for one
// stranger; 16 buckets keep one flooding stranger from using up what a roaming peer needs (15 of 16 are not its own).
const (
	strangerBuckets = 16
	strangerRate    = 20  // checks a second and bucket; also the most that can be saved up
	knownRate       = 200 // the same for a source that signalling or proof vouches for: twice a 10 ms packet rate

	refillEvery   = time.Second / strangerRate
	knownRefill   = knownRate / strangerRate
	knownKinds    = 3
	fromSignalled = 0 // index of a known bucket: the signalled RTP or RTCP tuple
	fromCandidate = 1 // the source that is being followed
	fromPrefixes  = 2 // any source in the configured prefixes
)

// budget is the token buckets of one leg, as small integers: all are refilled together, in steps of refillEvery.
type budget struct {
	filled    int64 // time of the last refill, ns
	strangers [strangerBuckets]uint8
	known     [knownKinds]uint8
}

// fill fills all buckets: once, when the leg is armed for the first time. Re-arming gives nobody new tokens.
func (g *budget) fill(now int64) {
	g.filled = now
	g.add(strangerRate)
}

// add puts n refill steps into every bucket.
func (g *budget) add(n int) {
	for i := range g.strangers {
		g.strangers[i] = uint8(min(int(g.strangers[i])+n, strangerRate))
	}
	for i := range g.known {
		g.known[i] = uint8(min(int(g.known[i])+n*knownRefill, knownRate))
	}
}

// spend takes a token from a bucket.
func (g *budget) spend(now int64, bucket *uint8) verdict.Verdict {
	if steps := (now - g.filled) / int64(refillEvery); steps > 0 {
		g.add(int(min(steps, strangerRate)))
		g.filled += steps * int64(refillEvery)
	}
	if *bucket == 0 {
		return verdict.OverBudget
	}
	*bucket--
	return verdict.Forward
}

// stranger returns the bucket of a source address. Only the address counts, of IPv6 only the /64 that one host can fill:
// else one stranger with many ports would empty all buckets. The seed is secret, so nobody can aim at a bucket.
func (g *budget) stranger(ip *[16]byte, seed uint64) *uint8 {
	high, low := binary.BigEndian.Uint64(ip[:8]), uint64(0)
	if is4(ip) {
		low = binary.BigEndian.Uint64(ip[8:])
	}
	return &g.strangers[mix(mix(high^seed)^low)>>60]
}

// mix spreads every bit of x over all bits (the finalizer of SplitMix64, Steele et al. 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
