package b2bua

import (
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/internal/config"
	"tandem/signaling/digest"
)

// knownAs gives trunk gw1 a user and a password.
func knownAs(password string) func(*config.Config, *Timers) {
	return func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.Auth = &config.Auth{User: "tandem", Password: config.Secret(password)} })
	}
}

// challenge is one header of a peer that wants MD5, as most do.
func challenge(header, nonce, more string) string {
	return fmt.Sprintf(`%s: Digest realm="gw", nonce="%s", qop="auth"%s`, header, nonce, more)
}

// proves reports an answer with the right password, computed by the letter of RFC 7616 section 3.4.1.
func proves(t *testing.T, m message, header, nonce, password string) bool {
	t.Helper()
	value := m.get(header)
	get := func(name string) string {
		found := regexp.MustCompile(`(?:^|[ ,])` + name + `="?([^",]*)`).FindStringSubmatch(value)
		if found == nil {
			t.Fatalf("%s has no %s: %s", header, name, value)
		}
		return found[1]
	}
	hash := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	method, uri := strings.Fields(m.start)[0], strings.Fields(m.start)[1]
	if method == "ACK" {
		method = "INVITE" // its answer is the INVITE's
		uri = get("uri")
	}
	want := hash(hash("tandem:gw:"+password) + ":" + nonce + ":" + get("nc") + ":" + get("cnonce") + ":auth:" + hash(method+":"+uri))
	return get("nonce") == nonce && get("uri") == uri && get("username") == "tandem" && get("response") == want
}

