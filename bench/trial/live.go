package trial

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem/bench/load"
	"tandem/bench/report"
	"tandem/bench/rig"
	"tandem/bench/subject"
)

// unfitTries is how often a run is repeated that the rig itself spoilt: a pause of a virtual machine is not the relay's.
const unfitTries = 3

// A relay is drained when it received nothing for a pause. The limit is for sockets that hold seconds of packets.
const (
	drainPause = 30 * time.Millisecond
	drainLimit = 20 * time.Second
)

// live is a relay that runs, with its calls set up and warm.
type live struct {
	place   *rig.Place
	subject subject.Subject
	load    *load.Load
	mode    load.Mode
	streams int
	path    string // proven by the latest run
}

// with starts a relay, opens the calls, warms them, hands the whole to f, and stops everything again.
func with(ctx context.Context, o *Options, s subject.Subject, f func(*live) error) (err error) {
	var peers = o.Place.PeerAddresses()
	for i, a := range peers {
		if !a.Is4() {
			peers = peers[:i] // IPv4 comes first
			break
		}
	}
	calls, err := load.Make(o.Streams, o.Mode, "", peers)
	if err != nil {
		return err
	}
	if o.Mode == load.SRTP {
		distinct(calls)
	}
	if err := s.Start(ctx, o.Place); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := s.Open(ctx, calls); err != nil {
		return fmt.Errorf("%s: %w", s.Name(), err)
	}
	l, err := load.New(o.Place, calls)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.Warm(ctx); err != nil {
		return fmt.Errorf("%s: %w\n%s", s.Name(), err, s.Process().Output())
	}
	return f(&live{place: o.Place, subject: s, load: l, mode: o.Mode, streams: o.Streams})
}

// distinct gives the legs of every call different suites, whose cost differs by the length of a tag: rtpengine forwards
// packets unopened between legs of one suite.
func distinct(calls []load.Call) {
	for i := range calls {
		calls[i].B.Suite = "AES_CM_128_HMAC_SHA1_32" // same key, salt and work as ..._80
	}
}

// outcome is what one run gave.
type outcome struct {
	load     load.Result
	usage    rig.Usage
	counters subject.Counters // of the run alone
	took     time.Duration    // between the two readings of the counters
}

// run offers a rate for a while, reads counters and CPU around it, and proves the path.
func (l *live) run(ctx context.Context, rate float64, d time.Duration) (o outcome, err error) {
	process := l.subject.Process()
	before, err := l.drained(ctx)
	if err != nil {
		return o, err
	}
	began := time.Now()
	var start, end rig.Sample
	l.load.Before = func() (err error) { start, err = l.place.CPU(process); return err }
	l.load.After = func() (err error) { end, err = l.place.CPU(process); return err }
	if o.load, err = l.load.Run(ctx, rate, d); err != nil {
		return o, err
	}
	o.usage = end.Since(start, l.place.RelayCPU())
	o.usage.Abroad -= min(o.usage.Abroad, o.load.Arrived) // the sink's own
	after, err := l.subject.Counters(ctx)
	if err != nil {
		return o, err
	}
	o.counters, o.took = after.Since(before), time.Since(began)
	l.path, err = l.subject.Prove(before, after, &o.load)
	return o, err
}

// drained waits until the relay has worked off what an overload left in its sockets, and returns its counters then.
func (l *live) drained(ctx context.Context) (subject.Counters, error) {
	last, err := l.subject.Counters(ctx)
	for end := time.Now().Add(drainLimit); err == nil; {
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
			return last, ctx.Err()
		}
		before := last.Received
		if last, err = l.subject.Counters(ctx); err != nil || last.Received == before {
			break
		}
		if time.Now().After(end) {
			return last, fmt.Errorf("%s still receives %s after the load ended", l.subject.Name(), drainLimit)
		}
	}
	return last, err
}

// fit repeats a run until the rig did not spoil it, and gives up with the reason.
func (l *live) fit(ctx context.Context, rate float64, d time.Duration) (o outcome, err error) {
	var unfit error
	for range unfitTries {
		if o, err = l.run(ctx, rate, d); err != nil {
			return o, err
		}
		if o.load.Corrupt > 0 || o.load.Forged > 0 {
			return o, fmt.Errorf("%s damaged packets: %d corrupt, %d with a wrong tag, of %d", l.subject.Name(), o.load.Corrupt, o.load.Forged, o.load.Sent)
		}
		if unfit = o.unfit(); unfit == nil {
			return o, nil
		}
	}
	return o, fmt.Errorf("%s at %.0f packets/s: %w", l.subject.Name(), rate, unfit)
}

// unfit returns why a run says nothing about the relay.
func (o *outcome) unfit() error {
	if o.load.Limit != "" {
		return errors.New("the rig was the limit: " + o.load.Limit)
	}
	return o.usage.Check(o.load.Delivered)
}

// offer is run for a search.
func (l *live) offer(ctx context.Context, rate float64, d time.Duration) (Outcome, error) {
	o, err := l.run(ctx, rate, d)
	loss := o.load.Loss()
	if o.load.Corrupt > 0 || o.load.Forged > 0 {
		loss = 1
	}
	if loss > Lossless {
		o.load.Limit = "" // load dropped some, but the relay more than it may: the answer is the relay's all the same
	}
	return Outcome{Loss: loss, Delay: o.load.All.P99, Limit: o.load.Limit}, err
}

// measures turns a run into a round's numbers.
func (l *live) measures(o *outcome) report.Measures {
	m := report.Measures{
		Engine: l.subject.Name(), Version: l.subject.Version(), Mode: string(l.mode), Streams: l.streams, Path: l.path,
		OfferedPPS: o.load.Rate, Loss: o.load.Loss(), NSPerForward: o.usage.NsPer(o.load.Delivered),
		P50: micro(o.load.Delay.P50), P99: micro(o.load.Delay.P99), P999: micro(o.load.Delay.P999), Max: micro(o.load.Delay.Max),
		Untimed: untimed(&o.load),
		RSS:     float64(o.usage.RSS) / (1 << 20),
		CPU: report.CPU{
			ProcessMS: milli(o.usage.Process), NAPIMS: milli(o.usage.NAPI), StealMS: milli(o.usage.Steal),
			SoftirqMS: milli(o.usage.SoftIRQ), NAPIHome: o.usage.NAPIHome, Elsewhere: o.usage.Abroad,
		},
		Load: report.Load{
			SentPPS: o.load.Rate, LateMaxUS: micro(o.load.Late.Max), Duplicated: o.load.Duplicated, Misordered: o.load.Misordered,
			Corrupt: o.load.Corrupt, Forged: o.load.Forged, Stray: o.load.Stray, Limit: o.load.Limit,
		},
	}
	if o.load.Wall > 0 {
		m.DeliveredPPS = float64(o.load.Delivered) / o.load.Wall.Seconds()
	}
	if o.usage.Wall > 0 {
		m.CPU.Percent = 100 * o.usage.Busy().Seconds() / o.usage.Wall.Seconds()
	}
	if c := &o.counters; c.TellsCalls && c.RecvCalls > 0 && c.SendCalls > 0 {
		in, out := float64(c.Received)/float64(c.RecvCalls), float64(c.Forwarded)/float64(c.SendCalls)
		m.BatchIn, m.BatchOut = &in, &out
	}
	return m
}

func untimed(r *load.Result) report.Untimed {
	u := report.Untimed{P99: micro(r.All.P99), P999: micro(r.All.P999)}
	if r.Delivered > 0 {
		u.Share = float64(r.Untimed) / float64(r.Delivered)
	}
	return u
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func milli(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
