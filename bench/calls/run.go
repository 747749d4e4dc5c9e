package calls

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	warmRate  = 50 // calls a second, before a run: page faults, caches, neighbours
	warmCalls = 25
	warmTries = 20 // until the planes have found each other, calls are refused

	// late is the 99th percentile of the set-up time beyond which a rate does not count as carried, although no call fails
	// yet: timer T1 (RFC 3261 section 17.1.1.1), after which callers ask again, and half of the work is repetition.
	late = 500 * time.Millisecond

	onTime  = 0.98                   // share of the offered rate at which sipp must have begun calls
	hurry   = 85.0                   // percent of the load's CPU at which sipp may be the limit: the kernel receives for it on the same one
	ending  = 500 * time.Millisecond // of a run: the last set-up and sipp's own end
	overrun = 60 * time.Second       // that calls may take beyond the run: 32 s of repetition, and more
	look    = time.Second            // between two looks at memory
	settle  = 10 * time.Second       // for the last calls to be off the books
)

// Outcome is one run at one rate.
type Outcome struct {
	Rate    float64 // offered, calls/s
	Began   float64 // calls/s that sipp began
	Calls   int
	Failed  int // calls, to either sipp
	Resent  int // messages that sipps sent again
	P50     float64
	P99     float64 // ms of set-up
	CPU     map[string]time.Duration
	NAPI    time.Duration
	Steal   time.Duration
	Memory  uint64  // bytes, the most that was seen
	Load    float64 // percent of the load's CPU that both sipps used
	Lost    uint64  // datagrams that found sipps' receive buffers full
	Starved int     // times that a sipp had no CPU for half a second
	Opened  uint64  // media sessions
	Left    Books   // after it
	Wall    time.Duration
	Problem string // why a call failed, in the load's words
}

// Busy is the CPU time of everything under test.
func (o *Outcome) Busy() time.Duration {
	sum := o.NAPI
	for _, d := range o.CPU {
		sum += d
	}
	return sum
}

// PerThousand is the CPU-seconds of 1,000 calls.
func (o *Outcome) PerThousand() float64 {
	if o.Calls == 0 {
		return 0
	}
	return o.Busy().Seconds() / float64(o.Calls) * 1000
}

// limit returns why the load, not the side under test, set the limit, or "".
func (o *Outcome) limit() string {
	switch {
	case o.Starved > 0:
		return fmt.Sprintf("sipp had no CPU for half a second, %d times: this machine has other work", o.Starved)
	case o.Lost > 0:
		return fmt.Sprintf("sipp had no room for %d datagrams", o.Lost)
	case o.Began < o.Rate*onTime:
		return fmt.Sprintf("sipp began %.0f calls/s of %.0f, with %.0f %% of its CPU", o.Began, o.Rate, o.Load)
	case o.Load >= hurry:
		return fmt.Sprintf("both sipps used %.0f %% of their CPU", o.Load)
	}
	return ""
}

// held tells whether the rate was carried.
func (o *Outcome) held() bool {
	return o.Failed == 0 && o.P99 <= float64(late.Milliseconds()) && o.Began >= o.Rate*onTime
}

// with starts a gateway, warms it, hands it over, and stops it.
func with(ctx context.Context, s Scene, g Gateway, f func() error) (err error) {
	if err := g.Start(ctx, s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Stop()) }()
	var out Outcome
	for range warmTries {
		if out, err = once(ctx, s, g, warmRate, warmCalls); err != nil {
			return err
		}
		if out.Failed == 0 {
			return f()
		}
	}
	return fmt.Errorf("%s does not carry %d calls at %d a second: %d failed: %s", g.Name(), warmCalls, warmRate, out.Failed, out.Problem)
}

// offer offers a rate for a while.
func offer(ctx context.Context, s Scene, g Gateway, rate float64, d time.Duration) (Outcome, error) {
	return once(ctx, s, g, rate, max(1, int(rate*d.Seconds())))
}

