package trial

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

var fast = Search{Guess: 100_000, Spread: 1.5, Resolution: 0.05, Least: 1000, Most: 1e6, Step: 1, Verify: 2}

// carries is a relay that loses what is beyond its rate, and counts how often it was asked.
func carries(rate float64, asked *int) Offer {
	return func(_ context.Context, offered float64, _ time.Duration) (Outcome, error) {
		*asked++
		return Outcome{Loss: max(0, 1-rate/offered)}, nil
	}
}

func TestSearchFindsTheRateWithinItsResolution(t *testing.T) {
	for _, rate := range []float64{1001, 7_300, 99_000, 100_000, 151_000, 420_000, 999_000} {
		asked := 0
		found, err := fast.Run(t.Context(), carries(rate, &asked))
		if err != nil || found.Rate > rate || found.Rate < rate/1.051 || !found.Verified || found.Limit != "" {
			t.Errorf("%v: found %+v, %v", rate, found, err)
		}
		if asked > 30 {
			t.Errorf("%v: %d offers", rate, asked)
		}
	}
}

func TestSearchEndsAtItsBounds(t *testing.T) {
	asked := 0
	if found, err := fast.Run(t.Context(), carries(5e6, &asked)); err != nil || found.Rate != fast.Most {
		t.Errorf("upper: %+v %v", found, err)
	}
	if _, err := fast.Run(t.Context(), carries(10, &asked)); err == nil || !strings.Contains(err.Error(), "1000 packets/s are not lossless") {
		t.Errorf("lower: %v", err)
	}
}

func TestOneLossOfTheMachineDoesNotMoveTheResult(t *testing.T) {
	asked := 0
	relay := carries(200_000, &asked)
	want, err := fast.Run(t.Context(), relay)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[float64]bool{}
	got, err := fast.Run(t.Context(), func(ctx context.Context, rate float64, d time.Duration) (Outcome, error) {
		if !seen[rate] && d == fast.Step {
			seen[rate] = true
			return Outcome{Loss: 0.01}, nil
		}
		return relay(ctx, rate, d)
	})
	if err != nil || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
}

func TestARateThatHoldsOnlyForAMomentIsNotTheResult(t *testing.T) {
	asked := 0
	relay := carries(200_000, &asked)
	found, err := fast.Run(t.Context(), func(ctx context.Context, rate float64, d time.Duration) (Outcome, error) {
		if d == fast.Verify && rate > 150_000 {
			return Outcome{Loss: 0.001}, nil
		}
		return relay(ctx, rate, d)
	})
	if err != nil || found.Rate > 150_000 || found.Rate < 140_000 {
		t.Errorf("%+v %v", found, err)
	}
	never := func(ctx context.Context, rate float64, d time.Duration) (Outcome, error) {
		if d == fast.Verify {
			return Outcome{Loss: 1}, nil
		}
		return relay(ctx, rate, d)
	}
	if _, err := fast.Run(t.Context(), never); err == nil {
		t.Error("a rate that never holds was found")
	}
}

func TestAQueueThatGrowsIsNotALosslessRate(t *testing.T) {
	found, err := fast.Run(t.Context(), func(_ context.Context, rate float64, _ time.Duration) (Outcome, error) {
		if rate > 120_000 {
			return Outcome{Delay: Late + 1}, nil
		}
		return Outcome{Delay: Late}, nil
	})
	if err != nil || found.Rate > 120_000 || found.Rate < 114_000 {
		t.Errorf("%+v %v", found, err)
	}
}

func TestTheRigsLimitIsSaid(t *testing.T) {
	found, err := fast.Run(t.Context(), func(_ context.Context, rate float64, _ time.Duration) (Outcome, error) {
		if rate > 300_000 {
			return Outcome{Limit: "generator late"}, nil
		}
		return Outcome{}, nil
	})
	if err != nil || found.Limit != "generator late" || found.Rate < 280_000 {
		t.Errorf("%+v %v", found, err)
	}
}

func TestARunThatTheRigSpoiltSaysNothing(t *testing.T) {
	asked := 0
	relay := carries(200_000, &asked)
	want, err := fast.Run(t.Context(), relay)
	if err != nil {
		t.Fatal(err)
	}
	turn := 0
	got, err := fast.Run(t.Context(), func(ctx context.Context, rate float64, d time.Duration) (Outcome, error) {
		if turn++; turn%3 != 0 { // two of three runs: less often than a limit that stays
			return Outcome{Loss: 0.5, Limit: "generator late"}, nil
		}
		return relay(ctx, rate, d)
	})
	if err != nil || got != want {
		t.Errorf("%+v %v, want %+v", got, err, want)
	}
}

func TestTheBudgetEndsASearchThatHasFoundARate(t *testing.T) {
	s := fast
	s.Budget, s.Verify = 1, 0 // over at once
	asked := 0
	found, err := s.Run(t.Context(), carries(420_000, &asked))
	if err != nil || asked != 1 || found.Rate != s.Guess || found.Verified {
		t.Errorf("%+v %v after %d", found, err, asked)
	}
	if found, err = s.Run(t.Context(), carries(30_000, &asked)); err != nil || found.Rate == 0 {
		t.Errorf("none held within the budget: %+v %v", found, err)
	}
}

func TestAnErrorEndsTheSearch(t *testing.T) {
	broken := errors.New("relay gone")
	if _, err := fast.Run(t.Context(), func(context.Context, float64, time.Duration) (Outcome, error) { return Outcome{}, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := (Search{}).Run(t.Context(), nil); err == nil {
		t.Error("a search without a guess ran")
	}
}
