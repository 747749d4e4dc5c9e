package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const lanes16 = 16 // words of 32 bits in a register of AVX-512, each of another message

// sixteen is the registers of SHA-1 over sixteen messages: word i of each message's block or hash value in one register.
type sixteen struct {
	unit
	streams gotypes.Component
	w       [16]reg.VecVirtual // the last sixteen words of the schedule
	value   [5]reg.VecVirtual  // hash values
	left    reg.VecVirtual     // blocks that each message still has
	longest reg.Register       // the most of them
	active  reg.Register       // a mask of the messages that have any
	turn    operand.Mem        // the shuffle that makes words of big-endian bytes
	next    operand.Mem        // where each message's next block is
	tails   operand.Mem        // where its tail is
	whole   operand.Mem        // blocks before the tail
}

// hmac16 writes HMAC-SHA1 of sixteen messages side by side, each with a key and a length of its own, from saved states:
//
//  1. resume from the hash values after the inner key blocks (RFC 2104 section 4)
//  2. as often as the longest message has blocks: load a block of each, exchange rows and columns, compress. Of a message that has
//     ended, the last block is loaded again and its hash value stays
//  3. resume from the outer values and compress the digests, which are already in the order of message words
//  4. write the tags
//
// The outer block goes through the same eighty rounds: they are there once, which the instruction cache is grateful for.
func hmac16(a *assembler) {
	outer := a.data("hmac16Outer", 0x80000000|(64+20)*8<<32) // words 5 and 15 of the outer block: a one bit, and the length in bits
	s := sixteen{unit: unit{a, widest}, turn: a.data("hmac16Turn", 0x0405060700010203, 0x0c0d0e0f08090a0b), active: reg.K1}
	a.begin("hmac16AVX512", "func(s *[16]stream, blocks int)",
		"hmac16AVX512 writes the tags of sixteen messages (RFC 2104, FIPS 180-4 section 6.1.2), none of which has more than so many blocks.",
		"A message of no blocks gets a tag that means nothing. It needs AVX-512 F and BW.")
	s.streams = a.Param("s").Dereference(a.Load(a.Param("s"), a.GP64()))
	s.longest = a.Load(a.Param("blocks"), a.GP64())
	s.layOut()
	s.resume("Inner")
	inOuter := a.GP64()
	a.XORQ(inOuter, inOuter)

	a.Label("block")
	s.load()
	s.advance()
	a.Label("compress")
	s.compress()
	a.DECQ(s.longest)
	a.JNZ(operand.LabelRef("block"))
	a.TESTQ(inOuter, inOuter)
	a.JNZ(operand.LabelRef("tags"))

	a.Comment("The outer hash")
	for i, v := range s.value {
		a.VMOVDQA64(v, s.w[i])
	}
	a.VPBROADCASTD(outer, s.w[5])
	for i := 6; i < 15; i++ {
		a.VPXORD(s.w[i], s.w[i], s.w[i])
	}
	a.VPBROADCASTD(outer.Offset(4), s.w[15])
	s.resume("Outer")
	a.MOVQ(operand.U32(1), inOuter)
	a.MOVQ(operand.U32(1), s.longest)
	a.KXNORW(s.active, s.active, s.active)
	a.JMP(operand.LabelRef("compress"))

	a.Label("tags")
	s.tags()
	a.VZEROUPPER()
	a.RET()
}

// layOut writes to the stack where the blocks of each message are, and takes the registers.
func (s *sixteen) layOut() {
	s.Comment("Where the blocks are")
	counts := s.AllocLocal(4 * lanes16)
	s.next, s.tails, s.whole = s.AllocLocal(8*lanes16), s.AllocLocal(8*lanes16), s.AllocLocal(8*lanes16)
	for i := range lanes16 {
		stream := s.streams.Index(i)
		p, whole := s.Load(stream.Field("msg").Base(), s.GP64()), s.Load(stream.Field("msg").Len(), s.GP64())
		tail, blocks := s.GP64(), s.GP64()
		s.Load(stream.Field("blocks"), blocks)
		s.LEAQ(memory(stream.Field("tail").Index(0)), tail)
		s.SHRQ(operand.Imm(6), whole)
		s.CMOVQEQ(tail, p)
		s.MOVQ(p, s.next.Offset(8*i))
		s.MOVQ(tail, s.tails.Offset(8*i))
		s.MOVQ(whole, s.whole.Offset(8*i))
		s.MOVL(blocks.As32(), counts.Offset(4*i))
	}
	s.left = s.ZMM()
	s.VMOVDQU32(counts, s.left)
	for i := range s.value {
		s.value[i] = s.ZMM()
	}
	for i := range s.w {
		s.w[i] = s.ZMM()
	}
}

