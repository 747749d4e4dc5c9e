// Package crypto measures SRTP by itself: nanoseconds of sealing and of opening one packet of 20 ms of G.711, by suite, processor
// tier and how many packets are worked on together, beside pion/srtp/v2 and libsrtp in the same run.
//
// Every implementation does the same work: a packet of 12 bytes of header and 160 of payload whose sequence number is new, in place
// or into a buffer that is reused. Each packet of a batch has keys of its own, as packets of different calls have. Opening
// starts from a copy of a sealed packet; the copy is in everybody's figure.
//
// What does not live here: whether the results are right (the tests of relay/srtp), and the packet path around it (bench/trial).
package crypto

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"time"

	"tandem/relay/srtp"
)

// Result is one figure.
type Result struct {
	Impl   string  `json:"impl"`   // tandem, pion, libsrtp
	Suite  string  `json:"suite"`  // by its RFC name
	Op     string  `json:"op"`     // seal, open
	Tier   string  `json:"tier"`   // of tandem: generic, aesni ...; of others their version, where they tell
	Batch  int     `json:"batch"`  // packets handed over together; 1 where the implementation takes no more
	NS     float64 `json:"ns"`     // per packet, the median of the runs
	Allocs float64 `json:"allocs"` // objects per packet; -1: not counted (it is no Go)
}

// Packet of all measurements, in bytes.
const (
	headerLen  = 12
	payloadLen = 160 // 20 ms of G.711
)

// Options say what is measured.
type Options struct {
	Suites  []srtp.Suite  // default: all
	Batches []int         // default: 1, 2, 4, 8, 16, 32
	Runs    int           // of each figure; the median counts; default 5
	Run     time.Duration // default 20 ms
	LibSRTP string        // prefix where another libsrtp is installed (include/, lib/); default: the system's
	Log     func(format string, arguments ...any)
}

// runs of a figure, and how long one takes: short enough for a table of a hundred figures, long enough for the scheduler's tick
// to be small in it.
const (
	defaultRuns = 5
	defaultRun  = 20 * time.Millisecond
)

func (o *Options) defaults() {
	if len(o.Suites) == 0 {
		o.Suites = srtp.Suites()
	}
	if len(o.Batches) == 0 {
		o.Batches = []int{1, 2, 4, 8, 16, 32}
	}
	if o.Runs <= 0 {
		o.Runs = defaultRuns
	}
	if o.Run <= 0 {
		o.Run = defaultRun
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
}

// Measure returns every figure, and the names of what was left out and why.
func Measure(o Options) (results []Result, leftOut []string, err error) {
	o.defaults()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, suite := range o.Suites {
		o.Log("%s", suite)
		ours, err := measureTandem(&o, suite)
		if err != nil {
			return nil, nil, fmt.Errorf("tandem, %s: %w", suite, err)
		}
		results = append(results, ours...)
		theirs, err := measurePion(&o, suite)
		if err != nil {
			return nil, nil, fmt.Errorf("pion, %s: %w", suite, err)
		}
		if len(theirs) == 0 {
			leftOut = append(leftOut, fmt.Sprintf("pion/srtp/v2 has no %s", suite))
		}
		results = append(results, theirs...)
	}
	c, missing, err := measureLibSRTP(&o)
	if err != nil {
		return nil, nil, err
	}
	return append(results, c...), append(leftOut, missing...), nil
}

// median of the runs of one figure, and the objects of the run with the fewest: Go itself allocates some for a thread, whoever runs. f
// does its work n times; n grows until a run takes as long as it should.
func median(o *Options, packets int, f func(n int)) (ns, allocs float64) {
	n := 1
	for {
		start := time.Now()
		f(n)
		if took := time.Since(start); took >= o.Run/4 {
			n = max(1, int(float64(n)*float64(o.Run)/float64(took)))
			break
		}
		n *= 2
	}
	times, made := make([]float64, o.Runs), make([]float64, o.Runs)
	for i := range times {
		before, start := objects(), time.Now()
		f(n)
		times[i] = float64(time.Since(start).Nanoseconds()) / float64(n*packets)
		made[i] = float64(objects()-before) / float64(n*packets)
	}
	slices.Sort(times)
	return times[len(times)/2], slices.Min(made)
}

// objects is how many heap objects the process has allocated so far.
func objects() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
