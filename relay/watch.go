package relay

import (
	"time"

	"tandem/relay/netio"
)

// The watch looks at every leg about once a second, a few at a time, so that no batch waits long for it.
const (
	watchEvery = 50 * time.Millisecond // also the longest wait for a packet
	watchRound = time.Second

	keyReminder = time.Minute // between reports that a key should be replaced
)

// watch looks at the next few legs: silence that signalling wants to know of, keys near their end, keys retired.
func (w *worker) watch(now int64) {
	if now < w.watchDue {
		return
	}
	w.watchDue = now + int64(watchEvery)
	share := len(w.mine)*int(watchEvery)/int(watchRound) + 1
	for range min(share, len(w.mine)) {
		if w.watchAt >= len(w.mine) {
			w.watchAt = 0
		}
		index := w.mine[w.watchAt]
		w.watchAt++
		w.watchSilence(index, now)
		w.watchKeys(index, now)
	}
}

// watchSilence reports a leg that should be heard and is not: never since it was armed, or not since its last packet. It
// reports again each time the silence has lasted as long once more, so that a controller that was away learns of it.
// Nobody expects media while either end is held.
func (w *worker) watchSilence(index uint32, now int64) {
	l := &w.legs[index]
	if l.flags&watched == 0 || l.flags&w.legs[l.peer].flags&(hears|speaks) != hears|speaks {
		return
	}
	if _, signalled := l.pin.SendTo(&l.policy); !signalled {
		return
	}
	began, bound, after := max(l.heard, l.since), w.relay.options.Running, afterRunning
	if l.heard < l.since {
		bound, after = w.relay.options.Initial, afterInitial
	}
	if now-max(began, l.told) < int64(bound) {
		return
	}
	l.told = now
	w.relay.events.post(event{kind: silent, session: l.session, leg: index, after: after, silence: now - began})
}

// watchKeys forgets a replaced receive key whose time is over, and reports keys that should be replaced.
func (w *worker) watchKeys(index uint32, now int64) {
	l, k := &w.legs[index], &w.keys[index]
	if k.retired != nil && now >= k.retired.until {
		k.retired.cipher.Wipe()
		k.retired = nil
	}
	if l.keyTold != 0 && now-l.keyTold < int64(keyReminder) {
		return
	}
	if k.rx != nil && l.rx.Expiring() {
		l.keyTold = now
		w.relay.events.post(event{kind: expiring, session: l.session, leg: index, after: "rx"})
	}
	if k.tx != nil && l.tx.Expiring() {
		l.keyTold = now
		w.relay.events.post(event{kind: expiring, session: l.session, leg: index, after: "tx"})
	}
}

// silence returns for how long no leg of the given ones was heard, in nanoseconds: since the last packet or, before any,
// since it was armed. Worker only.
func (w *worker) silence(indices []uint32, now int64) int64 {
	latest := int64(0)
	for _, index := range indices {
		latest = max(latest, w.legs[index].heard, w.legs[index].opened)
	}
	return now - latest
}

// orphans closes, without a controller, the sessions that have been silent for the configured time, held or not.
func (r *Relay) orphans(quit <-chan struct{}) {
	ticker := time.NewTicker(min(max(r.options.Orphan/10, time.Millisecond), 10*time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-quit:
			return
		case <-ticker.C:
			r.closeOrphans(netio.Now())
		}
	}
}
