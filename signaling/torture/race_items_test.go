package torture

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestT24_Glare(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	t.Run("offers that cross", func(t *testing.T) {
		k := w.call()
		for _, side := range []struct {
			d, o *dialog
			e, f *ear
		}{{k.a, k.b, k.ea, k.eb}, {k.b, k.a, k.eb, k.ea}} {
			side.d.invite(side.e.sdp() + "a=sendonly\r\n")
			ours := side.o.want("INVITE")
			side.o.invite(side.f.sdp() + "a=inactive\r\n") // at the same moment, the other way
			side.o.failed(491)
			began := time.Now()
			side.o.reply(ours, "491 Request Pending", "")
			side.o.want("ACK")
			again := side.o.want("INVITE") // RFC 3261 section 14.1: 2.1 to 4 s for whoever owns the Call-ID, up to 2 s for others
			if wait := time.Since(began); side.o == k.b && (wait < 2*time.Second || wait > patience) || wait > patience {
				t.Errorf("repeated after %s", wait)
			}
			side.o.reply(again, "200 OK", side.f.sdp()+"a=recvonly\r\n")
			side.o.want("ACK")
			side.d.established()
			k.modify(side.d, side.e.sdp(), side.f.sdp())
			k.hear()
		}
		k.over()
	})
	t.Run("a second INVITE before the answer to the first", func(t *testing.T) {
		k := w.call()
		k.a.invite(k.ea.sdp() + "a=sendonly\r\n")
		pending := k.b.want("INVITE")
		one, branch := k.a.inviteSeq, k.a.branch
		k.a.invite(k.ea.sdp() + "a=inactive\r\n")
		res := k.a.p.match("500 INVITE", func(m *message) bool { return m.seq() == k.a.inviteSeq })
		k.a.ackFailure(res)
		if n := res.get("Retry-After"); n == "" || len(n) > 2 {
			t.Errorf("Retry-After: %q", n)
		}
		k.a.inviteSeq, k.a.branch = one, branch
		k.b.reply(pending, "200 OK", k.eb.sdp()+"a=recvonly\r\n")
		k.b.want("ACK")
		k.a.established()
		k.a.seq++
		k.modify(k.a, k.ea.sdp(), k.eb.sdp())
		k.over()
	})
}

func TestT27_CrossingAndLoss(t *testing.T) {
	t.Parallel()
	t.Run("CANCEL crosses the 200", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		inv := w.bob.next("INVITE")
		b := w.bob.called(inv, "bobtag")
		b.reply(inv, "180 Ringing", "")
		k.a.want("180")
		k.a.cancel()
		k.a.want("200 CANCEL")
		k.a.failed(487)
		cancel := w.bob.next("CANCEL")
		b.reply(inv, "200 OK", k.eb.sdp()) // it left before the CANCEL came
		w.bob.reply(cancel, "200 OK", "bobtag", "")
		b.want("ACK")
		b.reply(b.want("BYE"), "200 OK", "")
	})
	t.Run("the ACK is lost", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		inv := w.bob.next("INVITE")
		k.b = w.bob.called(inv, "bobtag")
		k.b.reply(inv, "200 OK", k.eb.sdp())
		k.b.want("ACK")
		ok := k.a.answered(k.a.want("200 INVITE"))
		w.alice.times(ok, 4)
		bye := w.alice.within(2*patience, "BYE", nil) // after 64*T1 (RFC 3261 section 13.3.1.4)
		w.alice.reply(bye, "200 OK", "", "")
		k.b.reply(k.b.want("BYE"), "200 OK", "")
		w.alice.times(ok, 9)
	})
	t.Run("our ACK is lost", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.call()
		for range 2 {
			k.b.reply(k.invite, "200 OK", k.eb.sdp())
		}
		w.bob.times(k.ack, 1)
		await(t, "each repeated 200 gets an ACK", func() bool { return strings.Count(strings.Join(w.bob.all(), ""), "ACK sip:") >= 3 })
		k.over()
	})
	t.Run("BYE before the ACK", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		inv := w.bob.next("INVITE")
		k.b = w.bob.called(inv, "bobtag")
		k.b.reply(inv, "200 OK", k.eb.sdp())
		k.b.want("ACK")
		k.a.answered(k.a.want("200 INVITE"))
		k.a.send("BYE", "")
		k.a.ack()
		k.a.want("200 BYE")
		k.b.reply(k.b.want("BYE"), "200 OK", "")
	})
	t.Run("BYE crosses a re-INVITE", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.call()
		k.hear()
		k.a.invite(k.ea.sdp() + "a=sendonly\r\n")
		pending := k.b.want("INVITE")
		k.b.send("BYE", "")
		k.b.want("200 BYE")
		k.b.reply(pending, "487 Request Terminated", "")
		k.b.want("ACK")
		if res := k.a.want("final INVITE"); res.code() < 400 {
			t.Errorf("%s", res.start)
		} else {
			k.a.ackFailure(res)
		}
		w.alice.reply(k.a.want("BYE"), "200 OK", "", "")
	})
	t.Run("only a 100 for longer than the failover time", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.gw["failover"] = object{"timeout": "1s"}
		w.config["routes"].([]any)[0] = object{"name": "in", "from": []any{"uc"}, "to": []any{"gw", "spare"}}
		w.open()
		k := w.ears()
		k.eb = listen(t, w.carol.at.Addr(), 0xcccc0027)
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		first := w.bob.next("INVITE")
		w.bob.reply(first, "100 Trying", "", "")
		k.invite = w.carol.next("INVITE")
		cancel := w.bob.next("CANCEL")
		w.bob.reply(cancel, "200 OK", "x", "")
		w.bob.reply(first, "487 Request Terminated", "x", "")
		k.b = w.carol.called(k.invite, "caroltag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.over()
	})
	t.Run("CANCEL and BYE in one breath with their INVITE and ACK", func(t *testing.T) {
		w := newWorld(t, "tcp", "udp").open()
		k := w.ears()
		k.a = w.alice.outside("+4312345")
		k.a.seq, k.a.inviteSeq, k.a.branch, k.a.uri = 1, 1, branch(), k.a.target
		w.alice.raw(k.a.text("INVITE", 1, k.a.branch, k.a.uri, k.ea.sdp()) + k.a.text("CANCEL", 1, k.a.branch, k.a.uri, ""))
		k.a.want("200 CANCEL")
		k.a.failed(487)
		w.idle()
		if inv := w.bob.take("INVITE", nil); inv != nil { // it may have left already
			w.bob.reply(inv, "180 Ringing", "x", "")
			w.bob.reply(w.bob.next("CANCEL"), "200 OK", "x", "")
			w.bob.reply(inv, "487 Request Terminated", "x", "")
		}
		w.call().over()
	})
}

