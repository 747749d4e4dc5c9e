package trunk

import (
	"net/netip"
	"sync"
	"time"
)

// live is what changes of a trunk while it works. It outlives the table of one config: after a reload the trunk of the old
// table, which running calls still hold, and that of the new one share it, so that a place given back here is free there.
type live struct {
	start time.Time // moments of places are counted from here; never changes

	mu           sync.Mutex
	caps         caps // of the youngest config, also for those who hold the trunk of an older one
	health       Health
	places       places
	latest       time.Duration // when the last place was taken: moments do not go back behind it
	tally        tally
	registration string
	avoid        map[netip.AddrPort]time.Time // addresses that failed lately, and until when they come last
}

func newLive(now time.Time) *live {
	return &live{start: now, health: Health{rose: now}}
}

// govern lays down what a config says. What was seen so far stays.
func (l *live) govern(tr *Trunk) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &tr.Policy
	l.caps = caps{calls: p.MaxCalls, rate: p.MaxCPS, bandwidth: p.MaxBandwidth}
	every := p.Options.Every
	if p.Options.Off {
		every = 0
	}
	l.health.govern(every, p.Options.Demote, p.Options.Down)
}

// at is a moment as places count it. Callers read their clocks before they wait for the lock, so that one may come with a
// moment that is a little before that of the call ahead of it. Caller holds mu.
func (l *live) at(now time.Time) time.Duration {
	return max(l.latest, now.Sub(l.start))
}

// Adopt carries over from the table of the config before what its trunks know: health, places and rates, counters and the
// registration of those whose name, listener and peer are the same, and every name that DNS has answered. Both trunks of
// such a pair share it from now on, under the caps and rules of this table. Call it before anybody else uses this table; the
// old one may be in use, and stays usable for the calls that hold its trunks.
func (t *Table) Adopt(old *Table) {
	for _, tr := range t.all {
		was, ok := old.byName[tr.Name]
		if !ok || !tr.succeeds(was) {
			continue
		}
		tr.live = was.live
		tr.live.govern(tr)
	}
	for key, p := range t.peers {
		if was := old.peers[key]; was != nil {
			p.answer.Store(was.answer.Load())
		}
	}
}

// succeeds reports whether two trunks are the same pair of listener and peer.
func (tr *Trunk) succeeds(was *Trunk) bool {
	a, b := &tr.Listener, &was.Listener
	return tr.Policy.Listener == was.Policy.Listener && a.Transport == b.Transport && a.Address == b.Address &&
		tr.Host == was.Host && tr.Port == was.Port && tr.peer.key == was.peer.key
}
