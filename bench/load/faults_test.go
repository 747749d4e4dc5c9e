package load

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"tandem/bench/rig"
)

// role makes the test binary a bad relay: its value is the fault.
const role = "TANDEM_LOAD_FAULT"

// A fault happens at sequence numbers with this remainder. The first one of each stream in these tests is 0, which Warm uses
// up.
const every, remainder = 10, 3

// someStreams by what each of them sends stays below the 256 packets of a veth ring: a busy machine cannot lose any.
const someStreams = 8

func TestMain(m *testing.M) {
	if fault := os.Getenv(role); fault != "" {
		if err := relay(fault, os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// relay forwards what comes to each leg out of the other, as it is but for the fault. A call is four addresses: relay A,
// peer A, relay B, peer B.
func relay(fault string, calls []string) error {
	done := make(chan error)
	for _, call := range calls {
		var conns [2]*net.UDPConn
		var peers [2]netip.AddrPort
		at := strings.Split(call, ",")
		for j := range 2 {
			var err error
			if conns[j], err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at[2*j]))); err != nil {
				return err
			}
			peers[j] = netip.MustParseAddrPort(at[2*j+1])
		}
		for j := range 2 {
			go func() { done <- forward(fault, conns[j], conns[1-j], peers[1-j]) }()
		}
	}
	fmt.Println("listening")
	return <-done
}

func forward(fault string, in, out *net.UDPConn, peer netip.AddrPort) error {
	var held []byte
	for {
		b := make([]byte, 2048)
		n, err := in.Read(b)
		if err != nil {
			return err
		}
		b = b[:n]
		number := binary.BigEndian.Uint16(b[2:])
		hit := number%every == remainder
		send := func(b []byte) { out.WriteToUDPAddrPort(b, peer) }
		switch {
		case fault == "rebase": // every packet, from the first on
			binary.BigEndian.PutUint16(b[2:], number+1000)
			binary.BigEndian.PutUint32(b[8:], 0xfeed)
			send(b)
		case fault == "swap" && held != nil:
			send(b)
			send(held)
			held = nil
		case !hit || fault == "none":
			send(b)
		case fault == "lose":
		case fault == "flip":
			b[len(b)-20] ^= 1
			send(b)
		case fault == "renumber":
			binary.BigEndian.PutUint16(b[2:], number+1)
			send(b)
		case fault == "cut":
			send(b[:len(b)-1])
		case fault == "double":
			send(b)
			send(b)
		case fault == "swap":
			held = b
		case fault == "source":
			in.WriteToUDPAddrPort(b, peer)
		}
	}
}

