package pin

import "tandem/relay/verdict"

// whole is both parts of a state. The policy that its methods are given is the one that is armed: the tests say what a policy
// does to a source, and not where it lies.
type whole struct {
	State
	rest Rest
}

func (w *whole) Arm(now int64, p *Policy) bool { return w.State.Arm(now, &w.rest, p) }
func (w *whole) Glance(now int64, _ *Policy, src Addr, seed uint64) verdict.Verdict {
	return w.State.Glance(now, &w.rest, src, seed)
}
func (w *whole) Judge(now int64, _ *Policy, src Addr, e Evidence) (bool, verdict.Verdict) {
	return w.State.Judge(now, &w.rest, src, e)
}
func (w *whole) GlanceRTCP(now int64, _ *Policy, src Addr, seed uint64) verdict.Verdict {
	return w.State.GlanceRTCP(now, &w.rest, src, seed)
}
func (w *whole) JudgeRTCP(now int64, _ *Policy, src Addr) verdict.Verdict {
	return w.State.JudgeRTCP(now, &w.rest, src)
}
func (w *whole) SendTo(*Policy) (Addr, bool)     { return w.State.SendTo() }
func (w *whole) SendRTCPTo(*Policy) (Addr, bool) { return w.State.SendRTCPTo(&w.rest) }

// memory is all that evidence may change: the state without its budgets.
func (w *whole) memory() whole {
	m := *w
	m.rest.budget = budget{}
	return m
}
