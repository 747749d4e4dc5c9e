package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// label selects what is derived, RFC 3711 section 4.3.2.
type label byte

const (
	labelRTP  label = 0 // and 1: authentication key, 2: salt
	labelRTCP label = 3 // and 4, 5
)

// session is the session keys of either SRTP or SRTCP.
type session struct {
	key  [maxKey]byte  // the first KeyLen bytes
	auth [authKey]byte // unused with GCM
	salt [maxSalt]byte // the first SaltLen bytes
}

// derive returns the session keys that start at first. The key derivation rate is 0: SDES cannot negotiate another one
// that anybody uses, so every key is derived once.
func derive(k *Keys, first label) (session, error) {
	// The PRF runs AES with the master key's own length: RFC 6188 section 3 and RFC 7714 section 11.
	block, err := aes.NewCipher(k.key[:k.suite.KeyLen()])
	if err != nil {
		return session{}, fmt.Errorf("srtp key derivation for %s: %w", k.suite, err)
	}
	var s session
	prf(block, &k.salt, first, s.key[:k.suite.KeyLen()])
	prf(block, &k.salt, first+1, s.auth[:])
	prf(block, &k.salt, first+2, s.salt[:k.suite.SaltLen()])
	return s, nil
}

// prf fills out with the AES-CM keystream whose counter block is the salt with the label in its byte 7 (RFC 3711 sections
// 4.3.1 and 4.3.3). A GCM salt of 12 bytes has two zero bytes after it (RFC 7714 section 11).
func prf(block cipher.Block, salt *[maxSalt]byte, l label, out []byte) {
	var counter, stream [aes.BlockSize]byte
	copy(counter[:], salt[:])
	counter[7] ^= byte(l)
	for i := uint16(0); len(out) > 0; i++ {
		binary.BigEndian.PutUint16(counter[14:], i)
		block.Encrypt(stream[:], counter[:])
		out = out[copy(out, stream[:]):]
	}
}
