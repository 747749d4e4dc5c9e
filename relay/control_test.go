package relay

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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

// BenchmarkTwentyThousandSessions opens 20,000 sessions through the control socket with 32 calls in flight, then closes them: RTCP
// on the port of RTP, four local addresses, one leg SRTP. It tells sessions a second and what an idle session costs.
func BenchmarkTwentyThousandSessions(b *testing.B) {
	const sessions, inFlight = 20_000, 32
	for b.Loop() {
		h := open(b, roomy(sessions))
		client, _ := h.listen("test")
		var calls sync.WaitGroup
		each := func(call func(id string) error) float64 {
			begun := time.Now()
			for n := range inFlight {
				calls.Go(func() {
					for i := n; i < sessions; i += inFlight {
						if err := call(fmt.Sprint("session-", i)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			calls.Wait()
			return sessions / time.Since(begun).Seconds()
		}
		debug.FreeOSMemory()
		before := resident(b)
		opened := each(func(id string) error {
			_, err := client.Open(b.Context(), control.Open{ID: id, Owner: "test", Streams: []control.Stream{audio(
				control.Leg{Name: "a", Network: "uc", RTCP: "mux", Remote: alice.String(), RX: crypto(1), TX: crypto(2)},
				control.Leg{Name: "b", Network: "pstn", RTCP: "mux", Remote: bob.String()})}})
			return err
		})
		used := resident(b) - before
		closed := each(func(id string) error {
			_, err := client.CloseSession(b.Context(), control.Ref{ID: id})
			return err
		})
		b.ReportMetric(opened, "opened/s")
		b.ReportMetric(closed, "closed/s")
		b.ReportMetric(float64(used)/sessions, "B/session")
		client.Close()
		if err := h.relay.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// resident returns the memory of the process, in bytes. A client in the same process counts too.
func resident(b *testing.B) int {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("the memory of a process is read from /proc: ", err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		b.Fatal(err)
	}
	return pages * os.Getpagesize()
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