// once offers calls and waits for the end of the last. Every call must have had media set up, and nothing may stand
// afterwards.
func once(ctx context.Context, s Scene, g Gateway, rate float64, count int) (o Outcome, err error) {
	called, err := listen(ctx, s)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, called.end()) }()
	books, err := g.Books(ctx)
	if err != nil {
		return o, err
	}
	before, err := take(s, g)
	if err != nil {
		return o, err
	}
	caller, err := call(ctx, s, rate, count)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, caller.end()) }()
	o.Rate, o.CPU = rate, map[string]time.Duration{}
	expected := time.Duration(float64(count) / rate * float64(time.Second))
	if o.Memory, err = watch(ctx, g, caller, expected+CallTime+overrun); err != nil {
		return o, err
	}
	after, err := take(s, g)
	if err != nil {
		return o, err
	}
	o.charge(before, after)
	called.leave()
	if err := o.count(caller, called); err != nil {
		return o, err
	}
	o.Began = float64(o.Calls) / max(expected, o.Wall-CallTime-ending).Seconds()
	if o.Left, err = settled(ctx, g); err != nil {
		return o, err
	}
	o.Opened = o.Left.Opened - books.Opened
	return o, o.prove(g)
}

// watch waits for the caller's end and returns the most memory that the side had meanwhile.
func watch(ctx context.Context, g Gateway, caller *sipp, limit time.Duration) (most uint64, err error) {
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		memory := uint64(0)
		for _, p := range g.Parts() {
			used, err := SessionMemory(p.Process.PID())
			if err != nil {
				return most, err
			}
			memory += used
			select {
			case <-p.Process.Done():
				return most, fmt.Errorf("%s ended during the run: %s", p.Name, p.Process.Output())
			default:
			}
		}
		most = max(most, memory)
		select {
		case <-caller.done:
			return most, nil
		case <-ctx.Done():
			return most, ctx.Err()
		case <-over.C:
			return most, fmt.Errorf("sipp's calls are not over %s after the last should have ended", overrun)
		case <-tick.C:
		}
	}
}

// count reads the sipps' tables.
func (o *Outcome) count(caller, called *sipp) error {
	out, err := caller.written()
	if err != nil {
		return fmt.Errorf("%w: %s", err, caller.complaint())
	}
	in, err := called.written()
	if err != nil {
		return fmt.Errorf("%w: %s", err, called.complaint())
	}
	o.Calls, o.Resent = out.Created, out.Retransmitted+in.Retransmitted
	o.Failed = max(out.Failed, min(in.Failed, out.Created)) // to the called, an INVITE that comes again may be another call
	o.Starved = caller.starved() + called.starved()
	o.Load = 100 * float64(caller.cpu()+called.cpu()) / float64(o.Wall)
	o.P50, o.P99 = quantile(out.Setups, 0.50), quantile(out.Setups, 0.99)
	if o.Failed > 0 {
		o.Problem = caller.complaint()
		if out.Failed == 0 {
			o.Problem = "at the called sipp: " + called.complaint()
		}
	}
	return nil
}

// charge fills in what the run cost.
func (o *Outcome) charge(before, after account) {
	for name, d := range after.parts {
		o.CPU[name] = d - before.parts[name]
	}
	o.Wall = after.at.Sub(before.at)
	o.NAPI, o.Steal = after.rig.NAPI-before.rig.NAPI, after.rig.Steal-before.rig.Steal
	o.Lost = after.overflowed - before.overflowed
}

// settled reads the books once nothing stands any more, or says what does after a while.
func settled(ctx context.Context, g Gateway) (b Books, err error) {
	for end := time.Now().Add(settle); ; {
		if b, err = g.Books(ctx); err != nil || b.Sessions == 0 && b.Calls <= 0 || time.Now().After(end) {
			return b, err
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
}

// prove returns why a run says nothing. Failed calls may have left sessions for a while, and had none at all.
func (o *Outcome) prove(g Gateway) error {
	switch {
	case o.Failed > 0:
		return nil
	case o.Opened != uint64(o.Calls):
		return fmt.Errorf("%s: %d media sessions were opened for %d calls: the figure would be of another work", g.Name(), o.Opened, o.Calls)
	case o.Left.Sessions > 0 || o.Left.Calls > 0:
		return fmt.Errorf("%s: %d calls and %d media sessions stand %s after the last call ended", g.Name(), o.Left.Calls, o.Left.Sessions, settle)
	}
	return nil
}
