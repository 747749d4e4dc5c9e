package srtp

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"tandem/relay/verdict"
)

func TestSuitesHaveTheLengthsOfTheirRFCs(t *testing.T) {
	for _, c := range []struct {
		name                       string
		key, salt, tagRTP, tagRTCP int
	}{
		{"AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10}, // RFC 4568 section 6.2
		{"AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10},
		{"AES_192_CM_HMAC_SHA1_80", 24, 14, 10, 10}, // RFC 6188 section 4
		{"AES_192_CM_HMAC_SHA1_32", 24, 14, 4, 10},
		{"AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10},
		{"AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10},
		{"AEAD_AES_128_GCM", 16, 12, 16, 16}, // RFC 7714 section 12
		{"AEAD_AES_256_GCM", 32, 12, 16, 16},
		{"none", 0, 0, 0, 0},
	} {
		s, ok := ParseSuite(c.name)
		if !ok || s.String() != c.name {
			t.Errorf("%s parses as %s, %v", c.name, s, ok)
		}
		if s.KeyLen() != c.key || s.SaltLen() != c.salt || s.TagRTP() != c.tagRTP || s.TagRTCP() != c.tagRTCP {
			t.Errorf("%s: key %d, salt %d, tags %d and %d", s, s.KeyLen(), s.SaltLen(), s.TagRTP(), s.TagRTCP())
		}
	}
}

func TestSuiteNamesAreReadInBothOrders(t *testing.T) {
	for name, want := range map[string]Suite{
		"AES_CM_256_HMAC_SHA1_80": AES256CM80, "AES_CM_192_HMAC_SHA1_32": AES192CM32,
		"aes_cm_128_hmac_sha1_80": AES128CM80, "AES_128_CM_HMAC_SHA1_32": AES128CM32,
	} {
		if s, ok := ParseSuite(name); !ok || s != want {
			t.Errorf("%s parses as %s, %v", name, s, ok)
		}
	}
	for _, name := range []string{"", "F8_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_64", "unknown"} {
		if s, ok := ParseSuite(name); ok {
			t.Errorf("%q parses as %s", name, s)
		}
	}
	if got := Suite(200).String(); got != "unknown" || Suite(200).KeyLen() != 0 {
		t.Errorf("suite 200 is %s", got)
	}
}

func TestEachOfTheEightSuitesIsListedOnce(t *testing.T) {
	seen := map[Suite]bool{}
	for _, s := range Suites() {
		seen[s] = true
	}
	if len(Suites()) != 8 || len(seen) != 8 || seen[None] {
		t.Errorf("suites: %v", Suites())
	}
}

func TestKeysOfWrongLengthAreRefusedWithoutNamingThem(t *testing.T) {
	good := material(AES128CM80, 1)
	for _, c := range []struct {
		name            string
		suite           Suite
		material, mki   []byte
		unencryptedRTCP bool
		want            string // in the error
	}{
		{"short", AES128CM80, good[:29], nil, false, "key and salt are 29 bytes, must be 30 (16 + 14)"},
		{"long", AES128CM80, append(good, 0), nil, false, "31 bytes"},
		{"of another suite", AES256GCM, good, nil, false, "must be 44 (32 + 12)"},
		{"empty", noSuite(), nil, nil, false, "suite 9 does not exist"},
		{"with a long MKI", AES128CM80, good, make([]byte, 17), false, "MKI is 17 bytes"},
		{"for plain RTP", None, good, nil, false, "must be 0"},
		{"none but with an MKI", None, nil, []byte{1}, false, "neither MKI"},
		{"none but unencrypted", None, nil, nil, true, "neither MKI"},
	} {
		_, err := NewKeys(c.suite, c.material, c.mki, c.unencryptedRTCP)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		} else if strings.Contains(err.Error(), hex.EncodeToString(good[:4])) {
			t.Errorf("%s: the error shows the key", c.name)
		}
	}
	if k, err := NewKeys(None, nil, nil, false); err != nil || k != (Keys{}) {
		t.Errorf("plain RTP: %v", err)
	}
	if _, err := NewCipher(&Keys{}); err == nil {
		t.Error("plain RTP has a cipher")
	}
}

// noSuite is the first number that is no suite.
func noSuite() Suite { return Suite(len(profiles)) }

func TestEqualKeysCompareEqual(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		s, mki := p.keys.suite, p.keys.mki[:p.keys.mkiLen]
		if p.keys != mustKeys(t, s, 1, mki, false) || p.keys.Suite() != s {
			t.Error("the same key is different")
		}
		for _, other := range []Keys{
			mustKeys(t, s, 2, mki, false), mustKeys(t, s, 1, mki, true), mustKeys(t, s, 1, []byte{9}, false),
		} {
			if p.keys == other {
				t.Error("different keys are equal")
			}
		}
	})
}

func TestKeysAreNeverPrinted(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		secret := material(p.keys.suite, 1)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			for _, value := range []any{p.keys, &p.keys, p.seal, []Keys{p.keys}} {
				got := fmt.Sprintf(verb, value)
				if !strings.Contains(got, "withheld") || strings.Contains(got, fmt.Sprint(secret[0], " ", secret[1])) ||
					strings.Contains(got, hex.EncodeToString(secret[:4])) {
					t.Errorf("%s of %T: %s", verb, value, got)
				}
			}
		}
	})
}

func TestAWipedCipherHasNoKey(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		rtp, rtcp := p.sealed(t, testSSRC, 1), p.sealedRTCP(t, testSSRC)
		kernel := p.open.kernel
		p.open.Wipe()
		p.open.Wipe()
		switch k := kernel.(type) {
		case *counterMode:
			if k.rtp != (cmKeys{}) || k.rtcp != (cmKeys{}) || k.stream != [streamSize]byte{} {
				t.Error("key material is left")
			}
		case *galoisMode:
			if *k != (galoisMode{}) {
				t.Error("key material is left")
			}
		}
		if _, _, v := p.open.OpenRTP(&p.rx, rtp, headerRTP); v != verdict.NoKey {
			t.Errorf("open RTP: %v", v)
		}
		if _, v := p.open.OpenRTCP(&p.rx, rtcp); v != verdict.NoKey {
			t.Errorf("open RTCP: %v", v)
		}
		if _, v := p.open.SealRTP(&p.tx, rtpPacket(1, 1, 1), headerRTP); v != verdict.NoKey {
			t.Errorf("seal RTP: %v", v)
		}
		if _, v := p.open.SealRTCP(&p.tx, rtcpPacket(1)); v != verdict.NoKey {
			t.Errorf("seal RTCP: %v", v)
		}
		if p.open.Suite() != None || p.seal.Suite() != p.keys.suite {
			t.Errorf("suites: %s, %s", p.open.Suite(), p.seal.Suite())
		}
	})
}

// State and keys lie in memory that outlives the process: a pointer there would dangle.
func TestStateAndKeysHoldNoPointer(t *testing.T) {
	for _, v := range []any{Keys{}, RX{}, TX{}} {
		if at := pointerIn(reflect.TypeOf(v)); at != "" {
			t.Errorf("%T holds a pointer in %s", v, at)
		}
	}
	if size := reflect.TypeFor[rxSource]().Size(); size != 64 {
		t.Errorf("an SSRC's receive state is %d bytes, not a cache line", size)
	}
}

func pointerIn(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		for f := range t.NumField() {
			if at := pointerIn(t.Field(f).Type); at != "" {
				return t.Field(f).Name + "." + at
			}
		}
		return ""
	case reflect.Array:
		return pointerIn(t.Elem())
	case reflect.Bool, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return ""
	}
	return t.String()
}
