package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// setupBuckets are seconds from INVITE to 200. People answer after seconds; machines within milliseconds.
var setupBuckets = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120}

// Signaling counts what the call plane tells.
type Signaling struct {
	registry    *prometheus.Registry
	calls       *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	setup       prometheus.Histogram
	dropped     *prometheus.CounterVec
	messages    *prometheus.CounterVec
	connections *prometheus.CounterVec
	statuses    *prometheus.CounterVec
}

// NewSignaling returns the counters of a call plane. active tells how many calls there are, trunks the state of each
// (2 up, 1 demoted, 0 down) and its calls.
func NewSignaling(version string, active func() int, trunks func() []Trunk) *Signaling {
	s := &Signaling{
		registry:    registry(version),
		calls:       counters("tandem_sip_calls_total", "Calls that ended, by the trunks they came from and went to and by their final SIP code.", "from", "to", "code"),
		attempts:    counters("tandem_sip_attempts_total", "INVITEs sent, by trunk and its final answer.", "trunk", "code"),
		dropped:     counters("tandem_sip_drops_total", "Messages without effect on any call, by reason.", "reason"),
		messages:    counters("tandem_sip_messages_total", "SIP messages received, by listener and what became of them.", "listener", "outcome"),
		connections: counters("tandem_sip_connections_total", "Events of stream connections, by listener.", "listener", "event"),
		statuses:    counters("tandem_sip_refusals_total", "Requests answered before they reached a call, by listener and SIP code.", "listener", "code"),
		setup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tandem_sip_setup_seconds", Help: "From the INVITE to our 200.", Buckets: setupBuckets,
		}),
	}
	s.registry.MustRegister(s.calls, s.attempts, s.dropped, s.messages, s.connections, s.statuses, s.setup,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tandem_sip_calls", Help: "Calls now."},
			func() float64 { return float64(active()) }),
		trunkStates(trunks))
	return s
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

// Gatherer is what /metrics shows.
func (s *Signaling) Gatherer() prometheus.Gatherer { return s.registry }

// Call counts a call that ended.
func (s *Signaling) Call(from, to string, code int) {
	s.calls.WithLabelValues(from, to, strconv.Itoa(code)).Inc()
}

// Attempt counts a trunk's final answer to an INVITE.
func (s *Signaling) Attempt(trunk string, code int) {
	s.attempts.WithLabelValues(trunk, strconv.Itoa(code)).Inc()
}

// Setup measures a call that was answered.
func (s *Signaling) Setup(d time.Duration) { s.setup.Observe(d.Seconds()) }

// Drop counts a message without effect.
func (s *Signaling) Drop(reason string) { s.dropped.WithLabelValues(reason).Inc() }

// Message counts a message received.
func (s *Signaling) Message(listener, outcome string) {
	s.messages.WithLabelValues(listener, outcome).Inc()
}

// Connection counts an event of a stream connection.
func (s *Signaling) Connection(listener, event string) {
	s.connections.WithLabelValues(listener, event).Inc()
}

// Status counts a request refused at the door.
func (s *Signaling) Status(listener string, code int) {
	s.statuses.WithLabelValues(listener, strconv.Itoa(code)).Inc()
}

// Trunk is one trunk at the moment of a scrape.
type Trunk struct {
	Name  string
	State int // 2 up, 1 demoted, 0 down
	Calls int
}

var (
	trunkState = describe("tandem_sip_trunk_state", "Health of a trunk by its answers: 2 up, 1 demoted, 0 down.", "trunk")
	trunkCalls = describe("tandem_sip_trunk_calls", "Calls on a trunk now, of those that count against its cap.", "trunk")
)

// trunkStates reads the trunks at every scrape.
type trunkStates func() []Trunk

func (trunkStates) Describe(ch chan<- *prometheus.Desc) {
	ch <- trunkState
	ch <- trunkCalls
}

func (t trunkStates) Collect(ch chan<- prometheus.Metric) {
	for _, one := range t() {
		ch <- prometheus.MustNewConstMetric(trunkState, prometheus.GaugeValue, float64(one.State), one.Name)
		ch <- prometheus.MustNewConstMetric(trunkCalls, prometheus.GaugeValue, float64(one.Calls), one.Name)
	}
}
