package relay

import (
	"time"

	"tandem/relay/netio"
)

// The watch looks at every leg about once a second, a few at a time, so that no batch waits long for it, and reads of each as
// little as it can: with many calls it would else be what the cache is filled with.
const (
	watchEvery = 50 * time.Millisecond // also the longest wait for a packet
	watchRound = time.Second

	keyReminder = time.Minute // between reports that a key should be replaced
	keyRounds   = 16          // of the watch between looks at a leg's keys: the last sixteenth of a key's life is days
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
			w.watchRounds++
		}
		index := w.mine[w.watchAt]
		w.watchAt++
		w.watchSilence(index, now)
		if uint32(w.watchRounds)%keyRounds == index%keyRounds {
			w.watchKeys(index, now)
		}
	}
	for index, k := range w.keys {
		if k.retired != nil && now >= k.retired.until {
			w.forget(index)
		}
	}
}

// watchSilence reports a leg that should be heard and is not: never since it was armed, or not since its last packet. It
// reports again each time the silence has lasted as long once more, so that a controller that was away learns of it.
// Nobody expects media while either end is held. Of a leg that talks it reads one line.
func (w *worker) watchSilence(index uint32, now int64) {
	l := &w.legs[index]
	began, bound, after := max(l.heard, l.since), w.relay.options.Running, afterRunning
	if l.heard < l.since {
		bound, after = w.relay.options.Initial, afterInitial
	}
	if now-began < int64(bound) {
		return
	}
	k := &w.cold[index]
	if l.flags&watched == 0 || l.flags&w.legs[l.peer].flags&(hears|speaks) != hears|speaks || now-k.told < int64(bound) {
		return
	}
	if _, signalled := l.pin.SendTo(); !signalled {
		return
	}
	k.told = now
	w.relay.events.post(event{kind: silent, session: k.session, leg: index, after: after, silence: now - began})
}

// watchKeys reports keys that should be replaced.
func (w *worker) watchKeys(index uint32, now int64) {
	l, k := &w.legs[index], &w.cold[index]
	if k.keyTold != 0 && now-k.keyTold < int64(keyReminder) {
		return
	}
	if l.flags&keyedRX != 0 && w.rxOf(index).Expiring() {
		k.keyTold = now
		w.relay.events.post(event{kind: expiring, session: k.session, leg: index, after: "rx"})
	}
	if l.flags&keyedTX != 0 && w.txOf(index).Expiring() {
		k.keyTold = now
		w.relay.events.post(event{kind: expiring, session: k.session, leg: index, after: "tx"})
	}
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
