package trunk

import (
	"testing"
	"time"
)

const minute = time.Minute

// start is when the health tests begin.
func start() time.Time { return time.Unix(1_700_000_000, 0) }

func TestHealthFollowsThePollsOfATrunk(t *testing.T) {
	type event struct {
		after time.Duration // since the event before
		what  string        // poll, miss, answer, rest, look
		value int           // status, or seconds of rest
		want  State
	}
	for _, tc := range []struct {
		name   string
		events []event
	}{
		{"never polled is up", []event{{time.Hour, "look", 0, Up}}},
		{"one lost poll changes nothing", []event{
			{0, "poll", 0, Up}, {32 * time.Second, "miss", 0, Up}, {28 * time.Second, "poll", 0, Up}, {time.Second, "answer", 200, Up},
			{time.Hour, "look", 0, Up},
		}},
		{"three minutes unanswered demote", []event{
			{0, "poll", 0, Up}, {minute, "poll", 0, Up}, {minute, "poll", 0, Up},
			{minute - 1, "look", 0, Up}, {1, "look", 0, Demoted}, {0, "answer", 200, Up},
		}},
		{"five misses in a row take it down, one answer restores it", []event{
			{0, "miss", 0, Up}, {minute, "miss", 0, Up}, {minute, "miss", 0, Up}, {minute, "miss", 0, Demoted},
			{minute, "miss", 0, Down}, {time.Hour, "miss", 0, Down}, {minute, "answer", 404, Up},
		}},
		{"four misses and an answer start again", []event{
			{0, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "answer", 200, Up},
			{1, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "miss", 0, Down},
		}},
		{"a 408 counts as a miss", []event{
			{0, "answer", 408, Up}, {1, "answer", 408, Up}, {1, "answer", 408, Up}, {1, "answer", 408, Up}, {1, "answer", 408, Down},
		}},
		{"a 503 demotes at once, any other answer restores", []event{
			{0, "answer", 503, Demoted}, {time.Hour, "look", 0, Demoted}, {0, "answer", 486, Up},
		}},
		{"neither a 503 nor a 408 restores what is down", []event{
			{0, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "miss", 0, Up}, {1, "miss", 0, Down},
			{1, "answer", 503, Down}, {1, "answer", 408, Down}, {1, "answer", 500, Up},
		}},
		{"rest alone does not demote", []event{{0, "rest", 60, Up}, {minute, "look", 0, Up}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, now := Health{Every: minute}, start()
			for i, e := range tc.events {
				now = now.Add(e.after)
				switch e.what {
				case "poll":
					h.Polled(now)
				case "miss":
					h.Missed(now)
				case "answer":
					h.Answered(e.value, now)
				case "rest":
					h.RetryAfter(time.Duration(e.value)*time.Second, now)
				}
				if got := h.State(now); got != e.want {
					t.Fatalf("event %d, %s %d: %s, want %s", i, e.what, e.value, got, e.want)
				}
			}
		})
	}
}

func TestPollsComeAtTheirRate(t *testing.T) {
	h, now := Health{Every: minute}, start()
	if !h.Due(now) {
		t.Fatal("the first poll is not due at once")
	}
	h.Polled(now)
	if h.Due(now.Add(minute-1)) || !h.Due(now.Add(minute)) {
		t.Error("the second poll is not due after exactly one minute")
	}
}

func TestDownTrunkIsPolledOn(t *testing.T) {
	h, now := Health{Every: minute}, start()
	for range downAfter {
		h.Polled(now)
		h.Missed(now)
	}
	if h.State(now) != Down || !h.Due(now.Add(minute)) {
		t.Errorf("%s, due %v", h.State(now), h.Due(now.Add(minute)))
	}
}

func TestTrunkWithOptionsOffIsNeverPolled(t *testing.T) {
	h := Health{}
	if h.Due(start()) {
		t.Error("a poll is due")
	}
}

func TestTrunkWithOptionsOffIsForgivenA503(t *testing.T) {
	h, now := Health{}, start()
	h.Answered(503, now)
	if got := h.State(now.Add(demoteAfter - 1)); got != Demoted {
		t.Errorf("%s right after a 503, want demoted", got)
	}
	if got := h.State(now.Add(demoteAfter)); got != Up {
		t.Errorf("%s though nothing would ever ask it again, want up", got)
	}
}

func TestRestEndsWhenThePeerSaidAndNoLaterThanInAnHour(t *testing.T) {
	for _, tc := range []struct {
		name string
		asks []time.Duration
		want time.Duration
	}{
		{"as asked", []time.Duration{5 * minute}, 5 * minute},
		{"a shorter one does not cut it", []time.Duration{5 * minute, minute}, 5 * minute},
		{"a longer one extends it", []time.Duration{minute, 5 * minute}, 5 * minute},
		{"days are cut to an hour", []time.Duration{100 * time.Hour}, time.Hour},
		{"zero is none", []time.Duration{0}, 0},
		{"negative is none", []time.Duration{-minute}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, now := Health{Every: minute}, start()
			for _, d := range tc.asks {
				h.RetryAfter(d, now)
			}
			if got := h.Resting(now); got != tc.want {
				t.Errorf("rests %s, want %s", got, tc.want)
			}
			if h.Due(now) != (tc.want == 0) || h.Resting(now.Add(tc.want)) != 0 || !h.Due(now.Add(tc.want)) {
				t.Error("it is polled during its rest, or not after")
			}
		})
	}
}

