package relay

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/control"
)

// BenchmarkCall is what a call of plain RTP asks of the control plane, over a real socket: opened, answered, changed once, and
// closed. Client and relay share the process, so its cost is that of both sides; the engine binds nothing.
func BenchmarkCall(b *testing.B) {
	h := open(b, roomy(100_000))
	path := filepath.Join(b.TempDir(), "s")
	s, err := control.Listen(control.ServerOptions{Path: path, Handler: h.relay})
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	c, err := control.Dial(b.Context(), path, control.DialOptions{})
	if err != nil {
		b.Fatal(err)
	}
	off, on := false, true
	payloads := []control.Payload{{Type: 8, Name: "PCMA", Clock: 8000}, {Type: 101, Name: "telephone-event", Clock: 8000}}
	near := control.Leg{Name: "a", Network: "uc", Remote: alice.String(), Pin: "exact", RTCPMux: &off, Direction: "sendrecv", Payloads: &payloads}
	far := control.Leg{Name: "b", Remote: bob.String(), Pin: "exact", RTCPMux: &off, Direction: "sendrecv", Payloads: &payloads}
	opaque := `{"id":"x","phase":"answered","called":"+4930123456",` + strings.Repeat(`"a":{"call_id":"0123456789abcdef","local_tag":"n1-0123"},`, 4) + `"z":""}`
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		id := fmt.Sprint("call-", n)
		_, err := c.Open(b.Context(), control.Open{ID: id, Generation: 1, Owner: "node", Opaque: opaque,
			Streams: []control.Stream{{Name: "audio", Watch: &off, Legs: []control.Leg{near, {Name: "b", Network: "pstn"}}}}})
		if err != nil {
			b.Fatal(err)
		}
		for i, watch := range []*bool{&off, &on} {
			_, err := c.Update(b.Context(), control.Update{ID: id, Generation: uint64(i + 2), Opaque: &opaque,
				Streams: []control.Stream{{Name: "audio", Watch: watch, Legs: []control.Leg{far}}}})
			if err != nil {
				b.Fatal(err)
			}
		}
		if _, err := c.CloseSession(b.Context(), control.Ref{ID: id}); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
	s.Close()
	if err := <-served; err != nil {
		b.Fatal(err)
	}
}
