package torture

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"tandem/internal/beside"
)

// object is a part of a configuration: JSON is YAML too.
type object = map[string]any

// world is a tandem between a caller on its trunk "uc" and two callees on its trunks "gw" and "spare". Each party has a
// loopback address of its own, so that no two tests meet and an address tells whose it is.
type world struct {
	t      *testing.T
	dir    string
	config object
	uc, gw object // two of its trunks; a test may change them before open
	spare  object
	outer  netip.AddrPort // tandem towards the caller
	inner  netip.AddrPort // and towards the callees

	alice, bob, carol *peer
	main              *process
	more              []*process
	wire              [2]string // transports
	dirty             bool      // calls need not be gone at the end: the test ends its processes itself
}

// places counts them.
var places atomic.Uint32

const sipPort = 5060 // every party has its own address

// newWorld prepares a tandem; outer and inner are the transports of its sides, a "tls" one being mutual.
func newWorld(t *testing.T, outer, inner string) *world {
	t.Helper()
	n := uint32(os.Getpid())*67 + places.Add(1)
	at := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, byte(64 + n>>8%64), byte(n), last}) }
	return newWorldAt(t, outer, inner, at(11), at(22), at(33), at(44), at(55))
}

func newWorldAt(t *testing.T, outer, inner string, caller, west, east, callee, other netip.Addr) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), wire: [2]string{outer, inner}}
	port := func(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a, p) }
	ports := [6]uint16{sipPort, sipPort, sipPort, sipPort, sipPort, 9640}
	inside := "30000-39999"
	if caller == west { // one address for all
		ports = [6]uint16{5071, 5072, 5073, 5074, 5075, 9642}
		inside = "20000-29999"
	}
	w.outer, w.inner = port(west, ports[1]), port(east, ports[2])
	var ca *trust
	if outer == "tls" || inner == "tls" {
		ca = newTrust(t, w.dir)
	}
	w.alice = w.newPeer("alice", outer, port(caller, ports[0]), w.outer, ca)
	w.bob = w.newPeer("bob", inner, port(callee, ports[3]), w.inner, ca)
	w.carol = w.newPeer("carol", inner, port(other, ports[4]), w.inner, ca)
	off := object{"off": true}
	trunk := func(listener, network string, p *peer) object {
		tr := object{"listener": listener, "peer": p.at.String(), "network": network, "options": off}
		if p.wire == "tls" {
			tr["tls_names"] = []any{p.name + ".test"}
		}
		return tr
	}
	w.uc, w.gw, w.spare = trunk("outer", "outside", w.alice), trunk("inner", "inside", w.bob), trunk("inner", "inside", w.carol)
	listener := func(name, wire string, at netip.AddrPort) object {
		l := object{"transport": wire, "address": at}
		if wire == "tls" {
			certificate, key := ca.issue(name+".test", at.Addr())
			l["tls"] = object{"certificate": certificate, "key": key, "ca": ca.file}
		}
		return l
	}
	w.config = object{
		"node": "torture", "log": object{"level": "debug"},
		"control": object{"socket": filepath.Join(w.dir, "relay.sock")},
		"metrics": object{"relay": port(west, ports[5]), "sip": port(west, ports[5]+1)},
		"media": object{"engine": "sockets", "workers": 1, "networks": object{
			"outside": object{"addresses": []any{west}, "ports": "40000-49999"},
			"inside":  object{"addresses": []any{east}, "ports": inside},
		}},
		"sip": object{"socket": filepath.Join(w.dir, "sip.sock"), "listeners": object{
			"outer": listener("outer", outer, w.outer), "inner": listener("inner", inner, w.inner),
		}},
		"trunks": object{"uc": w.uc, "gw": w.gw, "spare": w.spare},
		"routes": []any{
			object{"name": "in", "from": []any{"uc"}, "to": []any{"gw"}},
			object{"name": "out", "from": []any{"gw", "spare"}, "to": []any{"uc"}},
		},
	}
	return w
}

// file writes the configuration.
func (w *world) file() string {
	w.t.Helper()
	text, err := json.MarshalIndent(w.config, "", "  ")
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.dir, "tandem.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// open starts tandem, waits until its listeners answer and its planes know each other, and sees at the end of the test that
// no call is left, that every packet is accounted for and that nothing of tandem broke.
func (w *world) open() *world {
	w.t.Helper()
	w.main = w.start("tandem", "run", "-c", w.file())
	w.main.Says("sip ready")
	w.main.Says("relay connected")
	w.t.Cleanup(w.clean)
	return w
}

func (w *world) clean() {
	if w.t.Failed() {
		return
	}
	if !w.dirty {
		w.idle()
		s := w.relay()
		in, out, drops := s[`tandem_relay_packets_total{direction="in"}`], s[`tandem_relay_packets_total{direction="out"}`], s.sum("tandem_relay_drops_total")
		if in != out+drops {
			w.t.Errorf("the relay received %v datagrams, but forwarded %v and dropped %v", in, out, drops)
		}
	}
	for _, p := range append(w.more, w.main) {
		if p == nil {
			continue
		}
		for _, bad := range []string{"ended by a fault", "panic", "DATA RACE"} {
			if strings.Contains(p.Said(), bad) {
				w.t.Errorf("%s says %q", p.Name, bad)
			}
		}
	}
}

// idle waits until no call and no session is left.
func (w *world) idle() {
	w.t.Helper()
	await(w.t, "no call is left", func() bool {
		return w.sip()["tandem_sip_calls"] == 0 && w.relay()["tandem_relay_sessions"] == 0
	})
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
func (w *world) relay() series { w.t.Helper(); return w.scrape("relay") }
func (w *world) sip() series   { w.t.Helper(); return w.scrape("sip") }

func (w *world) scrape(plane string) series {
	w.t.Helper()
	client := http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	at := w.config["metrics"].(object)[plane].(netip.AddrPort)
	res, err := client.Get("http://" + at.String() + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	s := series{}
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		line := lines.Text()
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
				s[line[:i]] = v
			}
		}
	}
	return s
}

// process is a program that runs beside the test, and ends with it at the latest.
type process = beside.Process

func (w *world) start(name string, args ...string) *process {
	w.t.Helper()
	return beside.Start(w.t, name, exec.Command(tandem, args...), patience, nil)
}
