package sdp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// Keys of the examples in RFC 4568.
const (
	rfcKey      = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
	rfcOtherKey = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
)

func TestT15ParseCryptoTakesEveryFormInUse(t *testing.T) {
	const suite = "AES_CM_128_HMAC_SHA1_80"
	for _, c := range []struct {
		name, line string
		tag        int
		suite      string
		lifetime   uint64
		mki        string
	}{
		{"RFC 4568 with lifetime and MKI", "1 " + suite + " inline:" + rfcKey + "|2^20|1:32", 1, suite, 1 << 20, strings.Repeat("00", 31) + "01"},
		{"RFC 4568 with FEC order", "1 " + suite + " inline:" + rfcOtherKey + "|2^20|1:4 FEC_ORDER=FEC_SRTP", 1, suite, 1 << 20, "00000001"},
		{"bare", "1 " + suite + " inline:" + rfcKey, 1, suite, 0, ""},
		{"whole attribute", "a=crypto:1 " + suite + " inline:" + rfcKey, 1, suite, 0, ""},
		{"Teams lifetime", "2 " + suite + " inline:" + rfcKey + "|2^31", 2, suite, 1 << 31, ""},
		{"Teams lifetime and MKI", "2 " + suite + " inline:" + rfcKey + "|2^31|1:1", 2, suite, 1 << 31, "01"},
		{"decimal lifetime", "7 " + suite + " inline:" + rfcKey + "|1048576", 7, suite, 1 << 20, ""},
		{"longest lifetime", "7 " + suite + " inline:" + rfcKey + "|2^48", 7, suite, 1 << 48, ""},
		{"MKI alone", "1 " + suite + " inline:" + rfcKey + "|258:4", 1, suite, 0, "00000102"},
		{"MKI behind an empty lifetime", "1 " + suite + " inline:" + rfcKey + "||1:4", 1, suite, 0, "00000001"},
		{"trailing separators", "1 " + suite + " inline:" + rfcKey + "|2^31|;", 1, suite, 1 << 31, ""},
		{"MKI beyond 64 bits", "1 " + suite + " inline:" + rfcKey + "|18446744073709551616:16", 1, suite, 0, "00000000000000010000000000000000"},
		{"padding that is not needed", "1 " + suite + " inline:" + rfcKey + "==", 1, suite, 0, ""},
		{"blanks and tabs", " 1\t" + suite + "   inline:" + rfcKey + " ", 1, suite, 0, ""},
		{"odd case", "1 aes_cm_128_hmac_sha1_80 INLINE:" + rfcKey, 1, suite, 0, ""},
		{"hints", "1 " + suite + " inline:" + rfcKey + " WSH=128 -vendor=1", 1, suite, 0, ""},
		{"largest tag", "999999999 " + suite + " inline:" + rfcKey, 999999999, suite, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseCrypto(c.line)
			if err != nil {
				t.Fatal(err)
			}
			if got.Tag != c.tag || got.Suite != c.suite || got.Lifetime != c.lifetime || len(got.Key) != 30 {
				t.Errorf("got %v", got)
			}
			if hex.EncodeToString(got.MKI) != c.mki || got.MKILen != len(got.MKI) {
				t.Errorf("MKI %x of %d bytes, want %s", got.MKI, got.MKILen, c.mki)
			}
			again, err := ParseCrypto(got.Line())
			if err != nil || !again.SameKey(got) || again.Lifetime != got.Lifetime || again.Tag != got.Tag {
				t.Errorf("written and read again: %v, %v", again, err)
			}
		})
	}
}

