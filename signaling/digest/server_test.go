package digest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
)

const (
	method = "INVITE"
	target = "sip:+431234@sbc.example.com;user=phone"
)

// world is a server with a clock that is moved by hand, and a client that knows the password.
type world struct {
	t      *testing.T
	now    time.Time
	server *Server
	count  Counter
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Unix(1_800_000_000, 0)}
	w.server = w.restart(7)
	return w
}

// restart makes a server with a key of its own.
func (w *world) restart(seed byte) *Server {
	return NewServer(config.Challenge{Realm: `sbc "one"`, Users: map[string]config.Secret{"alice": "open sesame", "bob": "secret"}},
		func() time.Time { return w.now }, bytes.NewReader(bytes.Repeat([]byte{seed}, 1024)))
}

// answer answers the challenges as alice does.
func (w *world) answer(challenges ...string) string {
	w.t.Helper()
	value, err := Respond(challenges, credentials(), method, target, nil, &w.count)
	if err != nil {
		w.t.Fatal(err)
	}
	return value
}

func (w *world) expect(what string, want Result, authorization ...string) {
	w.t.Helper()
	if user, got := w.server.Check(authorization, method, target, nil); got != want || want == OK && user != "alice" {
		w.t.Errorf("%s: %s %s, want %s", what, user, got, want)
	}
}

func TestChallengeAsksForTheStrongHashFirst(t *testing.T) {
	w := newWorld(t)
	for _, stale := range []bool{false, true} {
		values := w.server.Challenge(stale)
		if len(values) != 2 || NonceExpired(values) != stale {
			t.Fatalf("stale %t: %q", stale, values)
		}
		for i, alg := range []string{"SHA-256", "MD5"} {
			p, err := parse(values[i])
			if err != nil || p["algorithm"] != alg || p["realm"] != `sbc "one"` || p["qop"] != "auth" || len(p["opaque"]) != 16 || p["nonce"] == "" {
				t.Errorf("challenge %d: %v, %v", i, p, err)
			}
		}
	}
	if a, b := w.server.Challenge(false), w.server.Challenge(false); a[0] == b[0] {
		t.Error("two requests got the same nonce")
	}
}

func TestRightAnswersEnterWithEitherHash(t *testing.T) {
	w := newWorld(t)
	both := w.server.Challenge(false)
	w.expect("SHA-256", OK, w.answer(both...))
	w.expect("MD5", OK, w.answer(both[1]))
	w.expect("behind those for others", OK, `Basic abc`, `Digest realm="other", nonce="x"`, w.answer(both...))
}

func TestAuthIntProtectsTheBody(t *testing.T) {
	w := newWorld(t)
	challenge := strings.Replace(w.server.Challenge(false)[0], `"auth"`, `"auth-int"`, 1)
	for body, want := range map[string]Result{"v=0": OK, "v=1": Wrong} {
		value, err := Respond([]string{challenge}, credentials(), method, target, []byte("v=0"), &w.count)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := w.server.Check([]string{value}, method, target, []byte(body)); got != want {
			t.Errorf("%s: %s", body, got)
		}
	}
}

func TestAnswerIsGoodOnlyOnce(t *testing.T) {
	w := newWorld(t)
	first := w.answer(w.server.Challenge(false)...)
	w.expect("the first time", OK, first)
	w.expect("the second time", Replayed, first)
}

func TestAnswersToOneNonceMayOvertakeOneAnother(t *testing.T) {
	w := newWorld(t)
	challenge := w.server.Challenge(false)
	var answers []string
	for range ncWindow + 2 {
		answers = append(answers, w.answer(challenge...))
	}
	last := len(answers) - 1
	w.expect("the third", OK, answers[2])
	w.expect("the first, late", OK, answers[0])
	w.expect("the first, again", Replayed, answers[0])
	w.expect("the last, far ahead", OK, answers[last])
	w.expect("the second, beyond the window", Replayed, answers[1])
	w.expect("the fourth, within the window", OK, answers[3])
	w.expect("the third, again", Replayed, answers[2])
	w.expect("the last, again", Replayed, answers[last])
}

func TestOldNonceIsStaleForWhoKnowsThePassword(t *testing.T) {
	w := newWorld(t)
	challenge := w.server.Challenge(false)
	early, late, wrong := w.answer(challenge...), w.answer(challenge...), spoil(w.answer(challenge...), "response")
	w.now = w.now.Add(nonceLife)
	w.expect("at the end of its life", OK, early)
	w.now = w.now.Add(time.Millisecond)
	w.expect("after it", Stale, late)
	w.expect("after it, without the password", Wrong, wrong)
	w.now = w.now.Add(-3 * nonceLife)
	w.expect("from the future", Stale, late)
}

func TestNonceOfAnotherProcessIsStale(t *testing.T) {
	w := newWorld(t)
	before := w.answer(w.server.Challenge(false)...)
	w.server = w.restart(8)
	w.expect("an answer from before the restart", Stale, before)
}

func TestEvictedNonceIsNotGoodAgain(t *testing.T) {
	w := newWorld(t)
	old := w.server.Challenge(false)
	first, second := w.answer(old...), w.answer(old...)
	w.expect("the first answer", OK, first)
	for range usesKept - 1 {
		w.server.Challenge(false)
	}
	w.expect("challenges alone evict nobody", Replayed, first)
	w.expect("one that takes its place", OK, w.answer(w.server.Challenge(false)...))
	for range usesKept - 1 {
		w.server.Challenge(false)
	}
	w.expect("one more that takes its place", OK, w.answer(w.server.Challenge(false)...))
	w.expect("a copy of the old answer", Stale, first)
	w.expect("a new answer to the old nonce", Stale, second)
}

