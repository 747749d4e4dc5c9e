package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
)

const (
	streamSize = 16 * aes.BlockSize // keystream made at a time: a 20 ms G.711 packet has ten blocks
	stateSize  = 96                 // a marshalled SHA-1 state
)

// counterMode is AES counter mode with HMAC-SHA1 (RFC 3711 section 4.1.1 and 4.2.1).
//
// Arguments of an interface's methods escape, so everything that AES and SHA-1 read or write is a field here.
type counterMode struct {
	rtp, rtcp cmKeys
	tagRTP    int
	tagRTCP   int
	sha       resumableHash
	iv        [aes.BlockSize]byte
	stream    [streamSize]byte
	roc       [4]byte
	sum       [sha1.Size]byte
}

// cmKeys is the session keys of SRTP or of SRTCP.
type cmKeys struct {
	block cipher.Block
	salt  ivSalt
	// HMAC's first block on each side is the key alone: SHA-1 resumes from the states after it (RFC 2104 section 4).
	inner, outer [stateSize]byte
}

// resumableHash is what crypto/sha1 promises to implement.
type resumableHash interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

func newCM(s Suite, rtp, rtcp *session) (*counterMode, error) {
	sha, ok := sha1.New().(resumableHash)
	if !ok {
		return nil, fmt.Errorf("crypto/sha1 of this Go release cannot save its state")
	}
	k := &counterMode{tagRTP: s.TagRTP(), tagRTCP: s.TagRTCP(), sha: sha}
	if err := k.expand(&k.rtp, s, rtp); err != nil {
		return nil, err
	}
	return k, k.expand(&k.rtcp, s, rtcp)
}

// expand fills keys from the session keys.
func (k *counterMode) expand(keys *cmKeys, s Suite, from *session) (err error) {
	if keys.block, err = aes.NewCipher(from.key[:s.KeyLen()]); err != nil {
		return err
	}
	keys.salt = newIVSalt(from.salt[:])
	if err = k.keyState(&keys.inner, &from.auth, 0x36); err != nil {
		return err
	}
	return k.keyState(&keys.outer, &from.auth, 0x5c)
}

// keyState stores the SHA-1 state after one block of the padded key.
func (k *counterMode) keyState(state *[stateSize]byte, key *[authKey]byte, pad byte) error {
	var first [sha1.BlockSize]byte
	copy(first[:], key[:])
	for i := range first {
		first[i] ^= pad
	}
	k.sha.Reset()
	k.sha.Write(first[:])
	saved, err := k.sha.AppendBinary(nil)
	if err != nil {
		return err
	}
	if len(saved) != stateSize {
		return fmt.Errorf("crypto/sha1 of this Go release saves %d bytes, not %d", len(saved), stateSize)
	}
	copy(state[:], saved)
	clear(saved)
	return k.sha.UnmarshalBinary(state[:]) // proves here that it can be resumed, where an error can still be told
}

func (k *counterMode) sealRTP(pkt []byte, hdr int, l layout, ssrc uint32, index uint64) {
	k.crypt(&k.rtp, ssrc, index, pkt[hdr:l.end])
	copy(pkt[l.tag:], k.authRTP(pkt, l, index))
}

func (k *counterMode) openRTP(pkt []byte, hdr int, l layout, ssrc uint32, index uint64) bool {
	if subtle.ConstantTimeCompare(pkt[l.tag:], k.authRTP(pkt, l, index)) != 1 {
		return false
	}
	k.crypt(&k.rtp, ssrc, index, pkt[hdr:l.end])
	return true
}

// authRTP returns the tag over the packet up to the MKI and the rollover counter (RFC 3711 section 4.2).
func (k *counterMode) authRTP(pkt []byte, l layout, index uint64) []byte {
	binary.BigEndian.PutUint32(k.roc[:], uint32(index>>16))
	return k.hmac(&k.rtp, pkt[:l.end], k.roc[:])[:k.tagRTP]
}

func (k *counterMode) sealRTCP(pkt []byte, l layout, ssrc, word uint32) {
	if word&encryptedRTCP != 0 {
		k.crypt(&k.rtcp, ssrc, uint64(word&^encryptedRTCP), pkt[headerRTCP:l.end])
	}
	copy(pkt[l.tag:], k.authRTCP(pkt, l))
}

func (k *counterMode) openRTCP(pkt []byte, l layout, ssrc, word uint32) bool {
	if subtle.ConstantTimeCompare(pkt[l.tag:], k.authRTCP(pkt, l)) != 1 {
		return false
	}
	if word&encryptedRTCP != 0 {
		k.crypt(&k.rtcp, ssrc, uint64(word&^encryptedRTCP), pkt[headerRTCP:l.end])
	}
	return true
}

// authRTCP returns the tag over the packet up to the MKI: the SRTCP word is within.
func (k *counterMode) authRTCP(pkt []byte, l layout) []byte {
	return k.hmac(&k.rtcp, pkt[:l.mki], nil)[:k.tagRTCP]
}

// crypt adds the keystream of (ssrc, index) to data, which encrypts and decrypts (RFC 3711 section 4.1.1).
func (k *counterMode) crypt(keys *cmKeys, ssrc uint32, index uint64, data []byte) {
	keys.salt.put(&k.iv, ssrc, index)
	for counter := uint16(0); len(data) > 0; {
		part := min(len(data), streamSize)
		for at := 0; at < part; at += aes.BlockSize {
			binary.BigEndian.PutUint16(k.iv[14:], counter)
			keys.block.Encrypt(k.stream[at:at+aes.BlockSize], k.iv[:])
			counter++
		}
		subtle.XORBytes(data, data[:part], k.stream[:part])
		data = data[part:]
	}
}

// hmac returns HMAC-SHA1 of a and b together, valid until the next call. UnmarshalBinary cannot fail on a state that keyState
// has resumed from; if it did, the tag would be wrong and nothing would verify.
func (k *counterMode) hmac(keys *cmKeys, a, b []byte) []byte {
	_ = k.sha.UnmarshalBinary(keys.inner[:])
	k.sha.Write(a)
	k.sha.Write(b)
	digest := k.sha.Sum(k.sum[:0])
	_ = k.sha.UnmarshalBinary(keys.outer[:])
	k.sha.Write(digest)
	return k.sha.Sum(k.sum[:0])
}

func (k *counterMode) wipe() {
	k.sha.Reset()
	*k = counterMode{}
}

// ivSalt is a session salt where the counter block has it, as two big-endian words.
type ivSalt struct{ high, low uint64 }

// newIVSalt takes 14 bytes. They fill the block but for the last two, which count blocks.
func newIVSalt(salt []byte) ivSalt {
	var block [aes.BlockSize]byte
	copy(block[:14], salt)
	return ivSalt{binary.BigEndian.Uint64(block[:8]), binary.BigEndian.Uint64(block[8:])}
}

// put writes salt * 2^16 XOR ssrc * 2^64 XOR index * 2^16 (RFC 3711 section 4.1.1).
func (s ivSalt) put(iv *[aes.BlockSize]byte, ssrc uint32, index uint64) {
	binary.BigEndian.PutUint64(iv[:8], s.high^uint64(ssrc))
	binary.BigEndian.PutUint64(iv[8:], s.low^index<<16)
}
