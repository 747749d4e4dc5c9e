package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	lanes8 = 8  // words of 32 bits in a register of AVX2, each of another message
	row8   = 32 // bytes of such a register
)

// eight is SHA-1 over eight messages: word i of each message's block or hash value in one register. There are sixteen registers, so
// that schedule and hash values are in memory, which a sum or an exclusive or reads on its way.
type eight struct {
	unit
	streams gotypes.Component
	longest reg.Register // the most blocks that a message has
	turn    operand.Mem  // the shuffle that makes words of big-endian bytes
	ones    operand.Mem  // all bits
	value   operand.Mem  // hash values, a row each
	left    operand.Mem  // blocks that each message still has
	active  operand.Mem  // all ones for the messages that have any
	next    operand.Mem  // where each message's next block is
	tails   operand.Mem  // where its tail is
	whole   operand.Mem  // blocks before the tail
	w       operand.Mem  // the last sixteen words of the schedule, a row each
}

// hmac8 writes HMAC-SHA1 of eight messages side by side with AVX2, in the steps of hmac16.
func hmac8(a *assembler) {
	outer := a.data("hmac8Outer", 0x80000000|(64+20)*8<<32) // words 5 and 15 of the outer block: a one bit, and the length in bits
	s := eight{
		unit: unit{a, wide},
		turn: a.data("hmac8Turn", 0x0405060700010203, 0x0c0d0e0f08090a0b),
		ones: a.data("hmac8Ones", 1<<64-1, 1<<64-1, 1<<64-1, 1<<64-1),
	}
	a.beginLarge("hmac8AVX2", "func(s *[8]*stream, blocks int)",
		"hmac8AVX2 writes the tags of eight messages (RFC 2104, FIPS 180-4 section 6.1.2), none of which has more than so many blocks.",
		"A message of no blocks gets a tag that means nothing. It needs AVX2.")
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
	word := a.YMM()
	for i := range 5 {
		a.VMOVDQU(row(s.value, i), word)
		a.VMOVDQU(word, row(s.w, i))
	}
	a.VPBROADCASTD(outer, word)
	a.VMOVDQU(word, row(s.w, 5))
	a.VPBROADCASTD(outer.Offset(4), word)
	a.VMOVDQU(word, row(s.w, 15))
	a.VPXOR(word, word, word)
	for i := 6; i < 15; i++ {
		a.VMOVDQU(word, row(s.w, i))
	}
	a.VMOVDQU(s.ones, word)
	a.VMOVDQU(word, s.active)
	s.resume("Outer")
	a.MOVQ(operand.U32(1), inOuter)
	a.MOVQ(operand.U32(1), s.longest)
	a.JMP(operand.LabelRef("compress"))

	a.Label("tags")
	s.tags()
	s.leave()
}

// stream is the i-th message.
func (s *eight) stream(i int) gotypes.Component {
	return s.streams.Index(i).Dereference(s.Load(s.streams.Index(i), s.GP64()))
}

// row is the i-th register's worth of memory.
func row(m operand.Mem, i int) operand.Mem { return m.Offset(row8 * i) }

// layOut takes memory on the stack, from a line of the cache on so that no row crosses one, and writes where the blocks of each
// message are.
func (s *eight) layOut() {
	const line, values, words = 64, 5, 16
	s.Comment("Where the blocks are")
	at := 0
	take := func(rows int) (from int) {
		from = at
		at += row8 * rows
		return from
	}
	w, value, left, active, next, tails, whole := take(words), take(values), take(1), take(1), take(2), take(2), take(2)
	room, base := s.AllocLocal(at+line), s.GP64()
	s.LEAQ(room.Offset(line-1), base)
	s.ANDQ(operand.I8(-line), base)
	local := func(from int) operand.Mem { return operand.Mem{Base: base, Disp: from} }
	s.w, s.value, s.left, s.active = local(w), local(value), local(left), local(active)
	s.next, s.tails, s.whole = local(next), local(tails), local(whole)
	for i := range lanes8 {
		stream := s.stream(i)
		p, whole := s.Load(stream.Field("msg").Base(), s.GP64()), s.Load(stream.Field("msg").Len(), s.GP64())
		tail, blocks := s.GP64(), s.GP64()
		s.Load(stream.Field("blocks"), blocks)
		s.LEAQ(memory(stream.Field("tail").Index(0)), tail)
		s.SHRQ(operand.Imm(6), whole)
		s.CMOVQEQ(tail, p)
		s.MOVQ(p, s.next.Offset(8*i))
		s.MOVQ(tail, s.tails.Offset(8*i))
		s.MOVQ(whole, s.whole.Offset(8*i))
		s.MOVL(blocks.As32(), s.left.Offset(4*i))
	}
}

