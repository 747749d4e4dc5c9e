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
		if w.legs[index].flags&announced != 0 {
			w.watchSource(index)
		}
		if uint32(w.watchRounds)%keyRounds == index%keyRounds {
			w.watchKeys(index, now)
		}
	}
	w.watchRetired(now)
}

// watchRetired ends the time of receive keys that were replaced. All are given the same, so they end in the order of their retirement.
func (w *worker) watchRetired(now int64) {
	for len(w.retiring) > 0 && now >= w.retiring[0].until {
		index := w.retiring[0].leg
		w.retiring = w.retiring[1:]
		if k := w.keys[index]; k != nil && k.retired != nil && now >= k.retired.until { // not another's by now
			w.forget(index)
		}
	}
}

// announce reports the SSRC that a leg's peer speaks with from now on: at once, or if one was reported since the watch looked, when it
// looks again. Who speaks with two in turn, packet by packet, must not fill the queue of events.
func (w *worker) announce(index uint32) {
	l := &w.legs[index]
	if l.flags&announced != 0 {
		l.flags |= owed
		return
	}
	l.flags |= announced
	w.relay.events.post(event{kind: newSSRC, session: w.cold[index].session, leg: index, ssrc: l.quality.SSRC()})
}

// watchSource lets a leg's next SSRC be reported, and reports the one that is owed.
func (w *worker) watchSource(index uint32) {
	l := &w.legs[index]
	owes := l.flags&owed != 0
	l.flags &^= announced | owed
	if owes {
		w.announce(index)
	}
}

// watchSilence reports a leg that should be heard and is not: never since it was armed, or not since its last packet. It
// reports again each time the silence has lasted as long once more, so that a controller that was away learns of it.
// Nobody expects media while either end is held, but RTCP of a peer that is said to send it then; and nobody expects anything
// while media flows of a peer that sends no RTCP: with silence suppression nothing is what it sends. Two fax machines speak in
// turn, a page at a time (ITU-T T.30), so an opaque stream is silent when both its legs are. Of a leg that talks it reads one line.
func (w *worker) watchSilence(index uint32, now int64) {
	l := &w.legs[index]
	heard := l.heard
	if l.flags&opaque != 0 {
		heard = max(heard, w.legs[l.peer].heard)
	}
	began, bound, after := max(heard, l.since), w.relay.options.Running, afterRunning
	if heard < l.since {
		bound, after = w.relay.options.Initial, afterInitial
	}
	if now-began < int64(bound) {
		return
	}
	k := &w.cold[index]
	if !l.expected(&w.legs[l.peer]) || now-k.told < int64(bound) {
		return
	}
	if _, signalled := l.pin.SendTo(); !signalled {
		return
	}
	k.told = now
	w.relay.events.post(event{kind: silent, session: k.session, leg: index, after: after, silence: now - began})
}

// expected tells whether the leg's peer should be heard, now that signalling says what it says of both ends.
func (l *leg) expected(other *leg) bool {
	switch {
	case l.flags&watched == 0:
		return false
	case l.flags&other.flags&(hears|speaks) != hears|speaks:
		return l.flags&(holdReports|opaque) == holdReports
	}
	return l.flags&(unreported|opaque) != unreported
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
			r.forgetOld(time.Now())
		}
	}
}
