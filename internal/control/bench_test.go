package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// openState is the answer to openExample as a relay gives it.
var openState = SessionState{
	ID: "call-1", Generation: 1, Owner: "node1", AgeMS: 12, Streams: []StreamState{{Name: "audio", Kind: "rtp", Legs: []LegState{
		{Name: "a", Network: "lan", Local: "192.0.2.1:40000", LocalRTCP: "192.0.2.1:40001", Remote: "192.0.2.10:40000",
			Pinned: "192.0.2.10:40000", Pin: "exact", Direction: "sendrecv", RXSuite: "none", TXSuite: "none", SilentMS: -1},
		{Name: "b", Network: "wan", Local: "198.51.100.1:40002", LocalRTCP: "198.51.100.1:40002", Remote: "198.51.100.4:50000",
			Pin: "auth", Direction: "sendrecv", RXSuite: "AES_CM_128_HMAC_SHA1_80", TXSuite: "AES_CM_128_HMAC_SHA1_80",
			SSRC: 4000000000, In: Traffic{Packets: 1500, Bytes: 258000, RTCP: 6}, Drops: map[string]uint64{"stranger": 3},
			Quality: Quality{Expected: 1502, Lost: 2, JitterMS: 1.75, MaxJitter: 9.125, MOS: 4.34}, SilentMS: 20},
	}}},
}

// opener answers every session.open alike: what is left is the cost of asking.
var opener = handlerFunc(func(_ context.Context, _ *Conn, _ string, params json.RawMessage) (any, error) {
	_, err := Decode[Open](params)
	return openState, err
})

// compact is a text as a client sends it.
func compact(b *testing.B, text string) []byte {
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

func BenchmarkDecodeOpen(b *testing.B) {
	raw := json.RawMessage(compact(b, openExample))
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Decode[Open](raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseRequest(b *testing.B) {
	line := []byte(`{"jsonrpc":"2.0","id":1,"method":"session.open","params":` + string(compact(b, openExample)) + "}\n")
	b.ReportAllocs()
	b.SetBytes(int64(len(line)))
	var room []byte
	for b.Loop() {
		req, bad := parseRequest(line, room)
		if bad != nil {
			b.Fatal(bad)
		}
		room = req.room
	}
}

func BenchmarkEncodeState(b *testing.B) {
	var line []byte
	var result any = openState // as a handler returns it
	b.ReportAllocs()
	for b.Loop() {
		line = appendAnswer(line[:0], json.RawMessage("1"), result, nil, MaxLine)
	}
	b.SetBytes(int64(len(line)))
}

func BenchmarkDecodeState(b *testing.B) {
	raw, err := json.Marshal(openState)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		var s SessionState
		if err := decodeAnswer(raw, &s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRoundTrip opens over a real socket, one call after the other and 32 at a time. Client and server share the
// process, so its cost is that of both sides.
func BenchmarkRoundTrip(b *testing.B) {
	open, err := Decode[Open](json.RawMessage(openExample))
	if err != nil {
		b.Fatal(err)
	}
	for _, inFlight := range []int{1, 32} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			c := dial(b, listen(b, ServerOptions{Handler: opener}), DialOptions{})
			ctx := context.Background()
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range inFlight {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						if r, err := c.Open(ctx, open); err != nil || r.ID != openState.ID {
							b.Errorf("got %q, %v", r.ID, err)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// answered is a session.update as signaling sends it: what changed on one leg, and what is known of the call as JSON in a string.
func answered() Update {
	opaque, watch := strings.Repeat(`{"trunk":"gateway","call_id":"0123456789abcdef@192.0.2.1","local_tag":"n1-0123","remote_tag":"4567"},`, 4), true
	leg := Leg{Name: "b", Remote: "198.51.100.4:50000", Pin: "exact", Direction: "sendrecv", Payloads: &[]Payload{{Type: 8, Name: "PCMA", Clock: 8000}}}
	return Update{ID: "call-1", Generation: 2, Opaque: &opaque, Streams: []Stream{{Name: "audio", Watch: &watch, Legs: []Leg{leg}}}}
}

func BenchmarkEncodeUpdate(b *testing.B) {
	var line []byte
	var update any = answered()
	b.ReportAllocs()
	for b.Loop() {
		line, _ = appendRequest(line[:0], 1, MethodUpdate, update)
	}
	b.SetBytes(int64(len(line)))
}

func BenchmarkDecodeUpdate(b *testing.B) {
	raw, err := json.Marshal(answered())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Decode[Update](raw); err != nil {
			b.Fatal(err)
		}
	}
}
