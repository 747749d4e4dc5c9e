package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"tandem/bench/rig"
)

const (
	warmRate     = 10_000 // packets per second: gentle, so that what is lost is lost for a reason
	warmAttempts = 10     // packets that a stream may lose until ARP, ND and pins are settled
	tolerated    = 5e-3   // share of the send rate by which the generator may fall short: it may end while it catches up
)

// Load is generator and sink for a set of calls. Its methods belong to one goroutine.
type Load struct {
	// Before and After, if set, run directly before the first packet and after the last arrival of the timed part: the
	// place to sample the relay's CPU. What they do counts as load on the load's CPU, not on the relay's.
	Before, After func() error

	place   *rig.Place
	sink    *sink
	card    *card
	pump    pump
	clock   clock
	streams []stream
	heard   map[netip.AddrPort]uint32
	volley  volley
	every   []uint32 // all streams in turn
	settle  time.Duration
}

// New takes the load's device over. Every Side.Relay of calls must be known.
func New(place *rig.Place, calls []Call) (*Load, error) {
	if len(calls) == 0 {
		return nil, errors.New("load: no calls")
	}
	l := &Load{place: place, settle: settle}
	var err error
	if l.clock, err = newClock(); err != nil {
		return nil, err
	}
	if l.streams, err = newStreams(calls, place.LoadDevice().MAC, place.RelayDevice().MAC); err != nil {
		return nil, err
	}
	if l.heard = ears(l.streams); len(l.heard) != len(l.streams) {
		return nil, fmt.Errorf("load: %d streams are heard at %d addresses: every peer needs its own", len(l.streams), len(l.heard))
	}
	for i := range l.streams {
		l.every = append(l.every, uint32(i))
	}
	if err := l.open(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// open makes what feeds the relay and what catches.
func (l *Load) open() (err error) {
	l.pump = -1
	if l.pump, err = openPump(l.place); err != nil {
		return err
	}
	err = l.place.InLoad(func() (err error) {
		if l.sink, err = openSink(l.place.LoadDevice()); err != nil {
			return err
		}
		l.card, err = openCard(l.place.LoadDevice())
		return err
	})
	if err != nil {
		return err
	}
	return l.place.Polled(true)
}

// Warm sends packets of every stream until one of each came through, so that pins, neighbours and caches are set, and
// returns an error that names the first stream of which none did.
func (l *Load) Warm(ctx context.Context) error {
	missing := l.every
	var last Result
	for range warmAttempts {
		if err := l.volley.prepare(l.streams, missing, len(missing)); err != nil {
			return err
		}
		r, delivered, err := l.shoot(ctx, warmRate, false)
		if err != nil {
			return err
		}
		last = r
		var still []uint32
		for k, ok := range delivered {
			if !ok {
				still = append(still, missing[k])
			}
		}
		if missing = still; len(missing) == 0 {
			return nil
		}
	}
	s := &l.streams[missing[0]]
	return fmt.Errorf("load: %d of %d streams do not come through (forged %d, corrupt %d, stray %d in the last attempt); the first: %s to relay %s, relay %s to %s",
		len(missing), len(l.streams), last.Forged, last.Corrupt, last.Stray, s.from.Peer, s.from.Relay, s.to.Relay, s.to.Peer)
}

// Run sends packets of all streams in turn, rate of them a second in total, for a while, and judges what came back.
// Sequence numbers go on where the last run ended. Memory is about 550 bytes a packet, at most 4 GB.
func (l *Load) Run(ctx context.Context, rate float64, duration time.Duration) (Result, error) {
	count := int(rate * duration.Seconds())
	if count < 1 {
		return Result{}, fmt.Errorf("load: %.0f packets/s for %s: nothing to send", rate, duration)
	}
	if err := l.volley.prepare(l.streams, l.every, count); err != nil {
		return Result{}, err
	}
	r, _, err := l.shoot(ctx, rate, true)
	return r, err
}

// shoot fires the prepared volley and judges it.
func (l *Load) shoot(ctx context.Context, rate float64, marked bool) (Result, []bool, error) {
	var stop atomic.Bool
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	s := &shot{card: l.card, sink: l.sink, pump: l.pump, v: &l.volley, now: l.clock.now, every: float64(time.Second) / rate, settle: l.settle, stop: &stop}
	for s.sink.receive(nil, 0) > 0 { // what came since the last run
	}
	if err := s.card.begin(); err != nil {
		return Result{}, nil, fmt.Errorf("load: %w", err)
	}
	before, err := l.lossesOfOurs()
	if err != nil {
		return Result{}, nil, err
	}
	if err := s.fire(l.place.LoadCPU(), mark(marked, l.Before), mark(marked, l.After)); err != nil {
		return Result{}, nil, err
	}
	if err := ctx.Err(); err != nil {
		return Result{}, nil, fmt.Errorf("load: interrupted: %w", err)
	}
	after, err := l.lossesOfOurs()
	if err != nil {
		return Result{}, nil, err
	}
	r, delivered := l.judge(&l.volley)
	r.Offered, r.Sent = uint64(l.volley.count), uint64(s.sent)
	r.Lost = r.Sent - r.Delivered
	if r.Late = lateness(s); s.sent > 0 {
		r.Wall = time.Duration(l.volley.sentAt[s.sent-1]-s.start) + time.Duration(s.every)
		r.Rate = float64(s.sent) / r.Wall.Seconds()
	}
	lost := after.since(before)
	lost.wire += s.card.vanished()
	r.Arrived, r.Starved = uint64(s.v.log.n)+s.v.log.missed+lost.sink, s.starved
	r.Own, r.Limit = lost.ring+lost.sink+lost.wire+s.overrun, limit(s, rate, &r, lost)
	return r, delivered, nil
}

func mark(wanted bool, f func() error) func() error {
	if !wanted || f == nil {
		return func() error { return nil }
	}
	return f
}

// losses are packets that the load's side dropped.
type losses struct {
	ring uint64 // by the ring of the load's device
	sink uint64 // by the sink's ring
	wire uint64 // by the ring of the relay's device, which the card never fills, or before it
}

func (a losses) since(b losses) losses {
	return losses{a.ring - b.ring, a.sink - b.sink, a.wire - b.wire}
}

func (l *Load) lossesOfOurs() (losses, error) {
	wire, err := l.place.WireDrops()
	if err != nil {
		return losses{}, err
	}
	full, err := l.sink.overflows()
	return losses{wire.ToLoad, full, wire.ToRelay}, err
}

// ownShare is how much of what came back load may drop itself, in pauses of the machine, before the run says nothing about
// the relay. It was forwarded, is counted exactly, and is not the relay's loss.
const ownShare = 0.01

// limit returns why the load, not the relay, set the limit of a run, or "".
func limit(s *shot, rate float64, r *Result, lost losses) string {
	switch {
	case s.sendErr != nil:
		return fmt.Sprintf("the generator's send failed after %d packets: %v", s.sent, s.sendErr)
	case float64(lost.ring) > ownShare*float64(r.Sent):
		return fmt.Sprintf("the ring of the load's device overflowed: %d packets", lost.ring)
	case float64(lost.sink) > ownShare*float64(r.Sent):
		return fmt.Sprintf("the sink's ring overflowed: %d packets", lost.sink)
	case lost.wire > 0:
		return fmt.Sprintf("%d packets did not get into the ring of the relay's device, in which the generator leaves room", lost.wire)
	case s.overrun > 0:
		return fmt.Sprintf("the generator was so late that its ring of %d overflowed: %d packets", cardRing, s.overrun)
	case s.v.log.missed > 0:
		return fmt.Sprintf("more packets arrived than were sent and the log was full: %d packets", s.v.log.missed)
	case r.Rate < rate*(1-tolerated):
		return fmt.Sprintf("the generator sent %.0f packets/s of %.0f", r.Rate, rate)
	}
	return ""
}

// Close gives device and memory back.
func (l *Load) Close() error {
	var errs []error
	if l.card != nil {
		errs = append(errs, l.card.close())
	}
	if l.sink != nil {
		errs = append(errs, l.place.Polled(false), l.sink.close())
	}
	return errors.Join(append(errs, l.pump.close(), l.volley.release())...)
}
