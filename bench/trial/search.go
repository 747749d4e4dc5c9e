package trial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Lossless is the share of packets that a lossless rate may lose: one in a hundred thousand, below what anybody hears and
// above what a virtual machine's pauses cost now and then.
const Lossless = 1e-5

// Late is the 99th percentile of the added delay beyond which a rate does not count as carried, although nothing is lost
// yet: two thousand sockets hold seconds of packets before the first is dropped, and a queue that grows is a loss to come.
// No jitter buffer waits this long.
const Late = 100 * time.Millisecond

// verifyBack is how far the search goes back when a rate that held for a step does not hold for longer.
const verifyBack = 0.95

// maxSpread is the longest step of a search that knows one bound only.
const maxSpread = 2

// verifyTries bounds how often it goes back: 0.95^8 is two thirds.
const verifyTries = 8

// How often a rate must fail before it counts as not carried, and how often the rig may spoil it before it counts as beyond
// the rig: pauses of a virtual machine come singly, a limit of the rig stays.
const (
	failTries   = 2
	spoiltTries = 5
)

// Search finds the highest rate without loss: from a guess by ever longer steps until one rate holds and one does not, then
// by halves between them, and in the end once for longer.
type Search struct {
	Guess        float64       // packets per second to begin with
	Spread       float64       // factor from one rate to the next while only one bound is known, above 1
	Resolution   float64       // the search is over when the bounds are this close: 0.05 is 5 %
	Least, Most  float64       // rates beyond which it does not look
	Step, Verify time.Duration // how long a rate must hold, and how long the last one; Verify 0: no verification
	Budget       time.Duration // after this the best rate so far is the answer, if one held; 0: no limit
}

// Outcome is what became of an offered rate.
type Outcome struct {
	Loss  float64
	Delay time.Duration // 99th percentile
	Limit string        // not empty: the rig could not offer this rate, and no higher one
}

// held tells whether the rate was carried.
func (o *Outcome) held() bool { return o.Loss <= Lossless && o.Delay <= Late }

// Offer offers a rate for a while.
type Offer func(ctx context.Context, rate float64, d time.Duration) (Outcome, error)

// Found is a lossless rate.
type Found struct {
	Rate     float64
	Limit    string // not empty: the relay may carry more, the rig could not offer it
	Verified bool   // it held for longer, too
}

// Run searches. A rate that fails once is tried again: one pause of the machine is not the relay's.
func (s Search) Run(ctx context.Context, offer Offer) (Found, error) {
	if s.Guess <= 0 || s.Spread <= 1 || s.Resolution <= 0 || s.Least <= 0 || s.Most < s.Least {
		return Found{}, fmt.Errorf("trial: a search from %v by %v to %v within %v to %v makes no sense", s.Guess, s.Spread, s.Resolution, s.Least, s.Most)
	}
	began := time.Now()
	held, lost, limit := 0.0, math.Inf(1), ""
	for rate := min(max(s.Guess, s.Least), s.Most); ; rate = s.next(held, lost) {
		if rate != s.Guess {
			s.Spread = min(s.Spread*s.Spread, maxSpread) // the guess was far off, so are the neighbours of the guess
		}
		out, err := settled(ctx, offer, rate, s.Step)
		switch {
		case err != nil:
			return Found{}, err
		case out.Limit != "":
			lost, limit = rate, out.Limit
		case out.held():
			held = rate
		default:
			lost, limit = rate, ""
		}
		if held >= s.Most || held > 0 && lost/held <= 1+s.Resolution {
			break
		}
		if held == 0 && lost <= s.Least {
			return Found{}, fmt.Errorf("even %.0f packets/s are not lossless: loss %.1e, p99 of the delay %s %s", lost, out.Loss, out.Delay, out.Limit)
		}
		if held > 0 && s.over(began) {
			break
		}
	}
	found, err := s.verify(ctx, offer, held, began)
	found.Limit = limit
	return found, err
}

func (s Search) over(began time.Time) bool { return s.Budget > 0 && time.Since(began) > s.Budget }

// next is the rate to try between the bounds, or beyond the one that is known.
func (s Search) next(held, lost float64) float64 {
	switch {
	case math.IsInf(lost, 1):
		return min(held*s.Spread, s.Most)
	case held == 0:
		return max(lost/s.Spread, s.Least)
	}
	return (held + lost) / 2
}

// settled offers a rate until the answer is the relay's: a run that the rig spoilt says nothing and is repeated, one that
// failed is tried once more.
func settled(ctx context.Context, offer Offer, rate float64, d time.Duration) (out Outcome, err error) {
	for failed, spoilt := 0, 0; failed < failTries && spoilt < spoiltTries; {
		if out, err = offer(ctx, rate, d); err != nil {
			return out, err
		}
		switch {
		case out.Limit != "":
			spoilt++
		case out.held():
			return out, nil
		default:
			failed++
		}
	}
	return out, nil
}

// verify goes down from a rate that held for a step until one holds for long, or time is over.
func (s Search) verify(ctx context.Context, offer Offer, rate float64, began time.Time) (Found, error) {
	for range verifyTries {
		if s.Verify == 0 || s.over(began) {
			return Found{Rate: rate}, nil
		}
		out, err := settled(ctx, offer, rate, s.Verify)
		if err != nil {
			return Found{}, err
		}
		if out.held() && out.Limit == "" {
			return Found{Rate: rate, Verified: true}, nil
		}
		rate *= verifyBack
	}
	return Found{}, errors.New("no rate holds for longer than a moment: the machine pauses too often for a search; try again when it is quiet")
}
