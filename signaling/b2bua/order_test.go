package b2bua

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/guard"
)

// step does what one byte of a fuzzer says to call or request number n.
func (p *paper) step(t *testing.T, op byte, n int) {
	hold := sdpOf("192.0.2.10", 5000, "a=sendonly\r\n")
	switch op %= operations; op {
	case 0, 1:
		p.invite(n)
	case 2:
		p.cancel(n, true)
	case 3:
		p.cancel(n, false)
	case 4:
		p.fromCaller(n, sip.ACK, "")
	case 5:
		p.seq = 1 // the ACK of the first INVITE
		p.fromCaller(n, sip.ACK, "")
		p.seq = 1000 + uint32(n)
	case 6:
		p.fromCaller(n, sip.BYE, "")
	case 7:
		p.fromCallee(n, sip.BYE, "")
	case 8:
		p.fromCaller(n, sip.INVITE, hold)
	case 9:
		p.fromCallee(n, sip.INVITE, hold)
	case 10:
		p.fromCaller(n, sip.INVITE, sdpOf("192.0.2.99", 5000, ""))
	case 11:
		p.fromCallee(n, sip.ACK, "")
	case 12, 13, 14, 15:
		p.answer(n, []int{100, 180, 183, 183}[op%4], "callee", op%4 == 3)
	case 16, 17:
		p.answer(n, 200, "callee", true)
	case 18:
		p.answer(n, 200, "fork", n%2 == 0)
	case 19:
		p.answer(n, []int{302, 401, 408, 481, 486, 487, 488, 491, 500, 503, 603}[n%11], "callee", false)
	case 20:
		time.Sleep(time.Duration(n+1) * 150 * time.Millisecond) // of the bubble's clock
	case 21:
		p.event(n)
	case 22, 23, 24, 25:
		p.trouble(t, op, n)
	default:
		p.late(op, n)
	}
}

// operations are how many things step and late can do.
const operations = 38

// late is what a call may do inside beside offers in re-INVITEs.
func (p *paper) late(op byte, n int) {
	changed := []string{"", sdpOf("192.0.2.10", 5000, "a=inactive\r\n"), sdpOf("192.0.2.10", 5000, "", "8"), sdpOf("192.0.2.66", 5000, "")}[n%4]
	switch op {
	case 26:
		p.fromCaller(n, sip.UPDATE, changed)
	case 27:
		p.fromCallee(n, sip.UPDATE, changed)
	case 28:
		p.fromCaller(n, sip.INVITE, "")
	case 29:
		p.fromCallee(n, sip.INVITE, "")
	case 30:
		p.fromCaller(n, sip.ACK, changed)
	case 31:
		p.fromCallee(n, sip.REFER, "", sip.NewHeader("Refer-To", "<sip:2@x>"))
	case 32:
		p.fromCaller(n, sip.REFER, "", sip.NewHeader("Refer-To", p.attended(n)))
	case 33:
		p.fromCaller(n, sip.PRACK, changed, sip.NewHeader("RAck", p.rack(n)))
	case 34:
		p.answer(n, 183, []string{"callee", "fork", "third"}[n%3], n%2 == 0, sip.NewHeader("Require", optionRel), sip.NewHeader("RSeq", fmt.Sprint(1+n%3)))
	case 35:
		p.answer(n, []int{199, 202, 422, 405}[n%4], "callee", false, sip.NewHeader("Min-SE", "2000"))
	case 36:
		p.fromCallee(n, []sip.RequestMethod{sip.INFO, sip.NOTIFY, sip.SUBSCRIBE}[n%3], "SIP/2.0 200 OK", sip.NewHeader("Event", eventRefer))
	case 37:
		p.invite(n, sip.NewHeader("Supported", "100rel, timer"), sip.NewHeader("Session-Expires", "120"), sip.NewHeader("Allow", "UPDATE"))
	}
}

// rack is the RAck of what the n-th call waits for; its goroutine is asleep.
func (p *paper) rack(n int) string {
	if len(p.calls) == 0 {
		return "1 1 INVITE"
	}
	c := p.calls[n%len(p.calls)]
	return fmt.Sprintf("%d %d INVITE", c.rel.seq, c.firstSeq)
}