func TestT28_RedirectionAndChallenges(t *testing.T) {
	t.Parallel()
	t.Run("3xx is not followed and names nobody", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		a := w.alice.invite("+4312345", w.ears().ea.sdp())
		inv := w.bob.next("INVITE")
		w.bob.reply(inv, "302 Moved Temporarily", "bobtag", "", "Contact: <sip:+4399@elsewhere.secret.example>")
		w.bob.next("ACK")
		if res := a.failed(480); strings.Contains(res.raw, "elsewhere") {
			t.Errorf("%s", res.raw)
		}
		w.call().over()
	})
	t.Run("401 and 407 on INVITE, re-INVITE and BYE, with a stale nonce", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.gw["auth"] = object{"user": "torture", "password": "change-me"}
		w.open()
		nonce := 0
		// proved lets a request pass that carries the latest nonce, and asks for it otherwise.
		proved := func(first *message, code string) *message {
			t.Helper()
			header, name := "WWW-Authenticate", "Authorization"
			if code == "407" {
				header, name = "Proxy-Authenticate", "Proxy-Authorization"
			}
			method, _, _ := strings.Cut(first.start, " ")
			m := first
			for _, stale := range []string{"", ",stale=true"} {
				nonce++
				w.bob.reply(m, code+" Unauthorized", "bobtag", "", fmt.Sprintf(`%s: Digest realm="torture",nonce="n%d",qop="auth",algorithm=MD5%s`, header, nonce, stale))
				if method == "INVITE" {
					w.bob.of(m.get("Call-ID"), "ACK")
				}
				m = w.bob.of(m.get("Call-ID"), method)
				if proof := m.get(name); !strings.Contains(proof, fmt.Sprintf(`nonce="n%d"`, nonce)) || !strings.Contains(proof, `username="torture"`) || strings.Contains(proof, "change-me") {
					t.Fatalf("%s: %s", name, proof)
				}
			}
			return m
		}
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		k.invite = proved(w.bob.next("INVITE"), "407")
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.hear()
		k.a.invite(k.ea.sdp() + "a=sendonly\r\n")
		again := proved(k.b.want("INVITE"), "401")
		k.b.reply(again, "200 OK", k.eb.sdp()+"a=recvonly\r\n")
		k.b.want("ACK")
		k.a.established()
		k.ea.tell(k.ra, k.eb)
		k.a.send("BYE", "")
		k.a.want("200 BYE")
		k.b.reply(proved(k.b.want("BYE"), "401"), "200 OK", "")
	})
}

