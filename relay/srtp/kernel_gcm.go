package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// A GCM nonce is bytes 2 to 13 of the counter block that AES-CM would use: RFC 7714 sections 8.1 and 9.1 put SSRC and
// index where RFC 3711 section 4.1.1 does, without the first two bytes and the block counter.
const nonceFrom, nonceTo = 2, 14

const shortPacket = 256 // bytes; speech packets are shorter, and clearing a large array costs more than opening one

// galoisMode is AES-GCM (RFC 7714).
//
// Arguments of an interface's methods escape, so everything that GCM reads or writes beside the packet is a field here.
type galoisMode struct {
	rtp, rtcp gcmKeys
	iv        [aes.BlockSize]byte
	aad       [headerRTCP + wordRTCP]byte
	tag       [tagGCM]byte
}

// gcmKeys is the session keys of SRTP or of SRTCP.
type gcmKeys struct {
	aead cipher.AEAD
	salt ivSalt
}

func newGCM(s Suite, rtp, rtcp *session) (*galoisMode, error) {
	k := &galoisMode{}
	if err := k.rtp.expand(s, rtp); err != nil {
		return nil, err
	}
	return k, k.rtcp.expand(s, rtcp)
}

// expand fills keys from the session keys.
func (keys *gcmKeys) expand(s Suite, from *session) error {
	block, err := aes.NewCipher(from.key[:s.KeyLen()])
	if err != nil {
		return err
	}
	var salt [maxSalt]byte
	copy(salt[nonceFrom:], from.salt[:saltGCM])
	keys.salt = newIVSalt(salt[:])
	keys.aead, err = cipher.NewGCM(block)
	return err
}

func (k *galoisMode) sealRTP(pkt []byte, hdr int, l layout, ssrc uint32, index uint64) {
	k.rtp.aead.Seal(pkt[hdr:hdr], k.nonce(&k.rtp, ssrc, index), pkt[hdr:l.end], pkt[:hdr])
}

func (k *galoisMode) openRTP(pkt []byte, hdr int, l layout, ssrc uint32, index uint64) bool {
	return open(k.rtp.aead, pkt[hdr:l.end+tagGCM], k.nonce(&k.rtp, ssrc, index), pkt[:hdr])
}

func (k *galoisMode) sealRTCP(pkt []byte, l layout, ssrc, word uint32) {
	nonce := k.nonce(&k.rtcp, ssrc, uint64(word&^encryptedRTCP))
	if word&encryptedRTCP != 0 {
		k.rtcp.aead.Seal(pkt[headerRTCP:headerRTCP], nonce, pkt[headerRTCP:l.end], k.aadRTCP(pkt, word))
		return
	}
	// Authenticated only: the associated data is body and word without a gap (RFC 7714 section 9.3), so the word stands for a
	// moment where the tag will.
	binary.BigEndian.PutUint32(pkt[l.end:], word)
	tag := k.rtcp.aead.Seal(k.tag[:0], nonce, nil, pkt[:l.end+wordRTCP])
	copy(pkt[l.tag:], tag)
}

func (k *galoisMode) openRTCP(pkt []byte, l layout, ssrc, word uint32) bool {
	nonce := k.nonce(&k.rtcp, ssrc, uint64(word&^encryptedRTCP))
	if word&encryptedRTCP != 0 {
		return open(k.rtcp.aead, pkt[headerRTCP:l.end+tagGCM], nonce, k.aadRTCP(pkt, word))
	}
	copy(k.tag[:], pkt[l.tag:])
	binary.BigEndian.PutUint32(pkt[l.end:], word)
	_, err := k.rtcp.aead.Open(nil, nonce, k.tag[:], pkt[:l.end+wordRTCP])
	copy(pkt[l.tag:], k.tag[:])
	return err == nil
}

// nonce returns the 12-byte nonce of (ssrc, index), valid until the next call.
func (k *galoisMode) nonce(keys *gcmKeys, ssrc uint32, index uint64) []byte {
	keys.salt.put(&k.iv, ssrc, index)
	return k.iv[nonceFrom:nonceTo]
}

// aadRTCP returns the associated data of an encrypted SRTCP packet: its first 8 bytes and the word (RFC 7714 section 9.2).
func (k *galoisMode) aadRTCP(pkt []byte, word uint32) []byte {
	copy(k.aad[:], pkt[:headerRTCP])
	binary.BigEndian.PutUint32(k.aad[headerRTCP:], word)
	return k.aad[:]
}

// open decrypts sealed, ciphertext and tag, in place. The standard library clears the ciphertext when the tag is wrong, but
// another rollover counter or another key may still open it: open puts it back.
func open(aead cipher.AEAD, sealed, nonce, aad []byte) bool {
	if len(sealed) <= shortPacket {
		var saved [shortPacket]byte
		return openSaved(aead, sealed, nonce, aad, saved[:])
	}
	var saved [maxPacket]byte
	return openSaved(aead, sealed, nonce, aad, saved[:])
}

func openSaved(aead cipher.AEAD, sealed, nonce, aad, saved []byte) bool {
	copy(saved, sealed)
	if _, err := aead.Open(sealed[:0], nonce, sealed, aad); err != nil {
		copy(sealed, saved)
		return false
	}
	return true
}

func (k *galoisMode) wipe() { *k = galoisMode{} }
