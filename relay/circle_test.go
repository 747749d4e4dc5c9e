package relay

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"tandem/internal/control"
)

// Who offers our own ports as his, in two calls, would close a circle of four legs, in which a packet goes round for ever.
func TestACircleOfOurOwnPortsIsRefusedWhereItWouldClose(t *testing.T) {
	h := open(t, nil)
	one, two := h.call("one", nil), h.call("two", nil)
	h.update("one", 2, control.Leg{Name: "b", Remote: leg1(two, "b").Local}) // what alice says goes on to the other call, whose alice is ...
	_, err := try[control.SessionState](h, control.MethodUpdate, control.Update{ID: "two", Generation: 2,
		Streams: []control.Stream{audio(control.Leg{Name: "a", Remote: leg1(one, "a").Local})}})
	if err == nil || !strings.Contains(err.Error(), `leg "a": remote: `+leg1(one, "a").Local+" is a port of ours") {
		t.Errorf("%v", err)
	}
	h.update("two", 2, control.Leg{Name: "a", Remote: alice.String()}) // what was refused has changed nothing
}

func TestASessionWhosePortsOthersNamedBeforeIsRefusedIfItClosesACircle(t *testing.T) {
	h := open(t, func(o *Options) {
		o.PortsPrefer, o.PortsNever = time.Nanosecond, time.Nanosecond
		for i := range o.Networks {
			o.Networks[i].High = o.Networks[i].Low + 3 // two legs
		}
	})
	one, two := h.call("one", nil), h.call("two", nil)
	must[control.SessionState](h, control.MethodClose, control.Ref{ID: "two"})
	h.update("one", 2, control.Leg{Name: "a", Remote: leg1(two, "a").Local}, control.Leg{Name: "b", Remote: leg1(two, "b").Local})
	_, err := try[control.SessionState](h, control.MethodOpen, control.Open{ID: "three", Owner: "test", Streams: []control.Stream{{Name: "audio", Legs: []control.Leg{
		{Name: "a", Network: "uc", Remote: leg1(one, "a").Local}, {Name: "b", Network: "pstn", Remote: leg1(one, "b").Local},
	}}}})
	if err == nil || !strings.Contains(err.Error(), "a circle") {
		t.Errorf("%v", err)
	}
	if n := h.relay.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions, want the first alone", n)
	}
	h.call("three", nil) // with the ports of the one refused
}

// What comes back to us and goes on to somebody else is a call like any other: each half of it is.
func TestACallThatLeadsThroughUsTwiceIsNoCircle(t *testing.T) {
	h := open(t, nil)
	one := h.call("one", nil)
	two := h.call("two", func(a, _ *control.Leg) { a.Remote = leg1(one, "b").Local })
	h.update("one", 2, control.Leg{Name: "b", Remote: leg1(two, "a").Local})
	h.arrive(leg1(one, "a").Local, alice, packet(1, 1))
	if h.heard(netip.MustParseAddrPort(leg1(two, "a").Local)) == nil {
		t.Error("nothing left for the second call")
	}
}