// resume loads one of each key's two hash values.
func (s *sixteen) resume(side string) {
	s.Comment("Resume from " + side)
	// Four words and then the last one of five, none of them read from beyond the ten of a key.
	switch side {
	case "Inner":
		s.columns(s.keys(4*4), s.value[4], nil, nil, nil)
		s.columns(s.keys(0), s.value[:4]...)
	case "Outer":
		s.columns(s.keys(4*6), nil, nil, nil, s.value[4])
		s.columns(s.keys(4*5), s.value[:4]...)
	default:
		panic(side)
	}
}

// keys loads four words of each key from that offset on: message 4i+j has them in the i-th sixteen bytes of row j.
func (s *sixteen) keys(offset int) (rows [4]reg.VecVirtual) {
	for j := range rows {
		rows[j] = s.ZMM()
		for i := range 4 {
			key := operand.Mem{Base: s.Load(s.streams.Index(4*i+j).Field("key"), s.GP64()), Disp: offset}
			if i == 0 {
				s.VBROADCASTI32X4(key, rows[j]) // all four, so that the generator knows that nothing of the register was there before
			} else {
				s.VINSERTI32X4(operand.Imm(uint64(i)), key, rows[j], rows[j])
			}
		}
	}
	return rows
}

// load fills the schedule's first sixteen words: a row for each message becomes a row for each word.
func (s *sixteen) load() {
	s.Comment("A block of each message")
	var rows [16]reg.VecVirtual
	for i := range rows {
		at := s.GP64()
		rows[i] = s.ZMM()
		s.MOVQ(s.next.Offset(8*i), at)
		s.VMOVDQU32(operand.Mem{Base: at}, rows[i])
	}
	var fours [4][4]reg.VecVirtual // of messages 4i to 4i+3: words j, j+4, j+8 and j+12, four at a time
	for i := range fours {
		for j := range fours[i] {
			fours[i][j] = s.ZMM()
		}
		s.columns([4]reg.VecVirtual(rows[4*i:]), fours[i][:]...)
	}
	turn := s.ZMM()
	for j := range 4 {
		even, odd := [2]reg.VecVirtual{s.ZMM(), s.ZMM()}, [2]reg.VecVirtual{s.ZMM(), s.ZMM()}
		for i := range 2 {
			s.VSHUFI32X4(operand.Imm(0x88), fours[2*i+1][j], fours[2*i][j], even[i])
			s.VSHUFI32X4(operand.Imm(0xDD), fours[2*i+1][j], fours[2*i][j], odd[i])
		}
		s.VSHUFI32X4(operand.Imm(0x88), even[1], even[0], s.w[j])
		s.VSHUFI32X4(operand.Imm(0x88), odd[1], odd[0], s.w[j+4])
		s.VSHUFI32X4(operand.Imm(0xDD), even[1], even[0], s.w[j+8])
		s.VSHUFI32X4(operand.Imm(0xDD), odd[1], odd[0], s.w[j+12])
	}
	s.VBROADCASTI32X4(s.turn, turn)
	for _, w := range s.w {
		s.VPSHUFB(turn, w, w)
	}
}