func TestT15ParseCryptoRefusesClearlyAndWithoutTheKey(t *testing.T) {
	const head = "1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey
	for _, c := range []struct {
		name, line string
		kind       error
		want       string
	}{
		{"nothing", "", ErrCryptoSyntax, "a=crypto:0: malformed: want tag, suite, inline:key"},
		{"no suite", "1 inline:" + rfcKey, ErrCryptoSyntax, "a=crypto:0: malformed: want tag, suite, inline:key"},
		{"key in place of the suite", "1 " + rfcKey + " inline:" + rfcKey, ErrSuite, "a=crypto:1: unknown suite (not a plain name)"},
		{"no tag", "x AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey, ErrCryptoSyntax, "a=crypto:0: malformed: the tag is not a number up to 999999999"},
		{"tag of ten digits", "1000000000 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey, ErrCryptoSyntax, "a=crypto:0: malformed: the tag is not a number up to 999999999"},
		{"unknown suite", "3 F8_128_HMAC_SHA1_80 inline:" + rfcKey, ErrSuite, "a=crypto:3: unknown suite F8_128_HMAC_SHA1_80"},
		{"other key method", "1 AES_CM_128_HMAC_SHA1_80 uri:" + rfcKey, ErrCryptoSyntax, "a=crypto:1: malformed: the key method is not inline"},
		{"no key", "1 AES_CM_128_HMAC_SHA1_80 inline:", ErrKey, "a=crypto:1: unusable key: 0 bytes, AES_CM_128_HMAC_SHA1_80 has 30 of key and salt"},
		{"short key", "1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey[:36], ErrKey, "a=crypto:1: unusable key: 27 bytes, AES_CM_128_HMAC_SHA1_80 has 30 of key and salt"},
		{"key of another suite", "1 AES_256_CM_HMAC_SHA1_80 inline:" + rfcKey, ErrKey, "a=crypto:1: unusable key: 30 bytes, AES_256_CM_HMAC_SHA1_80 has 46 of key and salt"},
		{"no base64", "1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey[:39] + "!", ErrKey, "a=crypto:1: unusable key: not base64"},
		{"lifetime zero", head + "|0", ErrCryptoSyntax, "a=crypto:1: malformed: the lifetime is not 1 to 2^48 packets"},
		{"lifetime too long", head + "|2^49", ErrCryptoSyntax, "a=crypto:1: malformed: the lifetime is not 1 to 2^48 packets"},
		{"lifetime beyond 64 bits", head + "|2^64", ErrCryptoSyntax, "a=crypto:1: malformed: the lifetime is not 1 to 2^48 packets"},
		{"lifetime in words", head + "|forever", ErrCryptoSyntax, "a=crypto:1: malformed: the lifetime is not 1 to 2^48 packets"},
		{"MKI without bytes", head + "|1:0", ErrCryptoSyntax, "a=crypto:1: malformed: the MKI length is not 1 to 128 bytes"},
		{"MKI of 129 bytes", head + "|1:129", ErrCryptoSyntax, "a=crypto:1: malformed: the MKI length is not 1 to 128 bytes"},
		{"MKI larger than its bytes", head + "|256:1", ErrCryptoSyntax, "a=crypto:1: malformed: the MKI does not fit its 1 bytes"},
		{"MKI not decimal", head + "|+1:1", ErrCryptoSyntax, "a=crypto:1: malformed: the MKI is not a decimal number"},
		{"MKI without end", head + "|" + strings.Repeat("9", 60000) + ":128", ErrCryptoSyntax, "a=crypto:1: malformed: the MKI is not a decimal number"},
		{"MKI before lifetime", head + "|1:1|2^31", ErrCryptoSyntax, "a=crypto:1: malformed: want key|lifetime|MKI:length"},
		{"four fields", head + "|2^31|1:1|x", ErrCryptoSyntax, "a=crypto:1: malformed: more than lifetime and MKI behind the key"},
		{"two keys", head + "|2^20|1:4;inline:" + rfcOtherKey + "|2^20|2:4", ErrSeveralKeys, "a=crypto:1: several master keys, one is supported (2 given)"},
		{"two keys apart", head + "|2^20|1:4; inline:" + rfcOtherKey, ErrParam, "a=crypto:1: unsupported session parameter (not a plain name)"},
		{"KDR", head + " KDR=20", ErrParam, "a=crypto:1: unsupported session parameter KDR"},
		{"no encryption", head + " UNENCRYPTED_SRTP", ErrParam, "a=crypto:1: unsupported session parameter UNENCRYPTED_SRTP"},
		{"no authentication", head + " UNENCRYPTED_SRTCP UNAUTHENTICATED_SRTP", ErrParam, "a=crypto:1: unsupported session parameter UNAUTHENTICATED_SRTP"},
		{"FEC behind SRTP", head + " FEC_ORDER=SRTP_FEC", ErrParam, "a=crypto:1: unsupported session parameter FEC_ORDER"},
		{"FEC key", head + " FEC_KEY=inline:" + rfcOtherKey, ErrParam, "a=crypto:1: unsupported session parameter FEC_KEY"},
		{"unknown extension", head + " vendor=1", ErrParam, "a=crypto:1: unsupported session parameter VENDOR"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseCrypto(c.line)
			if !errors.Is(err, c.kind) || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if got.Err != err {
				t.Errorf("Err is %v", got.Err)
			}
			assertNoKey(t, got)
			if _, err := got.Reply(bytes.NewReader(make([]byte, 64))); !errors.Is(err, c.kind) {
				t.Errorf("a line that cannot be used is answered: %v", err)
			}
		})
	}
}

func TestSessionParametersAreKeptAndTheirFlagsSet(t *testing.T) {
	c, _ := ParseCrypto("1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey +
		" KDR=1 UNENCRYPTED_SRTP UNENCRYPTED_SRTCP UNAUTHENTICATED_SRTP FEC_KEY=inline:" + rfcOtherKey)
	want := "KDR=1 UNENCRYPTED_SRTP UNENCRYPTED_SRTCP UNAUTHENTICATED_SRTP FEC_KEY"
	if got := strings.Join(c.Params, " "); got != want || !c.UnencryptedSRTP || !c.UnencryptedSRTCP || !c.UnauthenticatedSRTP {
		t.Errorf("params %q, %v", got, c)
	}
}

func TestNewCryptoMakesAFreshKeyForEverySuite(t *testing.T) {
	lengths := map[string]int{ // RFC 4568 section 6.2, RFC 6188, RFC 7714
		"AES_CM_128_HMAC_SHA1_80": 30, "AES_CM_128_HMAC_SHA1_32": 30, "AES_192_CM_HMAC_SHA1_80": 38, "AES_192_CM_HMAC_SHA1_32": 38,
		"AES_256_CM_HMAC_SHA1_80": 46, "AES_256_CM_HMAC_SHA1_32": 46, "AEAD_AES_128_GCM": 28, "AEAD_AES_256_GCM": 44,
	}
	if len(Suites()) != len(lengths) {
		t.Errorf("suites: %v", Suites())
	}
	random := bytes.NewReader(secret(1000, 9))
	var last Crypto
	for _, suite := range Suites() {
		c, err := NewCrypto(3, suite, random)
		if err != nil || len(c.Key) != lengths[suite] {
			t.Fatalf("%s: %v, %v", suite, c, err)
		}
		back, err := ParseCrypto(c.Line())
		if err != nil || !back.SameKey(c) || back.Tag != 3 {
			t.Errorf("%s read back: %v, %v", suite, back, err)
		}
		if c.SameKey(last) {
			t.Errorf("%s has the key of the suite before", suite)
		}
		last = c
	}
	if _, err := NewCrypto(1, "NULL", random); !errors.Is(err, ErrSuite) {
		t.Errorf("unknown suite: %v", err)
	}
	if _, err := NewCrypto(-1, last.Suite, random); err == nil {
		t.Error("tag -1 is taken")
	}
	if _, err := NewCrypto(1, last.Suite, bytes.NewReader(nil)); err == nil || !strings.Contains(err.Error(), "read 44 random bytes") {
		t.Errorf("no randomness: %v", err)
	}
}

func TestReplyRepeatsTagSuiteAndWhatWasNegotiated(t *testing.T) {
	offered, err := ParseCrypto("2 AES_CM_128_HMAC_SHA1_32 inline:" + rfcKey + "|2^31|1:1 WSH=64 UNENCRYPTED_SRTCP")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := offered.Reply(bytes.NewReader(secret(30, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if want := "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:" + inline(30, 1) + " UNENCRYPTED_SRTCP"; ours.Line() != want {
		t.Errorf("got  %s\nwant %s", ours.Line(), want)
	}
	if ours.SameKey(offered) {
		t.Error("the peer's key is used for our direction")
	}
}

func TestT17SameKeyNeedsSuiteKeyAndMKI(t *testing.T) {
	parse := func(line string) Crypto {
		c, err := ParseCrypto(line)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	base := parse("1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey + "|1:4")
	for _, c := range []struct {
		name, line string
		same       bool
	}{
		{"other tag and lifetime", "9 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey + "|2^31|1:4", true},
		{"other key", "1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcOtherKey + "|1:4", false},
		{"other suite", "1 AES_CM_128_HMAC_SHA1_32 inline:" + rfcKey + "|1:4", false},
		{"other MKI", "1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey + "|2:4", false},
		{"no MKI", "1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey, false},
	} {
		if got := base.SameKey(parse(c.line)); got != c.same {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if (Crypto{}).SameKey(Crypto{}) {
		t.Error("two lines without a key have the same key")
	}
}
