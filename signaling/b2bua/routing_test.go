package b2bua

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/internal/config"
)

func TestNumbersGoThroughDialPlanAndTheTrunksRules(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		rule := func(match, to string) config.NumberRule {
			return config.NumberRule{Match: regexp.MustCompile(match), To: to}
		}
		c.DialPlans = map[string][]config.NumberRule{"at": {rule(`^0(\d+)$`, "+43$1")}}
		edit(c, "alice", func(tr *config.Trunk) { tr.DialPlan = "at" })
		edit(c, "gw1", func(tr *config.Trunk) {
			tr.Called = []config.NumberRule{rule(`^\+43(\d+)$`, "+0043$1")}
			tr.Calling = []config.NumberRule{rule(`^\+43(\d+)$`, "+43999")}
			tr.RemovePlus = true
		})
	})
	a := w.caller.invite(w.west, "012345", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	if !strings.HasPrefix(inv.start, "INVITE sip:004312345@") || !strings.Contains(inv.get("To"), "<sip:004312345@") ||
		!strings.Contains(inv.get("From"), "<sip:43999@") || strings.Contains(inv.raw, "user=phone") {
		t.Errorf("first trunk:\n%s", inv.raw)
	}
	w.gw1.reply(inv, "503 Service Unavailable", "x", "")
	second := w.gw2.next("INVITE") // no rules: the number of the dial plan
	if !strings.HasPrefix(second.start, "INVITE sip:+4312345@"+w.gw2.addr.String()+";user=phone ") ||
		!strings.HasSuffix(second.get("To"), ";user=phone>") || !strings.Contains(second.get("From"), "<sip:+4311111@127.0.0.1;user=phone>") {
		t.Errorf("second trunk:\n%s", second.raw)
	}
	w.gw2.reply(second, "486 Busy Here", "x", "")
	a.ackFailure(w.caller.next("486"))
	r := w.record()
	for _, x := range [][2]string{{r.Called, "012345"}, {r.CalledPlanned, "+4312345"}, {r.CalledSent, "+4312345"},
		{r.Caller, "+4311111"}, {r.CallerPlanned, "+4311111"}, {r.CallerSent, "+4311111"}, {r.Route, "out"},
		{r.Decision, "route out to gw1, gw2"}, {r.CallIDB, second.get("Call-ID")}, {r.CallIDA, a.callID}, {r.Source, w.caller.addr.String()}} {
		if x[0] != x[1] {
			t.Errorf("record has %q, want %q", x[0], x[1])
		}
	}
	w.gone()
}

func TestOnlyGlobalNumbersAreCalledPhones(t *testing.T) {
	for user, want := range map[string]string{
		"+4312345": userPhone, "+1": userPhone, "+123456789012345": userPhone,
		"": "", "+": "", "112": "", "004312345": "", "+1234567890123456": "", "+43 1": "", "alice": "", "+43a": "", "++43": "",
	} {
		if got := phoneParam(user); got != want {
			t.Errorf("%q: %q", user, got)
		}
	}
}

// translating gives gw1 response rules.
func translating(rules ...config.ResponseRule) func(*config.Config, *Timers) {
	return func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.Responses = rules })
	}
}

