package b2bua

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
)

// waitingMost provisional responses wait for the PRACK of the one before; a callee that says more says the same.
const waitingMost = 8

// reliable is the provisional responses to the caller that are repeated until their PRACK (RFC 3262 section 3).
type reliable struct {
	on   bool   // the caller understands them, and its trunk lets us
	must bool   // it takes no other
	seq  uint32 // RSeq of the latest; 0: none yet
	out  *sip.Response
	sdp  bool // out has SDP: the 200 waits for its PRACK
	done bool // a body of ours was acknowledged: the first offer and answer are exchanged

	every      time.Duration
	again, end *deadline
	queue      []provisional
	then       func() // the 200 that waits
}

// provisional is an 18x on its way to the caller.
type provisional struct {
	code     int
	body     []byte
	reliably bool // the callee sent it so
}

// agreeReliable settles with the caller whether 18x are reliable. False: the INVITE is refused.
func (c *call) agreeReliable(req *sip.Request) bool {
	policy := &c.a.trunk.Policy
	must := requires(req, optionRel)
	switch {
	case must && prackOff(policy):
		c.reject(420, optionRel+" is off on this trunk", func(res *sip.Response) {
			res.AppendHeader(sip.NewHeader("Unsupported", optionRel))
		})
		return false
	case !must && !c.a.can.rel && policy.Prack == config.PrackRequired:
		c.reject(421, optionRel+" is required on this trunk", func(res *sip.Response) {
			res.AppendHeader(sip.NewHeader("Require", optionRel))
		})
		return false
	}
	c.rel.must = must || policy.Prack == config.PrackRequired
	c.rel.on = must || c.a.can.rel && !prackOff(policy)
	return true
}

// progress sends an 18x to the caller: reliably if it takes no other, if it carries SDP, or if the callee did.
func (c *call) progress(p provisional) {
	r := &c.rel
	if c.from != nil {
		c.from.report(p.code)
		return
	}
	if c.a.open == nil || c.a.open.final {
		return
	}
	if !r.on || !r.must && !p.reliably && p.body == nil {
		c.sendProvisional(p, nil)
		return
	}
	if r.out != nil {
		if len(r.queue) < waitingMost {
			r.queue = append(r.queue, p)
		}
		return
	}
	if r.seq == 0 {
		r.seq = uint32(c.b.random(1 << 30)) // RFC 3262 section 3: 1 to 2^31-1, with room to count
	}
	r.seq++
	r.sdp, r.every = p.body != nil, c.b.t.T1
	r.out = c.sendProvisional(p, func(res *sip.Response) {
		res.AppendHeader(sip.NewHeader("Require", optionRel))
		res.AppendHeader(sip.NewHeader("RSeq", strconv.FormatUint(uint64(r.seq), 10)))
	})
	out := r.out
	r.again = c.timers.after(r.every, func() { c.repeatProvisional(out) })
	r.end = c.timers.after(c.b.t.giveUp(), func() { c.unproved(out) })
}

// sendProvisional writes and sends one.
func (c *call) sendProvisional(p provisional, with func(*sip.Response)) *sip.Response {
	if p.body != nil {
		c.shown = true
	}
	in := c.a.open.in
	res := in.Response(p.code, reasonPhrase(p.code))
	c.addContact(res, in.Listener)
	res.AppendHeader(allowHeader)
	c.addHeard(c.a, res)
	if with != nil {
		with(res)
	}
	if p.body != nil {
		setSDP(res, p.body)
	}
	if err := in.Respond(res); err != nil {
		c.log.Debug("response not sent", "code", p.code, "error", err)
	}
	return res
}

// repeatProvisional sends it once more, T1, 2*T1, 4*T1 ... apart.
func (c *call) repeatProvisional(out *sip.Response) {
	r := &c.rel
	if r.out != out || c.a.open == nil || c.a.open.final {
		return
	}
	if err := c.a.open.in.Respond(out); err != nil {
		c.log.Debug("18x not repeated", "error", err)
	}
	r.every *= 2
	r.again = c.timers.after(r.every, func() { c.repeatProvisional(out) })
}

