package pin

import "time"

// livePin returns the pinned source if it was heard within the silence time, by the harness's own record.
func (w *world) livePin() Addr {
	at, ok := w.m.Pinned()
	for i, a := range cast {
		if r := &w.sources[i]; ok && a == at && r.heard && w.now-r.at < int64(roamSilence) {
			return at
		}
	}
	return Addr{}
}

// countCheck records that a source which is not pinned passed Glance, and compares with what it may have in any second: what
// was saved up, and what comes in that second.
func (w *world) countCheck(who int) {
	if w.p.Mode == Exact {
		return // the peer itself
	}
	src, r := cast[who], &w.sources[who]
	rate := strangerRate
	if src == w.p.Signalled || w.p.inPrefixes(&src.IP) {
		rate = knownRate
	}
	if r.proved {
		rate += knownRate + strangerRate
	}
	r.checks = append(r.checks, w.now)
	for w.now-r.checks[0] >= int64(time.Second) {
		r.checks = r.checks[1:]
	}
	if most := 2*rate + 1; len(r.checks) > most {
		w.violate(checksWithinBudget, "%d checks of %v within a second, at most %d are allowed", len(r.checks), src, most)
	}
}

// note counts a packet that proved itself as evidence for its source.
func (w *world) note(who int, e Evidence) {
	r := &w.sources[who]
	r.proved = true
	if e.KnownPT && (e.Fresh || !e.Authenticated) {
		count := &r.runs[0]
		if e.SSRC != 1 {
			count = &r.runs[1]
		}
		if step := e.Seq - count.last; count.length > 0 && step >= 1 && step <= maxStep {
			count.length++
		} else {
			count.length = 1
		}
		count.last = e.Seq
	}
	if e.Authenticated && e.Fresh {
		for i := range w.sources {
			if i != who && cast[who] != w.former { // what is in flight from where signalling left is nobody's rival
				w.sources[i].fresh = 0
			}
		}
		r.fresh++
	}
}

// named tells whether the mode allows to accept a source that proved itself.
func (w *world) named(src Addr) bool {
	switch w.p.Mode {
	case Exact:
		return src == w.p.Signalled || w.p.AnyPort && src.IP == w.p.Signalled.IP
	case Learn:
		return src.IP == w.p.Signalled.IP || src.IP == w.p.Peer || w.p.inPrefixes(&src.IP)
	}
	return w.p.Count == 0 || src.IP == w.p.Signalled.IP || w.p.inPrefixes(&src.IP)
}

// check looks at where the machine sends after an event. An address other than the signalled one must have been earned when
// the machine began to send there.
func (w *world) check(event string) {
	to, ok := w.m.SendTo(&w.p)
	if ok && to != w.p.Signalled && to != w.sentTo && !w.earned(to) {
		w.violate(sendsWithEvidence, "after %s sends to %v", event, to)
	}
	if ok && !to.usable() {
		w.violate(sendsWithEvidence, "after %s sends to %v, which is no address", event, to)
	}
	w.sentTo = to
	at, _ := w.m.Pinned()
	if rtcp, ok := w.m.SendRTCPTo(&w.p); ok && rtcp != w.p.rtcp() && rtcp != to && rtcp.IP != at.IP {
		w.violate(reportsStayClose, "after %s sends RTCP to %v", event, rtcp)
	}
}

// earned tells whether a source has shown what the mode asks for before we send to it.
func (w *world) earned(to Addr) bool {
	for i, a := range cast {
		if r := &w.sources[i]; a == to && r.accepted {
			switch w.p.Mode {
			case Learn:
				return r.runs[0].length >= learnRun || r.runs[1].length >= learnRun
			case Auth:
				return r.fresh >= authRun
			}
		}
	}
	return false
}
