package calls

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	warmRate  = 50 // calls a second, before a run: page faults, caches, neighbours
	warmCalls = 25
	warmTries = 20          // until the planes have found each other, calls are refused
	warmMost  = time.Minute // of all tries: none is begun later

	// late is the 99th percentile of the set-up time beyond which a rate does not count as carried, although no call fails
	// yet: timer T1 (RFC 3261 section 17.1.1.1), after which callers ask again, and half of the work is repetition.
	late = 500 * time.Millisecond

	// What no pause of the machine explains: one call of so many failed, or so late.
	hopelessShare = 10
	hopelessLate  = 10 * late

	onTime  = 0.98             // share of the offered rate at which sipp must have begun calls
	hurry   = 85.0             // percent of the load's CPU at which sipp may be the limit: the kernel receives for it on the same one
	overrun = 60 * time.Second // that calls may take beyond the run: 32 s of repetition, and more
	look    = time.Second      // between two looks at memory
	settle  = 10 * time.Second // for the last calls of a rate that was carried to be off the books
	drained = 36 * time.Second // and of one that was not: what waits for an answer gives up after 64*T1 (RFC 3261, timer F)
)

// Outcome is one run at one rate.
type Outcome struct {
	Rate     float64 // offered, calls/s
	Began    float64 // calls/s that sipp began
	Calls    int
	Failed   int // calls, to either sipp
	Resent   int // messages that sipps sent again
	P50      float64
	P99      float64 // ms of set-up
	CPU      map[string]time.Duration
	NAPI     time.Duration
	Steal    time.Duration
	Memory   uint64        // bytes, the most that was seen
	Load     float64       // percent of the load's CPU that both sipps used
	Lost     uint64        // datagrams that found sipps' receive buffers full
	Starved  int           // times that a sipp had no CPU for half a second
	Opened   uint64        // media sessions
	Left     Books         // after it, once nothing stood any more, or patience was over
	Stood    Standing      // what stood when settle was over; zero: nothing
	Patience time.Duration // how long it was waited for
	Wall     time.Duration
	AtOnce   int    // the most calls that the calling sipp had
	Problem  string // why a call failed, in the load's words
	Broke    string // why the run ended before its calls did, or nobody can tell how it ended

	Farewell string // how the gateway ended afterwards, where that was not well
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
	case o.AtOnce >= crowded:
		return fmt.Sprintf("sipp had %d calls at once, and begins no more", o.AtOnce)
	case o.slow():
		return fmt.Sprintf("sipp began %.0f calls/s of %.0f, with %.0f %% of its CPU", o.Began, o.Rate, o.Load)
	case o.Load >= hurry:
		return fmt.Sprintf("both sipps used %.0f %% of their CPU", o.Load)
	}
	return ""
}

// slow tells whether fewer calls began than were due.
func (o *Outcome) slow() bool { return o.Began < o.Rate*onTime }

// fault returns why the rate was not carried, "" if it was.
func (o *Outcome) fault() string {
	switch {
	case o.Broke != "":
		return o.Broke
	case o.Failed > 0:
		return fmt.Sprintf("%d of %d calls failed: %s", o.Failed, o.Calls, o.Problem)
	case o.slow():
		return fmt.Sprintf("sipp began %.0f calls/s of %.0f, with %.0f %% of its CPU", o.Began, o.Rate, o.Load)
	case o.P99 > float64(late.Milliseconds()):
		return fmt.Sprintf("99 %% of the calls were set up within %.0f ms: %s is the most", o.P99, late)
	}
	return ""
}

// hopeless tells whether the rate was missed by so much that no pause of the machine explains it.
func (o *Outcome) hopeless() bool {
	return o.Failed > o.Calls/hopelessShare || o.P99 > float64(hopelessLate.Milliseconds())
}

// doubt is limit, where fault does not say it already.
func (o *Outcome) doubt() string {
	limit, fault := o.limit(), o.fault()
	if fault != "" && strings.HasPrefix(limit, fault) {
		return ""
	}
	return limit
}

// held tells whether the rate was carried.
func (o *Outcome) held() bool { return o.fault() == "" }

// Ways of a gateway to fail that are not of a rate.
var (
	errUnfit    = errors.New("does not carry a few calls") // when it is fresh
	errFarewell = errors.New("did not end well")
)

// with starts a gateway, warms it, hands it over, and stops it.
func with(ctx context.Context, s Scene, g Gateway, f func() error) (err error) {
	if err := g.Start(ctx, s); err != nil {
		return fmt.Errorf("%s %w: %w", g.Name(), errUnfit, err)
	}
	defer func() {
		if e := g.Stop(); e != nil {
			err = errors.Join(err, fmt.Errorf("%s %w: %w", g.Name(), errFarewell, e))
		}
	}()
	var out Outcome
	latest := time.Now().Add(warmMost)
	for range warmTries {
		if out, err = once(ctx, s, g, warmRate, warmCalls, settle); err != nil {
			return err
		}
		if out.Broke == "" && out.Failed == 0 {
			return f()
		}
		if out.Broke != "" || time.Now().After(latest) {
			break
		}
	}
	return fmt.Errorf("%s %w: %d at %d a second: %s", g.Name(), errUnfit, warmCalls, warmRate, out.fault())
}

