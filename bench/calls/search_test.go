package calls

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// carries is a gateway that carries up to a rate; steps counts what it was offered.
func carries(most float64, steps *int) offerer {
	return func(_ context.Context, rate float64, _ time.Duration) (Outcome, error) {
		*steps++
		o := Outcome{Rate: rate, Began: rate, Calls: 100}
		if rate > most {
			o.Failed, o.Problem = 1, "503"
		}
		return o, nil
	}
}

func TestASearchEndsJustBelowTheLimit(t *testing.T) {
	for _, most := range []float64{23, 150, 400, 407, 1999, 9000} {
		steps := 0
		f, err := search{guess: firstRate, spread: farther, resolution: resolution, step: 1, verify: 1}.run(t.Context(), carries(most, &steps))
		if err != nil {
			t.Errorf("%v: %v", most, err)
			continue
		}
		if f.rate > most || f.rate < most*(1-2*resolution)-1 || !f.verified || f.limit != "" || steps > 30 {
			t.Errorf("limit %v: found %+v in %d steps", most, f, steps)
		}
	}
}

func TestAGatewayThatCarriesNothingIsAnError(t *testing.T) {
	steps := 0
	_, err := search{guess: firstRate, spread: farther, resolution: resolution, step: 1}.run(t.Context(), carries(0, &steps))
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("%v", err)
	}
}

func TestARateThatTheLoadCouldNotOfferIsNotTheGatewaysLimit(t *testing.T) {
	f, err := search{guess: firstRate, spread: farther, resolution: resolution, step: 1, verify: 1}.run(t.Context(),
		func(_ context.Context, rate float64, _ time.Duration) (Outcome, error) {
			return Outcome{Rate: rate, Began: min(rate, 1000), Calls: 100}, nil
		})
	if err != nil || f.limit == "" || f.rate < 900 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestARateThatHoldsForAStepOnlyIsNotTheAnswer(t *testing.T) {
	f, err := search{guess: 500, spread: farther, resolution: resolution, step: 1, verify: 2}.run(t.Context(),
		func(_ context.Context, rate float64, d time.Duration) (Outcome, error) {
			o := Outcome{Rate: rate, Began: rate, Calls: 100}
			if rate > 600 || d == 2 && rate > 500 {
				o.Failed = 1
			}
			return o, nil
		})
	if err != nil || f.rate > 500 || f.rate < 500*verifyBack || !f.verified {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestARunInWhichSippStarvedIsRepeated(t *testing.T) {
	tries := 0
	out, err := tried(t.Context(), func(_ context.Context, rate float64, _ time.Duration) (Outcome, error) {
		tries++
		if tries <= failTries+1 {
			return Outcome{Rate: rate, Began: rate, Failed: 9, Starved: 1}, nil
		}
		return Outcome{Rate: rate, Began: rate, Calls: 9}, nil
	}, 100, time.Second)
	if err != nil || !out.held() || tries != failTries+2 {
		t.Errorf("%+v after %d tries, %v", out, tries, err)
	}
}

func TestASearchEndsWithItsContext(t *testing.T) {
	broken := errors.New("interrupted")
	_, err := search{guess: 500, spread: farther, resolution: resolution, step: 1}.run(t.Context(),
		func(context.Context, float64, time.Duration) (Outcome, error) { return Outcome{}, broken })
	if !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestARateIsCarriedOnlyIfNothingIsWrong(t *testing.T) {
	good := Outcome{Rate: 100, Began: 100, Calls: 100, P99: 20}
	for name, c := range map[string]struct {
		change func(*Outcome)
		held   bool
		limit  string
	}{
		"all is well":   {func(*Outcome) {}, true, ""},
		"a failed call": {func(o *Outcome) { o.Failed = 1 }, false, ""},
		"late":          {func(o *Outcome) { o.P99 = 501 }, false, ""},
		"too few":       {func(o *Outcome) { o.Began = 90 }, false, "began 90"},
		"full":          {func(o *Outcome) { o.Load = 99 }, true, "99 %"},
		"starved":       {func(o *Outcome) { o.Starved, o.Failed = 2, 7 }, false, "no CPU"},
		"lost by sipp":  {func(o *Outcome) { o.Lost, o.Failed = 3, 1 }, false, "3 datagrams"},
	} {
		o := good
		c.change(&o)
		if o.held() != c.held || !strings.Contains(o.limit(), c.limit) || c.limit == "" && o.limit() != "" {
			t.Errorf("%s: held %v, limit %q", name, o.held(), o.limit())
		}
	}
}
