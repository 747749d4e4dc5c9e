package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/gotypes"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const lanes4 = 4

// quarter is one of four streams of SHA-1 in registers. Four steps of the schedule are in memory: there are sixteen registers, and a
// processor that takes six cycles for four rounds starts some every two.
type quarter struct {
	at     gotypes.Component // where the message is said to be
	p      operand.Mem       // the next block
	left   operand.Mem       // blocks that there still are
	whole  operand.Mem       // of them before the tail
	w      operand.Mem       // the last sixteen words of the schedule, as the SHA extensions have them
	saved  operand.Mem       // hash value before the block
	a, e   reg.VecVirtual    // words a to d of the hash value, and the fifth, as type lane has them
	last   reg.VecVirtual    // the last four words of the schedule
	number int
}

// four is what they share.
type four struct {
	*assembler
	lanes [lanes4]*quarter
	mask  reg.VecVirtual // turns bytes around
}

// hmac4 writes HMAC-SHA1 of four messages side by side with the SHA extensions, each with a key and a length of its own, in the
// steps of hmac16. Of a message that has ended, the last block is loaded again and its hash value stays.
func hmac4(a *assembler) {
	turn, padding := a.reversal("hmac4Turn"), a.data("hmac4Padding",
		0, 0x80000000, // words 4 to 7 of the outer block: after the digest's last word a one bit
		(64+20)*8, 0, // words 12 to 15: the length in bits, with the key's block
	)
	a.begin("hmac4SHANI", "func(s *[4]*stream, blocks int)",
		"hmac4SHANI writes the tags of four messages (RFC 2104, FIPS 180-4 section 6.1.2), none of which has more than so many blocks.",
		"A message of no blocks gets a tag that means nothing. It needs the SHA extensions and SSE4.1.")
	s := four{assembler: a, mask: a.XMM()}
	streams := a.Param("s").Dereference(a.Load(a.Param("s"), a.GP64()))
	longest, inOuter := a.Load(a.Param("blocks"), a.GP64()), a.GP64()
	a.MOVOU(turn, s.mask)
	s.layOut(streams)
	s.resume("Inner")
	a.XORQ(inOuter, inOuter)

	a.Label("block")
	s.load()
	a.Label("compress")
	s.compress()
	a.TESTQ(inOuter, inOuter)
	a.JNZ(operand.LabelRef("tags"))
	s.advance()
	a.DECQ(longest)
	a.JNZ(operand.LabelRef("block"))

	a.Comment("The outer hash")
	middle, end := a.XMM(), a.XMM()
	a.MOVOU(padding, middle)
	a.MOVOU(padding.Offset(16), end)
	zero := a.XMM()
	a.PXOR(zero, zero)
	for _, l := range s.lanes {
		a.PXOR(middle, l.e)
		a.MOVO(l.a, l.w)
		a.MOVO(l.e, l.w.Offset(16))
		a.MOVO(zero, l.w.Offset(32))
		a.MOVO(end, l.w.Offset(48))
		a.MOVO(end, l.last)
	}
	s.resume("Outer")
	a.MOVQ(operand.U32(1), inOuter)
	a.JMP(operand.LabelRef("compress"))

	a.Label("tags")
	s.add()
	s.tags()
	a.RET()
}

// layOut takes registers, and memory that the SHA extensions can read: at a multiple of sixteen bytes.
func (s *four) layOut(streams gotypes.Component) {
	const schedule, value, counts, align = 64, 32, 16, 16
	s.Comment("Where the blocks are")
	room, base := s.AllocLocal(lanes4*(schedule+value+counts)+align), s.GP64()
	s.LEAQ(room.Offset(align-1), base)
	s.ANDQ(operand.I8(-align), base)
	for i := range s.lanes {
		at := operand.Mem{Base: base, Disp: i * (schedule + value + counts)}
		l := &quarter{at: streams.Index(i), number: i, w: at, saved: at.Offset(schedule), left: at.Offset(schedule + value)}
		l.whole = l.left.Offset(8)
		l.a, l.e, l.last = s.XMM(), s.XMM(), s.XMM()
		whole, tail, blocks := s.GP64(), s.GP64(), s.GP64()
		stream := s.stream(l)
		l.p.Base = s.Load(stream.Field("msg").Base(), s.GP64())
		s.Load(stream.Field("msg").Len(), whole)
		s.Load(stream.Field("blocks"), blocks)
		s.LEAQ(memory(stream.Field("tail").Index(0)), tail)
		s.SHRQ(operand.Imm(6), whole)
		s.CMOVQEQ(tail, l.p.Base)
		s.MOVQ(whole, l.whole)
		s.MOVQ(blocks, l.left)
		s.lanes[i] = l
	}
}