// advance notes which messages the block is of, and moves on: to the next block, to the tail, or nowhere from the last one.
func (s *sixteen) advance() {
	s.Comment("Whose block it is, and where the next one will be")
	one, step := s.data("hmac16One", 0x0000000100000001, 1), s.data("hmac16Step", 64)
	more, ended := reg.K2, reg.K3
	s.VPTESTMD(s.left, s.left, s.active)
	s.VPSUBD_BCST(one, s.left, s.active, s.left)
	s.VPTESTMD(s.left, s.left, more)
	for half := range 2 {
		at, whole := s.ZMM(), s.ZMM()
		s.VMOVDQU64(s.next.Offset(64*half), at)
		s.VMOVDQU64(s.whole.Offset(64*half), whole)
		s.VPADDQ_BCST(step, at, more, at)
		s.VPSUBQ_BCST(one.Offset(8), whole, whole)
		s.VMOVDQU64(whole, s.whole.Offset(64*half))
		s.VPTESTNMQ(whole, whole, more, ended)
		s.VMOVDQU64(s.tails.Offset(64*half), ended, at)
		s.VMOVDQU64(at, s.next.Offset(64*half))
		if half == 0 {
			s.KSHIFTRW(operand.Imm(8), more, more)
		}
	}
}

// compress is one block of SHA-1 (FIPS 180-4 section 6.1.2) in eighty rounds, added to the hash values of the messages that are active.
func (s *sixteen) compress() {
	constants := []operand.Mem{}
	for i, k := range []uint64{0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6} { // section 4.2.1
		constants = append(constants, s.data(fmt.Sprintf("hmac16Constant%d", i), k))
	}
	// Functions of three bits, as the truth tables that VPTERNLOGD takes (section 4.1.1): choice, parity, majority, parity.
	tables := []uint64{0xCA, 0x96, 0xE8, 0x96}
	const parity = 0x96
	k, f, sum := s.ZMM(), s.ZMM(), s.ZMM()
	var v [5]reg.VecVirtual
	for i := range v {
		v[i] = s.ZMM()
		s.VMOVDQA64(s.value[i], v[i])
	}
	a, b, c, d, e := v[0], v[1], v[2], v[3], v[4]
	for t := range 80 {
		if t%20 == 0 {
			s.Commentf("Rounds %d to %d", t, t+19)
			s.VPBROADCASTD(constants[t/20], k)
		}
		w := s.w[t%16]
		if t >= 16 {
			s.VPXORD(s.w[(t-3)%16], w, w)
			s.VPTERNLOGD(operand.Imm(parity), s.w[(t-8)%16], s.w[(t-14)%16], w)
			s.VPROLD(operand.Imm(1), w, w)
		}
		s.VMOVDQA64(b, f)
		s.VPTERNLOGD(operand.Imm(tables[t/20]), d, c, f)
		s.VPADDD(k, e, e)
		s.VPROLD(operand.Imm(5), a, sum)
		s.VPADDD(w, e, e)
		s.VPADDD(f, sum, sum)
		s.VPROLD(operand.Imm(30), b, b)
		s.VPADDD(sum, e, e)
		a, b, c, d, e = e, a, b, c, d
	}
	for i, v := range []reg.VecVirtual{a, b, c, d, e} {
		s.VPADDD(v, s.value[i], s.active, s.value[i])
	}
}

// tags writes the hash values in big-endian order: four words by way of columns, which turn back what columns did, and the fifth by
// way of the stack.
func (s *sixteen) tags() {
	s.Comment("The tags, in big-endian order")
	turn := s.ZMM()
	s.VBROADCASTI32X4(s.turn, turn)
	for _, v := range s.value {
		s.VPSHUFB(turn, v, v)
	}
	fifth := s.AllocLocal(4 * lanes16)
	s.VMOVDQU32(s.value[4], fifth)
	rows := []reg.VecVirtual{s.ZMM(), s.ZMM(), s.ZMM(), s.ZMM()}
	s.columns([4]reg.VecVirtual(s.value[:4]), rows...)
	for i := range lanes16 {
		tag, word := operand.Mem{Base: s.Load(s.streams.Index(i).Field("tag"), s.GP64())}, s.GP32()
		s.VEXTRACTI32X4(operand.Imm(uint64(i/4)), rows[i%4], tag)
		s.MOVL(fifth.Offset(4*i), word)
		s.MOVL(word, tag.Offset(16))
	}
}
