package register

import (
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/signaling/digest"
	"tandem/signaling/guard"
)

const ours = "Contact: <sip:4312@192.0.2.1:5060;transport=udp>;expires="

func TestRegisterSaysWhoWeAreAndIsRenewedAfterHalfOfWhatWasGranted(t *testing.T) {
	w := newWorld(t, nil)
	if got := w.shown(); got != "not registered: no answer yet" {
		t.Errorf("before the answer: %s", got)
	}
	first := w.next()
	for name, want := range map[string]string{
		"From": "<sip:4312@provider.example>;tag=" + first.From().Params.GetOr("tag", "none"), "To": "<sip:4312@provider.example>",
		"Contact": "<sip:4312@192.0.2.1:5060;transport=udp>", "Expires": "3600", "CSeq": "1 REGISTER", "Authorization": "",
	} {
		if got := first.header(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if first.way.Listener != "out" || first.way.Dest != netip.MustParseAddrPort("192.0.2.9:5070") {
		t.Errorf("sent by %+v", first.way)
	}
	first.reply(200, ours+"600")
	p := w.wait(300 * time.Second)
	if s := w.status(); !s.Registered || s.Until != w.clock().Add(600*time.Second) || s.Next != w.clock().Add(300*time.Second) || s.Failures != 0 {
		t.Errorf("status %+v", s)
	}
	if got := w.shown(); got != "registered until 2027-01-15T08:10:00Z" {
		t.Errorf("shown: %s", got)
	}
	w.pass(p)
	second := w.next()
	if second.CallID().Value() != first.CallID().Value() || second.CSeq().SeqNo != 2 ||
		second.From().Params.GetOr("tag", "") != first.From().Params.GetOr("tag", "none") {
		t.Errorf("the renewal is not of the same Call-ID with a rising CSeq: %s", second.Request)
	}
}

func TestGrantedTime(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		wait    time.Duration
		err     string
	}{
		{"of our Contact", []string{"Expires: 100", ours + "200"}, 100 * time.Second, ""},
		{"of our Contact among others", []string{"Contact: <sip:4312@198.51.100.1>;expires=30", ours + "200", "Contact: <sip:9@192.0.2.1>;expires=40"}, 100 * time.Second, ""},
		{"of our Contact written otherwise", []string{"Contact: <sip:4312@192.0.2.1>;expires=200"}, 100 * time.Second, ""},
		{"of Expires", []string{"Expires: 120"}, time.Minute, ""},
		{"of Expires, our Contact without one", []string{"Expires: 120", "Contact: <sip:4312@192.0.2.1:5060>"}, time.Minute, ""},
		{"as asked for where nothing is said", nil, 30 * time.Minute, ""},
		{"as asked for where nonsense is said", []string{"Expires: soon"}, 30 * time.Minute, ""},
		{"too little to keep up with", []string{ours + "4"}, minWait, ""},
		{"for ever", []string{ours + "4294967295"}, maxExpires / 2, ""},
		{"none", []string{ours + "0"}, backoffBase, "granted no time at all"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.next().reply(200, c.headers...)
			if c.wait == minWait {
				if lapse := await(t, w.waits, "the wait"); lapse.d != minWait {
					t.Errorf("waits for %s", lapse.d)
				}
				w.wait(4 * time.Second) // until the binding lapses
			} else {
				w.wait(c.wait)
			}
			if s := w.status(); s.Registered != (c.err == "") || !strings.Contains(s.Error, c.err) {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// door is a registrar's digest.
func door(w *world) *digest.Server {
	return digest.NewServer(config.Challenge{Realm: "provider", Users: map[string]config.Secret{"alice": "open sesame"}}, w.clock, nil)
}

// judge checks the answer that a request carries in a header.
func judge(s *sent, d *digest.Server, header string) digest.Result {
	var values []string
	if v := s.header(header); v != "" {
		values = []string{v}
	}
	_, r := d.Check(values, "REGISTER", "sip:provider.example", nil)
	return r
}

func challenge(d *digest.Server, header string, stale bool) (headers []string) {
	for _, v := range d.Challenge(stale) {
		headers = append(headers, header+": "+v)
	}
	return headers
}

func TestChallengesOfRegistrarAndProxyAreAnsweredAndRemembered(t *testing.T) {
	w := newWorld(t, nil)
	registrar, proxy := door(w), door(w)
	w.next().reply(407, challenge(proxy, "Proxy-Authenticate", false)...)
	s := w.next()
	if r := judge(s, proxy, "Proxy-Authorization"); r != digest.OK || s.CSeq().SeqNo != 2 {
		t.Fatalf("the proxy says %s to %s", r, s.Request)
	}
	s.reply(401, challenge(registrar, "WWW-Authenticate", false)...)
	s = w.next()
	if a, b := judge(s, proxy, "Proxy-Authorization"), judge(s, registrar, "Authorization"); a != digest.OK || b != digest.OK {
		t.Fatalf("proxy %s, registrar %s", a, b)
	}
	s.reply(200, ours+"100")
	w.pass(w.wait(50 * time.Second))
	s = w.next()
	if a, b := judge(s, proxy, "Proxy-Authorization"), judge(s, registrar, "Authorization"); a != digest.OK || b != digest.OK {
		t.Fatalf("the renewal: proxy %s, registrar %s", a, b)
	}
	s.reply(401, challenge(registrar, "WWW-Authenticate", false)...) // a registrar whose nonces are good once
	s = w.next()
	if r := judge(s, registrar, "Authorization"); r != digest.OK {
		t.Fatalf("the renewal's second try: %s", r)
	}
	s.reply(200, ours+"100")
	w.wait(50 * time.Second)
}

func TestWrongPasswordIsTriedOnceAndThenHardlyEver(t *testing.T) {
	w := newWorld(t, func(tr *config.Trunk) { tr.Auth.Password = "shut sesame" })
	d := door(w)
	for range 2 {
		w.next().reply(401, challenge(d, "WWW-Authenticate", false)...)
		s := w.next()
		if r := judge(s, d, "Authorization"); r != digest.Wrong {
			t.Fatalf("the answer is %s", r)
		}
		s.reply(401, challenge(d, "WWW-Authenticate", false)...)
		p := w.wait(refusedWait)
		if s := w.status(); s.Registered || !strings.Contains(s.Error, "user or password of auth is wrong") || strings.Contains(s.Error, "sesame") {
			t.Errorf("status %+v", s)
		}
		if got := w.shown(); !strings.HasPrefix(got, "not registered: 192.0.2.9:5070: user or password") {
			t.Errorf("shown: %s", got)
		}
		w.pass(p)
	}
	if s := w.next(); s.header("Authorization") != "" {
		t.Error("a password that was refused is offered without being asked for")
	}
}

func TestStaleNonceIsAnsweredOnceMore(t *testing.T) {
	w := newWorld(t, nil)
	d := door(w)
	w.next().reply(401, challenge(d, "WWW-Authenticate", false)...)
	w.next().reply(401, challenge(d, "WWW-Authenticate", true)...)
	s := w.next()
	if r := judge(s, d, "Authorization"); r != digest.OK {
		t.Fatalf("the answer is %s", r)
	}
	s.reply(401, challenge(d, "WWW-Authenticate", true)...)
	w.wait(refusedWait)
	if s := w.status(); !strings.Contains(s.Error, "calls every nonce of its own too old") {
		t.Errorf("status %+v", s)
	}
}

func TestChallengeThatCannotBeAnsweredEndsTheCycle(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*config.Trunk)
		headers []string
		want    string
	}{
		"no auth":       {func(tr *config.Trunk) { tr.Auth = nil }, []string{`WWW-Authenticate: Digest realm="r", nonce="n"`}, "the trunk has no auth"},
		"no password":   {func(tr *config.Trunk) { tr.Auth.File = "gone.txt" }, []string{`WWW-Authenticate: Digest realm="r", nonce="n"`}, "password_file: stat gone.txt: no such file"},
		"no challenge":  {nil, nil, "sent no challenge"},
		"another realm": {func(tr *config.Trunk) { tr.Auth.Realm = "s" }, []string{`WWW-Authenticate: Digest realm="r", nonce="n"`}, `its realm is "r"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.change)
			w.next().reply(401, c.headers...)
			w.wait(refusedWait)
			if s := w.status(); !strings.Contains(s.Error, c.want) {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func TestMinExpiresIsObeyedAndRemembered(t *testing.T) {
	w := newWorld(t, nil)
	w.next().reply(423, "Min-Expires: 7200")
	s := w.next()
	if s.expires() != 7200 {
		t.Fatalf("asks for %d s", s.expires())
	}
	s.reply(200)
	w.pass(w.wait(time.Hour))
	if s := w.next(); s.expires() != 7200 {
		t.Errorf("the renewal asks for %d s", s.expires())
	}
}

func TestMinExpiresThatCannotBeMeantIsRefused(t *testing.T) {
	for headers, want := range map[string]string{"Min-Expires: 3600": "which is no more", "Min-Expires: 86401": "24h0m0s is the most", "X: y": "which is no more"} {
		w := newWorld(t, nil)
		w.next().reply(423, headers)
		w.wait(refusedWait)
		if s := w.status(); !strings.Contains(s.Error, want) {
			t.Errorf("%s: %+v", headers, s)
		}
	}
}

func TestNoRegistrarMakesUsSendForEver(t *testing.T) {
	w := newWorld(t, nil)
	for i := range sendsMost {
		w.next().reply(423, "Min-Expires: "+[]string{"3601", "3602", "3603", "3604", "3605", "3606"}[i])
	}
	w.wait(refusedWait)
	if s := w.status(); !strings.Contains(s.Error, "more than 6 requests") {
		t.Errorf("status %+v", s)
	}
}

func TestDeadRegistrarIsAskedLessAndLessOften(t *testing.T) {
	w := newWorld(t, nil)
	w.next().reply(200, ours+"600")
	w.pass(w.wait(300 * time.Second))
	for _, want := range []time.Duration{30, 60, 120, 240, 480, 900, 900} { // half of the bound: the jitter is zero here
		w.next().fail(guard.ErrTimeout)
		p := await(t, w.waits, "the wait")
		if p.d != want*time.Second {
			t.Fatalf("waits for %s, want %d s", p.d, want)
		}
		if left := w.status().Until.Sub(w.clock()); left > 0 && left < p.d {
			lapse := await(t, w.waits, "the wait for the end of the binding")
			if got := w.shown(); lapse.d != left || !strings.HasPrefix(got, "registered until ") || !strings.Contains(got, "no response in time") {
				t.Fatalf("%s is left, waits for %s: %s", left, lapse.d, got)
			}
			w.pass(lapse)
			until(t, "the lapse is shown", func() bool { return strings.HasPrefix(w.shown(), "not registered: ") })
			p.d -= lapse.d
		}
		w.pass(p)
	}
	w.next().reply(200, ours+"600")
	w.wait(300 * time.Second)
	if s := w.status(); !s.Registered || s.Failures != 0 || s.Error != "" {
		t.Errorf("status %+v", s)
	}
}

func TestWaitsAreSpreadAndBounded(t *testing.T) {
	for _, c := range []struct {
		name     string
		out      outcome
		failures int
		low      time.Duration // of Rand 0
		high     time.Duration // of Rand nearly 1
	}{
		{"granted", outcome{granted: time.Hour}, 0, 30 * time.Minute, 30 * time.Minute},
		{"the first failure", outcome{err: guard.ErrTimeout}, 1, 30 * time.Second, time.Minute},
		{"the third", outcome{err: guard.ErrTimeout}, 3, 2 * time.Minute, 4 * time.Minute},
		{"the millionth", outcome{err: guard.ErrTimeout}, 1e6, backoffMost / 2, backoffMost},
		{"Retry-After", outcome{err: refusal{503}, rest: 2 * time.Minute}, 1, 2 * time.Minute, 132 * time.Second},
		{"Retry-After at once", outcome{err: refusal{503}, rest: time.Second}, 1, minWait, 5500 * time.Millisecond},
		{"Retry-After next year", outcome{err: refusal{503}, rest: 1 << 50}, 1, retryAfterMost, 66 * time.Minute},
		{"refused", outcome{err: refusal{403}, refused: true}, 1, refusedWait, 2 * refusedWait},
	} {
		for want, random := range map[time.Duration]float64{c.low: 0, c.high: 0.999999999} {
			b := &binding{o: &Options{Rand: func() float64 { return random }}}
			if got := b.pause(c.out, c.failures); got.Round(time.Second/2) != want {
				t.Errorf("%s: %s, want %s", c.name, got, want)
			}
		}
	}
}

func TestAnswersDecideHowLongTheRegistrarIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name    string
		code    int
		headers []string
		wait    time.Duration
	}{
		{"503 with Retry-After", 503, []string{"Retry-After: 120 (maintenance);duration=3600"}, 2 * time.Minute},
		{"500", 500, nil, backoffBase},
		{"408", 408, nil, backoffBase},
		{"403", 403, nil, refusedWait},
		{"404 with Retry-After", 404, []string{"Retry-After: 60"}, time.Minute},
		{"301", 301, nil, refusedWait},
		{"603", 603, nil, refusedWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.next().reply(c.code, c.headers...)
			w.wait(c.wait)
		})
	}
}

func TestNextAddressOfTheRegistrarTakesOverAndKeepsTheBinding(t *testing.T) {
	w := newWorld(t, func(tr *config.Trunk) { tr.Peer = "provider.example" })
	for _, lost := range []error{guard.ErrTimeout, nil} { // nil: 503
		first := w.next()
		if lost != nil {
			first.fail(lost)
		} else {
			first.reply(503)
		}
		second := w.next()
		if first.way.Dest == second.way.Dest {
			t.Fatalf("%s twice", first.way.Dest)
		}
		second.reply(200, ours+"100")
		for range 5 {
			w.pass(w.wait(50 * time.Second))
			again := w.next()
			if again.way.Dest != second.way.Dest {
				t.Fatalf("renewed at %s, the binding is at %s", again.way.Dest, second.way.Dest)
			}
			again.reply(200, ours+"100")
		}
		w.pass(w.wait(50 * time.Second))
	}
}

func TestFinalRefusalIsNotTakenToAnotherAddress(t *testing.T) {
	w := newWorld(t, func(tr *config.Trunk) { tr.Peer = "provider.example" })
	w.next().reply(403)
	w.wait(refusedWait)
}

func TestTrunksIdentityAndNamesAreUsed(t *testing.T) {
	w := newWorld(t, nil)
	w.next()
	own := &tls.Config{ServerName: "own"}
	w.r.o.TLS = func(string) *tls.Config { return own }
	w.r.Update(w.trunks(w.config(func(tr *config.Trunk) { tr.TLSNames = []string{"a.example", "*.b.example"} })))
	if s := w.next(); s.way.TLS != own || strings.Join(s.way.TLSNames, ",") != "a.example,*.b.example" || s.expires() == 0 {
		t.Errorf("sent by %+v", s.way)
	}
}