// resume loads one of each key's two hash values.
func (s *eight) resume(side string) {
	s.Comment("Resume from " + side)
	var v [5]reg.VecVirtual
	for i := range v {
		v[i] = s.YMM()
	}
	// Four words and then the last one of five, none of them read from beyond the ten of a key.
	switch side {
	case "Inner":
		s.columns(s.keys(4*4), v[4], nil, nil, nil)
		s.columns(s.keys(0), v[:4]...)
	case "Outer":
		s.columns(s.keys(4*6), nil, nil, nil, v[4])
		s.columns(s.keys(4*5), v[:4]...)
	default:
		panic(side)
	}
	for i := range v {
		s.VMOVDQU(v[i], row(s.value, i))
	}
}

// keys loads four words of each key from that offset on.
func (s *eight) keys(offset int) [4]reg.VecVirtual {
	return s.rows(func(i int) operand.Mem {
		return operand.Mem{Base: s.Load(s.stream(i).Field("key"), s.GP64()), Disp: offset}
	})
}

// rows loads sixteen bytes of each message: message 4i+j has them in the i-th sixteen bytes of row j.
func (s *eight) rows(at func(message int) operand.Mem) (rows [4]reg.VecVirtual) {
	for j := range rows {
		rows[j] = s.YMM()
		s.VBROADCASTI128(at(j), rows[j]) // both halves, so that the generator knows that nothing of the register was there before
		s.VINSERTI128(operand.Imm(1), at(4+j), rows[j], rows[j])
	}
	return rows
}

// load fills the schedule's first sixteen words: a row for each message becomes a row for each word.
func (s *eight) load() {
	s.Comment("A block of each message")
	turn := s.YMM()
	s.VBROADCASTI128(s.turn, turn)
	var at [lanes8]reg.GPVirtual
	for i := range at {
		at[i] = s.GP64()
		s.MOVQ(s.next.Offset(8*i), at[i])
	}
	for quarter := range 4 {
		words := []reg.VecVirtual{s.YMM(), s.YMM(), s.YMM(), s.YMM()}
		s.columns(s.rows(func(i int) operand.Mem { return operand.Mem{Base: at[i], Disp: 16 * quarter} }), words...)
		for i, word := range words {
			s.VPSHUFB(turn, word, word)
			s.VMOVDQU(word, row(s.w, 4*quarter+i))
		}
	}
}

// advance notes which messages the block is of, and moves on: to the next block, to the tail, or nowhere from the last one.
func (s *eight) advance() {
	s.Comment("Whose block it is, and where the next one will be")
	step := s.data("hmac8Step", 64, 64, 64, 64)
	left, mask, zero := s.YMM(), s.YMM(), s.YMM()
	s.VPXOR(zero, zero, zero)
	s.VMOVDQU(s.left, left)
	s.VPCMPGTD(zero, left, mask)
	s.VMOVDQU(mask, s.active)
	s.VPADDD(mask, left, left)
	s.VMOVDQU(left, s.left)
	for half := range 2 {
		at, whole, more, ended := s.YMM(), s.YMM(), s.YMM(), s.YMM()
		s.VPMOVSXDQ(s.left.Offset(16*half), more)
		s.VPCMPGTQ(zero, more, more)
		s.VMOVDQU(row(s.whole, half), whole)
		s.VPADDQ(s.ones, whole, whole)
		s.VMOVDQU(whole, row(s.whole, half))
		s.VPCMPEQQ(zero, whole, ended)
		s.VPAND(more, ended, ended)
		s.VPAND(step, more, more)
		s.VPADDQ(row(s.next, half), more, at)
		s.VPBLENDVB(ended, row(s.tails, half), at, at)
		s.VMOVDQU(at, row(s.next, half))
	}
}

