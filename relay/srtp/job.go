package srtp

import (
	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

// MaxBatch is how many packets are worked on side by side, a receive batch of the relay. Longer batches are taken in parts.
const MaxBatch = 64

// OpenJob is one packet to open: what the caller fills in, and below it what comes out.
type OpenJob struct {
	RTCP     bool      // for OpenBatch: a packet of SRTCP
	Key      *Schedule // of SRTP, or of SRTCP for a packet of it
	Keys     *Keys     // what Key was derived from; read only if it has an MKI
	Received           // under this key
	Packet   []byte    // the whole packet; no other job of the batch has the same memory
	Header   int       // length of the RTP header with CSRCs and extension; unused with RTCP

	N       int             // on Forward, Packet[:N] is the packet in the clear
	Index   uint64          // on Forward, its 48-bit index (rollover counter, sequence number); unused with RTCP
	Fresh   bool            // on Forward, it is newer than all of its SSRC before it; unused with RTCP
	Verdict verdict.Verdict // on any but Forward, Packet and Received are as before
}

// SealJob is one packet to seal: what the caller fills in, and below it what comes out.
type SealJob struct {
	RTCP   bool      // for SealBatch: a compound RTCP packet
	Key    *Schedule // of SRTP, or of SRTCP for a packet of it
	Keys   *Keys     // what Key was derived from; read only if it has an MKI
	Sent             // under this key
	Packet []byte    // the packet, sequence number and SSRC final, with capacity for MaxOverhead more; no other job has the same memory
	Header int       // length of the RTP header with CSRCs and extension; unused with RTCP

	N       int             // on Forward, Packet[:N] is the packet to send
	Verdict verdict.Verdict // on any but Forward, Packet and Sent are as before, and the packet must not be sent
}

// Scratch is the space in which one goroutine opens and seals, and the choice of processor features for it. It keeps nothing from
// one call to the next.
type Scratch struct {
	tier kernel.Tier

	// For one packet.
	single proof
	plan   plan

	// For a batch; index i belongs to its job i.
	lanes [MaxBatch]kernel.Lane
	tags  [MaxBatch]proof
	plans [MaxBatch]plan

	// Which lanes are hashed together. A lane's number plus 1 links it to others of as many blocks; 0 ends a list.
	first   [maxBlocks + 1]uint8 // by number of blocks
	next    [MaxBatch]uint8      // by lane
	waiting uint64               // bit b: first[b] is not 0
	order   [MaxBatch]uint8
	group   [kernel.Wide]*kernel.Lane
	sides   []kernel.Side // the ways that the tier has beside hashing two lanes or one, the widest first
}

// proof is the HMAC of a packet, if it was computed, and the rollover counter that it is good for.
type proof struct {
	tag   [tagHMAC]byte
	roc   uint32
	ready bool
}

// NewScratch returns a scratch space that uses the features of tier t, which this processor must have (kernel.Have).
func NewScratch(t kernel.Tier) *Scratch {
	s := &Scratch{tier: t, sides: kernel.SideBySide(t)}
	for i := range s.lanes {
		s.lanes[i].Tag = &s.tags[i].tag
	}
	return s
}