// attended is a target that means another call of the caller, or nobody.
func (p *paper) attended(n int) string {
	if len(p.calls) == 0 || n%2 == 0 {
		return "<sip:3@x>"
	}
	i := (n + 1 + n/len(p.calls)) % len(p.calls) // the one after n, or any
	return fmt.Sprintf("<sip:3@x?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3Dfrom>", callID(p.invites[i].Req), p.calls[i].id)
}

// trouble is what neither side of a call does.
func (p *paper) trouble(t *testing.T, what byte, n int) {
	switch what {
	case 22:
		p.relay.failing(nil)
		if n%2 == 0 {
			p.relay.failing(func(string, string) error { return errTest })
		}
	case 23:
		if tx := p.stack.at(n); tx != nil && !tx.final {
			tx.final = true
			tx.on(nil, guard.ErrTransport)
		}
	case 24:
		p.reload(t, changed(p.cfg, func(c *config.Config) {
			if n%2 == 0 {
				delete(c.Trunks, "b1")
			}
			if n%3 == 0 {
				edit(c, "a", func(tr *config.Trunk) { tr.MaxCalls = 1 })
			}
		}))
	case 25:
		if len(p.calls) > 0 {
			p.b.Hangup(p.calls[n%len(p.calls)].id)
		}
	}
}

// event is one of the relay's, or of the operator.
func (p *paper) event(n int) {
	switch n % 4 {
	case 0:
		p.relay.mu.Lock()
		ids := slices.Clone(p.relay.opens)
		p.relay.mu.Unlock()
		for _, o := range ids {
			p.b.MediaEvent(control.EventTimeout, control.Event{Session: o.ID})
		}
	case 1:
		p.relay.forget()
		p.b.RelayUp(control.HelloResult{Boot: fmt.Sprint(n)})
	case 2:
		p.b.RelayUp(control.HelloResult{Boot: "same"})
	case 3:
		p.b.Drain(n%8 == 3)
	}
}