// compress is one block of SHA-1 (FIPS 180-4 section 6.1.2) in eighty rounds, added to the hash values of the messages that are active.
func (s *eight) compress() {
	constants := []operand.Mem{}
	for i, k := range []uint64{0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6} { // section 4.2.1
		constants = append(constants, s.data(fmt.Sprintf("hmac8Constant%d", i), k))
	}
	k := s.YMM()
	var v [5]reg.VecVirtual
	for i := range v {
		v[i] = s.YMM()
		s.VMOVDQU(row(s.value, i), v[i])
	}
	a, b, c, d, e := v[0], v[1], v[2], v[3], v[4]
	var words [80]reg.VecVirtual
	for t := range 80 {
		if t%20 == 0 {
			s.Commentf("Rounds %d to %d", t, t+19)
			s.VPBROADCASTD(constants[t/20], k)
		}
		words[t] = s.word(t, words[:t])
		s.round(t, k, words[t], a, b, c, d, e)
		a, b, c, d, e = e, a, b, c, d
	}
	for i, v := range []reg.VecVirtual{a, b, c, d, e} {
		s.VPAND(s.active, v, v)
		s.VPADDD(row(s.value, i), v, v)
		s.VMOVDQU(v, row(s.value, i))
	}
}

// word is word t of the schedule (FIPS 180-4 section 6.1.2, step 1). The one three rounds before is still in its register.
func (s *eight) word(t int, before []reg.VecVirtual) reg.VecVirtual {
	w, top := s.YMM(), s.YMM()
	if t < 16 {
		s.VMOVDQU(row(s.w, t), w)
		return w
	}
	s.VPXOR(row(s.w, (t-8)%16), before[t-3], w)
	s.VPXOR(row(s.w, (t-14)%16), w, w)
	s.VPXOR(row(s.w, t%16), w, w)
	s.VPSRLD(operand.Imm(31), w, top)
	s.VPADDD(w, w, w)
	s.VPOR(top, w, w)
	if t+8 < 80 { // else nobody reads it there
		s.VMOVDQU(w, row(s.w, t%16))
	}
	return w
}

// round is one of the eighty (step 3), with e and b changed in place. What of a sum does not wait for the round before comes first.
func (s *eight) round(t int, k, w, a, b, c, d, e reg.VecVirtual) {
	f, x, low := s.YMM(), s.YMM(), s.YMM()
	s.VPADDD(k, w, x)
	s.VPADDD(x, e, e)
	switch t / 20 { // section 4.1.1
	case 0: // choice
		s.VPXOR(d, c, f)
		s.VPAND(b, f, f)
		s.VPXOR(d, f, f)
	case 2: // majority, as a sum of what can not both be one
		s.VPXOR(d, c, f)
		s.VPAND(d, c, x)
		s.VPAND(b, f, f)
		s.VPADDD(x, e, e)
	default: // parity
		s.VPXOR(d, c, f)
		s.VPXOR(b, f, f)
	}
	s.VPADDD(f, e, e)
	s.VPSLLD(operand.Imm(5), a, x)
	s.VPSRLD(operand.Imm(27), a, low)
	s.VPADDD(x, e, e)
	s.VPADDD(low, e, e)
	s.VPSLLD(operand.Imm(30), b, x)
	s.VPSRLD(operand.Imm(2), b, b)
	s.VPOR(x, b, b)
}

// tags writes the hash values in big-endian order: four words by way of columns, which turn back what columns did, and the fifth by
// way of the stack.
func (s *eight) tags() {
	s.Comment("The tags, in big-endian order")
	turn := s.YMM()
	s.VBROADCASTI128(s.turn, turn)
	var v, rows [4]reg.VecVirtual
	for i := range v {
		v[i], rows[i] = s.YMM(), s.YMM()
		s.VMOVDQU(row(s.value, i), v[i])
		s.VPSHUFB(turn, v[i], v[i])
	}
	s.columns(v, rows[:]...)
	for i := range lanes8 {
		tag, word := operand.Mem{Base: s.Load(s.stream(i).Field("tag"), s.GP64())}, s.GP32()
		s.VEXTRACTI128(operand.Imm(uint64(i/4)), rows[i%4], tag)
		s.MOVL(row(s.value, 4).Offset(4*i), word)
		s.BSWAPL(word)
		s.MOVL(word, tag.Offset(16))
	}
}
