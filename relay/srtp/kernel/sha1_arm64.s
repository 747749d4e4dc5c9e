#include "textflag.h"

// A stream has its hash value in abcd and e, and sixteen words of the schedule in four registers. SHA1C, SHA1P and SHA1M are four rounds
// with Ch, Parity and Maj, SHA1H is the rotation of b by 30, SHA1SU0 and SHA1SU1 make four words of the schedule (Arm ARM
// C7.2; FIPS 180-4 sections 4.1.1 and 6.1.2). All of them take the same time whatever the data.

// CONSTANTS puts K of FIPS 180-4 section 4.2.1 into V20 to V23.
#define CONSTANTS \
	MOVD	$0x5A827999, R6 \
	VDUP	R6, V20.S4 \
	MOVD	$0x6ED9EBA1, R6 \
	VDUP	R6, V21.S4 \
	MOVD	$0x8F1BBCDC, R6 \
	VDUP	R6, V22.S4 \
	MOVD	$0xCA62C1D6, R6 \
	VDUP	R6, V23.S4

// LOAD reads the words of a block, big-endian.
#define LOAD(p, w0, w1, w2, w3) \
	VLD1.P	64(p), [w0.B16, w1.B16, w2.B16, w3.B16] \
	VREV32	w0.B16, w0.B16 \
	VREV32	w1.B16, w1.B16 \
	VREV32	w2.B16, w2.B16 \
	VREV32	w3.B16, w3.B16

// ROUNDS is four rounds with the words of w; next becomes e of the four after them. t is spare.
#define ROUNDS(op, k, t, abcd, e, next, w) \
	VADD	k.S4, w.S4, t.S4 \
	SHA1H	abcd, next \
	op	t.S4, e, abcd

// SCHEDULE replaces the words of w0 by those sixteen further on.
#define SCHEDULE(w0, w1, w2, w3) \
	SHA1SU0	w2.S4, w1.S4, w0.S4 \
	SHA1SU1	w3.S4, w0.S4

// QUAD is four rounds and the words for those sixteen further on.
#define QUAD(op, k, t, abcd, e, next, w0, w1, w2, w3) \
	ROUNDS(op, k, t, abcd, e, next, w0) \
	SCHEDULE(w0, w1, w2, w3)

// A20 is twenty rounds of stream A with one function and constant; A20LAST leaves words out that nobody needs.
#define A20(op, k, e, f, w0, w1, w2, w3) \
	QUAD(op, k, V3, V0, e, f, w0, w1, w2, w3) \
	QUAD(op, k, V3, V0, f, e, w1, w2, w3, w0) \
	QUAD(op, k, V3, V0, e, f, w2, w3, w0, w1) \
	QUAD(op, k, V3, V0, f, e, w3, w0, w1, w2) \
	QUAD(op, k, V3, V0, e, f, w0, w1, w2, w3)

#define A20LAST(op, k, e, f, w0, w1, w2, w3) \
	QUAD(op, k, V3, V0, e, f, w0, w1, w2, w3) \
	ROUNDS(op, k, V3, V0, f, e, w1) \
	ROUNDS(op, k, V3, V0, e, f, w2) \
	ROUNDS(op, k, V3, V0, f, e, w3) \
	ROUNDS(op, k, V3, V0, e, f, w0)

// AB20 and AB20LAST are A20 and A20LAST of streams A and B, four rounds of either in turn.
#define AB20(op, k, e, f, w0, w1, w2, w3, g, h, x0, x1, x2, x3) \
	QUAD(op, k, V3, V0, e, f, w0, w1, w2, w3) \
	QUAD(op, k, V11, V8, g, h, x0, x1, x2, x3) \
	QUAD(op, k, V3, V0, f, e, w1, w2, w3, w0) \
	QUAD(op, k, V11, V8, h, g, x1, x2, x3, x0) \
	QUAD(op, k, V3, V0, e, f, w2, w3, w0, w1) \
	QUAD(op, k, V11, V8, g, h, x2, x3, x0, x1) \
	QUAD(op, k, V3, V0, f, e, w3, w0, w1, w2) \
	QUAD(op, k, V11, V8, h, g, x3, x0, x1, x2) \
	QUAD(op, k, V3, V0, e, f, w0, w1, w2, w3) \
	QUAD(op, k, V11, V8, g, h, x0, x1, x2, x3)

