package peers

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// object is a part of a configuration: JSON is YAML too.
type object = map[string]any

// gateway is a tandem between a calling peer on its trunk "uc" and a called one on its trunk "gw".
type gateway struct {
	*process
	t     *testing.T
	place place

	config     object // of the file; a test may change it before open
	uc, gw     object // its two trunks
	transports [2]string

	callerAt, outerAt netip.AddrPort // SIP addresses
	innerAt, calleeAt netip.AddrPort
	relayMetrics      string
	sipMetrics        string
}

// mediaPorts are those of tandem's two networks: below the kernel's own choice (net.ipv4.ip_local_port_range).
const mediaPorts = "20000-29999"

// newGateway prepares a tandem; outer and inner are the transports of its two sides.
func newGateway(t *testing.T, where place, outer, inner string) *gateway {
	t.Helper()
	g := &gateway{
		t: t, place: where, transports: [2]string{outer, inner},
		callerAt: free(t, where.caller), outerAt: free(t, where.outer), innerAt: free(t, where.inner), calleeAt: free(t, where.callee),
	}
	g.relayMetrics, g.sipMetrics = free(t, where.outer).String(), free(t, where.outer).String()
	off := object{"off": true} // sipp's scenarios know no OPTIONS
	g.uc = object{"listener": "outer", "peer": g.callerAt.String(), "network": "outside", "options": off}
	g.gw = object{"listener": "inner", "peer": g.calleeAt.String(), "network": "inside", "options": off}
	inside, outside := mediaPorts, mediaPorts
	if where.inner == where.outer {
		inside, outside = "20000-24999", "25000-29999"
	}
	g.config = object{
		"node":    "peers",
		"log":     object{"level": "debug"},
		"control": object{"socket": filepath.Join(t.TempDir(), "relay.sock")},
		"metrics": object{"relay": g.relayMetrics, "sip": g.sipMetrics},
		"media": object{"networks": object{
			"outside": object{"addresses": []any{where.outer}, "ports": outside},
			"inside":  object{"addresses": []any{where.inner}, "ports": inside},
		}},
		"sip": object{
			"listeners": object{
				"outer": object{"transport": outer, "address": g.outerAt},
				"inner": object{"transport": inner, "address": g.innerAt},
			},
			"socket": filepath.Join(t.TempDir(), "sip.sock"),
		},
		"trunks": object{"uc": g.uc, "gw": g.gw},
		"routes": []any{
			object{"name": "in", "from": []any{"uc"}, "to": []any{"gw"}},
			object{"name": "out", "from": []any{"gw"}, "to": []any{"uc"}},
		},
	}
	return g
}

// open starts it, and waits until its listeners answer and its planes know each other.
func (g *gateway) open() {
	g.t.Helper()
	dir := g.t.TempDir()
	text, err := json.MarshalIndent(g.config, "", "  ")
	if err != nil {
		g.t.Fatal(err)
	}
	file := filepath.Join(dir, "tandem.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.process = start(g.t, dir, "tandem", tandem, "run", "-c", file)
	g.Says("sip ready")
	g.Says("relay connected")
}

// close ends it as a service manager would. It must leave no call behind, and no packet uncounted.
func (g *gateway) close() {
	g.t.Helper()
	await(g.t, "no call is left", func() bool {
		return g.sip()["tandem_sip_calls"] == 0 && g.relay()["tandem_relay_sessions"] == 0
	})
	g.addsUp()
	g.Terminate()
	if strings.Contains(g.Said(), "ended by a fault") {
		g.t.Error("a call ended by a fault in tandem")
	}
}

// series are the samples of one scrape, by name and labels as they are written.
type series map[string]float64

// sum adds the series of a name.
func (s series) sum(name string) (total float64) {
	for k, v := range s {
		if k == name || strings.HasPrefix(k, name+"{") {
			total += v
		}
	}
	return total
}

// relay and sip scrape the two endpoints.
func (g *gateway) relay() series { g.t.Helper(); return scrape(g.t, g.relayMetrics) }
func (g *gateway) sip() series   { g.t.Helper(); return scrape(g.t, g.sipMetrics) }

func scrape(t *testing.T, address string) series {
	t.Helper()
	client := http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	s := series{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		line := lines.Text()
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			v, err := strconv.ParseFloat(line[i+1:], 64)
			if err != nil {
				t.Fatalf("%s: %q: %v", address, line, err)
			}
			s[line[:i]] = v
		}
	}
	return s
}

// media is what the relay counted, without the rest.
func (s series) media() series {
	relay := series{}
	for k, v := range s {
		if strings.HasPrefix(k, "tandem_relay_") {
			relay[k] = v
		}
	}
	return relay
}

// drops are the datagrams the relay dropped for one reason.
func (s series) drops(verdict string) float64 {
	return s[fmt.Sprintf("tandem_relay_drops_total{verdict=%q}", verdict)]
}

// addsUp asserts that every datagram was forwarded or dropped, and counted so.
func (g *gateway) addsUp() series {
	g.t.Helper()
	s := g.relay()
	in, out, drops := s[`tandem_relay_packets_total{direction="in"}`], s[`tandem_relay_packets_total{direction="out"}`], s.sum("tandem_relay_drops_total")
	if in != out+drops {
		g.t.Errorf("the relay received %v datagrams, but forwarded %v and dropped %v: %v", in, out, drops, s.media())
	}
	return s
}

// ended asserts that calls ended with a code, as the metrics count them.
func (g *gateway) ended(from, to string, code int, want float64) {
	g.t.Helper()
	name := fmt.Sprintf(`tandem_sip_calls_total{code="%d",from=%q,to=%q}`, code, from, to)
	var s series
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if s = g.sip(); s[name] == want {
			return
		}
	}
	for k, v := range s {
		if strings.HasPrefix(k, "tandem_sip_calls_total") {
			g.t.Logf("%s %v", k, v)
		}
	}
	g.t.Errorf("%s is %v, want %v", name, s[name], want)
}
