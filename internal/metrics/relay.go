package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"tandem/internal/control"
)

// relay reads the relay's totals at every scrape.
type relay struct {
	stats func() control.Stats
}

var (
	relaySessions   = describe("tandem_relay_sessions", "Sessions open now.")
	relayOpened     = describe("tandem_relay_sessions_opened_total", "Sessions opened.")
	relayClosed     = describe("tandem_relay_sessions_closed_total", "Sessions closed.")
	relayPackets    = describe("tandem_relay_packets_total", "Datagrams received from peers (in) and forwarded to peers (out).", "direction")
	relayBytes      = describe("tandem_relay_bytes_total", "Bytes of UDP payload received (in) and forwarded (out).", "direction")
	relayDrops      = describe("tandem_relay_drops_total", "Datagrams received and not forwarded, by reason. in = out + all drops.", "verdict")
	relayOverflows  = describe("tandem_relay_overflows_total", "Datagrams the kernel dropped before the relay saw them: its receive buffer was full.")
	relayUnmatched  = describe("tandem_relay_unmatched_total", "Datagrams that reached a shared socket without naming one of our addresses. Not among those received.")
	relaySent       = describe("tandem_relay_sent_total", "Datagrams by the way they left.", "way")
	relayReceiving  = describe("tandem_relay_receive_calls_total", "System calls that returned datagrams.")
	relaySending    = describe("tandem_relay_send_calls_total", "System calls that sent datagrams.")
	relayBuffer     = describe("tandem_relay_receive_buffer_bytes", "The smallest receive buffer in use, as the kernel gave it.")
	relayBatch      = describe("tandem_relay_batch_packets", "Mean datagrams of one system call since the start.", "direction")
	relayHanded     = describe("tandem_relay_handed_over_total", "Datagrams that one worker received for another. With the engine xdp.")
	relayInvalid    = describe("tandem_relay_xdp_invalid_total", "Frames that the kernel refused to take from an AF_XDP socket: a fault of the relay's.")
	relayStarved    = describe("tandem_relay_xdp_starved_total", "Times that the kernel found no free frame of an AF_XDP socket for what it had received.")
	relayResyncs    = describe("tandem_relay_hop_resyncs_total", "Times that the kernel's news of routes and neighbours were lost and all was asked again.")
	relayRefused    = describe("tandem_relay_hops_refused_total", "Times that the way to a destination was not looked up, because the table is full: it leaves by a socket.")
	relayEarly      = describe("tandem_relay_ports_early_reuse_total", "Ports leased again before their preferred rest.")
	relayEventsLost = describe("tandem_relay_events_lost_total", "Events that no controller took in time.")
	relayUptime     = describe("tandem_relay_uptime_seconds", "Time since the relay's start.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// NewRelay returns what a relay shows.
func NewRelay(version string, stats func() control.Stats) prometheus.Gatherer {
	r := registry(version)
	r.MustRegister(relay{stats})
	return r
}

func (relay) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		relaySessions, relayOpened, relayClosed, relayPackets, relayBytes, relayDrops, relayOverflows, relayUnmatched,
		relayHanded, relayInvalid, relayStarved, relayResyncs, relayRefused,
		relaySent, relayReceiving, relaySending, relayBuffer, relayBatch, relayEarly, relayEventsLost, relayUptime,
	} {
		ch <- d
	}
}

func (r relay) Collect(ch chan<- prometheus.Metric) {
	s := r.stats()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(relaySessions, float64(s.Sessions))
	counter(relayOpened, s.Opened)
	counter(relayClosed, s.Closed)
	counter(relayPackets, s.Received, "in")
	counter(relayPackets, s.Forwarded, "out")
	counter(relayBytes, s.InBytes, "in")
	counter(relayBytes, s.OutBytes, "out")
	for verdict, n := range s.Drops {
		counter(relayDrops, n, verdict)
	}
	counter(relayOverflows, s.Overflows)
	counter(relayUnmatched, s.Unmatched)
	counter(relayHanded, s.HandedOver)
	counter(relayInvalid, s.XDPInvalid)
	counter(relayStarved, s.XDPStarved)
	counter(relayResyncs, s.HopResyncs)
	counter(relayRefused, s.HopsRefused)
	for way, n := range s.Sent {
		counter(relaySent, n, way)
	}
	counter(relayReceiving, s.RecvCalls)
	counter(relaySending, s.SendCalls)
	gauge(relayBuffer, float64(s.RcvBuf))
	gauge(relayBatch, s.BatchIn, "in")
	gauge(relayBatch, s.BatchOut, "out")
	counter(relayEarly, s.EarlyReuse)
	counter(relayEventsLost, s.EventsLost)
	gauge(relayUptime, float64(s.UptimeMS)/1000)
}
