package kernel

// expandARMCE expands a key of 16, 24 or 32 bytes (FIPS 197 section 5.2) and leaves the rest of rk as it was. It needs FEAT_AES.
//
//go:noescape
func expandARMCE(rk *RoundKeys, key []byte)

// ctrARMCE adds the keystream of iv to p; the last four bytes of iv, plus first, count blocks
// (SP 800-38A section 6.5, FIPS 197 section 5.1). It needs FEAT_AES.
//
//go:noescape
func ctrARMCE(rk *RoundKeys, rounds int, iv *[16]byte, first int, p []byte)

// ghashARMCE runs the value acc over the blocks of r (SP 800-38D section 6.4). It needs FEAT_PMULL.
//
//go:noescape
func ghashARMCE(key *GHASH, acc *[16]byte, r *runs)

// sha1ARMCE runs SHA-1's compression over the whole blocks of p (FIPS 180-4 section 6.1.2). It needs FEAT_SHA1.
//
//go:noescape
func sha1ARMCE(state *[5]uint32, p []byte)

// sha1PairARMCE does what sha1ARMCE does on a and p and, side by side, on b and q, which is as long as p. It needs FEAT_SHA1.
//
//go:noescape
func sha1PairARMCE(a *[5]uint32, p []byte, b *[5]uint32, q []byte)
