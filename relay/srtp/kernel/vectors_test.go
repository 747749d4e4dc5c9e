package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// unhex reads hexadecimal digits; blanks between them do not count.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestKeyExpansionMatchesFIPS197 takes the last word of each schedule of appendix A: it depends on all the others.
func TestKeyExpansionMatchesFIPS197(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, c := range []struct {
			key    string
			rounds int
			last   uint32
		}{
			{"2b7e1516 28aed2a6 abf71588 09cf4f3c", 10, 0xb6630ca6},
			{"8e73b0f7 da0e6452 c810f32b 809079e5 62f8ead2 522c6b7b", 12, 0x01002202},
			{"603deb10 15ca71be 2b73aef0 857d7781 1f352c07 3b6108d7 2d9810a3 0914dff4", 14, 0x706c631e},
		} {
			var rk RoundKeys
			if rounds := Expand(tier, &rk, unhex(t, c.key)); rounds != c.rounds {
				t.Fatalf("%d rounds, want %d", rounds, c.rounds)
			}
			if got := binary.BigEndian.Uint32(rk[16*c.rounds+12:]); got != c.last {
				t.Errorf("%d rounds: last word %08x, want %08x", c.rounds, got, c.last)
			}
		}
	})
}

func TestAKeyOfAnotherLengthIsRefused(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, n := range []int{0, 1, 15, 17, 20, 31, 33, 64} {
			rk := RoundKeys{1, 2, 3}
			if rounds := Expand(tier, &rk, make([]byte, n)); rounds != 0 || rk != (RoundKeys{1, 2, 3}) {
				t.Errorf("%d bytes: %d rounds, round keys %x...", n, rounds, rk[:4])
			}
		}
	})
}

// TestOneBlockMatchesFIPS197 takes appendix C: the keystream of an IV is that block encrypted.
func TestOneBlockMatchesFIPS197(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, c := range []struct{ key, want string }{
			{"000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"},
			{"000102030405060708090a0b0c0d0e0f1011121314151617", "dda97ca4864cdfe06eaf70a0ec0d7191"},
			{"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "8ea2b7ca516745bfeafc49904b496089"},
		} {
			var rk RoundKeys
			rounds := Expand(tier, &rk, unhex(t, c.key))
			iv := [16]byte(unhex(t, "00112233445566778899aabbccddeeff"))
			got := make([]byte, 16)
			if CTR(tier, &rk, rounds, &iv, got); hex.EncodeToString(got) != c.want {
				t.Errorf("%d rounds: got %x, want %s", rounds, got, c.want)
			}
		}
	})
}

// TestCounterModeMatchesSP80038A takes sections F.5.1, F.5.3 and F.5.5.
func TestCounterModeMatchesSP80038A(t *testing.T) {
	const plain = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51" +
		"30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710"
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, c := range []struct{ key, want string }{
			{"2b7e151628aed2a6abf7158809cf4f3c",
				"874d6191b620e3261bef6864990db6ce 9806f66b7970fdff8617187bb9fffdff" +
					"5ae4df3edbd5d35e5b4f09020db03eab 1e031dda2fbe03d1792170a0f3009cee"},
			{"8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
				"1abc932417521ca24f2b0459fe7e6e0b 090339ec0aa6faefd5ccc2c6f4ce8e94" +
					"1e36b26bd1ebc670d1bd1d665620abf7 4f78a7f6d29809585a97daec58c6b050"},
			{"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
				"601ec313775789a5b7a7f504bbf3d228 f443e3ca4d62b59aca84e990cacaf5c5" +
					"2b0930daa23de94ce87017ba2d84988d dfc9c58db67aada613c2dd08457941a6"},
		} {
			var rk RoundKeys
			rounds := Expand(tier, &rk, unhex(t, c.key))
			iv := [16]byte(unhex(t, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
			got := unhex(t, plain)
			if CTR(tier, &rk, rounds, &iv, got); !bytes.Equal(got, unhex(t, c.want)) {
				t.Errorf("%d rounds: got %x", rounds, got)
			}
		}
	})
}

