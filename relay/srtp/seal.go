package srtp

import (
	"encoding/binary"

	"tandem/relay/verdict"
)

// SealRTP encrypts an RTP packet in place and appends MKI and tag within the capacity of Packet.
//
// The index is estimated as a sender does: forward by up to half of the sequence number space advances, anything else is
// older and is sealed only if it is within the window and was not sealed yet. No index is sealed twice.
//
// Verdicts: NoKey, TooShort, TooLong (also: too little capacity), BadHeader, SealFull, KeyExpired, AlreadySealed, TooOld.
func SealRTP(j *SealJob, s *Scratch) verdict.Verdict {
	l, ssrc, index := j.spend()
	if j.Verdict == verdict.Forward {
		j.Key.sealRTP(s, j.Packet[:j.N], j.Header, l, ssrc, index)
	}
	return j.Verdict
}

// spend takes the packet's index, so that it is spent before the cipher sees it, and writes the MKI: nothing after it can fail.
func (j *SealJob) spend() (l layout, ssrc uint32, index uint64) {
	j.N = 0
	l, slot, known, v := j.examine()
	if j.Verdict = v; v != verdict.Forward {
		return l, 0, 0
	}
	ssrc, index = binary.BigEndian.Uint32(j.Packet[8:]), uint64(binary.BigEndian.Uint16(j.Packet[2:]))
	if known {
		index, j.Verdict = j.window(slot).index(uint16(index))
	}
	if j.Verdict != verdict.Forward {
		return l, 0, 0
	}
	j.commit(slot, known, ssrc, index)
	j.N = len(j.Packet) + j.Key.trailerRTP()
	j.Key.putMKI(j.Keys, j.Packet[:j.N], l)
	return l, ssrc, index
}

// examine returns where the packet's fields will be and where its SSRC is known, or why it is refused.
func (j *SealJob) examine() (l layout, slot int, known bool, v verdict.Verdict) {
	if v = j.Key.lengthRTP(j.Packet, j.Header); v != verdict.Forward {
		return l, 0, false, v
	}
	if len(j.Packet)+j.Key.trailerRTP() > min(cap(j.Packet), maxPacket) {
		return l, 0, false, verdict.TooLong
	}
	slot, known, v = j.find(binary.BigEndian.Uint32(j.Packet[8:]))
	if v == verdict.Forward && j.Now.sealed >= lifeRTP {
		v = verdict.KeyExpired
	}
	return j.Key.layoutRTP(len(j.Packet)), slot, known, v
}

// SealRTCP encrypts a compound RTCP packet in place with the schedule of SRTCP and appends SRTCP index, MKI and tag within the
// capacity of Packet. With UNENCRYPTED_SRTCP it authenticates only.
//
// Verdicts: NoKey, TooShort, TooLong (also: too little capacity), SealFull, KeyExpired.
func SealRTCP(j *SealJob, s *Scratch) verdict.Verdict {
	j.N = 0
	j.Verdict = j.sealRTCP(s)
	return j.Verdict
}

func (j *SealJob) sealRTCP(s *Scratch) verdict.Verdict {
	k := j.Key
	if v := k.lengthRTCP(j.Packet); v != verdict.Forward {
		return v
	}
	size := len(j.Packet) + k.trailerRTCP()
	if size > min(cap(j.Packet), maxPacket) {
		return verdict.TooLong
	}
	ssrc := binary.BigEndian.Uint32(j.Packet[4:])
	slot, known, v := j.find(ssrc)
	if v != verdict.Forward {
		return v
	}
	source := j.entry(slot, known, ssrc)
	if n := int(j.Now.n); slot == n && n >= MaxSSRC/2 {
		return verdict.SealFull // the other half is media's: RTCP of a plain peer is easily forged
	}
	index := source.rtcp
	if j.Now.sealedRTCP >= lifeRTCP || index >= lifeRTCP {
		return verdict.KeyExpired
	}

	// The index is spent before the cipher sees it: nothing after this line can fail.
	source.rtcp++
	j.commitRTCP(slot, &source)
	j.N = size

	word := index | encryptedRTCP
	if k.mayBeClear() {
		word = index
	}
	pkt, l := j.Packet[:size], k.layoutRTCP(len(j.Packet))
	k.putMKI(j.Keys, pkt, l)
	binary.BigEndian.PutUint32(pkt[l.word:], word)
	k.sealRTCP(s, pkt, l, ssrc, word)
	return verdict.Forward
}