func TestWhoIsRefusedAndHow(t *testing.T) {
	w := newWorld(t)
	challenge := w.server.Challenge(false)
	good := w.answer(challenge...)
	other := func(c Credentials, m, uri string) string {
		value, err := Respond(challenge, c, m, uri, nil, &w.count)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, c := range []struct {
		name, value string
		want        Result
	}{
		{"no header", "", Missing},
		{"another scheme", "Bearer abc", Missing},
		{"another realm", strings.Replace(good, `realm="sbc `, `realm="pbx `, 1), Missing},
		{"a wrong password", other(Credentials{User: "alice", Password: "shut sesame"}, method, target), Wrong},
		{"another's password", other(Credentials{User: "bob", Password: "open sesame"}, method, target), Wrong},
		{"nobody", other(Credentials{User: "carol", Password: "open sesame"}, method, target), Wrong},
		{"another method", other(credentials(), "BYE", target), Wrong},
		{"a spoilt response", spoil(good, "response"), Wrong},
		{"a nonce of somebody else", replace(good, "nonce", "dcd98b7102dd2f0e8b11d0f600bfb0c093"), Wrong},
		{"a number that was not hashed", strings.Replace(good, "nc=0000000", "nc=1000000", 1), Wrong},
		{"another number that is called", other(credentials(), method, "sip:+900@sbc.example.com"), Malformed},
		{"another host", other(credentials(), method, "sip:+431234@evil.example.org"), Malformed},
		{"another scheme of URI", other(credentials(), method, "tel:+431234"), Malformed},
		{"no uri", strings.Replace(good, "uri=", "url=", 1), Malformed},
		{"a hash that we do not offer", strings.Replace(good, "SHA-256", "SHA-512-256", 1), Malformed},
		{"a session that we do not offer", strings.Replace(good, "SHA-256", "SHA-256-sess", 1), Malformed},
		{"no qop", strings.Replace(good, ", qop=auth", "", 1), Malformed},
		{"a qop of others", strings.Replace(good, "qop=auth", "qop=auth-conf", 1), Malformed},
		{"number zero", strings.Replace(good, "nc=00000001", "nc=00000000", 1), Malformed},
		{"a short number", strings.Replace(good, "nc=00000001", "nc=1", 1), Malformed},
		{"a number that is none", strings.Replace(good, "nc=00000001", "nc=+0000001", 1), Malformed},
		{"no cnonce", strings.Replace(good, "cnonce=", "cn=", 1), Malformed},
		{"no user", strings.Replace(good, `username="alice"`, `username=""`, 1), Malformed},
		{"an open quote", `Digest username="alice`, Malformed},
	} {
		var values []string
		if c.value != "" {
			values = []string{c.value}
		}
		w.expect(c.name, c.want, values...)
	}
	w.expect("and the good one still", OK, good)
}

// A refusal must not leave anything behind: strangers can cause as many as they like.
func TestWrongAnswersTakeNoPlace(t *testing.T) {
	w := newWorld(t)
	challenge := w.server.Challenge(false)
	value, before := spoil(w.answer(challenge...), "response"), *w.server.used
	for i := range 100 {
		w.expect("a wrong one", Wrong, strings.Replace(value, "nc=0000000", fmt.Sprintf("nc=%07x", i+1), 1))
	}
	if *w.server.used != before {
		t.Error("a wrong answer was noted")
	}
}

func TestURIsOfOneResource(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"sip:100@sbc.example.com", "sip:100@sbc.example.com", true},
		{"sip:100@sbc.example.com", "SIP:100@SBC.example.com:5060;user=phone", true},
		{"sip:sbc.example.com", "sip:sbc.example.com:5061;transport=tls", true},
		{"sip:100@[2001:db8::1]:5060", "sip:100@[2001:DB8::1]", true},
		{"tel:+4312", "tel:+4312", true},
		{"", "", false},
		{"sip:100@a.example.com", "sip:101@a.example.com", false},
		{"sip:Anna@a.example.com", "sip:anna@a.example.com", false},
		{"sip:100@a.example.com", "sip:100@b.example.com", false},
		{"sip:100@a.example.com", "sips:100@a.example.com", false},
		{"sip:a.example.com", "sip:100@a.example.com", false},
		{"sip:900@evil;x=@a.example.com", "sip:100@a.example.com", false},
		{"tel:+4312", "tel:+4313", false},
		{"sip:[2001:db8::1", "sip:[2001:db8::1]", false},
		{"sip:", "SIP:", false},
	} {
		if got := sameResource(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %t", c.a, c.b, got)
		}
		if got := sameResource(c.b, c.a); got != c.want {
			t.Errorf("%q and %q: %t", c.b, c.a, got)
		}
	}
}

func TestServerWithoutRandomnessDoesNotStart(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it did")
		}
	}()
	NewServer(config.Challenge{}, nil, bytes.NewReader(nil))
}

func TestResultsHaveNames(t *testing.T) {
	for r, want := range map[Result]string{OK: "ok", Missing: "missing", Wrong: "wrong", Stale: "stale", Replayed: "replayed", Malformed: "malformed"} {
		if r.String() != want {
			t.Errorf("%d: %s", r, r)
		}
	}
}

// spoil changes the first character of a quoted parameter.
func spoil(value, name string) string {
	head, tail, _ := strings.Cut(value, name+`="`)
	c := byte('0')
	if tail[0] == c {
		c = '1'
	}
	return head + name + `="` + string(c) + tail[1:]
}

// replace puts another value into a quoted parameter.
func replace(value, name, with string) string {
	head, tail, _ := strings.Cut(value, " "+name+`="`)
	_, tail, _ = strings.Cut(tail, `"`)
	return head + " " + name + `="` + with + `"` + tail
}
