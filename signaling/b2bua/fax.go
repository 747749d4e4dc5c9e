package b2bua

import (
	"context"
	"slices"
	"strings"

	"tandem/internal/config"
	"tandem/signaling/sdp"
)

// A fax may go on as data (ITU-T T.38): one gateway offers m=image, alone or beside m=audio at port 0, where the audio of the
// call was, and once both have agreed the relay's stream carries UDPTL instead of RTP, on the ports that it has. Back to audio
// is another offer. Both trunks must say so (fax: passthrough); where one does not, the offer gets its 488, as it does from a
// far side that knows no T.38, and the gateways go on in G.711.
//
// A call may begin with one too, as a fax server's does: its INVITE offers m=image and no active audio. Trunks that refuse it are
// left out of the route. What the audio would have been is known of neither leg then: when there is some, a trunk that requires
// SRTP gets it, and one where it is optional an offer with keys that it need not take (RFC 8643).
//
// Where media goes past us (bypass.go) that holds for the first offer alone: what is said later crosses unjudged.
//
// T.38 has no encryption that gateways speak, so a leg whose audio is SRTP, or would have to be, never changes to it unless its
// trunk says that it may be in clear (fax: passthrough_clear). The keys of such a leg end with its audio; the audio after the fax
// has new ones.

// sealed tells whether the leg's audio is SRTP, or was before the fax.
func (m *Media) sealed() bool { return m.Secure || m.Sealed }

// keyed tells whether audio that takes the place of a fax is offered the leg with keys.
func (m *Media) keyed() bool { return m.sealed() || m.Fax && m.Opportunistic }

// spoken is the body and the m-line of what the peer can hear: for who goes on to a new call in the middle of a fax, what
// telephony always has.
func (m *Media) spoken() (body string, audio int) {
	if line := m.mline(); m.Fax || line != nil && line.Fax() {
		return ownBody, 0
	}
	return m.Received, m.Audio
}

// faxed is a leg whose audio gives way to a fax, or that begins with one, if its trunk lets it.
func (t terms) faxed(now Media) (Media, error) {
	first := now.Sent == ""
	sealed := now.sealed() || first && t.policy.SRTP == config.SRTPRequired
	switch {
	case t.policy.Fax != config.FaxPassthrough && t.policy.Fax != config.FaxClear:
		return now, refuse(488, "T.38 is refused on this trunk, a fax may go as audio")
	case sealed && first && t.policy.Fax != config.FaxClear:
		return now, refuse(488, "T.38 has no encryption, and SRTP is required on this trunk")
	case sealed && t.policy.Fax != config.FaxClear:
		return now, refuse(488, "T.38 has no encryption, and the audio of this call is SRTP")
	}
	if first {
		now.Opportunistic, now.Mux = t.policy.SRTP == config.SRTPOptional, t.policy.RTCPMux
	}
	now.Fax, now.Sealed = true, sealed
	now.Secure, now.TX, now.RX, now.Offered = false, Crypto{}, Crypto{}, nil
	return now, nil
}

// faxOffered reads an offer with a fax, at m-line at, and without audio that we can relay.
func (t terms) faxOffered(ctx context.Context, now Media, s *sdp.Session, at int) (Media, error) {
	speech := func(m sdp.Media) bool { return !m.Rejected() && strings.EqualFold(m.Type, "audio") }
	if now.Sent == "" && slices.ContainsFunc(s.Media(), speech) { // a caller who speaks as well is told what is wrong with that
		return now, refuse(488, "no active audio over RTP/AVP or RTP/SAVP")
	}
	next, err := t.faxed(now)
	if err != nil {
		return now, err
	}
	m := s.Media()[at]
	next.hear(s, at)
	next.Slot = at
	next.Theirs, next.Wants = m.Flow(), m.Flow()
	return next, t.remote(ctx, &next, m)
}

// faxAnswered reads the answer to a fax that was proposed.
func (t terms) faxAnswered(ctx context.Context, now Media, s *sdp.Session) (Media, error) {
	if now.Slot >= len(s.Media()) || s.Media()[now.Slot].Rejected() || !s.Media()[now.Slot].Fax() {
		return now, refuse(488, "the answer refuses the fax")
	}
	m := s.Media()[now.Slot]
	next := now
	next.hear(s, now.Slot)
	next.Theirs = m.Flow()
	if now.Ours == sdp.Sendrecv {
		next.Wants = next.Theirs
	}
	return next, t.remote(ctx, &next, m)
}

// faxRouted leaves out the trunks that refuse the fax with which the call begins. False: none is left, and the call is refused.
func (c *call) faxRouted() bool {
	if !c.a.d.Media.Fax {
		return true
	}
	taken := c.queue[:0]
	for _, hop := range c.queue {
		tr, ok := c.v.trunks.ByName(hop.Trunk)
		if !ok {
			taken = append(taken, hop) // its turn tells what becomes of it
			continue
		}
		if _, err := (terms{policy: &tr.Policy}).faxed(Media{}); err != nil {
			c.skip(hop, "the call begins with a fax: "+err.Error())
			continue
		}
		taken = append(taken, hop)
	}
	if c.queue = taken; len(taken) == 0 {
		c.refuseOffer(c.a, c.a.open, refuse(488, "no trunk takes a call that begins with T.38"))
		return false
	}
	return true
}

// proposeFirst makes of the caller's offer, audio or fax, the first offer for a trunk.
func (t terms) proposeFirst(fresh Media, offer *Media, secure bool) (Media, error) {
	if !offer.Fax {
		return t.propose(fresh, secure, offer.Theirs)
	}
	next, err := t.faxed(fresh)
	next.Ours = offer.Theirs
	return next, err
}

// proposeAgain makes of one side's offer, audio or fax, the offer for a leg that has agreed to something before.
func (t terms) proposeAgain(now Media, offer *Media) (next Media, body []byte, err error) {
	if offer.Fax {
		next, err = t.faxed(now)
		next.Ours = offer.Theirs
	} else {
		next, err = t.propose(now, now.keyed() || t.policy.SRTP == config.SRTPRequired, offer.Theirs)
	}
	if err != nil {
		return now, nil, err
	}
	from, err := offer.heard()
	if err != nil {
		return now, nil, err
	}
	before, err := readSDP(now.Sent)
	if err != nil {
		return now, nil, err
	}
	next.Slot = before.Place(offer.Fax, now.Slot)
	body = next.tell(func() []byte {
		return sdp.Update(from, offer.Audio, next.side(next.Offered...), before, next.Slot)
	})
	return next, body, nil
}

// putBack tells a peer that accepted a re-INVITE what was agreed before, if it refused in it after all what the other side asked for,
// or the relay did: else it would be left without audio, or without its fax. Only somebody's wish is put back, so that a peer
// that refuses this too is not asked for ever.
func (c *call) putBack(q *asked) {
	if q.s != nil && (q.offer.Fax || q.to.d.Media.Fax) {
		c.tell(&asked{to: q.to, from: q.from, offer: q.from.d.Media})
	}
}

// noteFax keeps in the record when both sides had a fax for the first time.
func (c *call) noteFax(a, b *Media) {
	if a.Fax && b.Fax && c.rec.Fax.IsZero() {
		c.rec.Fax = c.b.o.Now()
	}
}
