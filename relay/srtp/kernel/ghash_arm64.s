#include "go_asm.h"
#include "textflag.h"

// func ghashARMCE(key *GHASH, acc *[16]byte, r *runs)
//
// SP 800-38D section 6.4 over the blocks of the three runs as if they were one: up to eight blocks are multiplied by as many powers of
// the hash key, and their sum is reduced once. A block is read as an integer in GHASH's layout; VREV64 gives that with its
// halves exchanged, which the middle products want.
TEXT ·ghashARMCE(SB), NOSPLIT, $0-24
	MOVD	key+0(FP), R0
	MOVD	acc+8(FP), R1
	MOVD	r+16(FP), R2

	// R3 is how many blocks there are. R4 and R5 are what is left of the run that R2 points to.
	MOVD	runs_head+8(R2), R5
	MOVD	runs_body+8(R2), R6
	MOVD	runs_foot+8(R2), R7
	LSR	$4, R5, R3
	ADD	R6>>4, R3, R3
	ADD	R7>>4, R3, R3
	CBZ	R3, done
	MOVD	runs_head(R2), R4

	VLD1	(R1), [V0.B16]
	VREV64	V0.B16, V0.B16        // acc, halves exchanged
	MOVD	$0xC200000000000000, R6
	VMOV	R6, V30.D[0]          // the polynomial
	VEOR	V31.B16, V31.B16, V31.B16

group:
	// R6 blocks, at most eight, and the power of the first: that many.
	MOVD	$8, R6
	CMP	R6, R3
	CSEL	LO, R3, R6, R6
	SUB	R6, R3, R3
	MOVD	$8, R7
	SUB	R6, R7, R7
	ADD	R7<<4, R0, R7
	VEOR	V1.B16, V1.B16, V1.B16 // sum of the lower products
	VEOR	V2.B16, V2.B16, V2.B16 // of the middle ones
	VEOR	V3.B16, V3.B16, V3.B16 // of the upper ones

block:
	CMP	$16, R5
	BHS	inRun
	ADD	$(runs_body-runs_head), R2, R2
	MOVD	runs_head(R2), R4
	MOVD	runs_head+8(R2), R5
	B	block
inRun:
	VLD1.P	16(R4), [V4.B16]
	SUB	$16, R5, R5
	VREV64	V4.B16, V4.B16
	VEOR	V0.B16, V4.B16, V4.B16 // acc goes to the first block of a group
	VEOR	V0.B16, V0.B16, V0.B16
	VLD1.P	16(R7), [V5.B16]
	VEXT	$8, V4.B16, V4.B16, V6.B16
	VPMULL	V6.D1, V5.D1, V16.Q1
	VPMULL	V4.D1, V5.D1, V17.Q1
	VPMULL2	V4.D2, V5.D2, V18.Q1
	VPMULL2	V6.D2, V5.D2, V19.Q1
	VEOR	V16.B16, V1.B16, V1.B16
	VEOR	V17.B16, V2.B16, V2.B16
	VEOR	V18.B16, V2.B16, V2.B16
	VEOR	V19.B16, V3.B16, V3.B16
	SUBS	$1, R6, R6
	BNE	block

	// The middle products begin 64 bits further up.
	VEXT	$8, V2.B16, V31.B16, V16.B16
	VEXT	$8, V31.B16, V2.B16, V17.B16
	VEOR	V16.B16, V1.B16, V1.B16
	VEOR	V17.B16, V3.B16, V3.B16

	// Adding a multiple of the polynomial clears the lowest word; then the same with the next (Gueron and Kounavis 2010).
	VPMULL	V1.D1, V30.D1, V16.Q1
	VEXT	$8, V1.B16, V1.B16, V1.B16
	VEOR	V16.B16, V1.B16, V1.B16
	VPMULL	V1.D1, V30.D1, V16.Q1
	VEXT	$8, V1.B16, V1.B16, V1.B16
	VEOR	V16.B16, V1.B16, V1.B16
	VEOR	V3.B16, V1.B16, V1.B16
	VEXT	$8, V1.B16, V1.B16, V0.B16
	CBNZ	R3, group

	VREV64	V0.B16, V0.B16
	VST1	[V0.B16], (R1)
done:
	RET
