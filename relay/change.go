package relay

import "tandem/relay/srtp"

// wanted are the flags that signalling names; the others follow from the rest of what it says.
const wanted = hears | speaks | secure | muxed | watched | clocked | opaque | unreported | holdReports

// change makes a leg what signalling wants it to be. Worker only, or before the worker knows the leg. What is the same as before
// stays untouched: a pin, a rollover counter or a window never restarts without a reason.
func (w *worker) change(c *change, now int64) {
	index := c.end.index
	l, k := &w.legs[index], &w.cold[index]
	other := &w.legs[l.peer]
	newAddress := c.policy.Signalled != k.pin.Policy().Signalled
	const expected = hears | speaks | watched | opaque | unreported | holdReports
	if (l.flags^c.flags)&expected != 0 || newAddress {
		l.since = now
	}
	if (l.flags^c.flags)&(hears|speaks) != 0 {
		other.since = now // what is expected of it has changed as well
	}
	l.flags = l.flags&^wanted | c.flags&wanted
	l.known, l.clock = c.known, 0
	if c.clocks != nil {
		w.rare[index].clocks = *c.clocks
	}
	if l.flags&secure == 0 {
		l.out = mapping{} // what leaves has its sender's numbers
	}
	switch {
	case c.rx != nil:
		w.replaceRX(index, c, now)
	case newAddress:
		w.rxOf(index).Retry()
	}
	if c.tx != nil {
		w.replaceTX(index, c)
	}
	if c.rx != nil || c.tx != nil {
		k.keyTold = 0
	}
	k.said = c.said
	l.pin.Arm(now, &k.pin, &c.policy)
}

// replaceRX gives a leg another receive key, or none. The one before opens packets in flight for a while, and is remembered:
// should it come back, what it opened stays opened.
func (w *worker) replaceRX(index uint32, c *change, now int64) {
	l, received := &w.legs[index], w.rxOf(index)
	w.forget(index)
	if l.flags&keyedRX != 0 {
		w.retire(index, now+int64(retiredLife))
	}
	if again := w.recall(index, &c.said.rx); again != nil {
		received.Copy(again.received())
		received.Retry()
	} else {
		received.Rekey()
	}
	l.rxKey, w.reports[index].rxKey = c.rx.rtp, c.rx.rtcp
	l.flags &^= keyedRX
	if c.said.rx.Suite() != srtp.None {
		l.flags |= keyedRX
	}
}

// replaceTX gives a leg another send key, or none.
func (w *worker) replaceTX(index uint32, c *change) {
	l := &w.legs[index]
	w.txOf(index).Rekey(c.carry)
	l.txKey, w.reports[index].txKey = c.tx.rtp, c.tx.rtcp
	l.flags &^= keyedTX
	if c.said.tx.Suite() != srtp.None {
		l.flags |= keyedTX
	}
}

// wipe empties a leg's slot in the arena: what the next session finds is as if nobody had been there, and what nobody used stays
// untouched.
func (w *worker) wipe(index uint32) {
	l := &w.legs[index]
	w.forget(index)
	if l.flags&renewed != 0 {
		w.keys[index].wipe()
		delete(w.keys, index)
	}
	w.rxOf(index).Copy(srtp.Received{Now: &srtp.RXNow{}})
	w.txOf(index).Rekey(false)
	if l.flags&clocked != 0 {
		clear(w.rare[index].clocks[:])
	}
	if l.flags&secure != 0 {
		w.reports[index] = reports{}
	}
	*l, w.cold[index] = leg{}, cold{}
}