// unproved is a reliable 18x without a PRACK for 64*T1: the caller does not hear us (RFC 3262 section 3).
func (c *call) unproved(out *sip.Response) {
	r := &c.rel
	if r.out != out || c.a.open == nil || c.a.open.final || c.phase == Over {
		return
	}
	const why = "no PRACK"
	if c.phase < Answered {
		c.abandonAll(why)
		c.reject(504, why, nil)
		return
	}
	c.unanswer(504, byUs, why)
}

// unanswer refuses a caller whose 200 was not sent yet, though the callee's was received.
func (c *call) unanswer(code int, by, why string) {
	c.decline(c.a, code, nil)
	c.a.ended = true
	c.rec.Answer = time.Time{}
	c.sendBYE(c.peer, reasonSIP(code, why))
	c.finish(code, by, why)
}

// whenProved does what must not overtake the PRACK of an 18x with SDP: a 200 (RFC 3262 section 3).
func (c *call) whenProved(do func()) {
	r := &c.rel
	r.queue = nil
	if r.out == nil || !r.sdp {
		do()
		return
	}
	r.then = do
}

// pracked is a PRACK of the caller. RAck names what it means; an answer of the caller, or another offer, may be in it.
func (c *call) pracked(l *leg, in *guard.Inbound) {
	r := &c.rel
	if l != c.a || r.out == nil || !r.names(in.Req, c.firstSeq) {
		c.decide(in, 481, nil)
		return
	}
	c.timers.stop(r.again)
	c.timers.stop(r.end)
	sdp := r.sdp
	if sdp {
		r.done = true
	}
	r.out = nil
	switch s := c.a.open; {
	case s != nil && sdp && s.late && !s.agreed:
		c.decide(in, 200, nil)
		c.lateAnswered(l, s, in.Req)
	case len(in.Req.Body()) > 0:
		c.updated(l, in)
	default:
		c.decide(in, 200, nil)
	}
	if c.phase == Over {
		return
	}
	if then := r.then; then != nil {
		r.then = nil
		then()
		return
	}
	if len(r.queue) > 0 {
		p := r.queue[0]
		r.queue = r.queue[1:]
		c.progress(p)
	}
}

// names reports whether the RAck of a PRACK means the response that waits: its RSeq, the CSeq number, the method.
func (r *reliable) names(req *sip.Request, invite uint32) bool {
	list := values(req, "RAck")
	if len(list) != 1 {
		return false
	}
	f := strings.Fields(list[0])
	return len(f) == 3 && f[0] == fmt.Sprint(r.seq) && f[1] == fmt.Sprint(invite) && strings.EqualFold(f[2], "INVITE")
}

// prack acknowledges a reliable provisional response of a peer. last is the RSeq of the one before, 0 if there is none. False:
// the response is a repetition, or one before it is missing, and means nothing (RFC 3262 section 4).
func (c *call) prack(l *leg, last *uint32, res *sip.Response) bool {
	list := values(res, "RSeq")
	if !requires(res, optionRel) || len(list) != 1 || toTag(res) == "" {
		return true
	}
	seq, err := strconv.ParseUint(strings.TrimSpace(list[0]), 10, 32)
	if err != nil || seq == 0 || *last != 0 && uint32(seq) != *last+1 {
		return false
	}
	*last = uint32(seq)
	req, err := l.d.request(sip.PRACK, l.d.next())
	if err != nil {
		c.log.Warn("PRACK not sent", "leg", l.name, "error", err)
		return true
	}
	req.AppendHeader(sip.NewHeader("RAck", fmt.Sprintf("%d %d INVITE", seq, cseq(res))))
	c.send(l, c.way(l), req, func(res *sip.Response, err error) {
		if err != nil || res.StatusCode >= 300 {
			c.log.Info("PRACK not accepted", "leg", l.name, "error", err)
		}
	})
	return true
}
