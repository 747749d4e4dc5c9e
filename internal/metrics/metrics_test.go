package metrics

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tandem/internal/control"
)

// scrape reads an endpoint as Prometheus does.
func scrape(t *testing.T, from prometheus.Gatherer) string {
	t.Helper()
	e, err := Serve("127.0.0.1:0", from)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	answer, err := http.Get("http://" + e.Address() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", answer.StatusCode, err)
	}
	return string(body)
}

func relayPage(t *testing.T) string {
	return scrape(t, NewRelay("v1", func() control.Stats {
		return control.Stats{
			Sessions: 3, Opened: 5, Closed: 2, Received: 100, Forwarded: 90, InBytes: 17200, OutBytes: 15480,
			Drops: map[string]uint64{"stranger": 7, "bad_tag": 3}, UptimeMS: 1500,
			Sent: map[string]uint64{"frame": 80, "socket_local": 10}, RecvCalls: 20, SendCalls: 15, Unmatched: 4, RcvBuf: 33554432,
			HandedOver: 21, XDPInvalid: 22, XDPStarved: 23, HopResyncs: 24, HopsRefused: 25,
		}
	}))
}

// plane is a call plane at one moment.
type plane struct{}

func (plane) Calls() int { return 4 }

func (plane) Trunks() []Trunk {
	registered := false
	return []Trunk{
		{Name: "gw1", State: 2, Calls: 4, MaxCalls: 30, CPS: 2, Bandwidth: 320, MaxBandwidth: 2000, Attempts: 9, Connected: 5,
			Failed: [7]uint64{0: 1, 5: 3}, Quality: &Quality{Loss: .25, Jitter: 5 * time.Millisecond, MOS: 4.1}},
		{Name: "gw2", MaxCPS: 10, Refused: 7, Registered: &registered},
	}
}

func (plane) Certificates() []Certificate {
	return []Certificate{{"/etc/tandem/sbc.pem", time.Unix(1800000000, 0)}}
}

func (plane) Records() Records { return Records{Written: 11, Dropped: 2, Errors: 3, Queued: 1} }

func signalingPage(t *testing.T) string {
	s := NewSignaling("v1", plane{})
	s.Call("uc", "gw1", 200)
	s.Attempt("gw2", 503)
	s.Setup(30 * time.Millisecond)
	s.Drop("stranger")
	s.Message("uc-tls", "delivered")
	s.Connection("uc-tls", "accepted")
	s.Status("uc-tls", 403)
	s.Unreachable("gw-udp")
	s.Reload(true)
	return scrape(t, s.Gatherer())
}

