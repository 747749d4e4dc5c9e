package rival

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

var testKey = []byte("0123456789abcdef0123456789abcd")

func TestWhatWeWriteWeRead(t *testing.T) {
	for _, m := range []media{
		{address: netip.MustParseAddrPort("198.18.0.1:30000")},
		{address: netip.MustParseAddrPort("[fd00::1]:30000")},
		{
			address: netip.MustParseAddrPort("198.18.0.1:30000"),
			cryptos: []crypto{{1, "AES_CM_128_HMAC_SHA1_80", testKey}, {7, "AEAD_AES_128_GCM", testKey[:28]}},
		},
	} {
		got, err := parseMedia(m.text())
		if err != nil || !reflect.DeepEqual(*got, m) {
			t.Errorf("%s\nread as %v, %v", m.text(), got, err)
		}
	}
}

func TestKeysWithoutPaddingAreRead(t *testing.T) {
	c, err := parseCrypto("2 AEAD_AES_256_GCM inline:MDEyMw")
	if err != nil || string(c.key) != "0123" || c.tag != 2 || c.suite != "AEAD_AES_256_GCM" {
		t.Fatalf("%v %v", c, err)
	}
}

func TestWhatIsUnusableIsRefusedWithoutShowingAKey(t *testing.T) {
	const head = "c=IN IP4 198.18.0.1\r\n"
	for body, says := range map[string]string{
		"":                                    "no c= line",
		head:                                  "no m= line",
		"m=audio 30000 RTP/AVP 0\r\n":         "no c= line",
		head + "m=audio 0 RTP/AVP 0\r\n":      "was refused",
		head + "m=audio 70000 RTP/AVP 0\r\n":  "out of range",
		head + "m=audio 30000 RTP/SAVP 0\r\n": "0 a=crypto lines",
		head + "m=audio 30000 RTP/AVP 0\r\nm=video 30002 RTP/AVP 0\r\n":                "a second medium",
		head + "m=audio 30000 RTP/AVP 0\r\na=crypto:1 S inline:U0VDUkVU\r\n":           "secure profile: false",
		head + "m=audio 30000 RTP/SAVP 0\r\na=crypto:1 S inline:U0VDUkVU|2^31|1:4\r\n": "one plain inline key",
		head + "m=audio 30000 RTP/SAVP 0\r\na=crypto:x S inline:U0VDUkVU\r\n":          "no number",
		head + "m=audio 30000 RTP/SAVP 0\r\na=crypto:1 S inline:U0VDUkVU!\r\n":         "no base64",
		head + "m=audio 30000 RTP/SAVP 0\r\na=crypto:1 inline:U0VDUkVU\r\n":            "three words",
	} {
		_, err := parseMedia(body)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want %q", body, err, says)
		} else if strings.Contains(err.Error(), "U0VDUkVU") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestASuiteThatWasNotOfferedNamesThoseThatWere(t *testing.T) {
	m := media{cryptos: []crypto{{1, "AEAD_AES_128_GCM", testKey}}}
	if _, err := m.choose("AES_CM_128_HMAC_SHA1_80"); err == nil || !strings.Contains(err.Error(), "only [crypto 1 AEAD_AES_128_GCM]") {
		t.Fatal(err)
	}
}

// FuzzParseMedia: what is accepted has an address, a port and keys, and is written and read as the same.
func FuzzParseMedia(f *testing.F) {
	plain := media{address: netip.MustParseAddrPort("198.18.0.1:30000")}
	secure := media{address: netip.MustParseAddrPort("[fd00::1]:2"), cryptos: []crypto{{1, "AES_CM_128_HMAC_SHA1_80", testKey}}}
	f.Add(plain.text())
	f.Add(secure.text())
	f.Add("m=audio 0 RTP/SAVP 0\na=crypto:")
	f.Fuzz(func(t *testing.T, body string) {
		m, err := parseMedia(body)
		if err != nil {
			return
		}
		again, err := parseMedia(m.text())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%q: %v, then %v, %v", body, m, again, err)
		}
	})
}
