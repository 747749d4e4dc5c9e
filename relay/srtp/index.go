package srtp

import "tandem/relay/verdict"

// Lives of a key in packets, RFC 3711 section 9.2 (RFC 7714 section 10 has the same).
const (
	lifeRTP  = 1 << 48
	lifeRTCP = 1 << 31

	// A key is expiring in the last sixteenth of its life: days for SRTCP at any rate a peer would send, ages for SRTP.
	expiringRTP  = lifeRTP / 16 * 15
	expiringRTCP = lifeRTCP / 16 * 15
)

const halfSeq = 1 << 15 // half of the sequence number space

// estimate returns the index (rollover counter and sequence number) that seq means to a receiver that has seen highest: the
// nearest one (RFC 3711 section 3.3.1 and appendix A), but none before the first rollover period, where RFC 3711 would count
// below zero. The result can be beyond the life of a key.
func estimate(highest uint64, seq uint16) uint64 {
	roc, last, s := highest>>16, int(highest&0xffff), int(seq)
	switch {
	case last < halfSeq && s-last > halfSeq && roc > 0:
		roc--
	case last >= halfSeq && last-halfSeq > s:
		roc++
	}
	return roc<<16 | uint64(seq)
}

// follow returns the index that seq means to a sender that has sealed up to highest: forward within half of the space, and
// otherwise back. It returns TooOld for an index before the first.
func follow(highest uint64, seq uint16) (uint64, verdict.Verdict) {
	index := int64(highest) + int64(int16(seq-uint16(highest)))
	if index < 0 {
		return 0, verdict.TooOld
	}
	return uint64(index), verdict.Forward
}
