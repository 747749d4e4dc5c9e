package phone

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Repetition of a 2xx until its ACK (RFC 3261 section 13.3.1.4 and table 4).
const (
	t1       = 500 * time.Millisecond
	t2       = 4 * time.Second
	ackAfter = 64 * t1
)

// Incoming is a call that waits to be answered.
type Incoming struct {
	Number string // that was called
	Caller string // user part of From

	// Replaces is the call whose place this one is to take (RFC 3891): Answer hangs it up. nil: none.
	Replaces *Call

	p         *Phone
	req       *sip.Request
	tx        *sip.ServerTx
	d         *dialog
	body      []byte
	began     time.Time
	final     atomic.Bool
	cancelled chan struct{}
}

// requested takes every request. It runs on a goroutine of its own.
func (p *Phone) requested(req *sip.Request, tx *sip.ServerTx) {
	cseq, to, from, id := req.CSeq(), req.To(), req.From(), req.CallID()
	if cseq == nil || to == nil || from == nil || id == nil {
		p.respond(tx, req, 400, "")
		return
	}
	tag, inside := to.Params.Get("tag")
	c := p.find(dialogID{id.Value(), tag})
	switch {
	case req.Method == sip.ACK:
		tx.Terminate() // an ACK is answered by nobody
		if c != nil {
			c.acknowledged(cseq.SeqNo)
		}
	case req.Method == sip.OPTIONS:
		res := p.response(req, 200, "")
		res.AppendHeader(sip.NewHeader("Allow", methods))
		res.AppendHeader(sip.NewHeader("Accept", contentSDP))
		p.sent(res)
		tx.Respond(res)
	case req.Method == sip.INVITE && !inside:
		p.ring(req, tx)
	case req.Method == sip.NOTIFY:
		p.notified(req, tx, dialogID{id.Value(), tag})
	case req.Method != sip.INVITE && req.Method != sip.BYE && req.Method != sip.CANCEL && req.Method != sip.REFER:
		res := p.response(req, 405, "")
		res.AppendHeader(sip.NewHeader("Allow", methods))
		p.sent(res)
		tx.Respond(res)
	case c == nil || req.Method == sip.CANCEL: // of an INVITE that is there the transaction takes it
		p.respond(tx, req, 481, "")
	case req.Method == sip.BYE:
		p.respond(tx, req, 200, "")
		c.end()
	case req.Method == sip.REFER:
		c.referred(req, tx)
	default:
		c.reinvited(req, tx)
	}
}

// ring hands a new call to whoever takes calls.
func (p *Phone) ring(req *sip.Request, tx *sip.ServerTx) {
	old, refuse := p.replacing(req)
	d := called(req)
	req.To().Params.Add("tag", d.id.tag) // also sipgo's own 487 is under our tag
	in := &Incoming{
		Number: req.Recipient.User, Caller: req.From().Address.User, Replaces: old,
		p: p, req: req, tx: tx, d: d, body: req.Body(), began: time.Now(), cancelled: make(chan struct{}),
	}
	if !tx.OnCancel(func(*sip.Request) { close(in.cancelled) }) {
		return
	}
	p.respond(tx, req, 100, "")
	if refuse != 0 {
		in.Reject(refuse)
		return
	}
	if f := p.onCall.Load(); f != nil {
		(*f)(in)
	}
	in.Reject(480)
}

// Cancelled is closed when the caller gave up.
func (in *Incoming) Cancelled() <-chan struct{} { return in.cancelled }

// Ring tells the caller that the phone rings.
func (in *Incoming) Ring() error {
	if in.gone() {
		return fmt.Errorf("phone: ring: %w", ErrEnded)
	}
	res := in.p.response(in.req, 180, in.d.id.tag)
	in.p.addSDP(res, nil)
	in.p.sent(res)
	return in.tx.Respond(res)
}

// Reject refuses the call with a status of 300 to 699. After an answer or another refusal it does nothing.
func (in *Incoming) Reject(code int) error {
	if in.final.Swap(true) {
		return nil
	}
	if in.gone() {
		return nil // the transaction has sent its 487
	}
	return in.p.respond(in.tx, in.req, code, in.d.id.tag)
}

