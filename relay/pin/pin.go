package pin

import (
	"time"

	"tandem/relay/verdict"
)

// Times and counts of evidence.
const (
	roamSilence = 200 * time.Millisecond // ten lost packets of 20 ms: shorter re-pins on jitter
	learnWindow = 5 * time.Second        // from the first acceptable packet: later, a newcomer is more likely an attacker
	learnRun    = 4                      // in-order packets: 80 ms, more than a scanner's stray probes
	authRun     = 3                      // fresh packets: a tag proves more than a run
	maxStep     = 100                    // largest step between packets in order (RFC 3550 A.1, MAX_MISORDER)
	formerHold  = 2 * time.Second        // packets in flight from the address that signalling just left (as long as an old key lives)
)

// State is what a packet from the pinned source, or to it, needs: 40 bytes of plain memory, written by the leg's worker only.
// The zero value accepts nobody and sends nowhere.
type State struct {
	to        Addr   // where we send: the pinned source or, before, what signalling named
	mode      Mode   // of the armed policy, like mux
	run       uint8  // in-order packets of the candidate; 0: none is followed
	armed     bool   // signalling has spoken
	pinned    bool   // to is a pinned source
	heard     bool   // ssrc and last are set
	contested bool   // two live candidates keep the leg from being pinned
	mux       bool   // RTCP goes where RTP goes
	ssrc      uint32 // of the last accepted packet
	last      int64  // time of the last accepted packet of the pinned source (exact: of the leg), ns
}

// Rest is what else belongs to a State, away from the lines that every packet touches: the policy that is armed, and the evidence of
// sources that are not pinned. It has the same writer.
type Rest struct {
	policy Policy
	budget budget

	// The source that gathers evidence, and who disputes it.
	cand      Addr
	candSeq   uint16
	candSSRC  uint32
	candLast  int64 // time of the candidate's last packet
	rivalLast int64 // time of the last packet of another candidate, while contested
	windowEnd int64 // learn: no first pin after this; 0: nothing acceptable came yet

	// Since signalling changed last.
	armedAt int64
	former  Addr // where the leg was pinned before signalling named another address

	// RTCP on a port of its own.
	rtcpPort uint16 // source port of accepted RTCP from the pinned address; 0: none came
	rtcpLast int64
}

// Policy returns the policy that is armed.
func (r *Rest) Policy() *Policy { return &r.policy }

// Evidence is what a packet that passed all checks says about its source.
type Evidence struct {
	Seq           uint16
	SSRC          uint32
	KnownPT       bool // the payload type was negotiated
	Authenticated bool // its SRTP tag verified
	Fresh         bool // its index is newer than all before: not a late packet, not merely "not replayed"
}

// Arm starts the leg anew after signalling changed: it forgets the pin, the SSRC and all evidence, and sends to the signalled
// address again. With the policy that is armed already it does nothing, so an identical re-INVITE changes nothing. It
// returns whether it re-armed.
func (s *State) Arm(now int64, r *Rest, p *Policy) bool {
	if s.armed && *p == r.policy {
		return false
	}
	next := Rest{policy: *p, armedAt: now, budget: r.budget}
	if !s.armed {
		next.budget.fill(now)
	}
	if was := &r.policy.Signalled; *was != p.Signalled && was.usable() && p.Signalled.usable() {
		next.former = r.former
		if s.pinned {
			next.former = s.to
		}
		if next.former == p.Signalled {
			next.former = Addr{}
		}
	}
	*r = next
	*s = State{to: p.Signalled, mode: p.Mode, armed: true, mux: p.Mux, pinned: p.Mode == Exact && p.Signalled.usable()}
	return true
}

