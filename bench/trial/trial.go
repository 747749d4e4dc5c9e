// Package trial compares relays: it searches the rate that each carries without loss, then offers one equal rate to both,
// in alternating rounds, and keeps every round's numbers.
//
// The failure it prevents is the comparison of two moments instead of two relays. Virtual machines are fast in one minute
// and slow in the next, so the sides take turns, ratios are taken within a round, a relay is started anew for every turn,
// and a run that the rig itself spoilt is repeated or refused, never counted.
//
// Files in the order things happen: trial (options, the plan), search (the lossless rate), compare (the rounds), live (one
// relay's turn, one run), allocs, sessions. What does not live here: medians and tables (bench/report).
package trial

import (
	"fmt"
	"time"

	"tandem/bench/load"
	"tandem/bench/rig"
)

// Options are what is compared, and where.
type Options struct {
	Place   *rig.Place
	Mode    load.Mode
	Streams int
	Rate    float64 // packets per second for all rounds; 0: searched
	Rounds  int
	Quick   bool // done within 50 s, with a rival and a search: good for a look, not for a figure
	Log     func(format string, arguments ...any)
}

// share of the lower lossless rate at which both sides are compared, and of its own at which a side's delay is read.
const (
	equalShare = 0.90
	delayShare = 0.70
)

// allocForwards is across how many forwards allocations are counted, at least.
const allocForwards = 1_000_000

// plan is how long things take.
type plan struct {
	first, again  Search        // of the first round and of the later ones, which know where to look
	equal         time.Duration // of the run at the equal rate
	delay         time.Duration // of the run for the delay
	watch         time.Duration // of the relay's CPU before each turn; 0: nobody looks
	allocForwards float64
}

// The search looks between 500 packets/s, ten streams of speech, and 1,000,000, beyond any relay on one core.
const (
	leastRate = 500
	mostRate  = 1_000_000
	guess     = 40_000
)

func (o *Options) plan() plan {
	p := plan{
		first: Search{
			Guess: guess, Spread: 1.5, Resolution: 0.05, Least: leastRate, Most: mostRate,
			Step: 2 * time.Second, Verify: 4 * time.Second, Budget: time.Minute,
		},
		equal: 5 * time.Second, delay: 4 * time.Second, watch: 2 * time.Second, allocForwards: allocForwards,
	}
	p.again = p.first
	p.again.Spread, p.again.Budget = 1.08, 30*time.Second
	if o.Quick {
		p.first.Step, p.first.Verify, p.first.Budget = 500*time.Millisecond, time.Second, 9*time.Second
		p.first.Resolution = 0.1
		p.again = p.first
		p.again.Spread = 1.15
		p.equal, p.delay, p.watch, p.allocForwards = time.Second, time.Second, 0, 0
	}
	return p
}

// check refuses what cannot be measured.
func (o *Options) check() error {
	switch {
	case o.Rounds < 1:
		return fmt.Errorf("%d rounds: at least 1", o.Rounds)
	case o.Rate < 0 || o.Rate > mostRate:
		return fmt.Errorf("a rate of %.0f packets/s: %d at most; leave it out to search", o.Rate, mostRate)
	}
	return nil
}
