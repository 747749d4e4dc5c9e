package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Plane is a call plane at the moment of a scrape.
type Plane interface {
	Calls() int // now
	Trunks() []Trunk
	Certificates() []Certificate
	Records() Records
}

// Trunk is one trunk. Of a cap 0 is none.
type Trunk struct {
	Name  string
	State int // 2 up, 1 demoted, 0 down

	Calls, MaxCalls         int
	CPS, MaxCPS             int // calls that began within the last second
	Bandwidth, MaxBandwidth int // kbit/s

	Attempts, Connected, Refused uint64
	Failed                       [7]uint64 // by the first digit of the SIP code; 0: the transport failed
	Registered                   *bool     // nil: it does not register
	Quality                      *Quality  // nil: no recent call had media
}

// Quality is of a trunk's recent calls.
type Quality struct {
	Loss   float64       // 0 to 1
	Jitter time.Duration // mean
	MOS    float64       // mean, 1.0 to 4.5
}

// Certificate is a file of certificates in use.
type Certificate struct {
	File    string
	Expires time.Time // of the one in it that ends first
}

// Records are the totals of the call records.
type Records struct {
	Written, Dropped, Errors uint64
	Queued                   int
}

var (
	sipCalls       = describe("tandem_sip_calls", "Calls now.")
	trunkState     = describe("tandem_sip_trunk_state", "Health of a trunk by its answers: 2 up, 1 demoted, 0 down.", "trunk")
	trunkCalls     = describe("tandem_sip_trunk_calls", "Calls on a trunk now, of those that count against its cap.", "trunk")
	trunkCallsMax  = describe("tandem_sip_trunk_calls_max", "The cap of calls; absent without one.", "trunk")
	trunkCPS       = describe("tandem_sip_trunk_cps", "Calls that began within the last second.", "trunk")
	trunkCPSMax    = describe("tandem_sip_trunk_cps_max", "The cap of calls a second; absent without one.", "trunk")
	trunkKbps      = describe("tandem_sip_trunk_kbps", "Bandwidth that calls have taken, one way, in kbit/s.", "trunk")
	trunkKbpsMax   = describe("tandem_sip_trunk_kbps_max", "The cap of bandwidth; absent without one.", "trunk")
	trunkAttempts  = describe("tandem_sip_trunk_attempts_total", "INVITEs begun towards a trunk.", "trunk")
	trunkConnected = describe("tandem_sip_trunk_connected_total", "INVITEs that a trunk accepted.", "trunk")
	trunkFailures  = describe("tandem_sip_trunk_failures_total", "INVITEs that came to nothing, by the class of the SIP code; transport: there was none.", "trunk", "class")
	trunkRefused   = describe("tandem_sip_trunk_refused_total", "Calls for which a cap of a trunk left no room.", "trunk")
	trunkRegister  = describe("tandem_sip_trunk_registered", "1 while a trunk's registration holds; absent if it does not register.", "trunk")
	trunkLoss      = describe("tandem_sip_trunk_loss_ratio", "Share of packets lost from a trunk's peer to us in its recent calls.", "trunk")
	trunkJitter    = describe("tandem_sip_trunk_jitter_seconds", "Mean jitter of a trunk's recent calls.", "trunk")
	trunkMOS       = describe("tandem_sip_trunk_mos", "Mean opinion score estimated of a trunk's recent calls, 1.0 to 4.5.", "trunk")
	certExpiry     = describe("tandem_sip_certificate_expiry_timestamp_seconds", "When the first certificate of a file ends, in seconds since 1970.", "file")
	recordsWritten = describe("tandem_records_written_total", "Call records written.")
	recordsDropped = describe("tandem_records_dropped_total", "Call records that are in no file: the queue was full.")
	recordsErrors  = describe("tandem_records_errors_total", "Attempts to write, sync or rotate the file of call records that failed.")
	recordsQueued  = describe("tandem_records_queued", "Call records that wait to be written.")
)

// state reads the plane at every scrape.
type state struct{ plane Plane }

func (state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		sipCalls, trunkState, trunkCalls, trunkCallsMax, trunkCPS, trunkCPSMax, trunkKbps, trunkKbpsMax, trunkAttempts, trunkConnected,
		trunkFailures, trunkRefused, trunkRegister, trunkLoss, trunkJitter, trunkMOS, certExpiry,
		recordsWritten, recordsDropped, recordsErrors, recordsQueued,
	} {
		ch <- d
	}
}

func (s state) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(sipCalls, float64(s.plane.Calls()))
	for _, t := range s.plane.Trunks() {
		t.collect(gauge, counter)
	}
	for _, c := range s.plane.Certificates() {
		gauge(certExpiry, float64(c.Expires.Unix()), c.File)
	}
	r := s.plane.Records()
	counter(recordsWritten, r.Written)
	counter(recordsDropped, r.Dropped)
	counter(recordsErrors, r.Errors)
	gauge(recordsQueued, float64(r.Queued))
}

// collect shows one trunk.
func (t *Trunk) collect(gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, uint64, ...string)) {
	gauge(trunkState, float64(t.State), t.Name)
	for _, one := range []struct {
		used, cap *prometheus.Desc
		now, max  int
	}{
		{trunkCalls, trunkCallsMax, t.Calls, t.MaxCalls},
		{trunkCPS, trunkCPSMax, t.CPS, t.MaxCPS},
		{trunkKbps, trunkKbpsMax, t.Bandwidth, t.MaxBandwidth},
	} {
		gauge(one.used, float64(one.now), t.Name)
		if one.max > 0 {
			gauge(one.cap, float64(one.max), t.Name)
		}
	}
	counter(trunkAttempts, t.Attempts, t.Name)
	counter(trunkConnected, t.Connected, t.Name)
	counter(trunkRefused, t.Refused, t.Name)
	for class, n := range t.Failed {
		switch {
		case class == 0:
			counter(trunkFailures, n, t.Name, "transport")
		case class >= 3: // 1xx and 2xx are no failures
			counter(trunkFailures, n, t.Name, strconv.Itoa(class)+"xx")
		}
	}
	if t.Registered != nil {
		gauge(trunkRegister, map[bool]float64{true: 1}[*t.Registered], t.Name)
	}
	if q := t.Quality; q != nil {
		gauge(trunkLoss, q.Loss, t.Name)
		gauge(trunkJitter, q.Jitter.Seconds(), t.Name)
		gauge(trunkMOS, q.MOS, t.Name)
	}
}
