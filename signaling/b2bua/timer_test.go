package b2bua

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

func TestSessionIntervalOfTheCallerIsHeeded(t *testing.T) {
	for _, tt := range []struct{ name, headers, code, expires, require string }{
		{"it asks", "Supported: timer\r\nSession-Expires: 1800", "200", "1800;refresher=uac", "timer"},
		{"it wants us to refresh", "Supported: timer\r\nSession-Expires: 600;refresher=uas", "200", "600;refresher=uas", ""},
		{"a proxy asks", "Session-Expires: 600", "200", "600;refresher=uas", ""},
		{"compact form", "Supported: timer\r\nx: 200;refresher=uac", "200", "200;refresher=uac", "timer"},
		{"too short", "Supported: timer\r\nSession-Expires: 60", "422", "", ""},
		{"it does not ask", "Supported: timer", "200", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), strings.Split(tt.headers, "\r\n")...)
			if tt.code == "422" {
				res := w.caller.next("422")
				if res.get("Min-SE") != "90" {
					t.Errorf("422:\n%s", res.raw)
				}
				a.ackFailure(res)
				w.gone()
				return
			}
			w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
			ok := w.caller.next("200 INVITE")
			if ok.get("Session-Expires") != tt.expires || ok.get("Require") != tt.require {
				t.Errorf("200:\n%s", ok.raw)
			}
			a.answered(ok)
			a.ack()
			if tt.expires != "" { // a refresh renews it
				a.other("UPDATE", "", "Supported: timer", "Session-Expires: 1200;refresher=uac")
				if ok := w.caller.next("200 UPDATE"); ok.get("Session-Expires") != "1200;refresher=uac" {
					t.Errorf("200 to UPDATE:\n%s", ok.raw)
				}
				a.other("UPDATE", "", "Supported: timer", "Session-Expires: 30")
				w.caller.next("422 UPDATE")
			}
			(&talk{w: w, a: a}).hangUp()
		})
	}
}

func TestTooShortIntervalForTheGatewayIsAskedForOnceMore(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.SessionTimer = config.TimerOn })
	})
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	if inv.get("Session-Expires") != "1800" || inv.get("Min-SE") != "" {
		t.Errorf("INVITE:\n%s", inv.raw)
	}
	w.gw1.reply(inv, "422 Session Interval Too Small", "x", "", "Min-SE: 3600")
	again := w.gw1.next("INVITE")
	if again.get("Session-Expires") != "3600" || again.get("Min-SE") != "3600" {
		t.Errorf("second INVITE:\n%s", again.raw)
	}
	w.gw1.reply(again, "422 Session Interval Too Small", "x", "", "Min-SE: 7200")
	a.ackFailure(w.caller.next("480"))
	w.gone()
}

// timed is an answered call of paper on whose B leg a session timer runs.
func timed(t *testing.T, answer ...sip.Header) *paper {
	p := newPaper(t, func(c *config.Config) {
		edit(c, "b1", func(tr *config.Trunk) { tr.SessionTimer = config.TimerOn })
	})
	p.invite(0)
	synctest.Wait()
	p.answer(0, 200, "callee", true, answer...)
	synctest.Wait()
	p.seq = 1
	p.fromCaller(0, sip.ACK, "")
	synctest.Wait()
	return p
}

// last is the latest request that was sent.
func (s *paperStack) last() *paperTx {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent[len(s.sent)-1]
}

func TestWeRefreshAfterHalfOfTheInterval(t *testing.T) {
	for name, tt := range map[string]struct {
		allow, method string
	}{"UPDATE": {"INVITE, UPDATE", "UPDATE"}, "re-INVITE": {"INVITE, BYE", "INVITE"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := timed(t, sip.NewHeader("Session-Expires", "1800;refresher=uac"), sip.NewHeader("Allow", tt.allow))
				first := string(p.stack.last().req.Body())
				for range 3 {
					n := p.stack.count()
					time.Sleep(15*time.Minute - time.Second)
					if p.stack.count() != n {
						t.Fatalf("%s too early", p.stack.last().req.Method)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					tx := p.stack.last()
					if string(tx.req.Method) != tt.method || p.stack.count() != n+1 || values(tx.req, "Session-Expires")[0] != "1800;refresher=uac" {
						t.Fatalf("refresh:\n%s", tx.req)
					}
					if got := string(tx.req.Body()); tt.method == "INVITE" && got != first {
						t.Errorf("the refresh changes the session:\n%s\n%s", got, first)
					}
					p.answer(n, 200, "callee", tt.method == "INVITE", sip.NewHeader("Session-Expires", "1800;refresher=uac"))
					synctest.Wait()
				}
				if p.b.Stats().Active != 1 {
					t.Error("the call ended")
				}
				p.over(t)
			})
		})
	}
}

func TestCallEndsWhenThePeerDoesNotRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := timed(t, sip.NewHeader("Session-Expires", "1800;refresher=uas"), sip.NewHeader("Allow", "INVITE, UPDATE"))
		time.Sleep(1800*time.Second - expiryMargin - time.Nanosecond)
		synctest.Wait()
		if p.b.Stats().Active != 1 {
			t.Fatal("ended too early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if r := <-p.records; r.By != byUs || !strings.HasPrefix(r.Why, "session timer") {
			t.Errorf("record %+v", r)
		}
		p.over(t)
	})
}

func TestRefreshThatMeetsNobodyEndsTheCall(t *testing.T) {
	for _, code := range []int{408, 481} {
		synctest.Test(t, func(t *testing.T) {
			p := timed(t, sip.NewHeader("Session-Expires", "1800;refresher=uac"), sip.NewHeader("Allow", "INVITE, UPDATE"))
			time.Sleep(15 * time.Minute)
			synctest.Wait()
			p.answer(p.stack.count()-1, code, "callee", false)
			synctest.Wait()
			if r := <-p.records; r.By != byUs {
				t.Errorf("record %+v", r)
			}
			p.over(t)
		})
	}
}

func TestPeerWithoutTimersIsRefreshedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := timed(t, sip.NewHeader("Allow", "INVITE, UPDATE"))
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		if m := p.stack.last().req.Method; m != sip.UPDATE {
			t.Errorf("%s", m)
		}
		p.over(t)
	})
}