func TestFailureIsTranslatedBeforeItDecides(t *testing.T) {
	busyIsFull := config.ResponseRule{Code: 486, Cause: 34, To: 503}
	for _, tt := range []struct {
		name    string
		rules   []config.ResponseRule
		answer  string
		reason  string
		want    string // code that the caller hears; empty: gw2 is tried
		tried   int    // code in the record
		told    int    // and what it was
		cause   int
		demoted bool
	}{
		{"cause 34 sent as 486", []config.ResponseRule{busyIsFull}, "486 Busy Here", "Q.850;cause=34", "", 503, 486, 34, false},
		{"a busy callee", []config.ResponseRule{busyIsFull}, "486 Busy Here", "Q.850;cause=17", "486", 486, 0, 17, false},
		{"a 503 that is none", []config.ResponseRule{{Code: 503, Cause: -1, To: 480}}, "503 Service Unavailable", "", "480", 480, 503, 0, true},
		{"another final code", []config.ResponseRule{{Code: 404, Cause: -1, To: 604}}, "404 Not Found", "", "604", 604, 404, 0, false},
		{"a decline is final whatever is made of it", []config.ResponseRule{{Code: 603, Cause: -1, To: 503}}, "603 Decline", "", "503", 503, 603, 0, false},
		{"and nothing else is made one that is called again", []config.ResponseRule{{Code: 503, Cause: -1, To: 603}}, "503 Service Unavailable", "", "603", 603, 503, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, translating(tt.rules...), func(c *config.Config, _ *Timers) {
				edit(c, "gw1", func(tr *config.Trunk) { tr.Failover.Codes = []int{408, 503, 504, 603} })
			})
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			var extra []string
			if tt.reason != "" {
				extra = []string{"Reason: " + tt.reason}
			}
			w.gw1.reply(w.gw1.next("INVITE"), tt.answer, "x", "", extra...)
			if tt.want == "" {
				w.answerOn2(a)
			} else {
				a.ackFailure(w.caller.next(tt.want))
			}
			r := w.record()
			if x := r.Tried[0]; x.Code != tt.tried || x.Translated != tt.told || x.Cause != tt.cause {
				t.Errorf("tried %+v", x)
			}
			if tt.want != "" && (r.Cause != tt.cause || len(r.Tried) != 1) {
				t.Errorf("record %+v", r)
			}
			gw1, _ := w.trunks.ByName("gw1")
			if got := gw1.State(time.Now()).String() == "demoted"; got != tt.demoted {
				t.Errorf("demoted is %v: health goes by what the peer said", got)
			}
			w.gone()
		})
	}
}

func TestOwnRefusalsTellTheirCause(t *testing.T) {
	for _, tt := range []struct {
		name, code, reason string
		retry              bool
		change             func(*config.Config, *Timers)
	}{
		{"no route", "404", "Q.850;cause=3", false, func(c *config.Config, _ *Timers) { c.Routes[0].Match = regexp.MustCompile(`^9`) }},
		{"no usages", "403", "Q.850;cause=21", false, func(c *config.Config, _ *Timers) { c.Routes[0].From = []string{"gw2"} }},
		{"a route that rejects", "603", "Q.850;cause=21", false, func(c *config.Config, _ *Timers) {
			c.Routes[0].To, c.Routes[0].Reject = nil, 603
		}},
		{"the only trunk is full", "503", "Q.850;cause=41", true, func(c *config.Config, _ *Timers) {
			c.Routes[0].To = []string{"gw1"}
			edit(c, "gw1", func(tr *config.Trunk) { tr.MaxBandwidth = 1 })
		}},
		{"the entering trunk is full", "503", "Q.850;cause=34", true, func(c *config.Config, _ *Timers) {
			edit(c, "alice", func(tr *config.Trunk) { tr.MaxBandwidth = 1 })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.change)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			res := w.caller.next(tt.code)
			if res.get("Reason") != tt.reason || (res.get("Retry-After") != "") != tt.retry {
				t.Errorf("Reason %q, Retry-After %q", res.get("Reason"), res.get("Retry-After"))
			}
			a.ackFailure(res)
			r := w.record()
			if "Q.850;cause="+itoa(r.Cause) != tt.reason || itoa(r.Code) != tt.code || r.By != byUs || r.Why == "" || r.Decision == "" {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestPeersThatWantANameSeeItInContactAndFrom(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		l := c.SIP.Listeners["east"]
		l.Advertise = "sbc.example.net"
		c.SIP.Listeners["east"] = l
		edit(c, "gw1", func(tr *config.Trunk) { tr.Options = config.Options{Every: time.Hour} })
	})
	_, port, _ := strings.Cut(w.east.String(), ":")
	ours := "sbc.example.net:" + port
	ping := w.gw1.next("OPTIONS")
	if ping.get("Contact") != "<sip:"+ours+";transport=udp>" || !strings.HasPrefix(ping.get("From"), "<sip:sbc.example.net>") {
		t.Errorf("ping:\n%s", ping.raw)
	}
	k := w.call()
	if k.invite.get("Contact") != "<sip:"+ours+";transport=udp>" || !strings.Contains(k.invite.get("From"), "<sip:+4311111@sbc.example.net;user=phone>") ||
		!strings.Contains(k.invite.start, "sip:+4312345@"+w.gw1.addr.String()+";user=phone") {
		t.Errorf("INVITE:\n%s", k.invite.raw)
	}
	for _, m := range []message{ping, k.invite} {
		if body := m.raw[:len(m.raw)-len(m.body)]; strings.Contains(body, w.east.String()) {
			t.Errorf("our address is shown:\n%s", body)
		}
	}
	k.b.target = "sip:" + w.east.String()
	k.hangUp()
}

func TestRequestFromElsewhereIsNotOfTheDialogWhateverItKnows(t *testing.T) {
	only := func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) {
			tr.Sources = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("127.0.0.3/32")}
		})
		edit(c, "gw2", func(tr *config.Trunk) { tr.Sources = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")} })
	}
	w := newWorld(t, only)
	k := w.call()
	thief, member := newPeerAt(t, "thief", "127.0.0.2"), newPeerAt(t, "member", "127.0.0.3")
	stolen := *k.b
	stolen.p = thief
	stolen.bye()
	thief.next("403 BYE")
	stolen.request("ACK", 1, "z9hG4bKx", stolen.target, "")
	eventually(t, "both to be counted", func() bool { return w.b.Stats().Drops[DropForeign] == 2 })
	if w.b.Calls()[0].Phase != "answered" {
		t.Error("a stranger who knew the tags ended the call")
	}
	k.b.p = member // of the same pool
	k.b.bye()
	member.next("200 BYE")
	bye := w.caller.next("BYE")
	w.caller.reply(bye, "200 OK", "", "")
	w.gone()
}

