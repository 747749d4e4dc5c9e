package srtp

import (
	"crypto/aes"
	"crypto/subtle"
	"encoding/binary"

	"tandem/relay/srtp/kernel"
)

// The arithmetic of one packet whose layout and index are already known: counter mode and HMAC-SHA1 (RFC 3711 sections 4.1.1 and
// 4.2), or GCM (RFC 7714). Opening returns false when the tag is wrong, and then the packet is as it came.

const tagHMAC = 20 // bytes of HMAC-SHA1 before it is cut to the suite's tag

func (k *Schedule) sealRTP(s *Scratch, pkt []byte, hdr int, l layout, ssrc uint32, index uint64) {
	if k.Suite().isGCM() {
		k.sealGCM(s, ssrc, index, pkt[:hdr], pkt[hdr:l.end], (*[tagGCM]byte)(pkt[l.tag:]))
		return
	}
	k.crypt(s, ssrc, index, pkt[hdr:l.end])
	k.prove(s, pkt[:l.end], uint32(index>>16), &s.single)
	copy(pkt[l.tag:], s.single.tag[:])
}

// openRTP takes the packet's HMAC from tag if it is there for the rollover counter of index, and leaves it there.
func (k *Schedule) openRTP(s *Scratch, pkt []byte, hdr int, l layout, ssrc uint32, index uint64, tag *proof) bool {
	if k.Suite().isGCM() {
		return k.openGCM(s, ssrc, index, pkt[:hdr], pkt[hdr:l.end], (*[tagGCM]byte)(pkt[l.tag:]))
	}
	if roc := uint32(index >> 16); !tag.ready || tag.roc != roc {
		k.prove(s, pkt[:l.end], roc, tag)
	}
	if !sameTag(pkt[l.tag:], &tag.tag) {
		return false
	}
	k.crypt(s, ssrc, index, pkt[hdr:l.end])
	return true
}

// prove computes the HMAC over the packet up to the MKI and the rollover counter (RFC 3711 section 4.2).
func (k *Schedule) prove(s *Scratch, msg []byte, roc uint32, tag *proof) {
	kernel.HMAC1(s.tier, k.proof.HMAC(), msg, roc, true, &tag.tag)
	tag.roc, tag.ready = roc, true
}

func (k *Schedule) sealRTCP(s *Scratch, pkt []byte, l layout, ssrc, word uint32) {
	index := uint64(word &^ encryptedRTCP)
	switch {
	case !k.Suite().isGCM():
		if word&encryptedRTCP != 0 {
			k.crypt(s, ssrc, index, pkt[headerRTCP:l.end])
		}
		copy(pkt[l.tag:], k.proveRTCP(s, pkt, l))
	case word&encryptedRTCP != 0:
		aad := aadRTCP(pkt, word)
		k.sealGCM(s, ssrc, index, aad[:], pkt[headerRTCP:l.end], (*[tagGCM]byte)(pkt[l.tag:]))
	default:
		// Authenticated only: the associated data is body and word without a gap (RFC 7714 section 9.3), so the word stands for a
		// moment where the tag will.
		var tag [tagGCM]byte
		binary.BigEndian.PutUint32(pkt[l.end:], word)
		k.sealGCM(s, ssrc, index, pkt[:l.end+wordRTCP], nil, &tag)
		copy(pkt[l.tag:], tag[:])
	}
}

func (k *Schedule) openRTCP(s *Scratch, pkt []byte, l layout, ssrc, word uint32) bool {
	index := uint64(word &^ encryptedRTCP)
	switch {
	case !k.Suite().isGCM():
		if k.proveRTCP(s, pkt, l); !sameTag(pkt[l.tag:], &s.single.tag) {
			return false
		}
		if word&encryptedRTCP != 0 {
			k.crypt(s, ssrc, index, pkt[headerRTCP:l.end])
		}
		return true
	case word&encryptedRTCP != 0:
		aad := aadRTCP(pkt, word)
		return k.openGCM(s, ssrc, index, aad[:], pkt[headerRTCP:l.end], (*[tagGCM]byte)(pkt[l.tag:]))
	}
	tag := [tagGCM]byte(pkt[l.tag:])
	binary.BigEndian.PutUint32(pkt[l.end:], word)
	good := k.openGCM(s, ssrc, index, pkt[:l.end+wordRTCP], nil, &tag)
	copy(pkt[l.tag:], tag[:])
	return good
}

// proveRTCP returns the HMAC over the packet up to the MKI, valid until the next one: the SRTCP word is within.
func (k *Schedule) proveRTCP(s *Scratch, pkt []byte, l layout) []byte {
	kernel.HMAC1(s.tier, k.proof.HMAC(), pkt[:l.mki], 0, false, &s.single.tag)
	return s.single.tag[:]
}

// putTag writes a packet's tag of 10 or 4 bytes.
func putTag(to []byte, tag *[tagHMAC]byte) {
	if len(to) == tag80 {
		*(*[tag80]byte)(to) = [tag80]byte(tag[:]) // of known length: two stores
		return
	}
	copy(to, tag[:])
}

// sameTag compares a packet's tag of 10 or 4 bytes with an HMAC, in a time that does not depend on where they differ.
func sameTag(got []byte, want *[tagHMAC]byte) bool {
	if len(got) == tag80 {
		first := binary.LittleEndian.Uint64(got) ^ binary.LittleEndian.Uint64(want[:])
		rest := binary.LittleEndian.Uint16(got[8:]) ^ binary.LittleEndian.Uint16(want[8:])
		return first|uint64(rest) == 0
	}
	return subtle.ConstantTimeCompare(got, want[:tag32]) == 1
}

// crypt adds the keystream of (ssrc, index) to data, which encrypts and decrypts.
func (k *Schedule) crypt(s *Scratch, ssrc uint32, index uint64, data []byte) {
	var iv [aes.BlockSize]byte
	k.counter(&iv, ssrc, index)
	kernel.CTR(s.tier, &k.rounds, k.turns(), &iv, data)
}

func (k *Schedule) sealGCM(s *Scratch, ssrc uint32, index uint64, aad, data []byte, tag *[tagGCM]byte) {
	var nonce [saltGCM]byte
	k.nonce(&nonce, ssrc, index)
	kernel.SealGCM(s.tier, &k.rounds, k.turns(), &k.proof, &nonce, aad, data, tag)
}

func (k *Schedule) openGCM(s *Scratch, ssrc uint32, index uint64, aad, data []byte, tag *[tagGCM]byte) bool {
	var nonce [saltGCM]byte
	k.nonce(&nonce, ssrc, index)
	return kernel.OpenGCM(s.tier, &k.rounds, k.turns(), &k.proof, &nonce, aad, data, tag)
}

// aadRTCP returns the associated data of an encrypted SRTCP packet: its first 8 bytes and the word (RFC 7714 section 9.2).
func aadRTCP(pkt []byte, word uint32) (aad [headerRTCP + wordRTCP]byte) {
	copy(aad[:], pkt[:headerRTCP])
	binary.BigEndian.PutUint32(aad[headerRTCP:], word)
	return aad
}