func TestOnlyOneCallerGetsADuePoll(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, table(t, &dns{}, clk), "gw1")
	if !tr.PollDue(clk.now()) || tr.PollDue(clk.now()) {
		t.Error("the poll was given to none or to two")
	}
	if !tr.PollDue(clk.advance(minute)) {
		t.Error("the next poll is not due a minute later")
	}
}

func TestReportsTellTheChangeOfState(t *testing.T) {
	clk := newClock()
	tr := trunkOf(t, table(t, &dns{}, clk), "gw1")
	if before, after := tr.Answered(503, clk.now()); before != Up || after != Demoted {
		t.Errorf("503: %s to %s", before, after)
	}
	if before, after := tr.Answered(200, clk.now()); before != Demoted || after != Up {
		t.Errorf("200: %s to %s", before, after)
	}
	sink(tr, clk.now())
	if tr.State(clk.now()) != Down || Down.String() != "down" || Demoted.String() != "demoted" || Up.String() != "up" {
		t.Errorf("state %s", tr.State(clk.now()))
	}
}

// FuzzHealth plays arbitrary events: the rules hold whatever their order.
func FuzzHealth(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 1, 1, 2})
	f.Add([]byte{3, 0, 60, 4, 2, 1, 5, 5, 5})
	f.Add([]byte{1, 1, 1, 1, 3, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		h, now := Health{Every: minute}, start()
		misses := 0 // in a row, counted independently
		down, refused := false, false
		for _, b := range script {
			now = now.Add(time.Duration(b>>3) * 10 * time.Second)
			switch b & 7 {
			case 0:
				if h.Due(now) && h.Resting(now) > 0 {
					t.Fatal("a resting peer is polled")
				}
				h.Polled(now)
			case 1, 6:
				h.Missed(now)
				misses++
			case 2:
				h.Answered(200, now)
				misses, down, refused = 0, false, false
				if s := h.State(now); s != Up {
					t.Fatalf("%s after a good answer", s)
				}
			case 3:
				h.Answered(503, now)
				misses, refused = 0, true
			case 4:
				h.Answered(408, now)
				misses++
			default:
				h.RetryAfter(time.Duration(b)*time.Second*100, now)
			}
			down = down || misses >= downAfter
			s := h.State(now)
			if down != (s == Down) || refused && s == Up {
				t.Fatalf("%s with %d misses, refused %v, down %v", s, misses, refused, down)
			}
			if h.Resting(now) > restMost {
				t.Fatalf("rests %s", h.Resting(now))
			}
		}
	})
}

func TestPolicySaysWhenSilenceDemotesAndWhenItTakesDown(t *testing.T) {
	h, now := Health{Every: minute, Demote: 10 * time.Second, Down: 2}, start()
	h.Polled(now)
	if got := h.State(now.Add(10*time.Second - 1)); got != Up {
		t.Errorf("just before options.demote: %s", got)
	}
	if got := h.State(now.Add(10 * time.Second)); got != Demoted {
		t.Errorf("after options.demote: %s", got)
	}
	h.Missed(now)
	if got := h.State(now); got != Up {
		t.Errorf("after one miss of two: %s", got)
	}
	h.Missed(now)
	if got := h.State(now); got != Down || h.Misses() != 2 {
		t.Errorf("after options.down misses: %s, %d", got, h.Misses())
	}
	free := Health{Demote: 10 * time.Second}
	free.Answered(503, now)
	if got := free.State(now.Add(10 * time.Second)); got != Up {
		t.Errorf("without polls a 503 counts for options.demote, then: %s", got)
	}
}

func TestHealthKnowsSinceWhenItIsInItsState(t *testing.T) {
	h, at := Health{Every: minute, rose: start()}, start()
	expect := func(what string, state State, since time.Time) {
		t.Helper()
		if h.State(at) != state || !h.Since(at).Equal(since) {
			t.Errorf("%s: %s since %s after the start, want %s since %s", what, h.State(at), h.Since(at).Sub(start()), state, since.Sub(start()))
		}
	}
	pass := func(d time.Duration) { at = at.Add(d) }
	expect("new", Up, start())
	pass(minute)
	h.Polled(at)
	silent := at.Add(demoteAfter)
	pass(4 * minute)
	expect("silent", Demoted, silent)
	h.Answered(503, at)
	expect("silent, then a 503", Demoted, silent)
	pass(minute)
	h.Answered(503, at)
	expect("another 503", Demoted, silent)
	pass(minute)
	for range downAfter {
		h.Missed(at)
	}
	fell := at
	pass(minute)
	h.Missed(at)
	h.Answered(503, at)
	expect("down", Down, fell)
	pass(minute)
	h.Answered(200, at)
	rose := at
	pass(minute)
	h.Answered(200, at)
	expect("up again", Up, rose)
	h.Answered(503, at)
	refused := at
	pass(time.Second)
	h.Answered(503, at)
	expect("refused", Demoted, refused)
	if code, heard := h.Heard(); code != 503 || !heard.Equal(at) {
		t.Errorf("last answer %d at %s", code, heard)
	}
	h.Every = 0
	forgiven := at.Add(demoteAfter)
	pass(time.Hour)
	expect("forgiven", Up, forgiven)
}

// sink makes a trunk go down.
func sink(tr *Trunk, now time.Time) {
	for range downAfter {
		tr.Missed(now)
	}
}
