package sdp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Want says which of several audio lines to take. Peers that can do both offer one line RTP/SAVP and one RTP/AVP.
type Want uint8

// What a trunk's policy asks for.
const (
	WantAny      Want = iota // the first one
	WantSecure               // with a usable key; failing that an RTP/SAVP one without, for the caller to say why
	WantPlain                // RTP/AVP or RTP/AVPF
	PreferSecure             // with a usable key, else plain, else RTP/SAVP without a usable key
)

// Audio returns the index of the first active audio m-line that we can relay.
func (s *Session) Audio() (index int, ok bool) { return s.Choose(WantAny) }

// Choose returns the index of the best active audio m-line for w: RTP/AVP, RTP/SAVP, RTP/AVPF or RTP/SAVPF, with a port
// and at least one payload type. Between equals the first in the body is taken.
func (s *Session) Choose(w Want) (index int, ok bool) {
	best := 0
	for i := range s.media {
		if rank := s.media[i].rank(w); rank > best {
			index, best = i, rank
		}
	}
	return index, best > 0
}

// rank says how well a line suits w; 0: not at all.
func (m *Media) rank(w Want) int {
	if !strings.EqualFold(m.Type, "audio") || m.Rejected() || len(m.Payloads) == 0 {
		return 0
	}
	keyed := slices.ContainsFunc(m.Crypto, func(c Crypto) bool { return c.Err == nil })
	switch {
	case w == WantAny:
		return 1
	case w == WantPlain && m.Secure():
		return 0
	case w == WantPlain:
		return 1
	case keyed:
		return 3
	case m.Secure():
		return 1
	case w == PreferSecure:
		return 2
	}
	return 0
}

// PickCrypto returns the first a=crypto line that can be used and whose suite is one of suites; with no suites given, any
// of the eight. The error says for every line why it was passed over.
func (m Media) PickCrypto(suites ...string) (Crypto, error) {
	if len(m.Crypto) == 0 {
		return Crypto{}, fmt.Errorf("m=%s %s has no a=crypto line", m.Type, m.Proto)
	}
	var why []error
	for _, c := range m.Crypto {
		switch {
		case c.Err != nil:
			why = append(why, c.Err)
		case len(suites) > 0 && !slices.Contains(suites, c.Suite):
			why = append(why, fmt.Errorf("a=crypto:%d: suite %s is not allowed here", c.Tag, c.Suite))
		default:
			return c, nil
		}
	}
	return Crypto{}, errors.Join(why...)
}
