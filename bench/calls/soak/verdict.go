package soak

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Memory is flat if the slope of the second half makes less of it than this.
const (
	flatShare = 0.10    // of the second half's mean
	flatFloor = 8 << 20 // bytes: what a heap of Go swings by itself
)

// leastJudged is how long a run must be for its memory to be judged: transactions stay for 32 s, so a shorter one has not seen
// its own plateau in its second half.
const leastJudged = 2 * time.Minute

// left says what is there that was not before.
func (r *readings) left(before readings) (problems []string) {
	if r.sessions > 0 || r.calls > 0 {
		problems = append(problems, fmt.Sprintf("%.0f media sessions and %.0f calls are left", r.sessions, r.calls))
	}
	for _, part := range slices.Sorted(maps.Keys(r.goroutines)) {
		if n, was := r.goroutines[part], before.goroutines[part]; n > was+spareGoroutines {
			problems = append(problems, fmt.Sprintf("tandem %s has %.0f goroutines, had %.0f before the first call", part, n, was))
		}
	}
	return problems
}

// close fills in what the planes tell, and judges.
func (r *Result) close(o *Options, before, after readings, samples []sample) {
	p := &r.Packets
	p.In, p.Out, p.Drops = uint64(after.in-before.in), uint64(after.out-before.out), uint64(after.drops-before.drops)
	p.Overflows = uint64(after.overflows-before.overflows) + after.lost - before.lost
	r.Left = map[string]float64{"sessions": after.sessions, "calls": after.calls}
	r.CPU = map[string]float64{}
	for _, part := range []string{relayPart, sipPart} {
		r.CPU[part] = (after.cpu[part] - before.cpu[part]).Seconds()
		r.Left[part+"_goroutines"], r.Left[part+"_goroutines_before"] = after.goroutines[part], before.goroutines[part]
		r.Memory = append(r.Memory, trend(part, samples, o.For))
	}
	r.Problems = append(r.Problems, after.left(before)...)
	r.Problems = append(r.Problems, p.judge()...)
	if r.Failed > 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("%d of %d calls failed", r.Failed, r.Calls))
	}
	if done, wanted := r.Moved[0], r.Moved[1]; done < wanted {
		r.Problems = append(r.Problems, fmt.Sprintf("%d of %d transfers did not come about", wanted-done, wanted))
	}
	if o.For < leastJudged {
		return
	}
	for _, m := range r.Memory {
		if grown := m.Grown * (1 << 20); grown > flatFloor && grown > flatShare*m.MeanMB*(1<<20) {
			r.Problems = append(r.Problems, fmt.Sprintf("tandem %s grows by %.2f MB a minute", m.Part, m.SlopeMB))
		}
	}
}

// judge says where the books do not agree. A packet that is missing must be among those that somebody says he lost.
func (p *Packets) judge() (problems []string) {
	if p.In != p.Out+p.Drops {
		problems = append(problems, fmt.Sprintf("the relay received %d packets, forwarded %d and dropped %d: the sum is wrong", p.In, p.Out, p.Drops))
	}
	if p.Corrupt > 0 || p.Duplicates > 0 {
		problems = append(problems, fmt.Sprintf("%d packets were not what was said, %d came twice", p.Corrupt, p.Duplicates))
	}
	if p.Missing > p.Drops+p.Overflows {
		problems = append(problems, fmt.Sprintf("%d packets were sent and never heard, but the relay dropped %d and the kernel %d", p.Missing, p.Drops, p.Overflows))
	}
	if p.Sent > p.In+p.Overflows || p.Received > p.Out {
		problems = append(problems, fmt.Sprintf("phones sent %d packets and heard %d, but the relay received %d and forwarded %d", p.Sent, p.Received, p.In, p.Out))
	}
	return problems
}

// trend fits a line to a plane's memory in the second half of a run, by least squares.
func trend(part string, samples []sample, whole time.Duration) Memory {
	m := Memory{Part: part}
	var n, x, y, xx, xy float64
	for _, s := range samples {
		mb := s.bytes[part] / (1 << 20)
		m.MostMB = max(m.MostMB, mb)
		if s.at < whole/2 || mb == 0 {
			continue
		}
		at := s.at.Minutes()
		n, x, y, xx, xy = n+1, x+at, y+mb, xx+at*at, xy+at*mb
	}
	if n == 0 {
		return m
	}
	m.MeanMB = y / n
	if d := n*xx - x*x; d > 0 {
		m.SlopeMB = (n*xy - x*y) / d
	}
	m.Grown = m.SlopeMB * (whole / 2).Minutes()
	return m
}

// Text is the result for a reader.
func (r *Result) Text() string {
	var b strings.Builder
	p := &r.Packets
	fmt.Fprintf(&b, "%.0f s, engine %s: %d calls (%.1f a second, %d at once at most), %d failed; set-up p50 %.0f ms, p99 %.0f ms\n",
		r.Seconds, r.Engine, r.Calls, r.CallsPerS, r.Most, r.Failed, r.SetupMS[0], r.SetupMS[1])
	fmt.Fprintf(&b, "%d holds and resumes, %d other re-INVITEs, %d of %d transfers, %d glares\n", r.Held, r.Renewed, r.Moved[0], r.Moved[1], r.Glares)
	fmt.Fprintf(&b, "packets: %.0f/s; phones sent %d, heard %d unharmed, %d missing, %d corrupt, %d twice\n", p.PerS, p.Sent, p.Received, p.Missing, p.Corrupt, p.Duplicates)
	fmt.Fprintf(&b, "relay (RTCP included): %d in = %d out + %d dropped; %d overflowed in the kernel\n", p.In, p.Out, p.Drops, p.Overflows)
	for _, m := range r.Memory {
		fmt.Fprintf(&b, "memory of %s: %.0f MB at most; second half %.0f MB, slope %+.2f MB a minute; %.1f s of CPU\n", m.Part, m.MostMB, m.MeanMB, m.SlopeMB, r.CPU[m.Part])
	}
	fmt.Fprintf(&b, "left: %.0f sessions, %.0f calls; goroutines sip %.0f (before %.0f), relay %.0f (before %.0f)\n", r.Left["sessions"], r.Left["calls"],
		r.Left["sip_goroutines"], r.Left["sip_goroutines_before"], r.Left["relay_goroutines"], r.Left["relay_goroutines_before"])
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "PROBLEM: %s\n", problem)
	}
	return b.String()
}
