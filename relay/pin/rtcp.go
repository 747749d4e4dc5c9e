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
func (s *State) GlanceRTCP(now int64, r *Rest, src Addr, seed uint64) verdict.Verdict {
	switch {
	case !s.acceptsRTCP(r, &src):
		return verdict.Stranger
	case s.mode == Exact || s.mux && s.pinned || s.pinned && src.IP == s.to.IP && src.Port == r.rtcpPort:
		return verdict.Forward
	case src == r.policy.Signalled || src == r.policy.rtcp():
		return r.budget.spend(now, &r.budget.known[fromSignalled])
	}
	return r.budget.spend(now, r.budget.stranger(&src.IP, seed))
}

// acceptsRTCP answers the first question for RTCP.
func (s *State) acceptsRTCP(r *Rest, src *Addr) bool {
	if !s.armed || !src.usable() {
		return false
	}
	if s.mode == Exact && r.policy.AnyPort {
		return s.pinned && src.IP == s.to.IP || !s.mux && *src == r.policy.rtcp()
	}
	if s.mux {
		return s.pinned && *src == s.to || !s.pinned && *src == r.policy.Signalled
	}
	return *src == r.policy.rtcp() || s.mode != Exact && s.pinned && src.IP == s.to.IP
}

// JudgeRTCP judges RTCP that passed all checks, on an SRTP leg those of SRTCP: Forward or Stranger. It never moves the pin
// and never keeps one alive; without mux it remembers which port of the pinned address reports come from.
func (s *State) JudgeRTCP(now int64, r *Rest, src Addr) verdict.Verdict {
	if !s.acceptsRTCP(r, &src) {
		return verdict.Stranger
	}
	if !s.mux && s.mode != Exact && s.pinned && src.IP == s.to.IP {
		if r.rtcpPort == 0 || src.Port == r.rtcpPort || now-r.rtcpLast >= int64(rtcpSilence) {
			r.rtcpPort, r.rtcpLast = src.Port, now
		}
	}
	return verdict.Forward
}

// SendRTCPTo returns where RTCP goes: with mux where RTP goes. Without, the signalled RTCP address, unless RTP is pinned
// elsewhere and RTCP came from there: then the port that it came from. False: nowhere.
func (s *State) SendRTCPTo(r *Rest) (Addr, bool) {
	if s.mux {
		return s.SendTo()
	}
	if s.pinned && s.to != r.policy.Signalled && r.rtcpPort != 0 {
		return Addr{IP: s.to.IP, Port: r.rtcpPort}, true
	}
	to := r.policy.rtcp()
	return to, s.armed && to.usable()
}