// Glance tells whether a source is worth a tag check, before any crypto. Forward: go on. Stranger: this leg does not listen
// to it now. OverBudget: it might be right, but has asked too often. It changes budgets and nothing else. seed is a secret of
// the process.
func (s *State) Glance(now int64, r *Rest, src Addr, seed uint64) verdict.Verdict {
	if s.pinned && src == s.to {
		return verdict.Forward
	}
	if !s.accepts(now, r, &src) {
		return verdict.Stranger
	}
	if s.mode == Exact {
		return verdict.Forward // AnyPort: the peer itself, from another port
	}
	switch {
	case src == r.policy.Signalled:
		return r.budget.spend(now, &r.budget.known[fromSignalled])
	case s.run > 0 && src == r.cand:
		return r.budget.spend(now, &r.budget.known[fromCandidate])
	case r.policy.inPrefixes(&src.IP):
		return r.budget.spend(now, &r.budget.known[fromPrefixes])
	}
	return r.budget.spend(now, r.budget.stranger(&src.IP, seed))
}

// accepts answers the first question for a source that is not the pinned one: could a packet from there go on, or be
// evidence, if it proves itself?
func (s *State) accepts(now int64, r *Rest, src *Addr) bool {
	if !s.armed || !src.usable() {
		return false
	}
	switch s.mode {
	case Exact:
		return r.policy.AnyPort && s.pinned && src.IP == s.to.IP
	case Learn:
		if *src == r.policy.Signalled {
			return true // may take its pin back at any time: signalling outranks packets
		}
		if s.pinned && (s.alive(now) || src.IP != s.to.IP) {
			return false
		}
		return r.policy.vouched(&src.IP)
	case Auth:
		return !s.alive(now) && r.policy.within(&src.IP)
	}
	return false
}

// alive tells whether the pinned source was heard within the silence time. A live pin cannot be moved.
func (s *State) alive(now int64) bool {
	return s.pinned && s.heard && now-s.last < int64(roamSilence)
}

// Judge answers both questions for a packet that passed all checks: v is whether it goes on, pinned whether the address
// that SendTo returns has changed by it. Stranger and WrongSSRC change nothing; Contested remembers the candidates.
func (s *State) Judge(now int64, r *Rest, src Addr, e Evidence) (pinned bool, v verdict.Verdict) {
	if s.mode == Auth && !e.Authenticated {
		return false, verdict.Stranger // a caller's mistake must not pin
	}
	if s.pinned && src == s.to {
		return false, s.hear(now, e)
	}
	if !s.accepts(now, r, &src) {
		return false, verdict.Stranger
	}
	switch s.mode {
	case Exact:
		return false, s.hear(now, e) // AnyPort: accepted, and never where we send
	case Learn:
		return s.learn(now, r, src, e)
	}
	return s.authenticate(now, r, src, e)
}

// hear takes a packet of the accepted source. On plain RTP another SSRC must wait until the one before fell silent: who
// spoofs the tuple must know the SSRC too.
func (s *State) hear(now int64, e Evidence) verdict.Verdict {
	if s.heard && e.SSRC != s.ssrc && !e.Authenticated && now-s.last < int64(roamSilence) {
		return verdict.WrongSSRC
	}
	s.ssrc, s.last, s.heard = e.SSRC, now, true
	s.run, s.contested = 0, false
	return verdict.Forward
}

// take pins src, and tells whether that is another address than the one we sent to.
func (s *State) take(now int64, r *Rest, src Addr, e Evidence) bool {
	before, _ := s.SendTo()
	if !s.pinned || s.to != src {
		r.rtcpPort = 0
	}
	s.to, s.pinned = src, true
	s.ssrc, s.last, s.heard = e.SSRC, now, true
	s.run, s.contested = 0, false
	return src != before
}

// SendTo answers the second question: the signalled address until a source is pinned, then that one. False: nowhere, because
// signalling has named no usable address (yet, or as hold).
func (s *State) SendTo() (Addr, bool) { return s.to, s.pinned || s.to.usable() }

// Pinned returns the pinned source. In exact mode that is the signalled one, from the answer on.
func (s *State) Pinned() (Addr, bool) {
	if !s.pinned {
		return Addr{}, false
	}
	return s.to, true
}

// Contested tells whether two live candidates keep a learning leg from being pinned. It falls with the next packet that is
// accepted.
func (s *State) Contested() bool { return s.contested }
