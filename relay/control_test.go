package relay

import (
	"encoding/json"
	"fmt"
	"testing"

	"tandem/internal/control"
	"tandem/relay/netio"
)

// BenchmarkOpenUpdateClose is the control work of one call, JSON included: open with four ports, answer with keys, close.
func BenchmarkOpenUpdateClose(b *testing.B) {
	for _, engine := range []struct {
		name string
		open func(netio.Options) (netio.Engine, error)
	}{
		{"fake", nil},
		{"sockets", netio.OpenSockets},
	} {
		b.Run(engine.name, func(b *testing.B) {
			h := open(b, func(o *Options) {
				for i := range o.Networks {
					o.Networks[i].Addresses[0] = loopback
				}
				o.PortsNever, o.PortsPrefer = 1, 1
				if engine.open != nil {
					o.Open = engine.open
				}
			})
			b.ReportAllocs()
			for i := range b.N {
				id := fmt.Sprint(i)
				for _, call := range callOf(b, id) {
					if _, err := h.relay.Handle(b.Context(), nil, call.method, call.params); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

type request struct {
	method string
	params json.RawMessage
}

func callOf(b *testing.B, id string) []request {
	legs := []control.Leg{{Name: "a", Network: "uc", Pin: "auth"}, {Name: "b", Network: "pstn"}}
	answered := []control.Leg{
		{Name: "a", Remote: "127.0.0.1:9", RX: crypto(1), TX: crypto(2)},
		{Name: "b", Remote: "127.0.0.1:9"},
	}
	var all []request
	for _, r := range []struct {
		method string
		params any
	}{
		{control.MethodOpen, control.Open{ID: id, Streams: []control.Stream{{Name: "audio", Legs: legs}}}},
		{control.MethodUpdate, control.Update{ID: id, Generation: 2, Streams: []control.Stream{{Name: "audio", Legs: answered}}}},
		{control.MethodClose, control.Ref{ID: id}},
	} {
		raw, err := json.Marshal(r.params)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, request{r.method, raw})
	}
	return all
}
