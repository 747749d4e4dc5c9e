package pin

import (
	"time"

	"tandem/relay/verdict"
)

// rtcpSilence is how long RTCP must be absent before reports go to another port of the pinned address: three times the
// minimum report interval of 5 s (RFC 3550 section 6.2).
const rtcpSilence = 15 * time.Second

// GlanceRTCP is Glance for RTCP: Forward, Stranger or OverBudget.
//
// With mux RTCP is accepted from where RTP is pinned, and from the signalled tuple before that. Without mux it is accepted
// from the signalled RTCP tuple and from the IP that is pinned for RTP; in exact mode from the tuple alone, or with
// AnyPort from its IP.
func (s *State) GlanceRTCP(now int64, p *Policy, src Addr, seed uint64) verdict.Verdict {
	switch {
	case !s.acceptsRTCP(p, &src):
		return verdict.Stranger
	case p.Mode == Exact || p.Mux && s.pinned || s.pinned && src.IP == s.pin.IP && src.Port == s.rtcpPort:
		return verdict.Forward
	case src == p.Signalled || src == p.rtcp():
		return s.budget.spend(now, &s.budget.known[fromSignalled])
	}
	return s.budget.spend(now, s.budget.stranger(&src.IP, seed))
}

// acceptsRTCP answers the first question for RTCP.
func (s *State) acceptsRTCP(p *Policy, src *Addr) bool {
	if !s.armed || !src.usable() {
		return false
	}
	if p.Mode == Exact && p.AnyPort {
		return s.pinned && src.IP == s.pin.IP || !p.Mux && *src == p.rtcp()
	}
	if p.Mux {
		return s.pinned && *src == s.pin || !s.pinned && *src == p.Signalled
	}
	return *src == p.rtcp() || p.Mode != Exact && s.pinned && src.IP == s.pin.IP
}

// JudgeRTCP judges RTCP that passed all checks, on an SRTP leg those of SRTCP: Forward or Stranger. It never moves the pin
// and never keeps one alive; without mux it remembers which port of the pinned address reports come from.
func (s *State) JudgeRTCP(now int64, p *Policy, src Addr) verdict.Verdict {
	if !s.acceptsRTCP(p, &src) {
		return verdict.Stranger
	}
	if !p.Mux && p.Mode != Exact && s.pinned && src.IP == s.pin.IP {
		if s.rtcpPort == 0 || src.Port == s.rtcpPort || now-s.rtcpLast >= int64(rtcpSilence) {
			s.rtcpPort, s.rtcpLast = src.Port, now
		}
	}
	return verdict.Forward
}

// SendRTCPTo returns where RTCP goes: with mux where RTP goes. Without, the signalled RTCP address, unless RTP is pinned
// elsewhere and RTCP came from there: then the port that it came from. False: nowhere.
func (s *State) SendRTCPTo(p *Policy) (Addr, bool) {
	if p.Mux {
		return s.SendTo(p)
	}
	if s.pinned && s.pin != p.Signalled && s.rtcpPort != 0 {
		return Addr{IP: s.pin.IP, Port: s.rtcpPort}, true
	}
	to := p.rtcp()
	return to, s.armed && to.usable()
}
