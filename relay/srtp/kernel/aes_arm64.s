#include "textflag.h"

// AESE is AddRoundKey, then ShiftRows and SubBytes; AESMC is MixColumns (Arm ARM C7.2; FIPS 197 sections 5.1.1 to 5.1.4). Both
// take the same time whatever the data.

// SUBWORD applies the S-box to the four bytes of w (FIPS 197 section 5.2). Each column of the state is w, so that ShiftRows changes
// nothing, and the key in V1 is zero.
#define SUBWORD(w) \
	VDUP	w, V0.S4 \
	AESE	V1.B16, V0.B16 \
	VMOV	V0.S[0], w

// func expandARMCE(rk *RoundKeys, key []byte)
//
// FIPS 197 section 5.2. Words are in memory's order, so that RotWord is a rotation to the right.
TEXT ·expandARMCE(SB), NOSPLIT, $0-32
	MOVD	rk+0(FP), R0          // where word i goes
	MOVD	key_base+8(FP), R1
	MOVD	key_len+16(FP), R2
	LSR	$2, R2, R2            // Nk: 4, 6 or 8 words of key
	VEOR	V1.B16, V1.B16, V1.B16

	// The first Nk words are the key.
	MOVD	R0, R3                // where word i - Nk is
	MOVD	R2, R4
copy:
	MOVWU.P	4(R1), R6
	MOVW.P	R6, 4(R0)
	SUBS	$1, R4, R4
	BNE	copy

	// 4(Nr + 1) words in all, and Nr = Nk + 6: 3 Nk + 28 are left. R6 is word i - 1.
	ADD	R2<<1, R2, R5
	ADD	$28, R5, R5
	MOVD	$1, R7                // Rcon
	MOVD	$0, R4                // i mod Nk
word:
	CBNZ	R4, within
	SUBWORD(R6)
	RORW	$8, R6, R6
	EORW	R7, R6, R6
	LSL	$1, R7, R7            // times x modulo x^8 + x^4 + x^3 + x + 1
	TBZ	$8, R7, add
	MOVD	$0x11b, R8
	EOR	R8, R7, R7
	B	add
within:
	CMP	$8, R2                // a key of 256 bits has SubWord in the middle too
	BNE	add
	CMP	$4, R4
	BNE	add
	SUBWORD(R6)
add:
	MOVWU.P	4(R3), R8
	EORW	R8, R6, R6
	MOVW.P	R6, 4(R0)
	ADD	$1, R4, R4
	CMP	R2, R4
	CSEL	EQ, ZR, R4, R4
	SUBS	$1, R5, R5
	BNE	word
	RET

// COUNT makes a counter block and counts on: each word of V9 is in the processor's order, V8 is one in the last word.
#define COUNT(b) \
	VREV32	V9.B16, b.B16 \
	VADD	V8.S4, V9.S4, V9.S4

#define ROUND(k, b) \
	AESE	k.B16, b.B16 \
	AESMC	b.B16, b.B16

#define ROUND4(k) \
	ROUND(k, V0) \
	ROUND(k, V1) \
	ROUND(k, V2) \
	ROUND(k, V3)

#define ROUND8(k) \
	ROUND4(k) \
	ROUND(k, V4) \
	ROUND(k, V5) \
	ROUND(k, V6) \
	ROUND(k, V7)

// LAST is the round without MixColumns, and the last round key.
#define LAST(b) \
	AESE	V29.B16, b.B16 \
	VEOR	V30.B16, b.B16, b.B16

// ADD4 adds four blocks of keystream to 64 bytes of the message.
#define ADD4(a, b, c, d) \
	VLD1	(R4), [V10.B16, V11.B16, V12.B16, V13.B16] \
	VEOR	a.B16, V10.B16, V10.B16 \
	VEOR	b.B16, V11.B16, V11.B16 \
	VEOR	c.B16, V12.B16, V12.B16 \
	VEOR	d.B16, V13.B16, V13.B16 \
	VST1.P	[V10.B16, V11.B16, V12.B16, V13.B16], 64(R4)

