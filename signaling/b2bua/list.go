package b2bua

import (
	"slices"
	"sync/atomic"
	"time"
)

// CallInfo is a call as call.list shows it.
type CallInfo struct {
	ID        string `json:"id"`
	Phase     string `json:"phase"` // setup, ringing, answered
	From      string `json:"from"`  // trunks
	To        string `json:"to,omitempty"`
	Address   string `json:"address,omitempty"` // of To, that has the INVITE
	Route     string `json:"route,omitempty"`
	Emergency bool   `json:"emergency,omitempty"`

	Called     string `json:"called"` // as dialled
	CalledSent string `json:"called_sent,omitempty"`
	Caller     string `json:"caller"`
	CallerSent string `json:"caller_sent,omitempty"`

	Tried   []TrunkTry `json:"tried,omitempty"`   // so far
	Session string     `json:"session,omitempty"` // of the relay
	SuiteA  string     `json:"suite_a,omitempty"` // what each peer seals with; none: plain RTP; empty: not agreed yet
	SuiteB  string     `json:"suite_b,omitempty"`

	Start  time.Time `json:"start"`
	Ring   time.Time `json:"ring,omitzero"`
	Answer time.Time `json:"answer,omitzero"`
	Age    float64   `json:"age_s"`            // since the INVITE
	Talk   float64   `json:"talk_s,omitempty"` // since the answer
}

// snapshotInfo is what the call's goroutine shows of itself.
type snapshotInfo = atomic.Pointer[CallInfo]

// wasCall is what every call shows once it is over: Calls leaves it out.
var wasCall = &CallInfo{Phase: Over.String()}

// publish renews what Calls shows. The list of what was tried is not copied for it: see tried.
func (c *call) publish() {
	if c.phase == Over {
		c.info.Store(wasCall)
		return
	}
	r := &c.rec
	i := &CallInfo{
		ID: c.id, Phase: c.phase.String(), From: r.From, Route: r.Route, Emergency: r.Emergency,
		Called: r.Called, CalledSent: r.CalledSent, Caller: r.Caller, CallerSent: r.CallerSent,
		Tried: slices.Clip(r.Tried), Start: r.Start, Ring: r.Ring, Answer: r.Answer,
	}
	c.triedShown = true
	if b := c.far(); b != nil {
		i.To, i.Address, i.SuiteB = b.d.Trunk, b.d.Peer.String(), suiteOf(&b.d.Media)
	}
	if c.session != nil {
		i.Session, i.SuiteA = c.session.id, suiteOf(&c.a.d.Media)
	}
	c.info.Store(i)
}

// tried is an entry of the record's list that is to be changed. A list that was shown is copied first; what is added to it nobody sees
// there.
func (c *call) tried(index int) *TrunkTry {
	if c.triedShown {
		c.rec.Tried, c.triedShown = slices.Clone(c.rec.Tried), false
	}
	return &c.rec.Tried[index]
}

// suiteOf is what a peer seals with, once it said so.
func suiteOf(m *Media) string {
	switch {
	case m.Received == "":
		return ""
	case m.RX.Suite == "":
		return plainSuite
	}
	return m.RX.Suite
}

// Calls lists the calls that are not over, in no order.
func (b *B2BUA) Calls() []CallInfo {
	var list []CallInfo
	now := b.o.Now()
	for _, c := range b.all() {
		i := c.info.Load()
		if i == nil || i.Phase == Over.String() {
			continue
		}
		shown := *i
		shown.Age = now.Sub(i.Start).Seconds()
		if !i.Answer.IsZero() {
			shown.Talk = now.Sub(i.Answer).Seconds()
		}
		list = append(list, shown)
	}
	return list
}

// Hangup ends the call with this id on both sides, or refuses it if it is not answered yet. False: there is none, or it is
// over or too busy to listen; ask again.
func (b *B2BUA) Hangup(id string) bool {
	b.mu.Lock()
	c := b.calls[id]
	b.mu.Unlock()
	if c == nil {
		return false
	}
	if i := c.info.Load(); i != nil && i.Phase == Over.String() {
		return false
	}
	return c.postOwn(func() { c.hangUp(480, "hung up by the operator", "") })
}
