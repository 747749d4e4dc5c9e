package pin

import "tandem/relay/verdict"

// learn judges a packet from a source that is acceptable but not pinned.
func (s *State) learn(now int64, r *Rest, src Addr, e Evidence) (bool, verdict.Verdict) {
	counts := e.KnownPT && (e.Fresh || !e.Authenticated)
	if src == r.policy.Signalled {
		if counts {
			return s.take(now, r, src, e), verdict.Forward
		}
		return false, s.unpinned()
	}
	if s.pinned && e.SSRC != s.ssrc || !counts || r.isFormer(now, src) {
		return false, s.unpinned()
	}
	if !s.pinned && r.windowEnd == 0 {
		r.windowEnd = now + int64(learnWindow)
	}
	if s.dispute(now, r, src, e) {
		return false, verdict.Contested
	}
	if !s.pinned && now >= r.windowEnd {
		s.follow(now, r, src, e, false) // heard as before, but too late to be pinned
		return false, verdict.Forward
	}
	if s.follow(now, r, src, e, s.inOrder(now, r, src, e)) >= learnRun {
		return s.take(now, r, src, e), verdict.Forward
	}
	return false, s.unpinned()
}

// unpinned is the fate of an acceptable packet that pins nothing: it goes on before the pin, but once a leg is pinned no
// other source is heard until it is pinned itself.
func (s *State) unpinned() verdict.Verdict {
	switch {
	case s.pinned:
		return verdict.Stranger
	case s.contested:
		return verdict.Contested
	}
	return verdict.Forward
}

// dispute tells whether two live candidates claim to be the peer. It remembers when each was heard last, so that the one
// who goes on alone can be followed.
func (s *State) dispute(now int64, r *Rest, src Addr, e Evidence) bool {
	if s.run == 0 || now-r.candLast >= int64(roamSilence) {
		s.contested = false // nobody is there to dispute: src is or becomes the candidate
		return false
	}
	if src != r.cand {
		s.contested, r.rivalLast = true, now
		return true
	}
	if s.contested && now-r.rivalLast < int64(roamSilence) {
		s.follow(now, r, src, e, false)
		return true
	}
	s.contested = false
	return false
}

// inOrder tells whether a packet continues the candidate's run.
func (s *State) inOrder(now int64, r *Rest, src Addr, e Evidence) bool {
	return s.run > 0 && src == r.cand && e.SSRC == r.candSSRC && now-r.candLast < int64(learnWindow)
}

// follow counts a packet for its source and returns the length of the run. A new source, or one that does not continue,
// begins at one. In learn a packet twice or late neither counts nor breaks a run; a jump begins anew.
func (s *State) follow(now int64, r *Rest, src Addr, e Evidence, continues bool) uint8 {
	run := uint8(1)
	if continues {
		switch step := e.Seq - r.candSeq; {
		case step >= 1 && step <= maxStep:
			run = s.run + 1
		case step == 0 || -step <= maxStep:
			r.candLast = now
			return s.run
		}
	}
	r.cand, r.candSSRC, r.candSeq, r.candLast, s.run = src, e.SSRC, e.Seq, now, run
	return run
}

// isFormer tells whether src is the address that signalling just left. Its packets in flight must not win it back the pin.
func (r *Rest) isFormer(now int64, src Addr) bool {
	return src == r.former && now-r.armedAt < int64(formerHold)
}

// authenticate judges a packet whose tag verified, from a source that is not pinned while the pinned one, if any, is silent. Its
// index must be newer than all before: a replay or a copy of an old packet proves nothing about who sends it now.
func (s *State) authenticate(now int64, r *Rest, src Addr, e Evidence) (bool, verdict.Verdict) {
	if !e.Fresh {
		return false, verdict.Stranger
	}
	if src == r.policy.Signalled && !s.pinned {
		return s.take(now, r, src, e), verdict.Forward
	}
	if r.isFormer(now, src) {
		return false, verdict.Forward
	}
	run := uint8(1)
	if s.run > 0 && src == r.cand {
		run = s.run + 1
	}
	if run >= authRun {
		return s.take(now, r, src, e), verdict.Forward
	}
	r.cand, r.candSSRC, r.candSeq, r.candLast, s.run = src, e.SSRC, e.Seq, now, run
	return false, verdict.Forward
}
