package quality

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

const (
	start = int64(time.Hour) // of the fake clock
	ptime = 20 * time.Millisecond
	clock = 8000
	frame = 160 // timestamp units of 20 ms
)

// sender feeds a stream with packets as a phone sends them.
type sender struct {
	s    Stream
	now  int64
	ssrc uint32
	seq  uint16
	ts   uint32
}

func newSender() *sender { return &sender{now: start, ssrc: 1, seq: 65000, ts: 4294960000} }

// send lets n packets arrive, 20 ms apart.
func (p *sender) send(n int) {
	for range n {
		p.arrive(0)
		p.next()
	}
}

// arrive lets the current packet arrive late by that much.
func (p *sender) arrive(late time.Duration) {
	p.s.Update(p.now+int64(late), p.ssrc, p.seq, p.ts, clock)
}

// next goes on to the next packet.
func (p *sender) next() {
	p.now, p.seq, p.ts = p.now+int64(ptime), p.seq+1, p.ts+frame
}

// expect checks the sums.
func (p *sender) expect(t *testing.T, expected uint64, lost int64) {
	t.Helper()
	if r := p.s.Report(CodecOf("PCMU")); r.Expected != expected || r.Lost != lost {
		t.Fatalf("expected %d, lost %d; want %d and %d", r.Expected, r.Lost, expected, lost)
	}
}

func TestNothingHeardIsNoOpinion(t *testing.T) {
	var s Stream
	if r := s.Report(CodecOf("PCMU")); r != (Report{}) {
		t.Fatalf("%+v", r)
	}
}

func TestLossIsWhatTheSequenceNumbersMiss(t *testing.T) {
	for name, c := range map[string]struct {
		do       func(*sender)
		expected uint64
		lost     int64
	}{
		"none":                  {func(p *sender) { p.send(1000) }, 1000, 0},
		"one":                   {func(p *sender) { p.send(10); p.next(); p.send(10) }, 21, 1},
		"across the wrap":       {func(p *sender) { p.seq = 65530; p.send(3); p.next(); p.send(10) }, 14, 1},
		"three wraps":           {func(p *sender) { p.send(200000) }, 200000, 0},
		"longest gap":           {func(p *sender) { p.send(1); p.seq += maxDropout - 2; p.send(1) }, maxDropout, maxDropout - 2},
		"every packet twice":    {func(p *sender) { twice(p, 10) }, 10, -10},
		"swapped pairs":         {func(p *sender) { p.send(1); swapped(p, 10) }, 21, 0},
		"late by a hundred":     {func(p *sender) { late(p, maxMisorder) }, 201, 0},
		"one stray, far ahead":  {func(p *sender) { p.send(10); stray(p, 30000); p.send(10) }, 20, 0},
		"one stray, far behind": {func(p *sender) { p.send(10); stray(p, 65535-200); p.send(10) }, 20, 0},
		"strays in turns":       {func(p *sender) { strays(p, 10) }, 11, 0},
	} {
		p := newSender()
		c.do(p)
		r := p.s.Report(CodecOf("PCMU"))
		if r.Expected != c.expected || r.Lost != c.lost {
			t.Errorf("%s: expected %d, lost %d; want %d and %d", name, r.Expected, r.Lost, c.expected, c.lost)
		}
	}
}

func twice(p *sender, n int) {
	for range n {
		p.arrive(0)
		p.arrive(0)
		p.next()
	}
}

func swapped(p *sender, pairs int) {
	for range pairs {
		first := *p
		p.next()
		p.arrive(0)
		p.s.Update(p.now, first.ssrc, first.seq, first.ts, clock)
		p.next()
	}
}

// late sends a hundred packets, holds one back, and lets it arrive behind by that many.
func late(p *sender, behind int) {
	p.send(100)
	held := *p
	p.next()
	p.send(behind)
	p.s.Update(p.now, held.ssrc, held.seq, held.ts, clock)
}

func stray(p *sender, ahead uint16) { p.s.Update(p.now, p.ssrc, p.seq+ahead, p.ts, clock) }

// strays alternates good packets with jumps that continue each other: never two in a row.
func strays(p *sender, n int) {
	p.send(1)
	for i := range n {
		p.s.Update(p.now, p.ssrc, 20000+uint16(i), p.ts, clock)
		p.send(1)
	}
}

func TestRestartIsNotLoss(t *testing.T) {
	for name, jump := range map[string]uint16{
		"far ahead": 30000, "just too far ahead": maxDropout, "back": 65535 - 30000, "back a little": 65535 - maxMisorder - 1,
	} {
		p := newSender()
		p.send(500)
		p.seq += jump
		p.ts += 0x40000000
		p.send(500)
		r := p.s.Report(CodecOf("PCMU"))
		if r.Expected != 1000 || r.Lost != 0 {
			t.Errorf("%s: expected %d, lost %d; want 1000 and 0", name, r.Expected, r.Lost)
		}
		if r.MaxJitter != 0 {
			t.Errorf("%s: %s of jitter", name, r.MaxJitter)
		}
	}
}

