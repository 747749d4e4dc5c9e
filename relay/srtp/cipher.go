package srtp

import (
	"errors"
	"fmt"
	"io"
)

// Cipher is the session keys of one direction, expanded, with the scratch space of one packet. It is built once per key
// and belongs to one goroutine. It keeps no state between packets: that is in RX and TX.
type Cipher struct {
	kernel          kernel // nil after Wipe
	suite           Suite
	mkiLen          uint8
	unencryptedRTCP bool
	mki             [maxMKI]byte
}

// kernel is the arithmetic of a suite on one packet whose layout and index are already known. open returns false when the tag
// is wrong, and then the packet is as it came.
type kernel interface {
	sealRTP(pkt []byte, hdr int, l layout, ssrc uint32, index uint64)
	openRTP(pkt []byte, hdr int, l layout, ssrc uint32, index uint64) bool
	sealRTCP(pkt []byte, l layout, ssrc, word uint32)
	openRTCP(pkt []byte, l layout, ssrc, word uint32) bool
	wipe()
}

// NewCipher derives the session keys of k. Suite None has none: that is an error.
func NewCipher(k *Keys) (*Cipher, error) {
	if k.suite == None {
		return nil, errors.New("srtp cipher: suite none has no keys")
	}
	rtp, err := derive(k, labelRTP)
	if err != nil {
		return nil, err
	}
	rtcp, err := derive(k, labelRTCP)
	if err != nil {
		return nil, err
	}
	c, err := newCipher(k.suite, &rtp, &rtcp)
	clear(rtp.key[:])
	clear(rtp.auth[:])
	clear(rtcp.key[:])
	clear(rtcp.auth[:])
	if err != nil {
		return nil, err
	}
	c.mki, c.mkiLen, c.unencryptedRTCP = k.mki, k.mkiLen, k.unencryptedRTCP
	return c, nil
}

// newCipher builds a cipher from session keys.
func newCipher(s Suite, rtp, rtcp *session) (*Cipher, error) {
	var err error
	c := &Cipher{suite: s}
	if s.isGCM() {
		c.kernel, err = newGCM(s, rtp, rtcp)
	} else {
		c.kernel, err = newCM(s, rtp, rtcp)
	}
	if err != nil {
		return nil, fmt.Errorf("srtp cipher for %s: %w", s, err)
	}
	return c, nil
}

// Wipe clears what it can of the keys and drops the rest (the standard library's key schedules) for the collector. A wiped
// cipher returns verdict.NoKey for every packet.
func (c *Cipher) Wipe() {
	if c.kernel != nil {
		c.kernel.wipe()
	}
	*c = Cipher{}
}

// Suite returns the suite of the cipher, None after Wipe.
func (c *Cipher) Suite() Suite { return c.suite }

// Format prints the suite and withholds the keys, whatever the verb.
func (c *Cipher) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, c.suite.String()+" (keys withheld)")
}
