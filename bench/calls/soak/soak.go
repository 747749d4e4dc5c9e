package soak

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"tandem/bench/report"
)

// Options say how long, how many and how much.
type Options struct {
	Binary string        // path of the tandem binary
	Engine string        // of the relay
	For    time.Duration // how long calls are begun
	Calls  int           // up at any time
	Churn  float64       // calls begun a second, and ended
	Talk   time.Duration // how long both ends of a call talk, of its life of Calls / Churn
	Moved  float64       // share of the calls that one of the ends transfers, 0 to 1
	Log    func(format string, arguments ...any)
}

// Bounds of what makes sense.
const (
	mostCalls = 5000
	mostChurn = 500
	leastLife = 3 * time.Second // a call has to be held and resumed within
	longest   = 24 * time.Hour
)

func (o *Options) life() time.Duration {
	return time.Duration(float64(o.Calls) / o.Churn * float64(time.Second))
}

// check refuses what cannot be run.
func (o *Options) check() error {
	switch {
	case o.Calls < 1 || o.Calls > mostCalls:
		return fmt.Errorf("soak: %d calls: give 1 to %d", o.Calls, mostCalls)
	case o.Churn <= 0 || o.Churn > mostChurn:
		return fmt.Errorf("soak: a churn of %v calls/s: give up to %d", o.Churn, mostChurn)
	case o.life() < leastLife:
		return fmt.Errorf("soak: %d calls at %v a second live %s each: at least %s", o.Calls, o.Churn, o.life(), leastLife)
	case o.For < o.life() || o.For > longest:
		return fmt.Errorf("soak: %s: at least a call's life of %s, and at most %s", o.For, o.life(), longest)
	case o.Talk < 2*frame || o.Talk > o.life()/2:
		return fmt.Errorf("soak: %s of talk in a life of %s: give up to half of it", o.Talk, o.life())
	case !(o.Moved >= 0 && o.Moved <= 1): // NaN neither
		return fmt.Errorf("soak: a share of %v of transferred calls: give 0 to 1", o.Moved)
	}
	return nil
}

// Run soaks. The error is of a run that could not be made; what Tandem did wrong is in Result.Problems.
func Run(ctx context.Context, o Options) (r *Result, err error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	// Both planes are to die with us, which Linux ties to the thread that started them (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s, err := openStage(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	before, err := s.read(ctx)
	if err != nil {
		return nil, err
	}
	o.Log("%d calls at %v a second, each of %s with %s of talk both ways: %.0f packets/s; for %s",
		o.Calls, o.Churn, o.life(), o.Talk, o.packetRate(), o.For)
	began := time.Now()
	c := newChurn(s, &o)
	w := s.watch(ctx, &o, c, began)
	c.run(ctx)
	samples := w()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("soak: interrupted: %w", ctx.Err())
	}
	r = c.result(&o, time.Since(began))
	after, err := s.rest(ctx, before)
	if err != nil {
		return nil, err
	}
	r.close(&o, before, after, samples)
	return r, nil
}

// packetRate is how many packets a second the phones send altogether.
func (o *Options) packetRate() float64 { return 2 * o.Churn * float64(o.Talk/frame) }

// Result is what a soak found, as --json prints it.
type Result struct {
	Seconds    float64            `json:"seconds"`
	Engine     string             `json:"engine"`
	Calls      int                `json:"calls"`  // that were begun
	Failed     int                `json:"failed"` // that did not come about, or went wrong in any way
	Most       int                `json:"most_at_once"`
	Held       int                `json:"holds"`     // and resumed
	Renewed    int                `json:"reinvites"` // beside those of the holds
	Glares     int                `json:"glares"`    // 491, tried again
	Moved      [2]int             `json:"transfers"` // that were done, and calls that were to have one
	CallsPerS  float64            `json:"calls_per_s"`
	SetupMS    [2]float64         `json:"setup_p50_p99_ms"`
	Packets    Packets            `json:"packets"`
	Memory     []Memory           `json:"memory"`
	CPU        map[string]float64 `json:"cpu_s"` // of both planes, over the whole run
	Left       map[string]float64 `json:"left"`  // sessions, calls, goroutines in the end
	Problems   []string           `json:"problems,omitempty"`
	Conditions report.Conditions  `json:"conditions"`
}

// Packets are all that were counted, by the phones and by the relay.
type Packets struct {
	PerS       float64 `json:"per_s"`    // that phones sent
	Sent       uint64  `json:"sent"`     // RTP, by the phones
	Received   uint64  `json:"received"` // RTP with exactly what the far phone said, each once
	Corrupt    uint64  `json:"corrupt"`
	Duplicates uint64  `json:"duplicates"`
	Missing    uint64  `json:"missing"`  // sent and never received
	In         uint64  `json:"relay_in"` // RTP and RTCP
	Out        uint64  `json:"relay_out"`
	Drops      uint64  `json:"relay_drops"`
	Overflows  uint64  `json:"kernel_overflows"` // datagrams that found a full socket, of the relay and of the whole machine
}

// Memory is how a plane's memory went.
type Memory struct {
	Part    string  `json:"part"`
	MeanMB  float64 `json:"mean_mb"` // of the second half
	MostMB  float64 `json:"most_mb"`
	SlopeMB float64 `json:"slope_mb_per_min"` // of the second half
	Grown   float64 `json:"grown_mb"`         // by that slope, over the second half
}
