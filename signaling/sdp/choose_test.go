package sdp

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestT14ChooseTakesTheLineThatSuitsTheTrunk(t *testing.T) {
	good := "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + inline(30, 1)
	bad := "a=crypto:1 F8_128_HMAC_SHA1_80 inline:" + inline(30, 1)
	const none = -1
	for _, c := range []struct {
		name                          string
		lines                         []string
		any, secure, plain, preferred int
	}{
		{"plain", []string{"m=audio 1 RTP/AVP 0"}, 0, none, 0, 0},
		{"secure", []string{"m=audio 1 RTP/SAVP 0", good}, 0, 0, none, 0},
		{"secure without a=crypto", []string{"m=audio 1 RTP/SAVP 0"}, 0, 0, none, 0},
		{"plain, then secure", []string{"m=audio 1 RTP/AVP 0", "m=audio 3 RTP/SAVP 0", good}, 0, 1, 0, 1},
		{"secure, then plain", []string{"m=audio 1 RTP/SAVP 0", good, "m=audio 3 RTP/AVP 0"}, 0, 0, 1, 0},
		{"secure with an unknown suite, then plain", []string{"m=audio 1 RTP/SAVP 0", bad, "m=audio 3 RTP/AVP 0"}, 0, 0, 1, 1},
		{"secure without key, then with", []string{"m=audio 1 RTP/SAVP 0", bad, "m=audio 3 RTP/SAVPF 0", good}, 0, 1, none, 1},
		{"opportunistic", []string{"m=audio 1 RTP/AVP 0", good}, 0, 0, 0, 0},
		{"opportunistic with an unknown suite", []string{"m=audio 1 RTP/AVP 0", bad}, 0, none, 0, 0},
		{"feedback", []string{"m=audio 1 RTP/AVPF 0"}, 0, none, 0, 0},
		{"switched off", []string{"m=audio 0 RTP/AVP 0", "m=audio 2 RTP/AVP 0"}, 1, none, 1, 1},
		{"video first", []string{"m=video 2 RTP/AVP 31", "m=audio 4 RTP/AVP 0"}, 1, none, 1, 1},
		{"DTLS", []string{"m=audio 2 UDP/TLS/RTP/SAVPF 0"}, none, none, none, none},
		{"no payload types", []string{"m=audio 2 RTP/AVP"}, none, none, none, none},
		{"no audio", []string{"m=image 2 udptl t38"}, none, none, none, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustRead(t, body(append([]string{"v=0"}, c.lines...)...))
			for want, index := range map[Want]int{WantAny: c.any, WantSecure: c.secure, WantPlain: c.plain, PreferSecure: c.preferred} {
				got, ok := s.Choose(want)
				if ok != (index >= 0) || ok && got != index {
					t.Errorf("want %d: line %d, %v; expected %d", want, got, ok, index)
				}
			}
		})
	}
	if i, ok := mustReadNamed(t, "fax and data").Audio(); i != 2 || !ok {
		t.Errorf("audio behind fax and data: %d, %v", i, ok)
	}
}

func TestT16PickCryptoSkipsAndSaysWhy(t *testing.T) {
	m := mustReadNamed(t, "freeswitch").Media()[0]
	if c, err := m.PickCrypto(); err != nil || c.Tag != 1 {
		t.Errorf("any suite: %v, %v", c, err)
	}
	if c, err := m.PickCrypto("AES_256_CM_HMAC_SHA1_80"); err != nil || c.Tag != 3 {
		t.Errorf("the third line's suite: %v, %v", c, err)
	}
	_, err := m.PickCrypto("AES_CM_128_HMAC_SHA1_80")
	want := strings.Join([]string{
		"a=crypto:1: suite AEAD_AES_256_GCM is not allowed here",
		"a=crypto:2: unknown suite AEAD_AES_128_GCM_8",
		"a=crypto:3: suite AES_256_CM_HMAC_SHA1_80 is not allowed here",
		"a=crypto:4: unknown suite NULL_AUTH",
	}, "\n")
	if err == nil || err.Error() != want || !errors.Is(err, ErrSuite) {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	bare := mustRead(t, "v=0\nm=audio 1 RTP/SAVP 0\n").Media()[0]
	if _, err := bare.PickCrypto(); fmt.Sprint(err) != "m=audio RTP/SAVP has no a=crypto line" {
		t.Errorf("SAVP without a=crypto: %v", err)
	}
	line := "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"
	twice := mustRead(t, body("v=0", "m=audio 1 RTP/SAVP 0", line+inline(30, 1), line+inline(30, 2))).Media()[0]
	if twice.Crypto[0].Err != nil || !errors.Is(twice.Crypto[1].Err, ErrCryptoSyntax) {
		t.Errorf("one tag twice: %v", twice.Crypto)
	}
}

func TestDirectionsFollowRFC3264(t *testing.T) {
	all := []Direction{Sendrecv, Sendonly, Recvonly, Inactive}
	answers := map[Direction][]Direction{ // RFC 3264 section 6.1; columns: what the answerer wants, in the order of all
		Sendrecv: {Sendrecv, Sendonly, Recvonly, Inactive},
		Sendonly: {Recvonly, Inactive, Recvonly, Inactive},
		Recvonly: {Sendonly, Sendonly, Inactive, Inactive},
		Inactive: {Inactive, Inactive, Inactive, Inactive},
	}
	for offered, want := range answers {
		for i, local := range all {
			if got := offered.Answer(local); got != want[i] {
				t.Errorf("offered %v, wanted %v: answered %v, expected %v", offered, local, got, want[i])
			}
		}
		if got, ok := ParseDirection(offered.String()); got != offered || !ok {
			t.Errorf("%v is parsed as %v, %v", offered, got, ok)
		}
		if offered.Reverse().Reverse() != offered || offered.Reverse().Sends() != offered.Receives() {
			t.Errorf("%v reversed is %v", offered, offered.Reverse())
		}
	}
	if _, ok := ParseDirection("sideways"); ok || Direction(9).String() != "unknown" {
		t.Error("a direction that is none passes")
	}
}