func (in *Incoming) gone() bool {
	select {
	case <-in.cancelled:
		return true
	default:
		return false
	}
}

// Answer accepts the call and returns when the caller's ACK has come. An offer that does not suit the phone is refused
// with 488.
func (in *Incoming) Answer() (*Call, error) {
	peer, err := scan(in.body)
	if err != nil {
		return nil, in.unsuitable(err)
	}
	m, err := openMedia(in.p.opt.Media, in.p.suite)
	if err != nil {
		return nil, errors.Join(err, in.Reject(503))
	}
	m.ear.voice, m.voice = in.p.voices.of(in.Number)
	c := newCall(in.p, in.d, in.Number, m)
	c.began = in.began
	if err = c.take(&peer); err != nil {
		c.end()
		return nil, in.unsuitable(err)
	}
	if in.final.Swap(true) || in.gone() || !in.p.enter(c) {
		c.end()
		return nil, fmt.Errorf("phone: answer: %w", ErrEnded)
	}
	c.offers.Lock()
	defer c.offers.Unlock()
	if err := c.accept(in.tx, in.req); err != nil {
		c.end()
		return nil, fmt.Errorf("phone: answer: %w", err)
	}
	c.answered = time.Now()
	if old := in.Replaces; old != nil {
		old.bye()
		old.end()
	}
	return c, nil
}

func (in *Incoming) unsuitable(err error) error {
	return fmt.Errorf("phone: answer: %w", errors.Join(err, in.Reject(488)))
}

// take makes our answer to an offer and points the media at the peer.
func (c *Call) take(peer *description) error {
	k, err := c.m.choose(peer)
	if err != nil {
		return err
	}
	mine := sendrecv
	if c.held {
		mine = sendonly
	}
	next := description{
		id: c.sdp.id, version: c.sdp.version + 1,
		flow: mine.answer(peer.flow), event: peer.event, others: peer.others, place: peer.place,
	}
	c.m.describe(&next)
	if next.secure {
		next.keys[0].tag = k.tag // RFC 4568 section 5.1.2: the answer has the tag of the line that it takes
	}
	if err := c.join(peer, k, next.flow); err != nil {
		return err
	}
	c.sdp = next
	return nil
}

// accept sends the 2xx with our SDP until its ACK comes. Without one the call is over.
func (c *Call) accept(tx *sip.ServerTx, req *sip.Request) error {
	acked := c.expect(req.CSeq().SeqNo)
	res := c.p.response(req, 200, c.d.id.tag)
	c.p.addSDP(res, c.sdp.write())
	giveUp, again, every := time.NewTimer(ackAfter), time.NewTimer(0), t1
	defer giveUp.Stop()
	defer again.Stop()
	for {
		select {
		case <-again.C:
			c.p.sent(res)
			if err := tx.Respond(res); err != nil {
				return err
			}
			again.Reset(every)
			every = min(2*every, t2)
		case <-acked:
			return nil
		case <-c.done:
			return ErrEnded
		case <-c.p.done:
			return net.ErrClosed
		case <-giveUp.C:
			c.bye()
			return errors.New("no ACK came")
		}
	}
}

// expect says which ACK is waited for.
func (c *Call) expect(seq uint32) <-chan struct{} {
	c.acks.Lock()
	defer c.acks.Unlock()
	c.await, c.acked = seq, make(chan struct{})
	return c.acked
}

func (c *Call) acknowledged(seq uint32) {
	c.acks.Lock()
	defer c.acks.Unlock()
	if c.acked != nil && c.await == seq {
		close(c.acked)
		c.acked = nil
	}
}

// reinvited takes an INVITE inside the call: hold, resume, another address or key.
func (c *Call) reinvited(req *sip.Request, tx *sip.ServerTx) {
	if !c.offers.TryLock() {
		c.p.respond(tx, req, 491, "")
		return
	}
	defer c.offers.Unlock()
	contact := req.Contact()
	peer, err := scan(req.Body())
	if err == nil {
		err = c.take(&peer)
	}
	if err != nil {
		c.p.respond(tx, req, 488, "")
		return
	}
	c.d.refresh(contact)
	if err := c.accept(tx, req); err != nil {
		c.end()
		return
	}
	c.change()
}
