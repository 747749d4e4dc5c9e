package b2bua

import (
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// inviteKey finds the INVITE that a CANCEL means: it repeats these of it (RFC 3261 section 9.1).
type inviteKey struct {
	listener, source string
	callID, fromTag  string
	branch           string
	seq              uint32
}

func keyOf(in *guard.Inbound) inviteKey {
	k := inviteKey{listener: in.Listener, source: in.Source.Addr().String(),
		callID: callID(in.Req), fromTag: fromTag(in.Req), seq: cseq(in.Req)}
	if v := in.Req.Via(); v != nil {
		k.branch, _ = param(v.Params, "branch")
	}
	return k
}

// earlyCancel is a CANCEL that came before its INVITE.
type earlyCancel struct {
	in    *guard.Inbound
	timer *time.Timer
}

// Handle takes a request from the stack. It never blocks: what is not answered at once goes into the mailbox of a call.
func (b *B2BUA) Handle(in *guard.Inbound) {
	req := in.Req
	switch tag := toTag(req); {
	case req.IsCancel():
		b.cancel(in)
	case tag != "":
		b.inside(in, tag)
	case req.IsAck(): // of nothing: there is no answer to an ACK
		b.count(DropStray)
	case req.IsInvite():
		b.admit(in)
	case req.Method == sip.OPTIONS:
		b.options(in)
	case req.Method == sip.REFER: // a transfer of no call of ours
		b.answer(in, 403, nil)
	case req.Method == sip.SUBSCRIBE: // to nothing that we tell (RFC 6665 section 4.2.1)
		b.answer(in, 489, func(res *sip.Response) { res.AppendHeader(sip.NewHeader("Allow-Events", eventRefer)) })
	case slices.Contains(methods, string(req.Method)):
		b.answer(in, 481, nil)
	default:
		b.answer(in, 405, func(res *sip.Response) { res.AppendHeader(allowHeader) })
	}
}

// proven are the names of the peer's certificate if its chain was verified: a name that anybody may write proves nothing.
func proven(in *guard.Inbound) []string {
	if !in.Verified {
		return nil
	}
	return in.TLSNames
}

// answer responds where no call is concerned.
func (b *B2BUA) answer(in *guard.Inbound, code int, with func(*sip.Response)) {
	if err := b.respond(in, code, with); err != nil {
		b.log.Debug("response not sent", "method", in.Req.Method, "code", code, "error", err)
	}
}

// inside is a request inside a dialog: it belongs to the call whose tag it carries.
func (b *B2BUA) inside(in *guard.Inbound, tag string) {
	b.mu.Lock()
	m, ok := b.dialogs[tag]
	b.mu.Unlock()
	switch {
	case ok:
		m.c.deliver(m.l, in)
	case in.Req.IsAck():
		b.count(DropStray)
	default:
		b.answer(in, 481, nil)
	}
}

// admit starts a call, unless there is no room for one. While it drains a node takes no new call at all, not even an
// emergency call: the peers learn so from our OPTIONS, and another node takes it at once.
func (b *B2BUA) admit(in *guard.Inbound) {
	if b.draining.Load() {
		b.count(DropDraining)
		b.log.Info("refused: this node drains", "source", in.Source, "listener", in.Listener)
		b.answer(in, 503, retryAfter(b.soon()))
		return
	}
	v := b.seen.Load()
	tr, why := v.trunks.Identify(in.Listener, in.Source.Addr(), proven(in))
	if tr == nil {
		b.count(DropStranger)
		b.log.Info("refused: no trunk", "source", in.Source, "listener", in.Listener, "why", why)
		b.answer(in, 403, nil)
		return
	}
	user, ok := b.authenticated(v, tr, in)
	if !ok {
		return
	}
	inside, ok := b.crowd(v, tr, in)
	if !ok {
		return
	}
	id := b.newTag()
	in.SetLocalTag(id)
	c := newCall(b, v, id)
	c.a = &leg{name: legA, trunk: tr, open: &served{in: in, seq: cseq(in.Req)}}
	c.rec.From, c.rec.Source, c.rec.User = tr.Name, in.Source.String(), user
	c.begins(func() { c.invited(in) })
	c.counted, c.inside = true, inside
	active := int(b.active.Add(1))
	if c.surplus = active > b.limit(); active > b.limit()+emergencyReserve || !b.enter(c) {
		b.active.Add(-1)
		c.away()
		b.count(DropLimit)
		b.answer(in, 503, retryAfter(b.soon()))
		return
	}
	b.employ(c)
	if early := b.claimEarly(keyOf(in)); early != nil {
		early.in.SetLocalTag(id) // the tag of the 487 (RFC 3261 section 9.2)
		b.answer(early.in, 200, nil)
		c.postOwn(func() { c.cancelledEarly(early.in.Req) })
	}
}

// enter puts a call into the tables. False: too many wait for the end of what is over.
func (b *B2BUA) enter(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) >= overTimes*(b.limit()+emergencyReserve) {
		return false
	}
	b.hold(c.v)
	b.calls[c.id] = c
	b.work.Add(1)
	b.dialogs[c.id] = member{c, c.a}
	return true
}

// cancel is a CANCEL. One that met its INVITE was answered by the stack, and the INVITE with it; one that did not may have
// overtaken it, and waits a moment.
func (b *B2BUA) cancel(in *guard.Inbound) {
	if in.Invite == nil {
		b.parkCancel(in)
		return
	}
	b.mu.Lock()
	m, ok := b.dialogs[toTag(in.Invite.Req)]
	b.mu.Unlock()
	if ok {
		seq := cseq(in.Req)
		m.c.postOwn(func() { m.c.cancelled(m.l, in.Req, seq) })
	}
}

// parkCancel keeps a CANCEL for the INVITE that should have come first.
func (b *B2BUA) parkCancel(in *guard.Inbound) {
	k := keyOf(in)
	b.mu.Lock()
	if len(b.parked) >= parkedCalls || b.parked[k] != nil || b.closing.Load() {
		b.mu.Unlock()
		b.answer(in, 481, nil)
		return
	}
	b.parked[k] = &earlyCancel{in, time.AfterFunc(b.t.Park, func() {
		if b.claimEarly(k) != nil {
			b.answer(in, 481, nil)
		}
	})}
	b.mu.Unlock()
}

// claimEarly takes a parked CANCEL; nil: there is none, or somebody was faster.
func (b *B2BUA) claimEarly(k inviteKey) *earlyCancel {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.parked[k]
	if e == nil {
		return nil
	}
	e.timer.Stop()
	delete(b.parked, k)
	return e
}