func TestEveryRequestOfADialogAnswersItsChallenge(t *testing.T) {
	for _, tt := range []struct{ status, question, reply string }{
		{"401 Unauthorized", "WWW-Authenticate", "Authorization"},
		{"407 Proxy Authentication Required", "Proxy-Authenticate", "Proxy-Authorization"},
	} {
		t.Run(tt.status[:3], func(t *testing.T) {
			w := newWorld(t, knownAs("secret"))
			a := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""))
			ask := func(method string, n int) message {
				t.Helper()
				nonce := fmt.Sprintf("n%d", n)
				first := w.gw1.next(method)
				w.gw1.reply(first, tt.status, "gwtag", "", challenge(tt.question, nonce, ""))
				again := w.gw1.next(method)
				if !proves(t, again, tt.reply, nonce, "secret") {
					t.Errorf("%s does not prove us: %s", method, again.get(tt.reply))
				}
				if first.get("Call-ID") != again.get("Call-ID") || first.get("From") != again.get("From") ||
					first.get("Via") == again.get("Via") || again.seq() != next(first.seq()) || first.get(tt.reply) != "" {
					t.Errorf("%s was not repeated but made anew:\n%s\n%s", method, first.raw, again.raw)
				}
				return again
			}
			inv := ask("INVITE", 1)
			w.gw1.reply(inv, "200 OK", "gwtag", sdpOf("198.51.100.20", 6000, ""))
			a.answered(w.caller.next("200 INVITE"))
			a.ack()
			a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
			hold := ask("INVITE", 2)
			w.gw1.reply(hold, "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
			w.caller.next("200 INVITE")
			a.ack()
			a.bye()
			w.caller.next("200 BYE")
			w.gw1.reply(ask("BYE", 3), "200 OK", "", "")
			if r := w.record(); r.Code != 200 || len(r.Tried) != 1 || r.Tried[0].Code != 200 {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}

// next is the CSeq number after this one.
func next(seq string) string {
	var n int
	fmt.Sscan(seq, &n)
	return fmt.Sprint(n + 1)
}

func TestAckOfAnInviteThatProvedUsCarriesTheSameProof(t *testing.T) {
	w := newWorld(t, knownAs("secret"))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	first := w.gw1.next("INVITE")
	w.gw1.reply(first, "401 Unauthorized", "x", "", challenge("WWW-Authenticate", "n", ""))
	if ack := w.gw1.next("ACK"); ack.get("Authorization") != "" || ack.seq() != first.seq() {
		t.Errorf("ACK of the 401:\n%s", ack.raw)
	}
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	if ack := w.gw1.next("ACK"); ack.get("Authorization") != inv.get("Authorization") || ack.seq() != inv.seq() {
		t.Errorf("ACK of the 200:\n%s", ack.raw)
	}
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	(&talk{w: w, a: a}).hangUp()
}

func TestStaleNonceIsAnsweredOnceMoreAndNoFurther(t *testing.T) {
	w := newWorld(t, knownAs("secret"))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	for n, more := range []string{"", ", stale=true", ", stale=true"} {
		w.gw1.reply(w.gw1.next("INVITE"), "401 Unauthorized", "x", "", challenge("WWW-Authenticate", fmt.Sprintf("n%d", n), more))
		w.gw1.next("ACK")
	}
	a.ackFailure(w.caller.next("403"))
	w.gone()
	if n := w.gw1.had("INVITE"); n != 3 {
		t.Errorf("%d INVITEs, want 3", n)
	}
	w.record()
}

func TestWrongPasswordEndsTheCallWith403(t *testing.T) {
	for name, tt := range map[string]struct {
		setup   func(*config.Config, *Timers)
		invites int
	}{
		"wrong password": {knownAs("wrong"), 2},
		"no auth":        {func(*config.Config, *Timers) {}, 1},
		"another realm":  {func(c *config.Config, t *Timers) { knownAs("secret")(c, t); c.Trunks["gw1"].Auth.Realm = "other" }, 1},
		"password file lacks": {func(c *config.Config, t *Timers) {
			knownAs("")(c, t)
			c.Trunks["gw1"].Auth.File = "/nonexistent/password"
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.setup)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			for range tt.invites {
				w.gw1.reply(w.gw1.next("INVITE"), "401 Unauthorized", "x", "", challenge("WWW-Authenticate", "n", ""))
				w.gw1.next("ACK")
			}
			a.ackFailure(w.caller.next("403"))
			w.gone()
			if n := w.gw1.had("INVITE"); n != tt.invites {
				t.Errorf("%d INVITEs, want %d", n, tt.invites)
			}
			if r := w.record(); r.Tried[0].Code != 401 || r.Code != 403 || r.By != byCallee {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestPasswordIsTheFirstLineOfItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\r\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, knownAs(""), func(c *config.Config, _ *Timers) { c.Trunks["gw1"].Auth.File = file })
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "401 Unauthorized", "x", "", challenge("WWW-Authenticate", "n", ""))
	again := w.gw1.next("INVITE")
	if !proves(t, again, "Authorization", "n", "secret") {
		t.Errorf("%s", again.get("Authorization"))
	}
	w.gw1.reply(again, "486 Busy Here", "x", "")
	a.ackFailure(w.caller.next("486"))
	w.gone()
}

func TestCallerWhoGivesUpDuringAChallengeIsNotCalledFor(t *testing.T) {
	w := newWorld(t, knownAs("secret"))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "100 Trying", "", "")
	a.cancel()
	a.ackFailure(w.caller.next("487"))
	w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "x", "")
	w.gw1.reply(inv, "401 Unauthorized", "x", "", challenge("WWW-Authenticate", "n", ""))
	w.gw1.next("ACK")
	w.gone()
	if n := w.gw1.had("INVITE"); n != 1 {
		t.Errorf("%d INVITEs", n)
	}
}

func TestOptionsAnswerTheirChallenge(t *testing.T) {
	w := newWorld(t, knownAs("secret"), func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.Options = config.Options{Every: time.Hour} })
	})
	first := w.gw1.next("OPTIONS")
	w.gw1.reply(first, "401 Unauthorized", "x", "", challenge("WWW-Authenticate", "n", ""))
	again := w.gw1.next("OPTIONS")
	if !proves(t, again, "Authorization", "n", "secret") || again.seq() != next(first.seq()) || again.get("Call-ID") != first.get("Call-ID") {
		t.Errorf("again:\n%s", again.raw)
	}
	w.gw1.reply(again, "200 OK", "x", "")
	gw1, _ := w.trunks.ByName("gw1")
	eventually(t, "the answer to count", func() bool { h := gw1.Health(); code, _ := h.Heard(); return code == 200 })
}

// guarded makes trunk alice challenge.
func guarded(c *config.Config, _ *Timers) {
	edit(c, "alice", func(tr *config.Trunk) {
		tr.Challenge = &config.Challenge{Realm: "tandem.example", Users: map[string]config.Secret{"alice": "wonder"}}
	})
}

