package calls

import (
	"context"
	"errors"
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

	failTries   = 2 // a rate that fails once is tried again: one pause of the machine is not the gateway's
	spoiltTries = 4 // and a run that the machine spoilt is repeated so often
	unfitTries  = 3 // and a gateway that does not come up is started so often

	back        = 0.05 // share to go back when a rate holds for a step and not for longer; then twice as much, and again
	verifyTries = 8    // rates that are tried for long
)

// search finds the highest rate that is carried: from a guess by steps until one rate holds and one does not, by halves between
// them, and in the end for long. A step that is not carried, whatever became of the gateway, is an answer like any other.
type search struct {
	guess, spread, resolution float64
	step, verify              time.Duration // verify 0: not
	within                    time.Duration // for all of it; 0: no limit. A step that would go beyond is not begun.
}

// found is the answer.
type found struct {
	rate     float64
	limit    string // not empty where the load, not the gateway, was the limit
	verified bool   // it held for long
	cut      string // why the search ended before its time, or ""
}

type offerer func(ctx context.Context, rate float64, d time.Duration) (Outcome, error)

// hunt is a search that runs.
type hunt struct {
	search
	offer      offerer
	began      time.Time
	most       time.Duration // that a run took beyond its own length, so far
	held, lost float64       // the highest rate that was carried, the lowest that was not
	limit      string        // of lost
}

// errLate says that there is no time for another run.
var errLate = errors.New("there was no time left")

func (s search) run(ctx context.Context, offer offerer) (found, error) {
	h := &hunt{search: s, offer: offer, began: time.Now(), lost: math.Inf(1)}
	err := h.climb(ctx)
	if h.held >= mostRate {
		h.limit = "nothing higher was tried"
	}
	f := found{rate: h.held, limit: h.limit}
	if err == nil && s.verify > 0 {
		f, err = h.confirm(ctx)
	}
	// What ended the search early is part of the answer, if there is one.
	if err != nil && ctx.Err() == nil && f.rate > 0 && (errors.Is(err, errLate) || errors.Is(err, errUnfit)) {
		f.cut, err = fmt.Sprintf("after %s: %v", time.Since(h.began).Round(time.Second), err), nil
	}
	return f, err
}

// climb closes the bounds in on each other.
func (h *hunt) climb(ctx context.Context) error {
	for rate := math.Round(h.guess); ; rate = math.Round(h.next()) {
		out, err := h.tried(ctx, rate, h.step)
		if err != nil {
			return err
		}
		h.note(rate, out)
		if h.held == 0 && h.lost <= leastRate {
			return fmt.Errorf("even %d calls/s are not carried: %s", leastRate, out.fault())
		}
		if h.held >= mostRate || h.closed() {
			return nil
		}
	}
}

// note moves a bound.
func (h *hunt) note(rate float64, out Outcome) {
	if out.held() {
		h.held = max(h.held, rate)
	} else {
		h.lost, h.limit = rate, out.limit()
	}
}

// closed tells whether the bounds are an answer.
func (h *hunt) closed() bool {
	return h.held > 0 && h.lost-h.held <= max(1, h.held*h.resolution)
}

// next is the rate to try between the bounds, or beyond the one that is known: farther each time.
func (h *hunt) next() float64 {
	spread := h.spread
	h.spread = min(spread*spread, farther)
	switch {
	case math.IsInf(h.lost, 1):
		return min(h.held*spread, mostRate)
	case h.held == 0:
		return max(h.lost/spread, leastRate)
	}
	return (h.held + h.lost) / 2
}

// confirm goes down from a rate that held for a step until one holds for long, and then between it and the last that did not.
func (h *hunt) confirm(ctx context.Context) (found, error) {
	short := found{rate: h.held, limit: h.limit}
	rate, down := h.held, back
	h.held, h.lost = 0, math.Inf(1)
	for range verifyTries {
		out, err := h.tried(ctx, rate, h.verify)
		if err != nil {
			return h.best(short), err
		}
		h.note(rate, out)
		switch {
		case h.held == short.rate || h.closed():
			return h.best(short), nil
		case h.held > 0:
			rate = math.Round((h.held + h.lost) / 2)
		case rate <= leastRate:
			return short, fmt.Errorf("no rate of %.0f to %.0f calls/s holds for %s: %s", rate, short.rate, h.verify, out.fault())
		default:
			rate, down = math.Round(max(leastRate, rate*(1-down))), min(2*down, 0.5)
		}
	}
	if h.held > 0 {
		return h.best(short), nil
	}
	return short, fmt.Errorf("no rate of %.0f to %.0f calls/s holds for %s: the machine pauses too often for a search; try again when it is quiet", h.lost, short.rate, h.verify)
}

// best is what held for long, or else what held for a step.
func (h *hunt) best(short found) found {
	switch h.held {
	case 0:
		return short
	case short.rate:
		return found{rate: h.held, limit: short.limit, verified: true}
	}
	return found{rate: h.held, limit: h.limit, verified: true}
}

// tried offers a rate until it holds, or has failed often enough. A run in which sipp had no CPU, or no room for an
// answer, says nothing unless it is hopeless, and a gateway that did not come up says nothing at all.
func (h *hunt) tried(ctx context.Context, rate float64, d time.Duration) (out Outcome, err error) {
	for failed, spoilt, unfit := 0, 0, 0; failed < failTries && spoilt < spoiltTries; {
		if h.within > 0 && time.Since(h.began)+h.most+d > h.within {
			if failed > 0 { // once is enough, then
				return out, nil
			}
			return out, fmt.Errorf("%w for %s at %.0f calls/s", errLate, d, rate)
		}
		start := time.Now()
		out, err = h.offer(ctx, rate, d)
		h.most = max(h.most, time.Since(start)-d)
		switch {
		case errors.Is(err, errUnfit) && ctx.Err() == nil:
			if unfit++; unfit == unfitTries {
				return out, err
			}
		case err != nil || out.held():
			return out, err
		case out.hopeless():
			return out, nil
		case out.Starved > 0 || out.Lost > 0:
			spoilt++
		default:
			failed++
		}
	}
	return out, nil
}
