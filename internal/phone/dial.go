package phone

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/emiago/sipgo/sip"
)

// byeWait bounds a BYE that nobody waits for.
const byeWait = 5 * time.Second

// Call dials a number through the proxy at an address, and returns when the call is answered; the media sockets are open
// then and the phone listens. The error is a *Refused if the far end said no. When ctx ends first the call is cancelled
// and the error is the context's.
func (p *Phone) Call(ctx context.Context, number string, proxy netip.AddrPort) (*Call, error) {
	return p.call(ctx, number, proxy)
}

// call does so with headers of its own in the INVITE.
func (p *Phone) call(ctx context.Context, number string, proxy netip.AddrPort, extra ...sip.Header) (*Call, error) {
	m, err := openMedia(p.opt.Media, p.suite)
	if err != nil {
		return nil, fmt.Errorf("phone: call %s: %w", number, err)
	}
	m.voice, m.ear.voice = p.voices.of(number)
	c := newCall(p, p.dialled(number, proxy), number, m)
	if err := c.dial(ctx, extra); err != nil {
		c.end()
		return nil, fmt.Errorf("phone: call %s: %w", number, err)
	}
	return c, nil
}

// newCall is a call whose SDP begins at a random session id.
func newCall(p *Phone, d *dialog, number string, m *media) *Call {
	return &Call{
		Number: number, p: p, d: d, m: m, done: make(chan struct{}), changed: make(chan struct{}), began: time.Now(),
		sdp: description{id: uint64(rand.Uint32()), flow: sendrecv, event: payloadEvent},
	}
}

// dial sends the INVITE and takes the answer.
func (c *Call) dial(ctx context.Context, extra []sip.Header) error {
	c.m.describe(&c.sdp)
	req := c.p.request(c.d, sip.INVITE, 0)
	for _, h := range extra {
		req.AppendHeader(h)
	}
	c.p.addSDP(req, c.sdp.write())
	res, err := c.p.invite(ctx, req)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	c.answered = time.Now()
	c.d.remote = *sip.HeaderClone(res.To()).(*sip.ToHeader)
	c.d.refresh(res.Contact())
	c.offers.Lock()
	defer c.offers.Unlock()
	if !c.p.enter(c) {
		return ErrEnded
	}
	if err := c.p.acknowledge(c.d, req.CSeq().SeqNo); err != nil {
		return err
	}
	if ctx.Err() == nil {
		err = c.agree(res.Body())
	} else {
		err = context.Cause(ctx) // the 2xx crossed our CANCEL
	}
	if err != nil {
		c.bye()
	}
	return err
}

// agree takes the answer to our offer.
func (c *Call) agree(body []byte) error {
	peer, err := scan(body)
	if err != nil {
		return err
	}
	k, err := c.m.choose(&peer)
	if err != nil {
		return err
	}
	return c.join(&peer, k, c.sdp.flow.answer(peer.flow))
}

// join points the media at the peer.
func (c *Call) join(peer *description, k key, f flow) error {
	if err := c.m.connect(peer, k, c.theirs, c.held || !f.sends()); err != nil {
		return err
	}
	c.theirs = k
	return nil
}

// bye ends a call that came about although it should not.
func (c *Call) bye() {
	ctx, stop := context.WithTimeout(context.Background(), byeWait)
	defer stop()
	c.p.do(ctx, c.p.request(c.d, sip.BYE, 0)) // the call ends whatever the peer says
}
