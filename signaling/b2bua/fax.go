package b2bua

import (
	"context"

	"tandem/internal/config"
	"tandem/signaling/sdp"
)

// A fax may go on as data (ITU-T T.38): one gateway offers m=image, alone or beside m=audio at port 0, where the audio of the
// call was, and once both have agreed the relay's stream carries UDPTL instead of RTP, on the ports that it has. Back to audio
// is another offer. Both trunks must say so (fax: passthrough); where one does not, the offer gets its 488, as it does from a
// far side that knows no T.38, and the gateways go on in G.711.
//
// T.38 has no encryption that gateways speak, so a leg whose audio is SRTP never changes to it unless its trunk says that it may
// be in clear (fax: passthrough_clear). The keys of such a leg end with its audio; the audio after the fax has new ones.

// sealed tells whether the leg's audio is SRTP, or was before the fax.
func (m *Media) sealed() bool { return m.Secure || m.Sealed }

// spoken is the body and the m-line of what the peer can hear: for who goes on to a new call in the middle of a fax, what
// telephony always has.
func (m *Media) spoken() (body string, audio int) {
	if m.Fax {
		return ownBody, 0
	}
	return m.Received, m.Audio
}

// faxed is a leg whose audio gives way to a fax, if its trunk lets it.
func (t terms) faxed(now Media) (Media, error) {
	switch {
	case t.policy.Fax != config.FaxPassthrough && t.policy.Fax != config.FaxClear:
		return now, refuse(488, "T.38 is refused on this trunk, the fax goes on as audio")
	case now.sealed() && t.policy.Fax != config.FaxClear:
		return now, refuse(488, "T.38 has no encryption, and the audio of this call is SRTP")
	}
	now.Fax, now.Sealed = true, now.sealed()
	now.Secure, now.TX, now.RX, now.Offered = false, Crypto{}, Crypto{}, nil
	return now, nil
}

// faxOffered reads an offer without audio and with a fax, at m-line at. A call that would begin with one is refused: gateways
// begin with audio, and find out then.
func (t terms) faxOffered(ctx context.Context, now Media, s *sdp.Session, at int) (Media, error) {
	if now.Sent == "" {
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

// proposeAgain makes of one side's offer, audio or fax, the offer for a leg that has agreed to something before.
func (t terms) proposeAgain(now Media, offer *Media) (next Media, body []byte, err error) {
	if offer.Fax {
		next, err = t.faxed(now)
		next.Ours = offer.Theirs
	} else {
		next, err = t.propose(now, now.sealed(), offer.Theirs)
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

// putBack tells a peer that accepted a re-INVITE what was agreed before, if it refused the fax in it after all or the relay did: else
// it would be left without audio too.
func (c *call) putBack(q *asked) {
	if q.media.Fax {
		c.tell(&asked{to: q.to, from: q.from, offer: q.from.d.Media})
	}
}