// offer offers a rate for a while. The patience is for what stands afterwards: drained for a gateway that is offered something
// again, settle is enough for one that is replaced.
func offer(ctx context.Context, s Scene, g Gateway, rate float64, d, patience time.Duration) (Outcome, error) {
	return once(ctx, s, g, rate, max(1, int(rate*d.Seconds())), patience)
}

// once offers calls and waits for the end of the last, and until nothing stands: the called sipp answers until then. Of calls that
// were carried every one must have had media set up, and nothing may stand for long.
func once(ctx context.Context, s Scene, g Gateway, rate float64, count int, patience time.Duration) (o Outcome, err error) {
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
	if o.Memory, o.Broke, err = watch(ctx, g, caller, expected+CallTime+overrun); err != nil {
		return o, err
	}
	caller.stop()
	after, err := take(s, g)
	if err != nil {
		return o, err
	}
	o.charge(before, after)
	if err := o.settle(ctx, g, books, patience); err != nil {
		return o, err
	}
	called.stop()
	if err := o.count(caller, called); err != nil && o.Broke == "" {
		return o, err
	}
	return o, o.prove(g)
}

// watch waits for the caller's end and returns the most memory that the side had meanwhile, and why it did not wait any longer.
func watch(ctx context.Context, g Gateway, caller *sipp, limit time.Duration) (most uint64, broke string, err error) {
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		memory := uint64(0)
		for _, p := range g.Parts() {
			used, err := SessionMemory(p.Process.PID())
			if err != nil {
				return most, "", err
			}
			memory += used
			select {
			case <-p.Process.Done():
				return most, fmt.Sprintf("%s ended during the run: %s", p.Name, strings.TrimSpace(p.Process.Output())), ctx.Err()
			default:
			}
		}
		most = max(most, memory)
		select {
		case <-caller.done:
			return most, "", nil
		case <-ctx.Done():
			return most, "", ctx.Err()
		case <-over.C:
			return most, fmt.Sprintf("sipp's calls were not over %s after the last should have ended", overrun), nil
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
	o.Calls, o.Resent, o.Began, o.AtOnce = out.Created, out.Retransmitted+in.Retransmitted, out.Rate, out.AtOnce
	o.Failed = max(out.Failed, min(in.Failed, out.Created)) // to the called, an INVITE that comes again may be another call
	o.Starved = caller.starved() + called.starved()
	o.Load = 100 * float64(caller.cpu()+called.cpu()) / float64(o.Wall)
	o.P50, o.P99 = quantile(out.Setups, 0.50), quantile(out.Setups, 0.99)
	if o.Failed == 0 && o.Broke == "" && len(out.Setups) != out.Succeeded {
		return fmt.Errorf("sipp wrote %d set-up times of %d calls", len(out.Setups), out.Succeeded)
	}
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
		o.CPU[name] = max(0, d-before.parts[name]) // a program that is gone has no account
	}
	o.Wall = after.at.Sub(before.at)
	o.NAPI, o.Steal = after.rig.NAPI-before.rig.NAPI, after.rig.Steal-before.rig.Steal
	o.Lost = after.overflowed - before.overflowed
}

// settle reads the books until nothing stands any more, or what stands will stand for ever. Those who have just been offered
// too much may not answer at once.
func (o *Outcome) settle(ctx context.Context, g Gateway, before Books, patience time.Duration) error {
	o.Patience = patience
	usual, most := time.Now().Add(settle), time.Now().Add(patience)
	for o.Broke == "" {
		now, err := g.Books(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			o.Left, o.Opened = now, now.Opened-before.Opened
			if !now.busy() {
				return nil
			}
		}
		if o.Stood == (Standing{}) && !time.Now().Before(usual) {
			o.Stood = o.Left.standing()
		}
		if !time.Now().Before(most) {
			if err != nil {
				o.Broke = fmt.Sprintf("it did not say what stands %s after the last call ended: %v", patience, err)
			}
			break
		}
		select {
		case <-time.After(startPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// prove returns why a run that looks carried says nothing. One that was not is no figure: under an overload calls are begun
// twice, and an answer that was lost leaves a call standing until timers give up.
func (o *Outcome) prove(g Gateway) error {
	switch {
	case !o.held():
		return nil
	case o.Opened != uint64(o.Calls):
		return fmt.Errorf("%s: %d media sessions were opened for %d calls: the figure would be of another work", g.Name(), o.Opened, o.Calls)
	case o.Stood != (Standing{}):
		return fmt.Errorf("%s: %s stand %s after the last call ended", g.Name(), o.Stood, settle)
	}
	return nil
}

// leftover says what stands long after a rate that was not carried, "" for nothing: that is lost.
func (o *Outcome) leftover() string {
	if o.Broke != "" || o.Patience < drained || !o.Left.busy() {
		return ""
	}
	return fmt.Sprintf("%s stand %s after the last call ended", o.Left.standing(), o.Patience)
}