// throughRelay returns a load through a relay with a fault.
func throughRelay(t *testing.T, place *rig.Place, fault string, mode Mode, is func(netip.Addr) bool) *Load {
	t.Helper()
	calls, err := Make(someStreams, mode, "", family(place.PeerAddresses(), is))
	if err != nil {
		t.Fatal(err)
	}
	relays := family(place.RelayAddresses(), is)
	var args []string
	for i := range calls {
		c := &calls[i]
		for j := range 2 {
			side := c.leg(j)
			side.PeerFirst = 0
			side.Relay = netip.AddrPortFrom(relays[(i+j)%len(relays)], uint16(20000+4*i+2*j))
			side.RelayKey = c.leg(1 - j).PeerKey // what comes in goes out as it is
		}
		args = append(args, fmt.Sprintf("%s,%s,%s,%s", c.A.Relay, c.A.Peer, c.B.Relay, c.B.Peer))
	}
	process, err := place.Start(t.Context(), os.Args[0], args, role+"="+fault)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); process.Output() != "listening\n"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the relay does not listen: %s", process.Output())
		}
	}
	l, err := New(place, calls)
	if err != nil {
		t.Fatal(err)
	}
	l.settle = time.Second // this relay is an ordinary process on what may be a busy machine
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := process.Stop(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// run sends count packets at a rate.
func run(t testing.TB, l *Load, count int, rate float64) Result {
	t.Helper()
	r, err := l.Run(t.Context(), rate, time.Duration(float64(count)/rate*float64(time.Second))+time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != uint64(count) {
		t.Fatalf("sent %d of %d: %s", r.Sent, count, r.Limit)
	}
	return r
}

func TestTheSinkTellsEveryFault(t *testing.T) {
	const each = 30 // packets of a stream: 3 faults
	for _, c := range []struct {
		fault string
		mode  Mode
		want  func(faults uint64) Result
	}{
		{"none", RTP, func(uint64) Result { return Result{} }},
		{"none", SRTP, func(uint64) Result { return Result{} }},
		{"rebase", RTP, func(uint64) Result { return Result{} }},
		{"lose", RTP, func(n uint64) Result { return Result{Lost: n} }},
		{"flip", RTP, func(n uint64) Result { return Result{Lost: n, Corrupt: n} }},
		{"flip", SRTP, func(n uint64) Result { return Result{Lost: n, Forged: n} }},
		{"cut", RTP, func(n uint64) Result { return Result{Lost: n, Corrupt: n} }},
		{"cut", SRTP, func(n uint64) Result { return Result{Lost: n, Forged: n} }},
		{"renumber", RTP, func(n uint64) Result { return Result{Lost: n, Corrupt: n} }},
		{"renumber", SRTP, func(n uint64) Result { return Result{Lost: n, Forged: n} }},
		{"double", RTP, func(n uint64) Result { return Result{Duplicated: n} }},
		{"double", SRTP, func(n uint64) Result { return Result{Duplicated: n} }},
		{"swap", SRTP, func(n uint64) Result { return Result{Misordered: n} }},
		{"source", RTP, func(n uint64) Result { return Result{Lost: n, Stray: n} }},
	} {
		t.Run(c.fault+" "+string(c.mode), func(t *testing.T) {
			l := throughRelay(t, build(t), c.fault, c.mode, netip.Addr.Is4)
			if err := l.Warm(t.Context()); err != nil {
				t.Fatal(err)
			}
			var faults uint64
			for i := range l.streams {
				for number := l.streams[i].next; number < l.streams[i].next+each; number++ {
					if number%every == remainder {
						faults++
					}
				}
			}
			r := run(t, l, each*len(l.streams), 4000)
			want := c.want(faults)
			got := Result{Lost: r.Lost, Duplicated: r.Duplicated, Misordered: r.Misordered, Corrupt: r.Corrupt, Forged: r.Forged, Stray: r.Stray}
			if got != want {
				t.Errorf("%d faults, limit %q\n got %+v\nwant %+v", faults, r.Limit, got, want)
			}
			if r.Delivered+r.Lost != r.Sent || r.Delays.TotalCount() != int64(r.Delivered-r.Untimed) {
				t.Errorf("the counts do not add up: %+v", r)
			}
		})
	}
}

func TestIPv6StreamsComeThrough(t *testing.T) {
	l := throughRelay(t, build(t), "none", SRTP, netip.Addr.Is6)
	if err := l.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := run(t, l, 240, 4000); r.Delivered != r.Sent {
		t.Errorf("%+v", r)
	}
}

func TestSequenceNumbersGoOnFromRunToRun(t *testing.T) {
	l := throughRelay(t, build(t), "none", SRTP, netip.Addr.Is4)
	if err := l.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before := l.streams[0].next
		if r := run(t, l, 10*someStreams, 4000); r.Delivered != r.Sent {
			t.Errorf("%+v", r)
		}
		if l.streams[0].next != before+10 {
			t.Errorf("from %d to %d", before, l.streams[0].next)
		}
	}
}

func TestWarmNamesTheStreamThatDoesNotComeThrough(t *testing.T) {
	l := throughRelay(t, build(t), "none", RTP, netip.Addr.Is4)
	l.streams[7].to.Relay = netip.MustParseAddrPort("198.18.0.1:9") // the relay sends from elsewhere
	err := l.Warm(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1 of 8 streams") || !strings.Contains(err.Error(), l.streams[7].from.Peer.String()) {
		t.Errorf("Warm: %v", err)
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	place := build(t)
	l := throughRelay(t, place, "none", RTP, netip.Addr.Is4)
	ctx, cancel := contextThatEnds(t)
	l.Before = func() error { cancel(); return nil }
	if _, err := l.Run(ctx, 1000, 10*time.Second); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("Run: %v", err)
	}
}