func TestTheRelaysTotalsAreShown(t *testing.T) {
	page := relayPage(t)
	for _, line := range []string{
		"tandem_relay_sessions 3",
		`tandem_relay_packets_total{direction="in"} 100`,
		`tandem_relay_packets_total{direction="out"} 90`,
		`tandem_relay_bytes_total{direction="out"} 15480`,
		`tandem_relay_drops_total{verdict="stranger"} 7`,
		`tandem_relay_sent_total{way="frame"} 80`,
		`tandem_relay_sent_total{way="socket_local"} 10`,
		"tandem_relay_receive_calls_total 20",
		"tandem_relay_send_calls_total 15",
		"tandem_relay_unmatched_total 4",
		"tandem_relay_handed_over_total 21",
		"tandem_relay_xdp_invalid_total 22",
		"tandem_relay_xdp_starved_total 23",
		"tandem_relay_hop_resyncs_total 24",
		"tandem_relay_hops_refused_total 25",
		"tandem_relay_receive_buffer_bytes 3.3554432e+07",
		"tandem_relay_uptime_seconds 1.5",
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
}

func TestTheCallPlanesCountsAreShown(t *testing.T) {
	page := signalingPage(t)
	for _, line := range []string{
		"tandem_sip_calls 4",
		`tandem_sip_calls_total{code="200",from="uc",to="gw1"} 1`,
		`tandem_sip_attempts_total{code="503",trunk="gw2"} 1`,
		`tandem_sip_setup_seconds_bucket{le="0.05"} 1`,
		`tandem_sip_trunk_state{trunk="gw1"} 2`,
		`tandem_sip_trunk_state{trunk="gw2"} 0`,
		`tandem_sip_trunk_calls{trunk="gw1"} 4`,
		`tandem_sip_trunk_calls_max{trunk="gw1"} 30`,
		`tandem_sip_trunk_cps{trunk="gw1"} 2`,
		`tandem_sip_trunk_cps_max{trunk="gw2"} 10`,
		`tandem_sip_trunk_kbps{trunk="gw1"} 320`,
		`tandem_sip_trunk_kbps_max{trunk="gw1"} 2000`,
		`tandem_sip_trunk_attempts_total{trunk="gw1"} 9`,
		`tandem_sip_trunk_connected_total{trunk="gw1"} 5`,
		`tandem_sip_trunk_failures_total{class="transport",trunk="gw1"} 1`,
		`tandem_sip_trunk_failures_total{class="5xx",trunk="gw1"} 3`,
		`tandem_sip_trunk_failures_total{class="4xx",trunk="gw1"} 0`,
		`tandem_sip_trunk_refused_total{trunk="gw2"} 7`,
		`tandem_sip_trunk_registered{trunk="gw2"} 0`,
		`tandem_sip_trunk_loss_ratio{trunk="gw1"} 0.25`,
		`tandem_sip_trunk_jitter_seconds{trunk="gw1"} 0.005`,
		`tandem_sip_trunk_mos{trunk="gw1"} 4.1`,
		`tandem_sip_certificate_expiry_timestamp_seconds{file="/etc/tandem/sbc.pem"} 1.8e+09`,
		`tandem_records_written_total 11`,
		`tandem_records_dropped_total 2`,
		`tandem_records_errors_total 3`,
		`tandem_records_queued 1`,
		`tandem_sip_reloads_total{result="ok"} 1`,
		`tandem_sip_reloads_total{result="failed"} 0`,
		`tandem_sip_refusals_total{code="403",listener="uc-tls"} 1`,
		`tandem_sip_unreachable_total{listener="gw-udp"} 1`,
	} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
}

func TestWhatATrunkDoesNotHaveIsAbsentAndNotZero(t *testing.T) {
	page := signalingPage(t)
	for _, series := range []string{
		`tandem_sip_trunk_calls_max{trunk="gw2"}`, `tandem_sip_trunk_cps_max{trunk="gw1"}`, `tandem_sip_trunk_kbps_max{trunk="gw2"}`,
		`tandem_sip_trunk_mos{trunk="gw2"}`, `tandem_sip_trunk_loss_ratio{trunk="gw2"}`, `tandem_sip_trunk_jitter_seconds{trunk="gw2"}`,
		`tandem_sip_trunk_registered{trunk="gw1"}`,
	} {
		if strings.Contains(page, series) {
			t.Errorf("shown: %s", series)
		}
	}
}

func TestEveryMetricIsDocumentedAndNoOther(t *testing.T) {
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, found := range regexp.MustCompile("`(tandem_[a-z_]+)`").FindAllSubmatch(doc, -1) {
		documented[string(found[1])] = true
	}
	shown := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (tandem_[a-z_]+) `).FindAllStringSubmatch(relayPage(t)+signalingPage(t), -1) {
		shown[found[1]] = true
	}
	for name := range shown {
		if !documented[name] {
			t.Errorf("%s is not in docs/metrics.md", name)
		}
	}
	for name := range documented {
		if !shown[name] {
			t.Errorf("docs/metrics.md describes %s, which is not shown", name)
		}
	}
}

func TestAnEndpointThatIsOffDoesNothingAndATakenAddressIsAnError(t *testing.T) {
	off, err := Serve(Off, nil)
	if err != nil || off.Address() != "" || off.Close() != nil {
		t.Fatalf("off: %v", err)
	}
	first, err := Serve("127.0.0.1:0", prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := Serve(first.Address(), prometheus.NewRegistry()); err == nil || !strings.Contains(err.Error(), first.Address()) {
		t.Fatalf("a taken address: %v", err)
	}
}