#define AB20LAST(op, k, e, f, w0, w1, w2, w3, g, h, x0, x1, x2, x3) \
	QUAD(op, k, V3, V0, e, f, w0, w1, w2, w3) \
	QUAD(op, k, V11, V8, g, h, x0, x1, x2, x3) \
	ROUNDS(op, k, V3, V0, f, e, w1) \
	ROUNDS(op, k, V11, V8, h, g, x1) \
	ROUNDS(op, k, V3, V0, e, f, w2) \
	ROUNDS(op, k, V11, V8, g, h, x2) \
	ROUNDS(op, k, V3, V0, f, e, w3) \
	ROUNDS(op, k, V11, V8, h, g, x3) \
	ROUNDS(op, k, V3, V0, e, f, w0) \
	ROUNDS(op, k, V11, V8, g, h, x0)

// func sha1ARMCE(state *[5]uint32, p []byte)
//
// Stream A: V0 is abcd, V1 is e, V4 to V7 are the words; V16 and V17 are the hash value before the block.
TEXT ·sha1ARMCE(SB), NOSPLIT, $0-32
	MOVD	state+0(FP), R0
	MOVD	p_base+8(FP), R1
	MOVD	p_len+16(FP), R2
	LSR	$6, R2, R2
	CBZ	R2, done
	VLD1	(R0), [V0.S4]
	FMOVS	16(R0), F1
	CONSTANTS
block:
	LOAD(R1, V4, V5, V6, V7)
	VMOV	V0.B16, V16.B16
	VMOV	V1.B16, V17.B16
	A20(SHA1C, V20, V1, V2, V4, V5, V6, V7)     // rounds 0 to 19
	A20(SHA1P, V21, V2, V1, V5, V6, V7, V4)     // 20 to 39
	A20(SHA1M, V22, V1, V2, V6, V7, V4, V5)     // 40 to 59
	A20LAST(SHA1P, V23, V2, V1, V7, V4, V5, V6) // 60 to 79
	VADD	V16.S4, V0.S4, V0.S4
	VADD	V17.S4, V1.S4, V1.S4
	SUBS	$1, R2, R2
	BNE	block
	VST1	[V0.S4], (R0)
	FMOVS	F1, 16(R0)
done:
	RET

// func sha1PairARMCE(a *[5]uint32, p []byte, b *[5]uint32, q []byte)
//
// Stream A as above. Stream B: V8 is abcd, V9 is e, V12 to V15 are the words; V18 and V19 are the hash value before the block.
TEXT ·sha1PairARMCE(SB), NOSPLIT, $0-64
	MOVD	a+0(FP), R0
	MOVD	p_base+8(FP), R1
	MOVD	p_len+16(FP), R2
	MOVD	b+32(FP), R3
	MOVD	q_base+40(FP), R4
	LSR	$6, R2, R2
	CBZ	R2, done
	VLD1	(R0), [V0.S4]
	FMOVS	16(R0), F1
	VLD1	(R3), [V8.S4]
	FMOVS	16(R3), F9
	CONSTANTS
block:
	LOAD(R1, V4, V5, V6, V7)
	LOAD(R4, V12, V13, V14, V15)
	VMOV	V0.B16, V16.B16
	VMOV	V1.B16, V17.B16
	VMOV	V8.B16, V18.B16
	VMOV	V9.B16, V19.B16
	AB20(SHA1C, V20, V1, V2, V4, V5, V6, V7, V9, V10, V12, V13, V14, V15)     // rounds 0 to 19
	AB20(SHA1P, V21, V2, V1, V5, V6, V7, V4, V10, V9, V13, V14, V15, V12)     // 20 to 39
	AB20(SHA1M, V22, V1, V2, V6, V7, V4, V5, V9, V10, V14, V15, V12, V13)     // 40 to 59
	AB20LAST(SHA1P, V23, V2, V1, V7, V4, V5, V6, V10, V9, V15, V12, V13, V14) // 60 to 79
	VADD	V16.S4, V0.S4, V0.S4
	VADD	V17.S4, V1.S4, V1.S4
	VADD	V18.S4, V8.S4, V8.S4
	VADD	V19.S4, V9.S4, V9.S4
	SUBS	$1, R2, R2
	BNE	block
	VST1	[V0.S4], (R0)
	FMOVS	F1, 16(R0)
	VST1	[V8.S4], (R3)
	FMOVS	F9, 16(R3)
done:
	RET
