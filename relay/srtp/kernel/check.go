package kernel

import (
	"bytes"
	"fmt"
)

// checked are the lengths that a tier is tried with before it is used: none, less than a block, each way through the kernels for
// what is left of a message, and packets of G.729, G.711 and video.
var checked = [...]int{0, 1, 20, 47, 63, 119, 172, 333, 1201}

// check returns an error unless every operation of tier t computes what the reference does. A processor, a hypervisor or an
// emulator that claims a feature and gets it wrong would otherwise garble every packet. It takes less than a millisecond or two.
func check(t Tier) error { return agree(t, digest) }

// agree compares what digest makes of a tier and of the reference.
func agree(t Tier, digest func(Tier, *[materialSize]byte, int, []byte, []byte) []byte) error {
	var material [materialSize]byte
	message := make([]byte, checked[len(checked)-1])
	for i := range material {
		material[i] = byte(i*i + 7*i + 1)
	}
	for i := range message {
		message[i] = byte(i*i + i>>3)
	}
	for i, n := range checked {
		keyLen := []int{16, 24, 32}[i%3]
		first := message[:checked[len(checked)-1-i]]
		got, want := digest(t, &material, keyLen, first, message[:n]), digest(Generic, &material, keyLen, first, message[:n])
		if !bytes.Equal(got, want) {
			return fmt.Errorf("its check failed: AES with %d bytes of key, messages of %d and %d bytes", keyLen, len(first), n)
		}
	}
	return nil
}

const materialSize = 16 + 32 + 16 + 12 + 20 + 20 // suffix and marks, AES key, IV, nonce, two HMAC keys

// digest returns everything that the operations of a tier make of two messages, one after the other.
func digest(t Tier, material *[materialSize]byte, keyLen int, first, second []byte) (out []byte) {
	marks, m := material[:16], material[16:]
	var rk RoundKeys
	var g GHASH
	var h [2]HMAC
	rounds := Expand(t, &rk, m[:keyLen])
	g.Init(t, &rk, rounds)
	iv, nonce := [16]byte(m[32:]), [12]byte(m[48:])
	iv[14], iv[15] = 0, 0
	h[0].Init(t, (*[20]byte)(m[60:]))
	h[1].Init(t, (*[20]byte)(m[80:]))
	keep := func(p ...byte) { out = append(out, p...) }

	stream := bytes.Clone(second)
	CTR(t, &rk, rounds, &iv, stream)
	keep(stream...)

	var lanes [Wide]*Lane
	var tags [Wide][20]byte
	for i := range lanes {
		msg := [][]byte{first, second}[i&1]
		lanes[i] = &Lane{Key: &h[i>>1&1], Msg: msg[min(len(msg), i>>2*33):], Tag: &tags[i], Suffix: uint32(marks[i]) * 0x01030507, WithSuffix: marks[i]&1 > 0}
	}
	HMAC1(t, lanes[1].Key, lanes[1].Msg, lanes[1].Suffix, lanes[1].WithSuffix, lanes[1].Tag)
	keep(tags[1][:]...)
	HMAC2(t, lanes[2], lanes[3])
	keep(append(tags[2][:], tags[3][:]...)...)
	for _, n := range []int{Wide, narrow, 1 + int(marks[0])%Wide, 1 + int(marks[1])%narrow} {
		tags = [Wide][20]byte{}
		HMAC16(t, lanes[:n])
		for i := range tags {
			keep(tags[i][:]...)
		}
	}

	var tag [16]byte
	sealed := bytes.Clone(second)
	SealGCM(t, &rk, rounds, &g, &nonce, first, sealed, &tag)
	keep(append(sealed, tag[:]...)...)
	opened := bytes.Clone(sealed)
	keep(truth(OpenGCM(t, &rk, rounds, &g, &nonce, first, opened, &tag)))
	keep(opened...)
	tag[marks[1]%16] ^= 1 << (marks[2] % 8)
	keep(truth(OpenGCM(t, &rk, rounds, &g, &nonce, first, sealed, &tag)))
	keep(sealed...)
	return out
}

func truth(b bool) byte {
	if b {
		return 1
	}
	return 0
}