// TestKeystreamMatchesRFC3711 takes appendix B.2, which ends close to the last block that one IV has.
func TestKeystreamMatchesRFC3711(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		var rk RoundKeys
		rounds := Expand(tier, &rk, unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"))
		iv := [16]byte(unhex(t, "f0f1f2f3f4f5f6f7f8f9fafbfcfd0000"))
		stream := make([]byte, MaxCTR)
		CTR(tier, &rk, rounds, &iv, stream)
		for block, want := range map[int]string{
			0:      "e03ead0935c95e80e166b16dd92b4eb4",
			1:      "d23513162b02d0f72a43a2fe4a5f97ab",
			2:      "41e95b3bb0a2e8dd477901e4fca894c0",
			0xFEFF: "ec8cdf7398607cb0f2d21675ea9ea1e4",
			0xFF00: "362b7c3c6773516318a077d7fc5073ae",
			0xFF01: "6a2cc3787889374fbeb4c81b17ba6c44",
		} {
			if got := hex.EncodeToString(stream[16*block:][:16]); got != want {
				t.Errorf("block %#x: got %s, want %s", block, got, want)
			}
		}
	})
}

// TestHMACMatchesRFC2202 takes the cases with keys of up to 20 bytes: HMAC fills shorter ones up with zeros.
func TestHMACMatchesRFC2202(t *testing.T) {
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, c := range []struct{ key, msg, want string }{
			{strings.Repeat("\x0b", 20), "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"},
			{"Jefe", "what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
			{strings.Repeat("\xaa", 20), strings.Repeat("\xdd", 50), "125d7342b9ac11cd91a39af48aa17b4f63f175d3"},
			{strings.Repeat("\x0c", 20), "Test With Truncation", "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"},
		} {
			var key, one, two, three, four [20]byte
			copy(key[:], c.key)
			var h HMAC
			h.Init(tier, &key)
			HMAC1(tier, &h, []byte(c.msg), 0, false, &one)
			HMAC2(tier, &Lane{Key: &h, Msg: []byte(c.msg), Tag: &two}, &Lane{Key: &h, Msg: []byte(c.msg), Tag: &three})
			HMAC16(tier, []*Lane{{Key: &h, Msg: []byte(c.msg), Tag: &four}})
			for _, got := range [][20]byte{one, two, three, four} {
				if hex.EncodeToString(got[:]) != c.want {
					t.Errorf("%q: got %x, want %s", c.msg, got, c.want)
				}
			}
		}
	})
}

// TestGCMMatchesItsSpecification takes McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B: test cases 1 to 4 and
// 13, 14, 16.
func TestGCMMatchesItsSpecification(t *testing.T) {
	const (
		zero  = "00000000000000000000000000000000"
		key   = "feffe9928665731c6d6a8f9467308308"
		nonce = "cafebabefacedbaddecaf888"
		aad   = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
		plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" +
			"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
		sealed = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e" +
			"21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
	)
	eachTier(t, func(t *testing.T, tier Tier) {
		for name, c := range map[string]struct{ key, nonce, aad, plain, sealed, tag string }{
			"1":  {zero, zero[:24], "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
			"2":  {zero, zero[:24], "", zero, "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"},
			"3":  {key, nonce, "", plain + "1aafd255", sealed + "473f5985", "4d5c2af327cd64a62cf35abd2ba6fab4"},
			"4":  {key, nonce, aad, plain, sealed, "5bc94fbc3221a5db94fae95ae7121a47"},
			"13": {zero + zero, zero[:24], "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
			"14": {zero + zero, zero[:24], "", zero, "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
			"16": {key + key, nonce, aad, plain, "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" +
				"8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662", "76fc6ece0f4e1768cddf8853bb2d551b"},
		} {
			var rk RoundKeys
			var g GHASH
			var tag [16]byte
			rounds := Expand(tier, &rk, unhex(t, c.key))
			g.Init(tier, &rk, rounds)
			n, p := [12]byte(unhex(t, c.nonce)), unhex(t, c.plain)
			SealGCM(tier, &rk, rounds, &g, &n, unhex(t, c.aad), p, &tag)
			if hex.EncodeToString(p) != c.sealed || hex.EncodeToString(tag[:]) != c.tag {
				t.Errorf("case %s: sealed %x, tag %x", name, p, tag)
			}
			if !OpenGCM(tier, &rk, rounds, &g, &n, unhex(t, c.aad), p, &tag) || hex.EncodeToString(p) != c.plain {
				t.Errorf("case %s does not open: %x", name, p)
			}
		}
	})
}
