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
	rtp, rtcp       layout // of a packet whose payload ends at 0
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
	c, err := newCipher(k, &rtp, &rtcp)
	clear(rtp.key[:])
	clear(rtp.auth[:])
	clear(rtcp.key[:])
	clear(rtcp.auth[:])
	return c, err
}

// newCipher builds a cipher from session keys; the master key in k is not used.
func newCipher(k *Keys, rtp, rtcp *session) (*Cipher, error) {
	c := &Cipher{suite: k.suite, mki: k.mki, mkiLen: k.mkiLen, unencryptedRTCP: k.unencryptedRTCP}
	c.rtp, c.rtcp = trailers(k.suite, int(k.mkiLen))
	var err error
	if k.suite.isGCM() {
		c.kernel, err = newGCM(k.suite, rtp, rtcp)
	} else {
		c.kernel, err = newCM(k.suite, rtp, rtcp)
	}
	if err != nil {
		return nil, fmt.Errorf("srtp cipher for %s: %w", k.suite, err)
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
