package peers

import (
	"net/netip"
	"strconv"
	"testing"
)

// SSRCs of the two ends.
const (
	callerSSRC = 0x0a0a0a0a
	calleeSSRC = 0x0b0b0b0b
)

// call is one between two sipp whose media ends are the test's.
type call struct {
	*gateway
	caller, callee           *sipp
	callerEar, calleeEar     *ear
	callerCall, calleeCall   string         // Call-IDs
	callerRelay, calleeRelay netip.AddrPort // where tandem wants the media of each
}

// connect starts the gateway and places a call through it; it is talking when connect returns.
func connect(t *testing.T, g *gateway) *call {
	t.Helper()
	need(t, "sipp", "sip-tester")
	g.open()
	c := &call{gateway: g, callerEar: listen(t, g.place.caller, callerSSRC), calleeEar: listen(t, g.place.callee, calleeSSRC)}
	c.callee = play(t, plan{name: "callee", scenario: "callee.xml", transport: g.transports[1], at: g.calleeAt, audio: c.calleeEar.at()})
	c.caller = play(t, plan{
		name: "caller", scenario: "caller.xml", transport: g.transports[0], at: g.callerAt, to: g.outerAt, audio: c.callerEar.at(),
	})
	c.callerCall, c.callerRelay = described(t, c.caller.logged("answered", 1))
	c.calleeCall, c.calleeRelay = described(t, c.callee.logged("called", 1))
	return c
}

// described reads what the scenarios log of an SDP: Call-ID, address, port.
func described(t *testing.T, words []string) (string, netip.AddrPort) {
	t.Helper()
	if len(words) != 3 {
		t.Fatalf("logged: %q", words)
	}
	a, err := netip.ParseAddr(words[1])
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(words[2], 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return words[0], netip.AddrPortFrom(a, uint16(port))
}

// talk sends n packets each way, and asserts that they arrive unharmed.
func (c *call) talk(n int) {
	c.t.Helper()
	for range n {
		c.callerEar.tell(c.callerRelay, c.calleeEar)
		c.calleeEar.tell(c.calleeRelay, c.callerEar)
	}
	same(c.t, "caller to callee", c.calleeEar.all(), c.callerEar.sent)
	same(c.t, "callee to caller", c.callerEar.all(), c.calleeEar.sent)
}

// over waits until both sipp have ended their part as their scenarios say, and the gateway is as before the call.
func (c *call) over() {
	c.t.Helper()
	c.caller.Finish()
	c.callee.Finish()
	c.close()
}

func TestSippCallsSippThroughTandem(t *testing.T) {
	for _, c := range []struct{ name, outer, inner, hangsUp string }{
		{"UDP to UDP, the caller hangs up", "udp", "udp", "caller"},
		{"UDP to UDP, the called one hangs up", "udp", "udp", "callee"},
		{"TCP to UDP, the called one hangs up", "tcp", "udp", "callee"},
		{"UDP to TCP, the caller hangs up", "udp", "tcp", "caller"},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := connect(t, newGateway(t, somewhere(), c.outer, c.inner))
			call.talk(100)
			if c.hangsUp == "caller" {
				call.caller.prompt("INFO", call.callerCall, 2, "")
				call.callee.logged("released", 1)
			} else {
				call.callee.prompt("INFO", call.calleeCall, 2, "")
				call.caller.logged("released", 1)
			}
			call.ended("uc", "gw", 200, 1)
			if got := call.relay()[`tandem_relay_packets_total{direction="out"}`]; got != 200 {
				t.Errorf("%v packets forwarded, want 200", got)
			}
			call.over()
		})
	}
}

func TestCallOverIPv6(t *testing.T) {
	call := connect(t, newGateway(t, here(t), "udp", "udp"))
	call.talk(100)
	call.caller.prompt("INFO", call.callerCall, 2, "")
	call.over()
}
