package kernel

import "golang.org/x/sys/cpu"

const lanes8 = 8 // of hmac8AVX2

// How many messages of one length are worth the lanes of a kernel, which takes as long whatever their fill. Of packets of G.711:
const (
	from16 = 9 // sixteen lanes of AVX-512 take 600 ns, two of the SHA extensions 67 ns a message (Zen 5)
	from8  = 1 // eight lanes of AVX2 take 600 ns, the reference 1,600 ns a message (Zen 3): a message alone takes them too
	from4  = 3 // four lanes of the SHA extensions take 256 ns, two 160 ns, one 180 ns (Zen 3)
)

var (
	sides16 = []Side{{Wide, from16}, {narrow, from4}}
	sides8  = []Side{{lanes8, from8}}
	sides4  = []Side{{narrow, from4}}
)

func sideBySide(t Tier) []Side {
	switch {
	case t >= AVX512:
		return sides16
	case t >= SHANI:
		return sides4
	case hasEight(t):
		return sides8
	}
	return nil
}

// hasEight tells whether SHA-1 is AVX2's to do: where the SHA extensions are, four lanes of theirs are faster than its eight. It is no
// tier of its own. Many servers have AES-NI and AVX2 and nothing later, or AVX-512 without the SHA extensions.
func hasEight(t Tier) bool { return t == AESNI && cpu.X86.HasAVX2 }

func hmac1(t Tier, a *stream) {
	switch {
	case t >= SHANI:
		hmac1SHANI(a)
	case hasEight(t):
		hashEight([]*stream{a})
	default:
		hmacGeneric(a)
	}
}

func hmac2(t Tier, a, b *stream) {
	switch {
	case t >= SHANI:
		hmac2SHANI(a, b)
	case hasEight(t):
		hashEight([]*stream{a, b})
	default:
		hmacGeneric(a)
		hmacGeneric(b)
	}
}

func hmac4(t Tier, s *[narrow]stream, blocks int) {
	switch {
	case t >= SHANI:
		hmac4SHANI(&[narrow]*stream{&s[0], &s[1], &s[2], &s[3]}, blocks)
	case hasEight(t):
		hashEight([]*stream{&s[0], &s[1], &s[2], &s[3]})
	default:
		hashEach(s[:])
	}
}

func hmac16(t Tier, s *[Wide]stream, blocks int) {
	switch {
	case t >= AVX512:
		hmac16AVX512(s, blocks)
	case t >= SHANI:
		for i := 0; i < Wide && s[i].blocks > 0; i += narrow {
			four := [narrow]*stream{&s[i], &s[i+1], &s[i+2], &s[i+3]}
			hmac4SHANI(&four, longest(four[:]))
		}
	case hasEight(t):
		for i := 0; i < Wide && s[i].blocks > 0; i += lanes8 {
			hashEight([]*stream{&s[i], &s[i+1], &s[i+2], &s[i+3], &s[i+4], &s[i+5], &s[i+6], &s[i+7]})
		}
	default:
		hashEach(s[:])
	}
}

// hashEight hashes up to eight messages.
func hashEight(some []*stream) {
	var spare HMAC
	var nowhere [shaSize]byte
	idle := stream{key: &spare, tag: &nowhere}
	all := [lanes8]*stream{&idle, &idle, &idle, &idle, &idle, &idle, &idle, &idle}
	//lint:ignore S1001 copy would count what they point to as kept, and the streams would be allocated
	for i, s := range some {
		all[i] = s
	}
	hmac8AVX2(&all, longest(some))
}

func hashEach(s []stream) {
	for i := range s {
		if s[i].blocks > 0 {
			hmacGeneric(&s[i])
		}
	}
}

// longest returns the most blocks that a message has.
func longest(some []*stream) (blocks int) {
	for _, s := range some {
		blocks = max(blocks, s.blocks)
	}
	return blocks
}
