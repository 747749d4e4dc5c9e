package calls

import (
	"context"
	"fmt"
	"math"
	"time"
)

const (
	leastRate = 20    // calls a second below which the search does not look
	mostRate  = 10000 // and beyond which sipp cannot
	firstRate = 400   // to begin with

	farther    = 1.5  // from rate to rate while one bound is unknown; later rounds know where to look
	nearer     = 1.1  //
	resolution = 0.05 // bounds so close are an answer
	coarse     = 0.2  // in a hurry

	failTries   = 2    // a rate that fails once is tried again: one pause of the machine is not the gateway's
	spoiltTries = 5    // and a run that the machine spoilt is repeated so often
	verifyBack  = 0.95 // how far to go back when a rate holds for a step, and not for longer
	verifyTries = 10
)

// search finds the highest rate that is carried: from a guess by steps until one rate holds and one does not, by halves between
// them, and in the end once for long.
type search struct {
	guess, spread, resolution float64
	step, verify              time.Duration // verify 0: not
}

// found is the answer. Limit is not empty where the load, not the gateway, was the limit.
type found struct {
	rate     float64
	limit    string
	verified bool
}

type offerer func(ctx context.Context, rate float64, d time.Duration) (Outcome, error)

func (s search) run(ctx context.Context, offer offerer) (f found, err error) {
	held, lost := 0.0, math.Inf(1)
	for rate := math.Round(s.guess); ; rate = math.Round(s.next(held, lost)) {
		out, err := tried(ctx, offer, rate, s.step)
		switch {
		case err != nil:
			return f, err
		case out.held():
			held = rate
		default:
			lost, f.limit = rate, out.limit()
		}
		if held == 0 && lost <= leastRate {
			return f, fmt.Errorf("even %d calls/s are not carried: %d of %d failed, 99 %% were set up within %.0f ms: %s", leastRate, out.Failed, out.Calls, out.P99, out.Problem)
		}
		if held >= mostRate || held > 0 && lost-held <= max(1, held*s.resolution) {
			break
		}
	}
	if held >= mostRate {
		f.limit = "nothing higher was tried"
	}
	return s.confirm(ctx, offer, held, f)
}

// next is the rate to try between the bounds, or beyond the one that is known.
func (s search) next(held, lost float64) float64 {
	switch {
	case math.IsInf(lost, 1):
		return min(held*s.spread, mostRate)
	case held == 0:
		return max(lost/s.spread, leastRate)
	}
	return (held + lost) / 2
}

// tried offers a rate until it holds, or has failed often enough. A run in which sipp had no CPU says nothing.
func tried(ctx context.Context, offer offerer, rate float64, d time.Duration) (out Outcome, err error) {
	for failed, spoilt := 0, 0; failed < failTries && spoilt < spoiltTries; {
		if out, err = offer(ctx, rate, d); err != nil || out.held() {
			break
		}
		if out.Starved > 0 {
			spoilt++
		} else {
			failed++
		}
	}
	return out, err
}

// confirm goes down from a rate that held for a step until one holds for long.
func (s search) confirm(ctx context.Context, offer offerer, rate float64, f found) (found, error) {
	f.rate = rate
	for range verifyTries {
		if s.verify == 0 {
			return f, nil
		}
		out, err := tried(ctx, offer, f.rate, s.verify)
		if err != nil {
			return f, err
		}
		if out.held() {
			f.verified = true
			return f, nil
		}
		f.rate = math.Round(max(leastRate, f.rate*verifyBack))
		f.limit = out.limit()
	}
	return f, fmt.Errorf("no rate of %.0f to %.0f calls/s holds for %s: the machine pauses too often for a search; try again when it is quiet", f.rate, rate, s.verify)
}
