package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"tandem/relay/verdict"
)

// nonceLog stands where the cipher is and notes every nonce that it is given. It fails the test at the first one that
// comes a second time under the same key. Nothing is encrypted: what counts is what the cipher was asked.
type nonceLog struct {
	t     testing.TB
	key   uint64 // which key this is
	seen  map[page]*[pageSize / 64]uint64
	last  page
	bits  *[pageSize / 64]uint64
	total int
}

// page is a run of indices of one SSRC under one key.
type page struct {
	key  uint64
	ssrc uint32
	from uint64
}

const pageSize = 4096 // indices

func (l *nonceLog) note(ssrc uint32, index uint64) {
	p := page{l.key, ssrc, index / pageSize}
	if l.bits == nil || p != l.last {
		l.last, l.bits = p, l.seen[p]
		if l.bits == nil {
			l.bits = new([pageSize / 64]uint64)
			l.seen[p] = l.bits
		}
	}
	word, bit := index%pageSize/64, uint64(1)<<(index%64)
	if l.bits[word]&bit != 0 {
		l.t.Fatalf("key %d, SSRC %d: index %#x was sealed twice", l.key, ssrc, index)
	}
	l.bits[word] |= bit
	l.total++
}

// unsalted reads SSRC and index back out of the counter block.
func unsalted(block []byte, salt ivSalt) (ssrc uint32, index uint64) {
	return uint32(binary.BigEndian.Uint64(block) ^ salt.high), (binary.BigEndian.Uint64(block[8:]) ^ salt.low) >> 16
}

type loggingAEAD struct {
	*nonceLog
	salt ivSalt
}

func (a loggingAEAD) NonceSize() int { return 12 }
func (a loggingAEAD) Overhead() int  { return tagGCM }
func (a loggingAEAD) Seal(dst, nonce, _, _ []byte) []byte {
	var block [aes.BlockSize]byte
	copy(block[nonceFrom:], nonce)
	a.note(unsalted(block[:], a.salt))
	return dst
}
func (a loggingAEAD) Open(dst, _, _, _ []byte) ([]byte, error) { return dst, nil }

type loggingBlock struct {
	*nonceLog
	salt ivSalt
}

func (b loggingBlock) BlockSize() int      { return aes.BlockSize }
func (b loggingBlock) Decrypt(_, _ []byte) {}
func (b loggingBlock) Encrypt(_, src []byte) {
	if src[14] == 0 && src[15] == 0 { // the first block of a packet
		b.note(unsalted(src, b.salt))
	}
}

var (
	_ cipher.AEAD  = loggingAEAD{}
	_ cipher.Block = loggingBlock{}
)

// listen puts the logs in the place of the cipher's block functions.
func listen(c *Cipher, rtp, rtcp *nonceLog) {
	switch k := c.kernel.(type) {
	case *galoisMode:
		k.rtp.aead, k.rtcp.aead = loggingAEAD{rtp, k.rtp.salt}, loggingAEAD{rtcp, k.rtcp.salt}
	case *counterMode:
		k.rtp.block, k.rtcp.block = loggingBlock{rtp, k.rtp.salt}, loggingBlock{rtcp, k.rtcp.salt}
	}
}

func newNonceLog(t testing.TB) *nonceLog {
	return &nonceLog{t: t, seen: map[page]*[pageSize / 64]uint64{}}
}

// unruly is an input as bad as it gets: it loses, repeats, reorders, restarts, jumps either way, changes its SSRC among more
// than the table holds, and is re-keyed with and without carrying on.
type unruly struct {
	rng  *rand.Rand
	ssrc uint32
	seq  uint16
}

// step moves to the next packet. It reports whether the key is to be changed, and whether the new one carries on.
func (u *unruly) step(next func(uint32) (uint16, bool)) (rekey, carry bool) {
	u.seq++
	switch r := u.rng.Uint32(); {
	case r < 1<<32/20: // loss, a repetition or a late packet
		u.seq += uint16(u.rng.IntN(8)) - 4
	case r < 1<<32/19: // around the edge of the window
		u.seq -= uint16(u.rng.IntN(2 * windowSize))
	case r > 1<<32-1<<32/1000: // a restart, as the relay re-bases it
		u.seq, _ = next(u.ssrc)
	case r > 1<<32-2*(1<<32/1000): // a restart that nobody re-bases
		u.seq = uint16(u.rng.Uint32())
	case r > 1<<32-4*(1<<32/1000):
		u.ssrc = u.rng.Uint32N(MaxSSRC + 2)
	case r > 1<<32-4*(1<<32/1000)-1<<32/10_000:
		return true, u.rng.IntN(2) == 0
	}
	return false, false
}

