package b2bua

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// faxStep does one thing of a fax, or one of the many of step, to call or request number n.
func (p *paper) faxStep(t *testing.T, op byte, n int) {
	body := []string{faxOf("192.0.2.10", 5002), beside(faxOf("192.0.2.10", 5004)), faxOf("192.0.2.10", 0), sdpOf("192.0.2.10", 5000, "")}[n%4]
	const faxOperations = 5
	switch op %= operations + faxOperations; op {
	case operations:
		p.inviteWith(n, body)
	case operations + 1:
		p.fromCaller(n, sip.INVITE, body)
	case operations + 2:
		p.fromCallee(n, sip.INVITE, body)
	case operations + 3:
		p.answerWith(n, 200, body)
	case operations + 4:
		p.answerWith(n, 183, body)
	default:
		p.step(t, op, n)
	}
}

// inviteWith starts a call with an offer of its own.
func (p *paper) inviteWith(n int, offer string) {
	if len(p.calls) >= 4 {
		return
	}
	in := p.inbound(sip.INVITE, "192.0.2.10", fmt.Sprintf("call%d", n), "from", "", 1)
	in.Req.SetBody([]byte(offer))
	before := map[*call]bool{}
	for _, c := range p.b.all() {
		before[c] = true
	}
	p.b.Handle(in)
	for _, c := range p.b.all() {
		if !before[c] {
			p.calls, p.invites = append(p.calls, c), append(p.invites, in)
		}
	}
}

// answerWith answers the n-th request of ours with a body of its own.
func (p *paper) answerWith(n, code int, body string) {
	tx := p.stack.at(n)
	if tx == nil || tx.final {
		return
	}
	tx.final = code >= 200
	res := sip.NewResponseFromRequest(tx.req, code, "X", []byte(body))
	res.To().Params.Remove("tag")
	res.To().Params.Add("tag", "callee")
	res.AppendHeader(sip.NewHeader("Content-Type", contentSDP))
	res.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "b", Host: "192.0.2.20"}})
	tx.on(res, nil)
}

// FuzzFaxOrder plays faxes, from the first INVITE on, between everything else that happens to calls. Nothing may panic, no call, no
// place and no session may be left, and a leg with keys never is one of a fax.
func FuzzFaxOrder(f *testing.F) {
	const first, caller, callee, took, early = operations, operations + 1, operations + 2, operations + 3, operations + 4
	f.Add([]byte{first, 0, took, 0, 5, 0, caller, 3, took, 3, callee, 0, took, 0, 6, 0})             // fax, audio, fax
	f.Add([]byte{first, 1, early, 0, 12, 0, took, 0, 5, 0, 6, 0})                                    // early, beside switched-off audio
	f.Add([]byte{first, 0, took, 2, 11, 0})                                                          // refused in the 200
	f.Add([]byte{first, 0, 19, 9, took, 4, 5, 0, callee, 3, took, 2, took, 0, 7, 0})                 // failover, audio refused
	f.Add([]byte{0, 0, 16, 0, 5, 0, callee, 0, took, 0, caller, 0, 28, 0, 30, 0, 6, 0})              // inside a call
	f.Add([]byte{first, 0, took, 0, 5, 0, 31, 0, 16, 1, 16, 2, 16, 3, 20, 200, 6, 0})                // transfer of a fax
	f.Add([]byte{first, 0, 13, 0, 0, 1, 16, 1, 5, 1, 32, 1, took, 0, 16, 2, 16, 3, 16, 4, 20, 9, 6}) // semi-attended
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(t, func(c *config.Config) {
				for name, fax := range map[string]string{"a": config.FaxPassthrough, "b1": config.FaxClear, "b2": config.FaxPassthrough} {
					edit(c, name, func(tr *config.Trunk) { tr.Fax = fax })
				}
				edit(c, "b1", func(tr *config.Trunk) {
					tr.SRTP, tr.Suites = config.SRTPOptional, []string{"AES_CM_128_HMAC_SHA1_80"}
				})
				c.Routes = append(c.Routes, config.Route{Name: "back", From: []string{"b1", "b2"}, To: []string{"b2", "a"}})
			})
			for i := 0; i+1 < len(script); i += 2 {
				p.faxStep(t, script[i], int(script[i+1]))
				synctest.Wait()
				for _, c := range p.calls {
					for _, l := range []*leg{c.a, c.peer} {
						if l != nil && l.d.Media.Fax && (l.d.Media.Secure || l.d.Media.TX.Suite != "" || l.d.Media.RX.Suite != "") {
							t.Fatalf("leg %s has keys in a fax", l.name)
						}
					}
				}
			}
			p.over(t)
			if _, _, open := p.relay.counts(); open != 0 {
				t.Fatalf("%d sessions of the relay left open", open)
			}
		})
	})
}