// FuzzDialogOrder plays requests, responses, timers and events in any order. Nothing may panic, and afterwards no call, no
// dialog, no place of a trunk and no session of the relay may be left.
func FuzzDialogOrder(f *testing.F) {
	f.Add([]byte{0, 0, 13, 0, 16, 0, 5, 0, 6, 0})                                                                           // a call
	f.Add([]byte{3, 0, 0, 0})                                                                                               // CANCEL before INVITE
	f.Add([]byte{0, 0, 13, 0, 2, 0, 16, 0})                                                                                 // CANCEL crossing 200
	f.Add([]byte{0, 0, 16, 0, 6, 0, 5, 0})                                                                                  // BYE before ACK
	f.Add([]byte{0, 0, 16, 0, 5, 0, 8, 0, 9, 0, 19, 7})                                                                     // glare
	f.Add([]byte{0, 0, 16, 0, 5, 0, 8, 0, 16, 1, 7, 0})                                                                     // hold, BYE of the callee
	f.Add([]byte{0, 0, 19, 9, 16, 1, 18, 1, 20, 255})                                                                       // failover, fork, no ACK
	f.Add([]byte{0, 0, 22, 0, 16, 0, 22, 1, 0, 1, 21, 1})                                                                   // the relay comes and goes
	f.Add([]byte{0, 0, 15, 0, 23, 0, 17, 1, 5, 0, 10, 0})                                                                   // early media, transport failure
	f.Add([]byte{0, 0, 0, 1, 16, 0, 16, 1, 21, 0, 21, 2, 21})                                                               // media timeout
	f.Add([]byte{0, 0, 19, 1, 16, 1, 5, 0, 8, 0, 19, 2, 6, 0})                                                              // challenges
	f.Add([]byte{0, 0, 24, 0, 16, 0, 0, 1, 24, 1, 0, 2, 25, 0})                                                             // reloads without b1 and with it, hung up
	f.Add([]byte{0, 0, 0, 1, 0, 2, 16, 0, 20, 255, 16, 1})                                                                  // caps
	f.Add([]byte{37, 0, 34, 0, 33, 0, 26, 1, 34, 1, 16, 0, 5, 0, 20, 255, 27, 2})                                           // reliable, UPDATE, timers
	f.Add([]byte{37, 0, 34, 0, 34, 1, 34, 2, 35, 0, 18, 0, 33, 0, 33, 0, 5, 0})                                             // forks, 199
	f.Add([]byte{0, 0, 16, 0, 5, 0, 28, 0, 30, 2, 29, 0, 11, 0, 16, 1, 26, 3})                                              // late offers in a call
	f.Add([]byte{0, 0, 16, 0, 5, 0, 32, 0, 16, 1, 16, 2, 16, 3, 16, 4, 20, 9, 6, 0})                                        // transfer by the caller
	f.Add([]byte{0, 0, 16, 0, 5, 0, 31, 0, 13, 1, 6, 0, 16, 2, 16, 3, 20, 200})                                             // by the callee, who stays hangs up
	f.Add([]byte{0, 0, 16, 0, 5, 0, 0, 1, 16, 1, 5, 1, 32, 1, 16, 2, 16, 3, 16, 4, 16, 5, 7, 0})                            // attended
	f.Add([]byte{0, 0, 13, 0, 0, 1, 16, 1, 5, 1, 32, 1, 16, 0, 16, 2, 16, 3, 16, 4, 16, 5, 16, 6, 20, 9, 6, 1})             // semi-attended
	f.Add([]byte{0, 0, 13, 0, 0, 1, 16, 1, 5, 1, 32, 1, 2, 0, 6, 1, 16, 0, 16, 2, 16, 3, 16, 4, 16, 5, 16, 6, 20, 9, 7, 1}) // and who asked leaves
	f.Add([]byte{0, 0, 13, 0, 0, 1, 16, 1, 5, 1, 32, 1, 2, 0, 7, 1, 20, 255})                                               // and who was to stay
	f.Add([]byte{37, 48, 34, 48, 21, 48, 33, 0})                                                                            // a PRACK after the end
	f.Add([]byte{0, 0, 35, 2, 16, 1, 5, 0, 20, 255, 16, 2, 35, 3, 36, 0, 36, 1, 36, 2})                                     // 422, INFO, NOTIFY
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(t, func(c *config.Config) {
				edit(c, "b1", func(tr *config.Trunk) {
					tr.SessionTimer, tr.MaxCalls, tr.Auth = config.TimerOn, 2, &config.Auth{User: "u", Password: "p"}
					tr.Responses = []config.ResponseRule{{Code: 486, Cause: -1, To: 503}}
				})
				edit(c, "b2", func(tr *config.Trunk) { tr.MaxBandwidth = 200 })
				c.Routes = append(c.Routes, config.Route{Name: "back", From: []string{"b1", "b2"}, To: []string{"b2", "a"}})
			})
			first := p.b.seen.Load().trunks
			for i := 0; i+1 < len(script); i += 2 {
				p.step(t, script[i], int(script[i+1]))
				synctest.Wait()
			}
			p.over(t)
			for _, tr := range append(first.All(), p.b.seen.Load().trunks.All()...) {
				if s := tr.Snapshot(time.Now()); s.Calls != 0 || s.Bandwidth != 0 {
					t.Fatalf("trunk %s: %d places and %d kbit/s taken", tr.Name, s.Calls, s.Bandwidth)
				}
			}
			if n := len(p.b.running); n != 0 {
				t.Fatalf("%d configs still in use", n)
			}
			if _, _, open := p.relay.counts(); open != 0 {
				t.Fatalf("%d sessions of the relay left open", open)
			}
		})
	})
}

func TestMailboxOfABusyCallDropsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		p.invite(0)
		synctest.Wait()
		c := p.calls[0]
		held := make(chan struct{})
		c.postOwn(func() { <-held })
		synctest.Wait()
		for range 2 * mailboxSize {
			p.fromCaller(0, sip.OPTIONS, "")
		}
		if n := p.b.Stats().Drops[DropMailbox]; n != 2*mailboxSize-(mailboxSize-ownShare) {
			t.Errorf("%d dropped", n)
		}
		if !c.postOwn(func() {}) {
			t.Error("no room was left for our own answers")
		}
		close(held)
		synctest.Wait()
		p.over(t)
	})
}