func TestTenMillionSealedIndicesHoldNoDuplicate(t *testing.T) {
	for _, run := range []struct {
		suite   Suite
		indices int
	}{{AES128GCM, 9_000_000}, {AES128CM80, 1_000_000}} {
		t.Run(run.suite.String(), func(t *testing.T) {
			if underRace {
				run.indices /= 20
			}
			rtp, rtcp := newNonceLog(t), newNonceLog(t)
			p := newPair(t, run.suite, nil, false)
			listen(p.seal, rtp, rtcp)
			u := unruly{rng: rand.New(rand.NewPCG(9, uint64(run.suite))), seq: 65_500}
			pkt, report := rtpPacket(0, 0, 4), rtcpPacket(0)
			var verdicts verdict.Counters
			for rtp.total < run.indices {
				rekey, carry := u.step(p.tx.Next)
				if rekey {
					rtp.key++
					rtcp.key++
					old := p.tx
					p.tx = TX{}
					if carry {
						p.tx.Carry(&old)
					}
				}
				binary.BigEndian.PutUint16(pkt[2:], u.seq)
				binary.BigEndian.PutUint32(pkt[8:], u.ssrc)
				_, v := p.seal.SealRTP(&p.tx, pkt, headerRTP)
				verdicts[v]++
				if u.seq%64 == 0 {
					binary.BigEndian.PutUint32(report[4:], u.ssrc)
					p.seal.SealRTCP(&p.tx, report)
				}
			}
			if verdicts[verdict.Forward] != uint64(rtp.total) {
				t.Errorf("%d packets sealed, but %d nonces were used", verdicts[verdict.Forward], rtp.total)
			}
			if rtcp.total == 0 || rtp.key == 0 {
				t.Error("no RTCP or no re-key was part of it")
			}
			for _, v := range []verdict.Verdict{verdict.AlreadySealed, verdict.TooOld, verdict.SealFull} {
				if verdicts[v] == 0 {
					t.Errorf("the input never met %v", v)
				}
			}
			t.Logf("%d keys, %d SRTCP indices, verdicts %v", rtp.key+1, rtcp.total, verdicts.Drops())
		})
	}
}

// Each input byte pair is a step of a sender: a jump of the sequence number and what else happens.
func FuzzNoNonceTwice(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 0, 0, 255, 0, 1, 0}, uint16(65_533))
	f.Add([]byte{1, 0, 127, 1, 129, 1, 1, 2, 1, 3, 0, 0}, uint16(0))
	f.Add([]byte{200, 16, 56, 32, 1, 64, 1, 128, 1, 255}, uint16(32_767))
	f.Fuzz(func(t *testing.T, steps []byte, seq uint16) {
		rtp, rtcp := newNonceLog(t), newNonceLog(t)
		p := newPair(t, AES256GCM, nil, false)
		listen(p.seal, rtp, rtcp)
		for ; len(steps) >= 2; steps = steps[2:] {
			jump, what := int8(steps[0]), steps[1]
			seq += uint16(int16(jump) << (what & 8)) // by up to 127, or by up to 32,512
			switch what & 7 {
			case 1:
				seq, _ = p.tx.Next(uint32(what >> 4))
			case 2, 3:
				rtp.key++
				rtcp.key++
				old := p.tx
				p.tx = TX{}
				if what&1 == 0 {
					p.tx.Carry(&old)
				}
			case 4:
				p.seal.SealRTCP(&p.tx, rtcpPacket(uint32(what>>4)))
			}
			p.seal.SealRTP(&p.tx, rtpPacket(uint32(what>>4), seq, 1), headerRTP)
		}
	})
}
