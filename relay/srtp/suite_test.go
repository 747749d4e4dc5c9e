package srtp

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"tandem/relay/srtp/kernel"
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
	rtp, rtcp := Schedule{proof: kernel.GHASH{{1}}}, Schedule{head: [16]byte{1}}
	if Derive(kernel.Best(), &Keys{}, &rtp, &rtcp); rtp != (Schedule{}) || rtcp != (Schedule{}) {
		t.Error("plain RTP has a schedule, or the one before is left")
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
			for _, value := range []any{p.keys, &p.keys, p.seal.rtp, &p.seal.rtcp, []Keys{p.keys}} {
				got := fmt.Sprintf(verb, value)
				if !strings.Contains(got, "withheld") || strings.Contains(got, fmt.Sprint(secret[0], " ", secret[1])) ||
					strings.Contains(got, hex.EncodeToString(secret[:4])) {
					t.Errorf("%s of %T: %s", verb, value, got)
				}
			}
		}
	})
}

func TestAWipedScheduleHasNoKey(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		rtp, rtcp := p.sealed(t, testSSRC, 1), p.sealedRTCP(t, testSSRC)
		for _, k := range []*Schedule{&p.open.rtp, &p.open.rtcp} {
			k.Wipe()
			k.Wipe()
			if *k != (Schedule{}) || k.Suite() != None {
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
		if p.seal.rtp.Suite() != p.keys.suite || p.seal.rtcp.Suite() != p.keys.suite {
			t.Errorf("suites: %s, %s", p.seal.rtp.Suite(), p.seal.rtcp.Suite())
		}
	})
}

func TestNoKeyIsLeftInTheScratchSpace(t *testing.T) {
	everySuite(t, func(t *testing.T, p *pair) {
		p.opens(t, p.sealed(t, testSSRC, 1), verdict.Forward, 1)
		forged := p.sealedAt(testSSRC, 0, 2)
		forged[headerRTP] ^= 1
		p.opens(t, forged, verdict.BadTag, 0)
		p.sealedRTCP(t, testSSRC)
		for _, s := range []*Scratch{p.seal.scratch, p.open.scratch} {
			for i := range s.lanes {
				if s.lanes[i].Key != nil || s.lanes[i].Msg != nil {
					t.Error("a key or a packet is held")
				}
			}
		}
	})
}

func TestEveryTierDerivesTheSameSchedules(t *testing.T) {
	for _, s := range Suites() {
		k := mustKeys(t, s, 1, []byte{1}, true)
		var rtp, rtcp Schedule
		Derive(kernel.Generic, &k, &rtp, &rtcp)
		if rtp == rtcp {
			t.Errorf("%s: SRTP and SRTCP have the same keys", s)
		}
		for _, tier := range tiers() {
			var again, againRTCP Schedule
			if Derive(tier, &k, &again, &againRTCP); again != rtp || againRTCP != rtcp {
				t.Errorf("%s: %s derives other keys", s, tier)
			}
		}
	}
}

// State and keys lie in memory that outlives the process: a pointer there would dangle.
func TestStateAndKeysHoldNoPointer(t *testing.T) {
	for _, v := range []any{Keys{}, Schedule{}, RXNow{}, RXRest{}, TXNow{}, TXRest{}} {
		if at := pointerIn(reflect.TypeOf(v)); at != "" {
			t.Errorf("%T holds a pointer in %s", v, at)
		}
	}
}

// What a leg's hot memory is reckoned with.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		of   reflect.Type
		most uintptr // bytes
	}{
		{reflect.TypeFor[Schedule](), 384}, // six cache lines, two of them a leg
		{reflect.TypeFor[RXNow](), 64},     // one cache line
		{reflect.TypeFor[TXNow](), 48},
		{reflect.TypeFor[RXRest](), 1024},
		{reflect.TypeFor[TXRest](), 640},
	} {
		if c.of.Size() > c.most {
			t.Errorf("%v is %d bytes, must be at most %d", c.of, c.of.Size(), c.most)
		}
		t.Logf("%v: %d bytes", c.of, c.of.Size())
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