func TestNewSSRCBeginsANewSpanAndKeepsTheTotals(t *testing.T) {
	p := newSender()
	p.send(100)
	p.next() // lost
	p.send(1)
	p.ssrc, p.seq, p.ts = 2, 7, 99
	p.send(50)
	p.next() // lost
	p.send(1)
	p.expect(t, 154, 2)
	if j := p.s.Report(CodecOf("PCMU")).MaxJitter; j != 0 {
		t.Fatalf("%s of jitter", j)
	}
}

func TestSteadyStreamHasNoJitter(t *testing.T) {
	p := newSender()
	p.send(1000)
	if r := p.s.Report(CodecOf("PCMU")); r.Jitter != 0 || r.MaxJitter != 0 {
		t.Fatalf("%+v", r)
	}
}

// TestJitterIsThatOfRFC3550 compares with the formula of appendix A.8, computed in floating point in timestamp units.
func TestJitterIsThatOfRFC3550(t *testing.T) {
	r := rand.New(rand.NewPCG(3550, 8))
	p := newSender()
	var want, highest, before float64
	for i := range 2000 {
		late := time.Duration(r.IntN(int(30 * time.Millisecond)))
		transit := float64(p.now-start+int64(late))/1e9*clock - float64(i)*frame
		if i > 0 {
			want += (math.Abs(transit-before) - want) / 16
			highest = max(highest, want)
		}
		before = transit
		p.arrive(late)
		p.next()
		got := p.s.Report(CodecOf("PCMU"))
		if diff := float64(got.Jitter)/1e9*clock - want; math.Abs(diff) > 0.01 {
			t.Fatalf("packet %d: jitter %s, RFC 3550 says %v timestamp units", i, got.Jitter, want)
		}
		if diff := float64(got.MaxJitter)/1e9*clock - highest; math.Abs(diff) > 0.01 {
			t.Fatalf("packet %d: highest %s, RFC 3550 says %v timestamp units", i, got.MaxJitter, highest)
		}
	}
}

func TestDTMFDoesNotInflateJitter(t *testing.T) {
	p := newSender()
	p.send(100)
	for range 100 { // a digit of 2 s: one timestamp (RFC 4733 section 2.5.1.2), three end packets, then audio goes on
		p.arrive(0)
		p.now, p.seq = p.now+int64(ptime), p.seq+1
	}
	for range 2 {
		p.arrive(0)
		p.seq++
	}
	p.ts += 100 * frame
	p.send(100)
	p.expect(t, 302, 0)
	if j := p.s.Report(CodecOf("PCMU")).MaxJitter; j != 0 {
		t.Fatalf("%s of jitter", j)
	}
}

func TestSilenceDoesNotInflateJitter(t *testing.T) {
	for name, c := range map[string]struct {
		silence, stamps time.Duration
		most            time.Duration
	}{
		"timestamps go on":               {40 * time.Second, 40 * time.Second, 0},
		"timestamps stand still":         {40 * time.Second, 0, 0},
		"timestamps jump":                {ptime, time.Hour, 0},
		"timestamps jump back":           {ptime, -time.Hour, 0},
		"a short pause, standing stamps": {200 * time.Millisecond, 0, 13 * time.Millisecond},
	} {
		p := newSender()
		p.send(100)
		p.now += int64(c.silence)
		p.ts += uint32(int64(c.stamps) * clock / int64(time.Second))
		p.send(100)
		if j := p.s.Report(CodecOf("PCMU")).MaxJitter; j > c.most {
			t.Errorf("%s: %s of jitter, want at most %s", name, j, c.most)
		}
	}
}

func TestChangeOfTheClockRateIsNotJitter(t *testing.T) {
	p := newSender()
	p.send(100)
	for i := range uint32(100) { // G.722.1 at 16 kHz, then no rate at all
		p.s.Update(p.now, p.ssrc, p.seq, p.ts+i*320, 16000)
		p.next()
	}
	p.s.Update(p.now, p.ssrc, p.seq, p.ts, 0)
	p.next()
	p.s.Update(p.now, p.ssrc, p.seq, p.ts, 0)
	p.next()
	p.send(100)
	p.expect(t, 302, 0)
	if j := p.s.Report(CodecOf("PCMU")).MaxJitter; j > 50*time.Millisecond {
		t.Fatalf("%s of jitter", j)
	}
}

func TestStreamIsSmallAndHoldsNoPointer(t *testing.T) {
	kind := reflect.TypeFor[Stream]()
	if kind.Size() > 96 {
		t.Errorf("%d bytes, 96 are allowed", kind.Size())
	}
	for i := range kind.NumField() {
		switch f := kind.Field(i); f.Type.Kind() {
		case reflect.Bool, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Int64:
		default:
			t.Errorf("%s is a %s", f.Name, f.Type)
		}
	}
}

func TestUpdateDoesNotAllocate(t *testing.T) {
	p := newSender()
	if n := testing.AllocsPerRun(100, func() {
		p.send(3)
		stray(p, 30000)
		p.seq += 20000
		p.send(3)
		p.ssrc++
		p.send(1)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkUpdate(b *testing.B) {
	p := newSender()
	b.ReportAllocs()
	for b.Loop() {
		p.arrive(0)
		p.next()
	}
}