func TestEveryLogLineOfACallCarriesItsId(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newLoggedPaper(t, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		p.invite(0)
		synctest.Wait()
		id := p.calls[0].id
		p.answer(0, 503, "callee", false)
		synctest.Wait()
		p.answer(1, 486, "callee", false)
		p.over(t)
		want := map[string]bool{"routing": false, "routed": false, "INVITE sent": false, "trunk failed": false, "call": false}
		for line := range strings.Lines(log.String()) {
			var l struct{ Msg, Call, Trunk, Before, After, Why string }
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			if l.Msg == "trunk health changed" {
				if l.Trunk != "b1" || l.Before != "up" || l.After != "demoted" || l.Why != "answered 503" {
					t.Errorf("%s", line)
				}
				continue
			}
			want[l.Msg] = true
			if l.Call != id {
				t.Errorf("a line without the call's id: %s", line)
			}
		}
		for msg, seen := range want {
			if !seen {
				t.Errorf("no line %q", msg)
			}
		}
	})
}

func TestHealthIsLoggedOnceForEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		p := newLoggedPaper(t, slog.New(slog.NewTextHandler(&log, nil)), func(c *config.Config) {
			edit(c, "b1", func(tr *config.Trunk) {
				tr.Options = config.Options{Every: time.Minute, Demote: 3 * time.Minute, Down: 5}
			})
		})
		for range 10 {
			time.Sleep(time.Minute)
			synctest.Wait()
			p.stack.end()
		}
		p.trunk("b1").Answered(200, time.Now())
		time.Sleep(time.Second)
		synctest.Wait()
		var seen []string
		for line := range strings.Lines(log.String()) {
			_, what, _ := strings.Cut(line, "before=")
			seen = append(seen, strings.TrimSpace(what))
		}
		if len(seen) != 3 || !strings.HasPrefix(seen[0], "up after=demoted") || !strings.HasPrefix(seen[1], `demoted after=down why="5 OPTIONS`) ||
			!strings.HasPrefix(seen[2], "down after=up") {
			t.Errorf("%s", log.String())
		}
		p.over(t)
	})
}
