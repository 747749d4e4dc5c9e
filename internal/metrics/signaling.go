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
	unreachable *prometheus.CounterVec
	reloads     *prometheus.CounterVec
}

// NewSignaling returns the counters of a call plane, which is asked for the rest at every scrape.
func NewSignaling(version string, plane Plane) *Signaling {
	s := &Signaling{
		registry:    registry(version),
		calls:       counters("tandem_sip_calls_total", "Calls that ended, by the trunks they came from and went to and by their final SIP code.", "from", "to", "code"),
		attempts:    counters("tandem_sip_attempts_total", "INVITEs sent, by trunk and its final answer.", "trunk", "code"),
		dropped:     counters("tandem_sip_drops_total", "Messages without effect on any call, by reason.", "reason"),
		messages:    counters("tandem_sip_messages_total", "SIP messages received, by listener and what became of them.", "listener", "outcome"),
		connections: counters("tandem_sip_connections_total", "Events of stream connections, by listener.", "listener", "event"),
		statuses:    counters("tandem_sip_refusals_total", "Requests answered before they reached a call, by listener and SIP code.", "listener", "code"),
		unreachable: counters("tandem_sip_unreachable_total", "Requests of ours that ended because ICMP told that nobody takes datagrams there, by listener.", "listener"),
		reloads:     counters("tandem_sip_reloads_total", "Attempts to read the configuration again, by what came of them.", "result"),
		setup: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tandem_sip_setup_seconds", Help: "From the INVITE to our 200.", Buckets: setupBuckets,
		}),
	}
	s.registry.MustRegister(s.calls, s.attempts, s.dropped, s.messages, s.connections, s.statuses, s.unreachable, s.reloads, s.setup, state{plane})
	for _, result := range []string{reloadOK, reloadFailed} {
		s.reloads.WithLabelValues(result) // shown from the start: an alert on the first failure needs the zero before it
	}
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

// Unreachable counts a request of ours that ICMP ended.
func (s *Signaling) Unreachable(listener string) { s.unreachable.WithLabelValues(listener).Inc() }

// What a reload may come to.
const (
	reloadOK     = "ok"
	reloadFailed = "failed"
)

// Reload counts an attempt to read the configuration again.
func (s *Signaling) Reload(ok bool) {
	result := reloadFailed
	if ok {
		result = reloadOK
	}
	s.reloads.WithLabelValues(result).Inc()
}
