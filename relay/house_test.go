package relay

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pion/srtp/v2"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/netio/fake"
)

// house is a relay over a fake engine: a test says what controllers say, lets datagrams arrive, and reads what left.
type house struct {
	t      testing.TB
	relay  *Relay
	engine *fake.Engine
}

var (
	ours     = netip.MustParseAddr("198.18.0.1")
	loopback = netip.MustParseAddr("127.0.0.1")
	alice    = netip.MustParseAddrPort("198.18.1.1:30000")
	bob      = netip.MustParseAddrPort("198.18.2.2:40000")
	mallet   = netip.MustParseAddrPort("198.18.66.66:6666")
)

func open(t testing.TB, change func(*Options)) *house {
	t.Helper()
	h := &house{t: t, engine: fake.New(1)}
	o := Options{
		Networks: []Network{
			{Name: "uc", Addresses: []netip.Addr{ours}, Low: 10000, High: 19999, DSCP: 46},
			{Name: "pstn", Addresses: []netip.Addr{ours}, Low: 20000, High: 29999, DSCP: 46},
		},
		Sessions: 100,
		Open:     func(netio.Options) (netio.Engine, error) { return h.engine, nil },
		Log:      slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	r, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	h.relay = r
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// try calls a method as a controller would.
func try[R any](h *house, method string, params any) (R, error) {
	h.t.Helper()
	var result R
	raw, err := json.Marshal(params)
	if err != nil {
		h.t.Fatal(err)
	}
	answer, err := h.relay.Handle(h.t.Context(), nil, method, raw)
	if err != nil {
		return result, err
	}
	return answer.(R), nil
}

// must is try for what has to work.
func must[R any](h *house, method string, params any) R {
	h.t.Helper()
	result, err := try[R](h, method, params)
	if err != nil {
		h.t.Fatalf("%s: %v", method, err)
	}
	return result
}

// leg returns a leg of a session's only stream.
func leg1(s control.SessionState, name string) control.LegState {
	for _, l := range s.Streams[0].Legs {
		if l.Name == name {
			return l
		}
	}
	panic("no leg " + name)
}

// call opens a session between alice (leg a, network uc) and bob (leg b, network pstn), after change.
func (h *house) call(id string, change func(a, b *control.Leg)) control.SessionState {
	h.t.Helper()
	a := control.Leg{Name: "a", Network: "uc", Remote: alice.String()}
	b := control.Leg{Name: "b", Network: "pstn", Remote: bob.String()}
	if change != nil {
		change(&a, &b)
	}
	return must[control.SessionState](h, control.MethodOpen, control.Open{
		ID: id, Owner: "test", Streams: []control.Stream{{Name: "audio", Legs: []control.Leg{a, b}}},
	})
}

// update changes legs of a session's audio stream.
func (h *house) update(id string, generation uint64, legs ...control.Leg) control.SessionState {
	h.t.Helper()
	return must[control.SessionState](h, control.MethodUpdate, control.Update{
		ID: id, Generation: generation, Streams: []control.Stream{{Name: "audio", Legs: legs}},
	})
}

// arrive lets a datagram arrive at one of our addresses and waits until the relay has dealt with it.
func (h *house) arrive(at string, from netip.AddrPort, data []byte) {
	h.t.Helper()
	before := h.relay.Stats().Received
	h.engine.Inject(0, local(at), netio.AddrFrom(from), data)
	for h.relay.Stats().Received == before {
		runtime.Gosched()
	}
}

// left returns what was sent since the last call.
func (h *house) left() []fake.Datagram { return h.engine.Sent(0) }

// heard wants exactly one datagram to have left, to that address, and returns its data.
func (h *house) heard(to netip.AddrPort) []byte {
	h.t.Helper()
	sent := h.left()
	if len(sent) != 1 {
		h.t.Fatalf("%d datagrams were sent, not 1; drops: %v", len(sent), h.relay.Stats().Drops)
	}
	if got := sent[0].Peer.AddrPort(); got != to {
		h.t.Fatalf("sent to %v, not to %v", got, to)
	}
	return sent[0].Data
}

// silence wants nothing to have left, and the drop to be counted under that name.
func (h *house) silence(verdict string) {
	h.t.Helper()
	if sent := h.left(); len(sent) != 0 {
		h.t.Fatalf("%d datagrams were sent; want none, dropped as %s", len(sent), verdict)
	}
	if drops := h.relay.Stats().Drops; drops[verdict] == 0 {
		h.t.Fatalf("nothing was counted as %s: %v", verdict, drops)
	}
}

func local(at string) netio.Local {
	return netio.MakeLocal(0, netip.MustParseAddrPort(at).Port())
}

// packet is an RTP packet with a payload that tells its sequence number.
func packet(ssrc uint32, seq uint16) []byte {
	b := make([]byte, 12+160)
	b[0] = 0x80
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], uint32(seq)*160)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	for i := 12; i < len(b); i++ {
		b[i] = byte(seq) ^ byte(i)
	}
	return b
}

// report is an RTCP sender report without report blocks.
func report(ssrc uint32) []byte {
	b := make([]byte, 28)
	b[0], b[1], b[3] = 0x80, 200, 6
	binary.BigEndian.PutUint32(b[4:], ssrc)
	return b
}

// key is a master key and salt for AES_CM_128, the same for the same n.
func key(n byte) []byte {
	k := make([]byte, 30)
	for i := range k {
		k[i] = n + byte(i)
	}
	return k
}

const suite80 = "AES_CM_128_HMAC_SHA1_80"

func crypto(n byte) *control.Crypto {
	return &control.Crypto{Suite: suite80, Key: base64.StdEncoding.EncodeToString(key(n))}
}

// pion is the other end of an SRTP leg, by another hand.
func pion(t testing.TB, n byte) *srtp.Context {
	t.Helper()
	k := key(n)
	c, err := srtp.CreateContext(k[:16], k[16:], srtp.ProtectionProfileAes128CmHmacSha1_80, srtp.SRTPReplayProtection(128), srtp.SRTCPReplayProtection(128))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sealed(t testing.TB, c *srtp.Context, plain []byte) []byte {
	t.Helper()
	b, err := c.EncryptRTP(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// listener collects a controller's events.
type listener struct {
	mu     sync.Mutex
	events []told
	news   chan struct{}
}

type told struct {
	method string
	event  control.Event
}

// listen connects a controller over a real socket that wants the owner's events.
func (h *house) listen(owner string) (*control.Client, *listener) {
	h.t.Helper()
	path := h.t.TempDir() + "/relay.sock"
	server, err := control.Listen(control.ServerOptions{Path: path, Handler: h.relay, OnClose: h.relay.Gone})
	if err != nil {
		h.t.Fatal(err)
	}
	go server.Serve()
	l := &listener{news: make(chan struct{}, 1000)}
	client, err := control.Dial(h.t.Context(), path, control.DialOptions{
		Hello: &control.Hello{Owner: owner, Events: true},
		OnEvent: func(method string, e control.Event) {
			l.mu.Lock()
			l.events = append(l.events, told{method, e})
			l.mu.Unlock()
			l.news <- struct{}{}
		},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { client.Close(); server.Close() })
	return client, l
}

// await waits for the next event of a kind.
func (l *listener) await(t testing.TB, method string) control.Event {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		for i, e := range l.events {
			if e.method == method {
				l.events = append(l.events[:i], l.events[i+1:]...)
				l.mu.Unlock()
				return e.event
			}
		}
		l.mu.Unlock()
		select {
		case <-l.news:
		case <-deadline:
			t.Fatalf("no %s within 20 s", method)
		}
	}
}