// answerTo is an Authorization header for the challenges of a 401.
func answerTo(t *testing.T, res message, d *dialog, password string) string {
	t.Helper()
	answer, err := digest.Respond(res.all("WWW-Authenticate"), digest.Credentials{User: "alice", Password: config.Secret(password)}, "INVITE", d.target, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: " + answer
}

func TestTrunkThatChallengesLetsInWhoProvesItselfAndAsksNobodyInADialog(t *testing.T) {
	w := newWorld(t, guarded)
	offer := sdpOf("192.0.2.10", 5000, "")
	a := w.caller.invite(w.west, "1", offer)
	asked := w.caller.next("401")
	a.ackFailure(asked)
	if len(asked.all("WWW-Authenticate")) != 2 || !strings.Contains(asked.get("WWW-Authenticate"), "SHA-256") {
		t.Errorf("challenge:\n%s", asked.raw)
	}
	if s := w.b.Stats(); s.Table != 0 || s.Dialogs != 0 || s.Active != 0 || s.Challenged != 1 {
		t.Errorf("an INVITE that was not proven left %+v", s)
	}
	a.invite(offer, answerTo(t, asked, a, "wonder"))
	inv := w.gw1.next("INVITE")
	if inv.get("Authorization") != "" {
		t.Error("the caller's proof reached the gateway")
	}
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	a.invite(sdpOf("192.0.2.11", 5000, ""))
	w.caller.next("200 INVITE")
	a.ack()
	(&talk{w: w, a: a}).hangUp()
	if r := w.record(); r.User != "alice" || r.Code != 200 {
		t.Errorf("record %+v", r)
	}
	if s := w.b.Stats(); s.Ended != 1 {
		t.Errorf("%d records for one call", s.Ended)
	}
}

func TestWrongAndReplayedProofsAreCountedAndLeaveNothing(t *testing.T) {
	w := newWorld(t, guarded)
	offer := sdpOf("192.0.2.10", 5000, "")
	a := w.caller.invite(w.west, "1", offer)
	asked := w.caller.next("401")
	a.ackFailure(asked)
	a.invite(offer, answerTo(t, asked, a, "wrong"))
	again := w.caller.next("401")
	a.ackFailure(again)
	if strings.Contains(again.get("WWW-Authenticate"), "stale") {
		t.Error("a wrong password was called a stale nonce")
	}
	right := answerTo(t, again, a, "wonder")
	a.invite(offer, right)
	w.gw1.reply(w.gw1.next("INVITE"), "486 Busy Here", "x", "")
	a.ackFailure(w.caller.next("486"))
	w.record()
	thief := w.caller.invite(w.west, "1", offer, right)
	res := w.caller.next("401")
	if !strings.Contains(res.get("WWW-Authenticate"), "stale=true") {
		t.Errorf("challenge %s", res.get("WWW-Authenticate"))
	}
	thief.ackFailure(res)
	broken := w.caller.invite(w.west, "1", offer, `Authorization: Digest realm="tandem.example`)
	broken.ackFailure(w.caller.next("400"))
	w.gone()
	s := w.b.Stats()
	if s.Drops[DropWrong] != 2 || s.Drops[DropReplayed] != 1 || s.Challenged != 3 || s.Ended != 1 {
		t.Errorf("%+v", s)
	}
}

func TestOldNonceIsStaleAndReloadKeepsTheYoungOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, func(c *config.Config) {
			edit(c, "a", func(tr *config.Trunk) {
				tr.Challenge = &config.Challenge{Realm: "r", Users: map[string]config.Secret{"alice": "wonder"}}
			})
		})
		door := p.b.seen.Load().doors["a"]
		answer := func() string {
			s, err := digest.Respond(door.Challenge(false), digest.Credentials{User: "alice", Password: "wonder"}, "INVITE", "sip:1@192.0.2.1", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		young, old := answer(), answer()
		p.proof = young
		p.reload(t, p.cfg)
		p.invite(0)
		p.wantInvites(t, "with a proof from before the reload", b1)
		p.answer(0, 486, "callee", false)
		time.Sleep(time.Hour)
		p.proof = old
		p.invite(1)
		p.wantInvites(t, "with a proof of an hour ago", b1)
		if s := p.b.Stats(); s.Challenged != 1 || s.Drops[DropWrong] != 0 {
			t.Errorf("%+v", s)
		}
		p.over(t)
	})
}
