package srtp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

// nonceLog reads the nonce back out of each sealed packet: the keystream under a known payload, decrypted with the session key,
// is the counter block that the cipher was given. It fails the test at the first nonce that comes a second time under
// the same key.
type nonceLog struct {
	t     testing.TB
	key   uint64 // which key this is
	block cipher.Block
	of    *Schedule
	seen  map[page]*[pageSize / 64]uint64
	last  page
	bits  *[pageSize / 64]uint64
	total int
}

func newNonceLog(t testing.TB, k *Schedule) *nonceLog {
	t.Helper()
	block, err := aes.NewCipher(k.rounds[:k.Suite().KeyLen()]) // a key schedule begins with the key
	if err != nil {
		t.Fatal(err)
	}
	return &nonceLog{t: t, block: block, of: k, seen: map[page]*[pageSize / 64]uint64{}}
}

// read notes the nonce of a packet of ssrc: sealed and plain are the same 16 bytes or more at the start of its payload.
func (l *nonceLog) read(ssrc uint32, sealed, plain []byte) {
	var counter [aes.BlockSize]byte
	subtle.XORBytes(counter[:], sealed, plain[:aes.BlockSize])
	l.block.Decrypt(counter[:], counter[:])
	blocks := binary.BigEndian.Uint16(counter[14:])
	if l.of.Suite().isGCM() {
		if blocks != 2 { // SP 800-38D section 7.1: block 1 masks the tag
			l.t.Fatalf("the payload begins with block %d", blocks)
		}
		copy(counter[nonceFrom:], counter[:saltGCM])
		counter[0], counter[1] = 0, 0
	} else if blocks != 0 {
		l.t.Fatalf("the payload begins with block %d", blocks)
	}
	var zero [aes.BlockSize]byte
	l.of.counter(&zero, 0, 0)
	subtle.XORBytes(counter[:14], counter[:14], zero[:14])
	if got := uint32(binary.BigEndian.Uint64(counter[:])); got != ssrc {
		l.t.Fatalf("a packet of SSRC %d was sealed with the nonce of %d", ssrc, got)
	}
	l.note(ssrc, binary.BigEndian.Uint64(counter[8:])>>16)
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

// sender seals the packets of an unruly input, and logs.
type sender struct {
	*pair
	log, reports *nonceLog
	jobs         []SealJob
	packets      [MaxBatch][]byte
	report       []byte
	verdicts     verdict.Counters
}

func newSender(t testing.TB, k Keys) *sender {
	s := &sender{pair: way{tier: kernel.Best()}.pair(k), report: rtcpPacket(0)}
	s.log, s.reports = newNonceLog(t, &s.seal.rtp), newNonceLog(t, &s.seal.rtcp)
	for i := range s.packets {
		s.packets[i] = rtpPacket(0, 0, aes.BlockSize)
	}
	return s
}

var silence [aes.BlockSize]byte

// add takes a packet into the batch.
func (s *sender) add(ssrc uint32, seq uint16) {
	pkt := s.packets[len(s.jobs)]
	binary.BigEndian.PutUint16(pkt[2:], seq)
	binary.BigEndian.PutUint32(pkt[8:], ssrc)
	clear(pkt[headerRTP:])
	s.jobs = append(s.jobs, SealJob{Key: &s.seal.rtp, Sent: s.tx.both(), Packet: pkt, Header: headerRTP})
}

// flush seals the batch.
func (s *sender) flush() {
	SealBatch(s.jobs, s.seal.scratch)
	for i := range s.jobs {
		j := &s.jobs[i]
		if s.verdicts[j.Verdict]++; j.Verdict == verdict.Forward {
			s.log.read(binary.BigEndian.Uint32(j.Packet[8:]), j.Packet[headerRTP:], silence[:])
		}
	}
	s.jobs = s.jobs[:0]
}

// reportOf seals an RTCP packet.
func (s *sender) reportOf(ssrc uint32) {
	pkt := s.report
	binary.BigEndian.PutUint32(pkt[4:], ssrc)
	clear(pkt[headerRTCP:])
	if _, v := s.seal.SealRTCP(&s.tx, pkt); v == verdict.Forward {
		s.reports.read(ssrc, pkt[headerRTCP:], silence[:])
	}
}

// rekey stands for a new key: the bytes stay the same, and the log begins anew.
func (s *sender) rekey(carry bool) {
	s.flush()
	s.log.key++
	s.reports.key++
	s.tx.both().Rekey(carry)
}

func TestTenMillionSealedIndicesHoldNoDuplicate(t *testing.T) {
	for _, run := range []struct {
		suite   Suite
		indices int
	}{{AES128GCM, 9_000_000}, {AES128CM80, 1_000_000}} {
		t.Run(run.suite.String(), func(t *testing.T) {
			if underRace || kernel.Best() == kernel.Generic {
				run.indices /= 20
			}
			s := newSender(t, mustKeys(t, run.suite, 1, nil, false))
			u := unruly{rng: rand.New(rand.NewPCG(9, uint64(run.suite))), seq: 65_500}
			size := 1
			for s.log.total < run.indices {
				if rekey, carry := u.step(s.tx.both().Next); rekey {
					s.rekey(carry)
				}
				s.add(u.ssrc, u.seq)
				if u.seq%64 == 0 {
					s.reportOf(u.ssrc)
				}
				if len(s.jobs) >= size {
					s.flush()
					size = 1 + u.rng.IntN(MaxBatch)
				}
			}
			if s.verdicts[verdict.Forward] != uint64(s.log.total) {
				t.Errorf("%d packets sealed, but %d nonces were used", s.verdicts[verdict.Forward], s.log.total)
			}
			if s.reports.total == 0 || s.log.key == 0 {
				t.Error("no RTCP or no re-key was part of it")
			}
			for _, v := range []verdict.Verdict{verdict.AlreadySealed, verdict.TooOld, verdict.SealFull} {
				if s.verdicts[v] == 0 {
					t.Errorf("the input never met %v", v)
				}
			}
			t.Logf("%d keys, %d SRTCP indices, verdicts %v", s.log.key+1, s.reports.total, s.verdicts.Drops())
		})
	}
}

// Each input byte pair is a step of a sender: a jump of the sequence number and what else happens.
func FuzzNoNonceTwice(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 0, 0, 255, 0, 1, 0}, uint16(65_533))
	f.Add([]byte{1, 0, 127, 1, 129, 1, 1, 2, 1, 3, 0, 0}, uint16(0))
	f.Add([]byte{200, 16, 56, 32, 1, 64, 1, 128, 1, 255}, uint16(32_767))
	f.Fuzz(func(t *testing.T, steps []byte, seq uint16) {
		s := newSender(t, mustKeys(t, AES256GCM, 1, nil, false))
		for ; len(steps) >= 2; steps = steps[2:] {
			jump, what := int8(steps[0]), steps[1]
			seq += uint16(int16(jump) << (what & 8)) // by up to 127, or by up to 32,512
			switch what & 7 {
			case 1:
				seq, _ = s.tx.both().Next(uint32(what >> 4))
			case 2, 3:
				s.rekey(what&1 == 0)
			case 4:
				s.reportOf(uint32(what >> 4))
			case 5:
				s.flush()
			}
			s.add(uint32(what>>4), seq)
			if len(s.jobs) == MaxBatch {
				s.flush()
			}
		}
		s.flush()
	})
}
