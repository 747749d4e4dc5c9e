// Package report is what the rig says in the end: the numbers of a comparison as JSON, as a table for a person, and as the
// part of BENCHMARKS.md between two markers. It prevents two failures: a median that somebody computed by hand, and a table
// in a document that no longer comes from a run. Nothing is measured here.
package report

// Measures are one side's numbers: of one round, or medians over the rounds. A nil means that the side does not tell.
type Measures struct {
	Engine  string `json:"engine"` // tandem's engine, or the rival's name
	Version string `json:"version,omitempty"`
	Mode    string `json:"mode"`    // rtp, srtp, both
	Streams int    `json:"streams"` // directions; two are a call

	LosslessPPS float64 `json:"lossless_pps"` // highest rate found with a loss of at most 1e-5; 0: not searched

	// At the rate that both sides carry, or the one asked for.
	OfferedPPS   float64 `json:"offered_pps"`
	DeliveredPPS float64 `json:"delivered_pps"`
	Loss         float64 `json:"loss"`           // share of the packets sent
	NSPerForward float64 `json:"ns_per_forward"` // CPU of the process and its NAPI thread, per delivered packet
	P50          float64 `json:"p50_us"`         // added delay: arrival minus send time
	P99          float64 `json:"p99_us"`
	P999         float64 `json:"p999_us"`
	Max          float64 `json:"max_us"`
	Untimed      Untimed `json:"untimed"`

	Delay *Delay `json:"delay,omitempty"` // at 70 % of its own lossless rate

	Allocs      *float64     `json:"allocs"` // objects allocated across the forwards, minus those of an equal idle interval
	Allocations *Allocations `json:"allocations,omitempty"`
	BatchIn     *float64     `json:"batch_in"` // packets a receive call
	BatchOut    *float64     `json:"batch_out"`
	RSS         float64      `json:"rss_mb"`
	Path        string       `json:"path"` // the way that counters prove
	CPU         CPU          `json:"cpu"`
	Load        Load         `json:"load"`
}

// Delay is the added delay in microseconds at a rate that leaves room.
type Delay struct {
	OfferedPPS float64 `json:"offered_pps"`
	Loss       float64 `json:"loss"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	P999       float64 `json:"p999_us"`
	Max        float64 `json:"max_us"`
	Untimed    Untimed `json:"untimed"`
}

// Untimed tells of the packets that are in no quantile of the delay: the load's own CPU was away when they left or arrived.
type Untimed struct {
	Share float64 `json:"share"`  // of the packets delivered
	P99   float64 `json:"p99_us"` // of all packets, these included
	P999  float64 `json:"p999_us"`
}

// Allocations are the raw values behind Allocs.
type Allocations struct {
	Forwards    uint64  `json:"forwards"`     // packets forwarded while Busy was counted
	Seconds     float64 `json:"seconds"`      // length of either interval
	Busy        uint64  `json:"objects_busy"` // allocated in the interval with traffic
	Idle        uint64  `json:"objects_idle"` // allocated in an equal interval without
	IdleSeconds float64 `json:"idle_seconds"`
}

// CPU is what the relay's core did in the round.
type CPU struct {
	ProcessMS float64 `json:"process_ms"`        // run time of the relay's threads
	NAPIMS    float64 `json:"napi_ms"`           // run time of the NAPI thread that serves it
	Percent   float64 `json:"percent"`           // both, of one core
	StealMS   float64 `json:"steal_ms"`          // taken by the hypervisor; resolution: a tick
	SoftirqMS float64 `json:"softirq_ms"`        // of the relay's core outside of NAPI threads; resolution: a tick
	NAPIHome  bool    `json:"napi_home"`         // the NAPI thread stayed on the relay's core
	Elsewhere uint64  `json:"softirq_elsewhere"` // packets whose receive work ran on another core
}

// Load is how well the generator and the sink did.
type Load struct {
	SentPPS    float64 `json:"sent_pps"`
	LateMaxUS  float64 `json:"late_max_us"` // behind the schedule
	Duplicated uint64  `json:"duplicated"`
	Misordered uint64  `json:"misordered"`
	Corrupt    uint64  `json:"corrupt"`
	Forged     uint64  `json:"forged"` // SRTP tag wrong
	Stray      uint64  `json:"stray"`
	Limit      string  `json:"limit,omitempty"` // set when the load itself was the limit: why
}

// Round is both sides in turn.
type Round struct {
	Tandem Measures  `json:"tandem"`
	Rival  *Measures `json:"rival,omitempty"`
	Rate   float64   `json:"rate,omitempty"` // lossless rate, tandem / rival
	CPU    float64   `json:"cpu,omitempty"`  // ns per forward, tandem / rival
}

// Ratio compares the sides: tandem / rival, medians over the rounds with their ranges.
type Ratio struct {
	Rate      float64     `json:"rate,omitempty"`
	RateRange *[2]float64 `json:"rate_range,omitempty"`
	CPU       float64     `json:"cpu,omitempty"`
	CPURange  *[2]float64 `json:"cpu_range,omitempty"`
}

// Comparison is the answer of one run: tandem's medians, the rival's beside them, and the rounds they come from.
type Comparison struct {
	Measures
	Rival      *Measures  `json:"rival,omitempty"`
	Ratio      *Ratio     `json:"ratio,omitempty"`
	Rounds     []Round    `json:"rounds"`
	Stalls     *Stalls    `json:"stalls,omitempty"`
	Notes      []string   `json:"notes,omitempty"` // what a reader must know to believe the numbers
	Conditions Conditions `json:"conditions"`
}

// Stalls is what a thread that looked at the clock for 70 % of the time found on the relay's CPU, beside the rounds.
type Stalls struct {
	Seconds float64 `json:"seconds"`    // watched
	Share   float64 `json:"share"`      // of the time it was awake in which it was kept from running
	Longest float64 `json:"longest_us"` // at a time
	P99     float64 `json:"p99_us"`     // delay that this alone makes for a server of constant cost a packet that is as busy
	P999    float64 `json:"p999_us"`
}

// Sessions is the answer of a run that opens many sessions.
type Sessions struct {
	Engine       string     `json:"engine"`
	Count        int        `json:"count"`
	InFlight     int        `json:"in_flight"`
	OpensPerS    float64    `json:"opens_per_s"`
	ClosesPerS   float64    `json:"closes_per_s"`
	RSSBefore    float64    `json:"rss_before_mb"`
	RSSAfter     float64    `json:"rss_after_mb"`
	BytesPerIdle float64    `json:"bytes_per_idle_session"`
	Conditions   Conditions `json:"conditions"`
}
