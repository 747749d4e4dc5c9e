package b2bua

import (
	"slices"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/sdp"
)

// ownBody is what we offer a trunk for a caller who brought no offer (RFC 3264 section 4: late offer): what telephony
// always has. Only its audio is used, never its addresses. G.711 of both laws, comfort noise (RFC 3389), DTMF (RFC 4733).
const ownBody = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0 13 101\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:101 telephone-event/8000\r\n" +
	"a=fmtp:101 0-16\r\na=ptime:20\r\n"

// A late offer is ours: an INVITE without SDP is answered with an offer, in its 200 or in a reliable 18x before, and the
// peer's answer comes in the ACK or in the PRACK (RFC 3261 section 13.2.1). Towards the trunk nothing is late: it always gets
// an offer, as some peers take no other INVITE.

// lateMedia is the media of a caller without an offer, as long as nobody knows any better.
func lateMedia(m Media) Media {
	m.Received, m.Audio, m.Slot, m.Theirs = ownBody, 0, 0, sdp.Sendrecv
	return m
}

// owesAnswer reports a caller to whom we make the offer and who has not answered it.
func (c *call) owesAnswer() bool { return c.a.open != nil && c.a.open.late && !c.a.open.agreed }

// offerBack makes of a trunk's answer the offer to the caller. The offer is made once: what the trunk says later changes its
// own leg alone, until the caller has answered.
func (c *call) offerBack(at *attempt, nb Media, final bool) ([]byte, error) {
	b := at.leg
	na := c.a.d.Media
	if c.from != nil { // who stays hears of it when the call is answered
		if err := c.apply(mute(na), &nb, b, final); err != nil {
			return nil, err
		}
		b.d.Media = nb
		return nil, nil
	}
	if c.a.open.offer == "" {
		answer, err := nb.heard()
		if err != nil {
			return nil, err
		}
		policy := &c.a.trunk.Policy
		next, err := c.b.terms(c.a).propose(na, mayBeSecure(policy), nb.Theirs)
		if err != nil {
			return nil, err
		}
		next.Mux, next.Opportunistic = policy.RTCPMux, policy.SRTP == config.SRTPOptional
		c.a.open.offer = string(next.tell(func() []byte { return sdp.Offer(answer, nb.Audio, next.side(next.Offered...)) }))
		na = next
	}
	if err := c.apply(mute(na), &nb, b, final); err != nil {
		return nil, err
	}
	c.a.d.Media, b.d.Media = na, nb
	return []byte(c.a.open.offer), nil
}

// mute is a leg whose peer has not said where it is: no keys yet, so nothing of it can be authenticated.
func mute(m Media) *Media {
	m.Secure = false
	return &m
}

// offerAgain answers a re-INVITE without SDP: our SDP as it stands, same keys, same version (RFC 6337 section 4.2). Only if
// the peer itself had put the call on hold the direction opens again: it is the one who can take that back.
func (c *call) offerAgain(l *leg) {
	s, o := l.open, c.other(l)
	now := l.d.Media
	if now.Pass || now.Fax {
		s.late, s.proposed = true, now
		c.renewed(l, s, []byte(now.Sent))
		return
	}
	next, err := c.b.terms(l).propose(now, now.Secure, o.d.Media.Wants)
	if err != nil {
		c.refuseOffer(l, s, err)
		return
	}
	body := []byte(now.Sent)
	if next.Ours != now.Ours {
		told, err := readSDP(now.Sent)
		if err != nil {
			c.refuseOffer(l, s, err)
			return
		}
		body = next.tell(func() []byte { return sdp.Update(told, now.Slot, next.side(next.Offered...), told, now.Slot) })
	}
	l.d.Media.Origin, l.d.Media.Sent = next.Origin, next.Sent
	s.late, s.proposed = true, next
	c.renewed(l, s, body)
}

// lateAnswered takes the answer to an offer of ours, from the ACK or the PRACK. Without a usable one a new call has no media
// and ends; an old one goes on as it was.
func (c *call) lateAnswered(l *leg, s *served, req *sip.Request) {
	if l.d.Media.Pass {
		c.passLate(l, s, req)
		return
	}
	first := l == c.a && s.seq == c.firstSeq
	now := s.proposed
	if first {
		now = l.d.Media
	}
	next, err := c.answerIn(l, now, req)
	if err != nil {
		c.log.Warn("answer to our offer not usable", "leg", l.name, "why", err)
		if first {
			c.hangUp(488, "no usable answer", l.String()+": "+err.Error())
		}
		return
	}
	s.agreed = true
	o := c.opposite(l)
	changed := !same(l.d.Media, next)
	if first {
		changed = !sameFormats(next, o.d.Media) || next.Theirs != sdp.Sendrecv
	}
	if err := c.applyBoth(l, &next, o, &o.d.Media); err != nil {
		c.log.Warn("media not changed", "error", err)
		if first {
			c.hangUp(503, "media relay", err.Error())
		}
		return
	}
	l.d.Media = next
	switch {
	case !changed:
	case o.d.Confirmed || c.mayUpdate(o):
		c.tell(&asked{to: o, from: l, offer: next})
	default:
		c.behind = true
	}
}

// answerIn reads the answer that a request carries.
func (c *call) answerIn(l *leg, now Media, req *sip.Request) (Media, error) {
	ct := req.ContentType()
	if len(req.Body()) == 0 || ct == nil || !isSDP(ct.Value()) {
		return now, refuse(488, "the %s carries no answer", req.Method)
	}
	ctx := c.b.patience()
	return c.b.terms(l).answered(ctx, now, req.Body())
}

// sameFormats reports whether two peers take the same payload types: each sends what the other names first, so one that
// took fewer must be known to the other.
func sameFormats(x, y Media) bool {
	return slices.Equal(x.formats(), y.formats())
}

func (m *Media) formats() []uint8 {
	line := m.mline()
	if line == nil {
		return nil
	}
	list := make([]uint8, len(line.Payloads))
	for i := range line.Payloads {
		list[i] = line.Payloads[i].Type
	}
	slices.Sort(list)
	return list
}
