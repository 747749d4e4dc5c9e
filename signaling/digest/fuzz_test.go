package digest

import (
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
)

// FuzzParse: what the parser takes can be written again and reads the same; what it does not take says why.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`Digest realm="r", nonce="n", qop="auth,auth-int", stale=TRUE, opaque=""`, `digest a=b`, `Digest a="\"\\", b=c ,d = e`,
		`Digest`, `Digest a="`, `Digest a=b,`, `Digest =x`, `Basic x`, "Digest\ta=b", `Digest a=b, A=c`, `Digest a="b"c`, "Digest a=\"\x00\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		p, err := parse(value)
		if err != nil {
			return
		}
		var b strings.Builder
		for name, text := range p {
			if !isToken(name) || name != strings.ToLower(name) {
				t.Fatalf("%q has the name %q", value, name)
			}
			quoted, ok := quote(text)
			if !ok {
				t.Fatalf("%q has a value that cannot be written: %q", value, text)
			}
			if b.Len() > 0 {
				b.WriteString(",")
			}
			b.WriteString(name + "=" + quoted)
		}
		again, err := parse("Digest " + b.String())
		if b.Len()+len(scheme)+1 > maxValue {
			return // the quotes that we add may carry it over the limit
		}
		if err != nil || len(again) != len(p) {
			t.Fatalf("%q: %q does not read again: %v", value, b.String(), err)
		}
		for name, text := range p {
			if again[name] != text {
				t.Fatalf("%q: %s was %q and is %q", value, name, text, again[name])
			}
		}
	})
}

// FuzzCheck: nobody enters without the password, whatever he sends, and nothing panics.
func FuzzCheck(f *testing.F) {
	s := NewServer(config.Challenge{Realm: "r", Users: map[string]config.Secret{"alice": "open sesame"}}, time.Now, nil)
	for _, challenge := range s.Challenge(false) {
		value, err := Respond([]string{challenge}, Credentials{User: "alice", Password: "guess"}, method, target, nil, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value, target)
	}
	f.Add(`Digest username="alice", realm="r", nonce="", uri="", response="", qop=auth, nc=00000001, cnonce="x"`, "")
	f.Add(`Digest realm="r"`, "sip:[")
	f.Fuzz(func(t *testing.T, value, uri string) {
		if user, r := s.Check([]string{value}, method, uri, nil); r == OK {
			t.Fatalf("%s entered with %q", user, value)
		}
	})
}

// FuzzRespond: an answer to any challenge is one well-formed line.
func FuzzRespond(f *testing.F) {
	f.Add(`Digest realm="r", nonce="n", qop="auth"`, "alice", target)
	f.Add(`Digest realm="a\"b", nonce="n", opaque="o", algorithm=MD5-sess, qop=auth-int`, `a"b\`, "tel:+43")
	f.Add("Digest realm=\"\xff\", nonce=\"n\"", "\xfe", "")
	f.Fuzz(func(t *testing.T, challenge, user, uri string) {
		got, err := Respond([]string{challenge}, Credentials{User: user, Password: "x"}, method, uri, nil, nil)
		if err != nil {
			return
		}
		if strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("%q breaks the line", got)
		}
		if len(got) > maxValue {
			return
		}
		if p, err := parse(got); err != nil || p["username"] != user {
			t.Fatalf("%q: %v", got, err)
		}
	})
}