// func ctrARMCE(rk *RoundKeys, rounds int, iv *[16]byte, first int, p []byte)
//
// SP 800-38A section 6.5. Eight blocks in flight hide the time that a round takes; where four are enough for the rest, four. The
// keystream is in V0 to V7.
TEXT ·ctrARMCE(SB), NOSPLIT, $0-56
	MOVD	rk+0(FP), R0
	MOVD	rounds+8(FP), R1
	MOVD	iv+16(FP), R2
	MOVD	first+24(FP), R3
	MOVD	p_base+32(FP), R4
	MOVD	p_len+40(FP), R5

	// The counter is the last word, which counts from iv plus first.
	VLD1	(R2), [V9.B16]
	VREV32	V9.B16, V9.B16
	VEOR	V8.B16, V8.B16, V8.B16
	VMOV	R3, V8.S[3]
	VADD	V8.S4, V9.S4, V9.S4
	MOVD	$1, R6
	VMOV	R6, V8.S[3]

	// The last eleven round keys go to V20 to V30, the two or four that longer keys have before them to V16 to V19.
	CMP	$12, R1
	BLT	keys10
	BEQ	keys12
	VLD1.P	32(R0), [V16.B16, V17.B16]
keys12:
	VLD1.P	32(R0), [V18.B16, V19.B16]
keys10:
	VLD1.P	64(R0), [V20.B16, V21.B16, V22.B16, V23.B16]
	VLD1.P	64(R0), [V24.B16, V25.B16, V26.B16, V27.B16]
	VLD1	(R0), [V28.B16, V29.B16, V30.B16]

blocks:
	CBZ	R5, done
	COUNT(V0)
	COUNT(V1)
	COUNT(V2)
	COUNT(V3)
	CMP	$64, R5
	BLS	four
	COUNT(V4)
	COUNT(V5)
	COUNT(V6)
	COUNT(V7)
	CMP	$12, R1
	BLT	eight10
	BEQ	eight12
	ROUND8(V16)
	ROUND8(V17)
eight12:
	ROUND8(V18)
	ROUND8(V19)
eight10:
	ROUND8(V20)
	ROUND8(V21)
	ROUND8(V22)
	ROUND8(V23)
	ROUND8(V24)
	ROUND8(V25)
	ROUND8(V26)
	ROUND8(V27)
	ROUND8(V28)
	LAST(V0)
	LAST(V1)
	LAST(V2)
	LAST(V3)
	LAST(V4)
	LAST(V5)
	LAST(V6)
	LAST(V7)
	CMP	$128, R5
	BLO	block
	ADD4(V0, V1, V2, V3)
	ADD4(V4, V5, V6, V7)
	SUB	$128, R5, R5
	B	blocks

four:
	CMP	$12, R1
	BLT	four10
	BEQ	four12
	ROUND4(V16)
	ROUND4(V17)
four12:
	ROUND4(V18)
	ROUND4(V19)
four10:
	ROUND4(V20)
	ROUND4(V21)
	ROUND4(V22)
	ROUND4(V23)
	ROUND4(V24)
	ROUND4(V25)
	ROUND4(V26)
	ROUND4(V27)
	ROUND4(V28)
	LAST(V0)
	LAST(V1)
	LAST(V2)
	LAST(V3)

	// Fewer than eight blocks are left: one after the other, the next block of keystream moving up to V0.
block:
	CMP	$16, R5
	BLO	rest
	VLD1	(R4), [V10.B16]
	VEOR	V0.B16, V10.B16, V10.B16
	VST1.P	[V10.B16], 16(R4)
	SUB	$16, R5, R5
	VMOV	V1.B16, V0.B16
	VMOV	V2.B16, V1.B16
	VMOV	V3.B16, V2.B16
	VMOV	V4.B16, V3.B16
	VMOV	V5.B16, V4.B16
	VMOV	V6.B16, V5.B16
	VMOV	V7.B16, V6.B16
	B	block

	// Fewer than sixteen bytes are left: eight, four, two and one, as the bits of their number say.
rest:
	VMOV	V0.D[0], R6
	TBZ	$3, R5, rest4
	MOVD	(R4), R7
	EOR	R6, R7, R7
	MOVD.P	R7, 8(R4)
	VMOV	V0.D[1], R6
rest4:
	TBZ	$2, R5, rest2
	MOVWU	(R4), R7
	EOR	R6, R7, R7
	MOVW.P	R7, 4(R4)
	LSR	$32, R6, R6
rest2:
	TBZ	$1, R5, rest1
	MOVHU	(R4), R7
	EOR	R6, R7, R7
	MOVH.P	R7, 2(R4)
	LSR	$16, R6, R6
rest1:
	TBZ	$0, R5, done
	MOVBU	(R4), R7
	EOR	R6, R7, R7
	MOVB	R7, (R4)
done:
	RET
