package relay

import "tandem/relay/srtp"

// mapping is how the numbers of one direction change between the peers. The relay's own offset is what makes a sealed
// index unique: the far side's restarts and jumps never reach the cipher (design rule: no nonce twice).
type mapping struct {
	in, out uint32 // SSRC as received, as sent
	last    uint16 // highest sequence number received of in
	offset  uint16 // added to every sequence number
	begun   bool
}

// Sequence distances of RFC 3550 appendix A.1: beyond them the input restarted.
const (
	maxDropout  = 3000
	maxMisorder = 100
)

// restarts tells whether a packet begins a new run of sequence numbers, so that follow will ask what was sealed before.
func (m *mapping) restarts(ssrc uint32, seq uint16) bool {
	ahead := int16(seq - m.last) // up to maxMisorder behind: late or twice, its own index, which seal refuses if it was used
	return !m.begun || ssrc != m.in || ahead >= maxDropout || ahead < -maxMisorder
}

// maxFirst is the highest sequence number that a sealed stream begins with (RFC 4568 section 6.4): a receiver that misses the first
// packets and with them a wrap cannot know the rollover counter (RFC 3711 section 3.3.1), and would be deaf for the whole call.
const maxFirst = 1<<15 - 1

// follow takes the next packet's SSRC and sequence number and returns those to send.
func (m *mapping) follow(ssrc uint32, seq uint16, sent srtp.Sent) (uint32, uint16) {
	if m.restarts(ssrc, seq) {
		m.rebase(ssrc, seq, sent)
	} else if int16(seq-m.last) > 0 {
		m.last = seq
	}
	return m.out, seq + m.offset
}

// rebase begins to follow a new run of sequence numbers: under its own SSRC while the send table has room for it, else
// under the one in use, and above everything sealed before.
func (m *mapping) rebase(ssrc uint32, seq uint16, sent srtp.Sent) {
	if !m.begun || sent.Room(ssrc) {
		m.out = ssrc
	}
	m.in, m.last, m.begun = ssrc, seq, true
	next, known := sent.Next(m.out)
	if !known {
		next = seq & maxFirst
	}
	m.offset = next - seq
}
