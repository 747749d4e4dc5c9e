package b2bua

import (
	"slices"

	"github.com/emiago/sipgo/sip"
)

// defaultEarly is max_early_dialogs of a config that leaves it open (Lync: MaxEarlyDialogs of New-CsTrunkConfiguration).
const defaultEarly = 20

// fork is one of the early dialogs that an INVITE of ours may have: a proxy behind the trunk rings several phones (RFC 3261
// section 12.1). The caller knows nothing of them: it has one dialog, with us, and hears the one that spoke last.
type fork struct {
	d       Dialog // while another one is current: its state
	rseq    uint32 // of its latest reliable response
	answer  string // its latest SDP in a response
	heard   string // that, as it was read
	settled bool   // that came reliably: the dialog may be changed by UPDATE
}

// branch finds the early dialog of a response, makes it the one that the leg speaks in, and begins it if it is new. Nil:
// there are too many, or it has no tag.
func (c *call) branch(at *attempt, res *sip.Response) *fork {
	tag := toTag(res)
	if tag == "" {
		return nil
	}
	if at.cur != nil && at.cur.d.RemoteTag == tag {
		return at.cur
	}
	i := slices.IndexFunc(at.forks, func(f *fork) bool { return f.d.RemoteTag == tag })
	if i < 0 {
		most := at.leg.trunk.Policy.MaxEarly
		if most <= 0 {
			most = defaultEarly
		}
		if len(at.forks) >= most {
			c.log.Info("early dialog left out", "trunk", at.leg.trunk.Name, "most", most)
			return nil
		}
		f := &fork{d: at.leg.d}
		f.d.Routes, f.d.RemoteSeq, f.d.Media = nil, 0, at.proposed
		f.d.established(res)
		at.forks = append(at.forks, f)
		i = len(at.forks) - 1
	}
	at.turnTo(at.forks[i])
	return at.cur
}

// turnTo makes a fork the current one. Numbers of our requests are counted over all of them.
func (at *attempt) turnTo(f *fork) {
	l := at.leg
	if at.cur != nil {
		at.cur.d = l.d
	}
	seq := l.d.LocalSeq
	l.d, l.egress = f.d, nil
	l.d.LocalSeq = seq
	at.cur = f
}

// settles reports a 2xx that says nothing new: the answer came reliably before, and the 2xx repeats it, or leaves it out, or
// an UPDATE has changed it since (RFC 3261 section 13.2.1).
func (f *fork) settles(l *leg, res *sip.Response) bool {
	same := !hasSDP(res) || string(res.Body()) == f.answer
	return f.settled && (same || string(l.d.Media.Received) != f.heard)
}

// forkGone is a 199: this early dialog is over, others may go on (RFC 6228). The caller is not told, as its own dialog is not;
// if it was listening to this one, it hears the latest of the others from now on.
func (c *call) forkGone(at *attempt, res *sip.Response) {
	tag := toTag(res)
	i := slices.IndexFunc(at.forks, func(f *fork) bool { return f.d.RemoteTag == tag })
	if i < 0 {
		return
	}
	f := at.forks[i]
	at.forks = slices.Delete(at.forks, i, i+1)
	if at.cur != f {
		return
	}
	at.cur = nil
	for _, g := range slices.Backward(at.forks) {
		if g.answer == "" {
			continue
		}
		at.turnTo(g)
		if body, err := c.connect(at, []byte(at.leg.d.Media.Received), false); err == nil {
			c.progress(provisional{code: 183, body: body})
		}
		return
	}
}
