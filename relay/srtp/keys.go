package srtp

import (
	"fmt"
	"io"
)

// Keys is what signalling agreed for one direction of one leg. It holds no pointer, so that it can lie in memory that
// outlives the process, and == tells whether a session refresh brought the same key. The zero value is plain RTP.
type Keys struct {
	key             [maxKey]byte
	salt            [maxSalt]byte
	mki             [maxMKI]byte
	suite           Suite
	mkiLen          uint8
	unencryptedRTCP bool
}

// NewKeys returns the keys of suite s. keyAndSalt is the master key followed by the master salt, as the inline parameter of
// a=crypto holds it (RFC 4568 section 6.1). mki is empty or the 1 to 16 bytes that every packet carries. unencryptedRTCP is the
// session parameter UNENCRYPTED_SRTCP (RFC 4568 section 6.3.2). Errors name lengths, never key material.
func NewKeys(s Suite, keyAndSalt, mki []byte, unencryptedRTCP bool) (Keys, error) {
	if int(s) >= len(profiles) {
		return Keys{}, fmt.Errorf("srtp keys: suite %d does not exist", uint8(s))
	}
	key, salt := s.KeyLen(), s.SaltLen()
	if len(keyAndSalt) != key+salt {
		return Keys{}, fmt.Errorf("srtp keys for %s: key and salt are %d bytes, must be %d (%d + %d)",
			s, len(keyAndSalt), key+salt, key, salt)
	}
	if len(mki) > maxMKI {
		return Keys{}, fmt.Errorf("srtp keys for %s: MKI is %d bytes, must be at most %d", s, len(mki), maxMKI)
	}
	if s == None && (len(mki) > 0 || unencryptedRTCP) {
		return Keys{}, fmt.Errorf("srtp keys: suite none takes neither MKI nor UNENCRYPTED_SRTCP")
	}
	k := Keys{suite: s, mkiLen: uint8(len(mki)), unencryptedRTCP: unencryptedRTCP}
	copy(k.key[:], keyAndSalt[:key])
	copy(k.salt[:], keyAndSalt[key:])
	copy(k.mki[:], mki)
	return k, nil
}

// SameSecret tells whether two keys have the same master key and salt, whatever their suites and MKIs: the session keys that
// encrypt come from nothing else, so that the two share one keystream (RFC 3711 section 4.3).
func (k *Keys) SameSecret(o *Keys) bool {
	return k.suite != None && o.suite != None && k.key == o.key && k.salt == o.salt
}

// Suite returns the suite, None for the zero value.
func (k *Keys) Suite() Suite { return k.suite }

// Format prints the suite and withholds the key, whatever the verb.
func (k Keys) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, k.suite.String()+" (key withheld)")
}
