package sdp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// assertNoKey prints v in every way that a log or an error could, and looks for the keys of the tests in it.
func assertNoKey(t *testing.T, v any) {
	t.Helper()
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		fmt.Fprintf(&out, verb+"\n", v)
	}
	plain := slog.HandlerOptions{Level: slog.LevelDebug}
	slog.New(slog.NewTextHandler(&out, &plain)).Info("x", "v", v, "list", []any{v})
	slog.New(slog.NewJSONHandler(&out, &plain)).Info("x", "v", v, "list", []any{v})
	for _, key := range []string{rfcKey, rfcOtherKey} {
		raw := mustDecode(key)
		for _, form := range []string{key, key[:20], strings.ToUpper(key), string(raw), fmt.Sprintf("%x", raw), strings.Trim(fmt.Sprint(raw[:4]), "[]")} {
			if bytes.Contains(out.Bytes(), []byte(form)) {
				t.Fatalf("a key is printed:\n%s", out.Bytes())
			}
		}
	}
}

func mustDecode(key string) []byte {
	c, err := ParseCrypto("1 AES_CM_128_HMAC_SHA1_80 inline:" + key)
	if err != nil {
		panic(err)
	}
	return c.Key
}

func TestNoWayOfPrintingShowsAKey(t *testing.T) {
	c, err := ParseCrypto("1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey + "|2^31|1:4 WSH=64")
	if err != nil {
		t.Fatal(err)
	}
	s := mustRead(t, body("v=0", "m=audio 1 RTP/SAVP 0", c.Line()))
	for _, v := range []any{c, &c, []Crypto{c}, map[string]Crypto{"c": c}, s, *s, s.Media(), s.Media()[0], Side{Crypto: []Crypto{c}}} {
		assertNoKey(t, v)
	}
	if got, want := c.String(), "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2147483648|1:4"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if b, err := json.Marshal(c); err == nil {
		t.Errorf("JSON without an error: %s", b)
	}
	if got, want := fmt.Sprint(s), body("v=0", "m=audio 1 RTP/SAVP 0", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2147483648|1:4 WSH=64"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRedactTakesOutKeysAndNothingElse(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"a=crypto", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey + "|2^20|1:4 KDR=2", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2^20|1:4 KDR=2"},
		{"two keys", "a=crypto:1 X inline:" + rfcKey + ";inline:" + rfcOtherKey, "a=crypto:1 X inline:***;inline:***"},
		{"odd case", "A=CRYPTO:1 X INLINE:" + rfcKey, "A=CRYPTO:1 X INLINE:***"},
		{"short key", "a=crypto:1 X inline:AAAA", "a=crypto:1 X inline:***"},
		{"no method", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 " + rfcKey, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 ***"},
		{"blank behind the method", "a=crypto:1 X inline: " + rfcKey, "a=crypto:1 X inline:*** ***"},
		{"run into the method", "a=crypto:1 Xinline:" + rfcKey, "a=crypto:1 Xinline:***"},
		{"folded", " inline:" + rfcKey + "|2^31", " inline:***|2^31"},
		{"cryptoscale", "a=cryptoscale:1 client AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey + "|2^31|1:1", "a=cryptoscale:1 client AES_CM_128_HMAC_SHA1_80 inline:***|2^31|1:1"},
		{"capability", "a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + rfcKey, "a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***"},
		{"FEC key", "a=crypto:1 X inline:AAAA FEC_KEY=inline:" + rfcOtherKey, "a=crypto:1 X inline:*** FEC_KEY=inline:***"},
		{"k=", "k=base64:" + rfcKey, "k=base64:***"},
		{"k= alone", "k=secret", "k=***"},
		{"key-mgmt", "a=key-mgmt:mikey AQAFgM0XflABAAA", "a=key-mgmt:***"},
		{"ICE password", "a=ice-pwd:2ZZLvLGyJKZCAwjvmDMLwlLm", "a=ice-pwd:***"},
		{"audio", "a=fmtp:101 0-16", "a=fmtp:101 0-16"},
		{"SIP", "Call-ID: c2VjcmV0c2VjcmV0c2VjcmV0@192.0.2.77", "Call-ID: c2VjcmV0c2VjcmV0c2VjcmV0@192.0.2.77"},
		{"disposition", "Content-Disposition: inline", "Content-Disposition: inline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(Redact([]byte(c.line))); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			for _, end := range []string{"\n", "\r\n", "\r\n\r\n", "\r"} {
				if got, want := string(Redact([]byte("v=0"+end+c.line+end))), "v=0"+end+c.want+end; got != want {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			}
		})
	}
	if Redact(nil) == nil {
		t.Error("no bytes are nil bytes") // callers print it as a body
	}
}