func TestT33_Options(t *testing.T) {
	t.Parallel()
	t.Run("out of and in a dialog", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		w.alice.outside("ping").send("OPTIONS", "", "Accept: application/sdp")
		res := w.alice.next("final OPTIONS")
		if res.code() != 200 || !strings.Contains(res.get("Allow"), "INVITE") || res.get("Accept") != "application/sdp" {
			t.Errorf("%s", res.raw)
		}
		k := w.call()
		for _, d := range []*dialog{k.a, k.b} {
			d.send("OPTIONS", "")
			if res := d.want("final OPTIONS"); res.code() != 200 {
				t.Errorf("%s", res.start)
			}
		}
		stray := w.alice.outside("ping")
		stray.remote += ";tag=torture.0123456789abcdef01234567"
		stray.send("OPTIONS", "")
		if res := stray.want("final OPTIONS"); res.code() != 481 {
			t.Errorf("in a dialog that is none: %s", res.start)
		}
		k.over()
	})
	t.Run("what we hear of a peer", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.gw["options"] = object{"every": "1s", "down": 5, "demote": "1h"}
		w.spare["options"] = object{"every": "1s", "down": 5, "demote": "1h"}
		w.config["routes"].([]any)[0] = object{"name": "in", "from": []any{"uc"}, "to": []any{"gw", "spare"}}
		w.open()
		ask := func(p *peer, status string) { t.Helper(); p.reply(p.next("OPTIONS"), status, "x", "") }
		for _, status := range []string{"405 Method Not Allowed", "481 Call/Transaction Does Not Exist", "403 Forbidden"} {
			ask(w.bob, status) // somebody is there
			ask(w.carol, "200 OK")
		}
		if strings.Contains(w.main.Said(), "trunk health changed") {
			t.Error("an answer that proves life changed the health of the trunk")
		}
		called := func(p *peer) {
			t.Helper()
			a := w.alice.invite("+4312345", w.ears().ea.sdp())
			p.reply(p.next("INVITE"), "486 Busy Here", "x", "")
			a.failed(486)
		}
		called(w.bob)
		ask(w.bob, "503 Service Unavailable")
		w.main.Says("after=demoted")
		called(w.carol)
		ask(w.bob, "405 Method Not Allowed")
		w.main.Says("after=up")
		k := w.call()
		k.over()
	})
	t.Run("five unanswered", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.gw["options"] = object{"every": "1s", "down": 5, "demote": "1h"}
		w.config["routes"].([]any)[0] = object{"name": "in", "from": []any{"uc"}, "to": []any{"gw", "spare"}}
		w.open()
		w.main.SaysWithin("after=down", 100*time.Second)
		if n := w.bob.had("OPTIONS"); n < 5 {
			t.Errorf("down after %d", n)
		}
		k := w.ears()
		k.eb = listen(t, w.carol.at.Addr(), 0xcccc0033)
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		k.invite = w.carol.next("INVITE") // at once
		k.b = w.carol.called(k.invite, "caroltag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.over()
		if w.bob.had("INVITE") != 0 {
			t.Error("a trunk that is down was called")
		}
	})
}

func TestT34_ResponseMapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp")
	w.gw["failover"] = object{"codes": []any{500, 502, 504}}
	w.config["routes"].([]any)[0] = object{"name": "in", "from": []any{"uc"}, "to": []any{"gw", "spare"}}
	w.open()
	for _, code := range []string{"486 Busy Here", "603 Decline", "404 Not Found", "480 Temporarily Unavailable"} {
		t.Run(code+" is final", func(t *testing.T) {
			a := w.alice.invite("+4312345", w.ears().ea.sdp())
			inv := w.bob.next("INVITE")
			w.bob.reply(inv, code, "bobtag", "", `Reason: Q.850;cause=17;text="at pbx.secret.example"`)
			w.bob.next("ACK")
			n := 0
			fmt.Sscan(code, &n)
			res := a.failed(n)
			if got := res.get("Reason"); got != "Q.850;cause=17" {
				t.Errorf("Reason: %s", got)
			}
		})
	}
	if n := w.carol.had("INVITE"); n != 0 {
		t.Fatalf("%d went to the next trunk", n)
	}
	for _, code := range []string{"500 Server Internal Error", "502 Bad Gateway", "504 Server Time-out", "503 Service Unavailable"} {
		t.Run(code+" goes to the next trunk", func(t *testing.T) {
			k := w.ears()
			k.eb = listen(t, w.carol.at.Addr(), 0xcccc0034)
			k.a = w.alice.invite("+4312345", k.ea.sdp())
			inv := w.bob.next("INVITE")
			w.bob.reply(inv, code, "bobtag", "")
			w.bob.next("ACK")
			k.invite = w.carol.next("INVITE")
			k.b = w.carol.called(k.invite, "caroltag")
			k.b.reply(k.invite, "200 OK", k.eb.sdp())
			k.joined()
			k.hear()
			k.a.send("BYE", "", "Reason: Q.850;cause=31")
			k.a.want("200 BYE")
			bye := k.b.want("BYE")
			if bye.get("Reason") != "Q.850;cause=31" {
				t.Errorf("Reason: %s", bye.get("Reason"))
			}
			k.b.reply(bye, "200 OK", "")
		})
	}
}
