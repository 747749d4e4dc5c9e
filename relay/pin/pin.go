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

// State is what packets have proved about one leg: 192 bytes of plain memory, written by the leg's worker only. The
// zero value accepts nobody and sends nowhere.
type State struct {
	// A packet from the pinned source needs only these.
	pin    Addr   // where we send, if pinned
	pinned bool   // pin is set
	heard  bool   // ssrc and last are set
	run    uint8  // in-order packets of cand; 0: none is followed
	ssrc   uint32 // of the last accepted packet
	last   int64  // time of the last accepted packet of the pinned source (exact: of the leg), ns

	// The source that gathers evidence, and who disputes it.
	candSSRC  uint32
	candSeq   uint16
	cand      Addr
	candLast  int64 // time of the candidate's last packet
	rivalLast int64 // time of the last packet of another candidate, while contested
	windowEnd int64 // learn: no first pin after this; 0: nothing acceptable came yet
	contested bool
	armed     bool

	// RTCP on a port of its own.
	rtcpPort uint16 // source port of accepted RTCP from the pinned address; 0: none came
	rtcpLast int64

	// What signalling said last.
	digest    uint64 // fingerprint of the armed policy
	armedAt   int64
	signalled Addr
	former    Addr // where the leg was pinned before signalling named another address

	budget budget
}

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
func (s *State) Arm(now int64, p *Policy) bool {
	digest := p.fingerprint()
	if s.armed && digest == s.digest {
		return false
	}
	next := State{armed: true, digest: digest, armedAt: now, signalled: p.Signalled, budget: s.budget}
	if !s.armed {
		next.budget.fill(now)
	}
	if moved := s.signalled != p.Signalled; moved && s.signalled.usable() && p.Signalled.usable() {
		next.former = s.former
		if s.pinned {
			next.former = s.pin
		}
		if next.former == p.Signalled {
			next.former = Addr{}
		}
	}
	if p.Mode == Exact && p.Signalled.usable() {
		next.pin, next.pinned = p.Signalled, true
	}
	*s = next
	return true
}

// Glance tells whether a source is worth a tag check, before any crypto. Forward: go on. Stranger: this leg does not listen
// to it now. OverBudget: it might be right, but has asked too often. It changes budgets and nothing else. seed is a secret of
// the process.
func (s *State) Glance(now int64, p *Policy, src Addr, seed uint64) verdict.Verdict {
	if s.pinned && src == s.pin {
		return verdict.Forward
	}
	if !s.accepts(now, p, &src) {
		return verdict.Stranger
	}
	if p.Mode == Exact {
		return verdict.Forward // AnyPort: the peer itself, from another port
	}
	switch {
	case src == p.Signalled:
		return s.budget.spend(now, &s.budget.known[fromSignalled])
	case s.run > 0 && src == s.cand:
		return s.budget.spend(now, &s.budget.known[fromCandidate])
	case p.inPrefixes(&src.IP):
		return s.budget.spend(now, &s.budget.known[fromPrefixes])
	}
	return s.budget.spend(now, s.budget.stranger(&src.IP, seed))
}

// accepts answers the first question for a source that is not the pinned one: could a packet from there go on, or be
// evidence, if it proves itself?
func (s *State) accepts(now int64, p *Policy, src *Addr) bool {
	if !s.armed || !src.usable() {
		return false
	}
	switch p.Mode {
	case Exact:
		return p.AnyPort && s.pinned && src.IP == s.pin.IP
	case Learn:
		if *src == p.Signalled {
			return true // may take its pin back at any time: signalling outranks packets
		}
		if s.pinned && (s.alive(now) || src.IP != s.pin.IP) {
			return false
		}
		return p.vouched(&src.IP)
	case Auth:
		return !s.alive(now) && p.within(&src.IP)
	}
	return false
}

// alive tells whether the pinned source was heard within the silence time. A live pin cannot be moved.
func (s *State) alive(now int64) bool {
	return s.pinned && s.heard && now-s.last < int64(roamSilence)
}

// Judge answers both questions for a packet that passed all checks: v is whether it goes on, pinned whether the address
// that SendTo returns has changed by it. Stranger and WrongSSRC change nothing; Contested remembers the candidates.
func (s *State) Judge(now int64, p *Policy, src Addr, e Evidence) (pinned bool, v verdict.Verdict) {
	if p.Mode == Auth && !e.Authenticated {
		return false, verdict.Stranger // a caller's mistake must not pin
	}
	if s.pinned && src == s.pin {
		return false, s.hear(now, e)
	}
	if !s.accepts(now, p, &src) {
		return false, verdict.Stranger
	}
	switch p.Mode {
	case Exact:
		return false, s.hear(now, e) // AnyPort: accepted, and never where we send
	case Learn:
		return s.learn(now, p, src, e)
	}
	return s.authenticate(now, p, src, e)
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
func (s *State) take(now int64, p *Policy, src Addr, e Evidence) bool {
	before, _ := s.SendTo(p)
	if !s.pinned || s.pin != src {
		s.rtcpPort = 0
	}
	s.pin, s.pinned = src, true
	s.ssrc, s.last, s.heard = e.SSRC, now, true
	s.run, s.contested = 0, false
	return src != before
}

// SendTo answers the second question: the signalled address until a source is pinned, then that one. False: nowhere, because
// signalling has named no usable address (yet, or as hold).
func (s *State) SendTo(p *Policy) (Addr, bool) {
	if s.pinned {
		return s.pin, true
	}
	return p.Signalled, s.armed && p.Signalled.usable()
}

// Pinned returns the pinned source. In exact mode that is the signalled one, from the answer on.
func (s *State) Pinned() (Addr, bool) { return s.pin, s.pinned }

// Contested tells whether two live candidates keep a learning leg from being pinned. It falls with the next packet that is
// accepted.
func (s *State) Contested() bool { return s.contested }
