package torture

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/pion/srtp/v2"
)

// suite80 is what everybody has.
const suite80 = "AES_CM_128_HMAC_SHA1_80"

// newKey makes a master key and salt of AES_CM_128 as they follow "inline:".
func newKey() string {
	b := make([]byte, 30)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// lock makes pion's state for one direction of a suite; nil: the key is none.
func lock(suite, inline string) *srtp.Context {
	inline, _, _ = strings.Cut(inline, "|")
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(inline, "="))
	if err != nil || len(b) != 30 {
		return nil
	}
	profile := srtp.ProtectionProfileAes128CmHmacSha1_80
	if suite == "AES_CM_128_HMAC_SHA1_32" {
		profile = srtp.ProtectionProfileAes128CmHmacSha1_32
	}
	c, err := srtp.CreateContext(b[:16], b[16:], profile)
	if err != nil {
		return nil
	}
	return c
}

// seals gives an ear the key it sends with.
func (e *ear) seals(suite, inline string) *srtp.Context {
	e.t.Helper()
	c := lock(suite, inline)
	if c == nil {
		e.t.Fatalf("no key in %q", inline)
	}
	e.seal = func(p []byte) []byte {
		out, err := c.EncryptRTP(nil, p, nil)
		if err != nil {
			e.t.Error(err)
		}
		return out
	}
	return c
}

// opens gives it the key it hears with.
func (e *ear) opens(suite, inline string) *srtp.Context {
	e.t.Helper()
	c := lock(suite, inline)
	if c == nil {
		e.t.Fatalf("no key in %q", inline)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open = func(p []byte) ([]byte, bool) {
		if len(p) > 1 && p[1] >= 192 && p[1] <= 223 { // RTCP (RFC 5761)
			out, err := c.DecryptRTCP(nil, p, nil)
			return out, err == nil
		}
		out, err := c.DecryptRTP(nil, p, nil)
		return out, err == nil
	}
	return c
}

// crypto is a crypto line of a body: tag, suite, and all after "inline:".
type crypto struct{ tag, suite, inline string }

func cryptos(body string) (all []crypto) {
	for _, l := range lines(body, "a=crypto:") {
		f := strings.Fields(l)
		if len(f) > 2 {
			all = append(all, crypto{f[0], f[1], strings.TrimPrefix(f[2], "inline:")})
		}
	}
	return all
}

// savp is the body of an endpoint with SRTP: a crypto line for each value, as "1 SUITE inline:KEY".
func (e *ear) savp(lines ...string) string {
	s := body(e, "RTP/SAVP", "0 8 101")
	for _, l := range lines {
		s += "a=crypto:" + l + "\r\n"
	}
	return s
}

// key is the value of a crypto line with the suite that everybody has.
func key(tag, inline string) string { return tag + " " + suite80 + " inline:" + inline }

// secretWorld is one whose caller has TLS and SRTP, and whose callees have neither.
func secretWorld(w *world) *world {
	w.uc["srtp"] = "required"
	return w
}

// secretCall is a call of a caller with SRTP to one without. mine is the key of its offer.
func (w *world) secretCall(mine string, lines ...string) *talk {
	w.t.Helper()
	k := w.ears()
	if len(lines) == 0 {
		lines = []string{key("1", mine)}
	}
	k.a = w.alice.invite("+4312345", k.ea.savp(lines...))
	k.invite = w.bob.next("INVITE")
	k.b = w.bob.called(k.invite, "bobtag")
	k.b.reply(k.invite, "200 OK", k.eb.sdp())
	k.joined()
	k.keyed(mine, k.ok)
	return k
}

// keyed gives alice's ear the keys of an exchange: her own, and that of tandem's body.
func (k *talk) keyed(mine string, told *message) {
	k.w.t.Helper()
	c := cryptos(told.body)
	if len(c) != 1 {
		k.w.t.Fatalf("%d crypto lines in\n%s", len(c), told.body)
	}
	k.ea.seals(c[0].suite, mine)
	if k.told != c[0].inline { // a key that stays keeps its state
		k.ea.opens(c[0].suite, c[0].inline)
	}
	k.told = c[0].inline
}

// rtcp is a sender report with nothing in it (RFC 3550 section 6.4.1).
func rtcp(ssrc uint32) []byte {
	p := make([]byte, 28)
	p[0], p[1], p[3] = 2<<6, 200, 6
	binary.BigEndian.PutUint32(p[4:], ssrc)
	return bytes.Clone(p)
}