// stream is a lane's message.
func (s *four) stream(l *quarter) gotypes.Component { return l.at.Dereference(s.Load(l.at, s.GP64())) }

// resume loads one of each key's two hash values.
func (s *four) resume(side string) {
	s.Comment("Resume from " + side)
	for _, l := range s.lanes {
		key := s.stream(l).Field("key")
		state := key.Dereference(s.Load(key, s.GP64())).Field(side)
		s.MOVOU(memory(state.Index(0)), l.a)
		s.PSHUFD(operand.Imm(0x1B), l.a, l.a)
		s.MOVSS(memory(state.Index(4)), l.e) // the assembler's MOVD would read eight bytes
		s.PSLLDQ(operand.Imm(12), l.e)
	}
}

// load fills the schedule's first sixteen words.
func (s *four) load() {
	s.Comment("A block of each message")
	for _, l := range s.lanes {
		for i := range 4 {
			word := s.XMM()
			s.MOVOU(l.p.Offset(16*i), word)
			s.PSHUFB(s.mask, word)
			s.MOVO(word, l.w.Offset(16*i))
			if i == 3 {
				s.MOVO(word, l.last)
			}
		}
	}
}

// compress is a block of SHA-1 without the last addition (FIPS 180-4 section 6.1.2), in twenty steps of four rounds, each step for
// every lane before the next one. A step's four words make way for those of four steps later.
func (s *four) compress() {
	for _, l := range s.lanes {
		s.MOVO(l.a, l.saved)
		s.MOVO(l.e, l.saved.Offset(16))
	}
	var e, last [lanes4]reg.VecVirtual // where they are at the moment
	for i, l := range s.lanes {
		e[i], last[i] = l.e, l.last
	}
	for step := range 20 {
		s.Commentf("Rounds %d to %d", 4*step, 4*step+3)
		for i, l := range s.lanes {
			word, before := s.XMM(), s.XMM()
			at := func(n int) operand.Mem { return l.w.Offset(16 * ((step + n) % 4)) }
			s.MOVO(at(0), word)
			if step == 0 {
				s.PADDD(word, e[i])
			} else {
				s.SHA1NEXTE(word, e[i])
			}
			s.MOVO(l.a, before)
			s.SHA1RNDS4(operand.Imm(uint64(step/5)), e[i], l.a)
			e[i] = before
			if step < 16 {
				s.SHA1MSG1(at(1), word)
				s.PXOR(at(2), word)
				s.SHA1MSG2(last[i], word)
				s.MOVO(word, at(0))
				last[i] = word
			}
		}
	}
	for i, l := range s.lanes {
		s.MOVO(e[i], l.e)
	}
}

// add adds to the hash value what it was before the block.
func (s *four) add(lanes ...*quarter) {
	if len(lanes) == 0 {
		lanes = s.lanes[:]
	}
	for _, l := range lanes {
		s.SHA1NEXTE(l.saved.Offset(16), l.e)
		s.PADDD(l.saved, l.a)
	}
}

// advance adds, and moves on: to the next block, to the tail, or nowhere from the last one. Of a message that had ended before, the
// hash value becomes what it was.
func (s *four) advance() {
	s.Comment("What the messages are now, and where their next blocks are")
	for _, l := range s.lanes {
		going, done := fmt.Sprintf("going%d", l.number), fmt.Sprintf("done%d", l.number)
		tail := s.GP64()
		s.SUBQ(operand.Imm(1), l.left)
		s.JA(operand.LabelRef(going))
		s.JE(operand.LabelRef(done))
		s.MOVQ(operand.U32(0), l.left)
		s.PXOR(l.a, l.a)
		s.PXOR(l.e, l.e)
		s.JMP(operand.LabelRef(done))
		s.Label(going)
		s.ADDQ(operand.Imm(64), l.p.Base)
		s.LEAQ(memory(s.stream(l).Field("tail").Index(0)), tail)
		s.DECQ(l.whole)
		s.CMOVQEQ(tail, l.p.Base)
		s.Label(done)
		s.add(l)
	}
}

// tags writes the hash values in big-endian order.
func (s *four) tags() {
	s.Comment("The tags, in big-endian order")
	for _, l := range s.lanes {
		tag, word := operand.Mem{Base: s.Load(s.stream(l).Field("tag"), s.GP64())}, s.GP32()
		s.PSHUFB(s.mask, l.a)
		s.MOVOU(l.a, tag)
		s.PEXTRD(operand.Imm(3), l.e, word)
		s.BSWAPL(word)
		s.MOVL(word, tag.Offset(16))
	}
}
