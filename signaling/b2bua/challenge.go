package b2bua

import (
	"github.com/emiago/sipgo/sip"

	"tandem/signaling/digest"
	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// authenticated asks the peer of a trunk with challenge who it is, before there is a call: what an INVITE without a right
// answer leaves behind is its transaction, a count and, where somebody tried, a log line. Requests inside a dialog are not
// asked; their tags and their source prove them. False: the INVITE is answered.
func (b *B2BUA) authenticated(v *view, tr *trunk.Trunk, in *guard.Inbound) (user string, ok bool) {
	s := v.doors[tr.Name]
	if s == nil {
		return "", true
	}
	user, result := s.Check(values(in.Req, "Authorization"), string(in.Req.Method), in.Req.Recipient.String(), in.Req.Body())
	stale := false
	switch result {
	case digest.OK:
		return user, true
	case digest.Wrong, digest.Malformed:
		b.count(DropWrong)
	case digest.Replayed:
		b.count(DropReplayed)
		stale = true // whoever copied the answer cannot give another one
	case digest.Stale:
		stale = true
	}
	if result != digest.Missing && result != digest.Stale {
		b.log.Warn("refused: not authenticated", "trunk", tr.Name, "source", in.Source, "user", clip(user, maxUser), "answer", result.String())
	}
	if result == digest.Malformed {
		b.answer(in, 400, nil)
		return "", false
	}
	b.counters.challenged.Add(1)
	b.answer(in, 401, func(res *sip.Response) {
		for _, c := range s.Challenge(stale) {
			res.AppendHeader(sip.NewHeader("WWW-Authenticate", c))
		}
	})
	return "", false
}
