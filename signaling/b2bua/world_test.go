package b2bua

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// testT1 makes retransmissions come soon; what a test waits for, it waits for as an event.
const testT1 = 50 * time.Millisecond

func TestMain(m *testing.M) {
	sip.SetTimers(testT1, 4*testT1, 4*testT1)
	os.Exit(m.Run())
}

// world is a Tandem between a caller and two gateways, with the real stack on loopback and a relay of paper.
type world struct {
	t      testing.TB
	b      *B2BUA
	stack  *guard.Stack
	relay  *fakeRelay
	cfg    *config.Config
	trunks *trunk.Table
	west   netip.AddrPort // our listener towards the caller
	east   netip.AddrPort // and towards the gateways
	caller *peer
	gw1    *peer
	gw2    *peer

	away atomic.Bool // the relay cannot be spoken to

	kept chan CallRecord // records of calls that ended
}

// newWorld starts one. change may alter config and timers first.
func newWorld(t testing.TB, change ...func(*config.Config, *Timers)) *world {
	t.Helper()
	w := &world{t: t, relay: newFakeRelay(), kept: make(chan CallRecord, 4096)}
	w.caller, w.gw1, w.gw2 = newPeer(t, "alice"), newPeer(t, "gw1"), newPeer(t, "gw2")
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	listener := config.Listener{Transport: "udp", Address: netip.MustParseAddrPort("127.0.0.1:5060")}
	tr := func(l string, p *peer, network string) config.Trunk {
		return config.Trunk{Listener: l, Peer: p.addr.String(), Sources: loopback, Network: network, Policy: config.Policy{
			SRTP: config.SRTPOff, Suites: []string{"AES_CM_128_HMAC_SHA1_80"}, Pin: config.PinExact,
			Failover: config.Failover{Timeout: patienceOfTests, Codes: []int{408, 503, 504}}, Options: config.Options{Off: true}}}
	}
	lo := config.Network{Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	w.cfg = &config.Config{Node: "node1",
		Media: config.Media{Networks: map[string]config.Network{"inside": lo, "outside": lo, "other": lo}},
		SIP: config.SIP{
			Listeners: map[string]config.Listener{"west": listener, "east": listener},
			Limits:    config.SIPLimits{Calls: 1000, RingTimeout: patienceOfTests},
		},
		Trunks: map[string]config.Trunk{"alice": tr("west", w.caller, "inside"), "gw1": tr("east", w.gw1, "outside"), "gw2": tr("east", w.gw2, "outside")},
		Routes: []config.Route{{Name: "out", From: []string{"alice"}, To: []string{"gw1", "gw2"}}},
	}
	timers := Timers{T1: testT1, T2: 4 * testT1, Park: 2 * testT1, Glare: time.Millisecond, Sweep: testT1, Poll: testT1}
	for _, f := range change {
		f(w.cfg, &timers)
	}
	w.open(timers)
	return w
}

func (w *world) open(timers Timers) {
	t := w.t
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() && os.Getenv("B2BUA_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var err error
	any := netip.MustParseAddrPort("127.0.0.1:0")
	w.stack, err = guard.Open(t.Context(), guard.Options{
		Listeners: []guard.Listener{{Name: "west", Transport: "udp", Addr: any}, {Name: "east", Transport: w.cfg.SIP.Listeners["east"].Transport, Addr: any, Advertise: w.cfg.SIP.Listeners["east"].Advertise}},
		Limits:    w.cfg.SIP.Limits, Handler: func(in *guard.Inbound) { w.b.Handle(in) }, UserAgent: "Tandem",
		Methods: Methods(), Supported: Extensions(), Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.west, w.east = w.stack.Address("west"), w.stack.Address("east")
	if w.trunks, err = trunk.New(w.cfg, nil, nil); err != nil {
		t.Fatal(err)
	}
	w.b, err = New(Options{
		Config: w.cfg, Stack: w.stack, Relay: w.relay, Trunks: w.trunks, Routes: route.New(w.cfg),
		Ready: func() bool { return !w.away.Load() }, Resolver: w, OnRecord: func(r CallRecord) { w.kept <- r }, Log: log, Timers: timers,
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { served <- w.stack.Serve(ctx) }()
	t.Cleanup(func() {
		soon, cancel := context.WithTimeout(context.Background(), patienceOfTests)
		defer cancel()
		if err := w.b.Close(soon); err != nil {
			t.Errorf("close: %v", err)
		}
		stop()
		<-served
		if s := w.b.Stats(); s.Active != 0 || s.Table != 0 || s.Dialogs != 0 || s.Waiting != 0 || s.Drops[DropPanic] != 0 {
			t.Errorf("left behind: %+v", s)
		}
		if _, _, open := w.relay.counts(); open != 0 {
			t.Errorf("%d sessions of the relay left open", open)
		}
	})
}

// LookupHost knows one name, for Contact and c= lines.
func (w *world) LookupHost(_ context.Context, host string) ([]netip.Addr, error) {
	if host == "known.example" {
		return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, fmt.Errorf("%s %s", host, errUnknownName)
}

// errUnknownName is what the resolver of a world says of every other name.
const errUnknownName = "is not known at 192.0.2.53:53"

// record waits for the record of the next call that ends.
func (w *world) record() CallRecord {
	w.t.Helper()
	select {
	case r := <-w.kept:
		return r
	case <-time.After(patienceOfTests):
		w.t.Fatal("no call ended")
		panic("unreachable")
	}
}

// gone waits until no call is left, not even one that waits for last answers.
func (w *world) gone() {
	w.t.Helper()
	eventually(w.t, "every call to be gone", func() bool { return w.b.Stats().Table == 0 })
}

// eventually polls what cannot be awaited.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patienceOfTests)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// talk is an answered call.
type talk struct {
	w      *world
	a      *dialog // the caller's
	b      *dialog // gw1's
	invite message // as gw1 got it
	ok     message // 200 as the caller got it
	ack    message // as gw1 got it
}

// call places a call that gw1 answers.
func (w *world) call() *talk {
	w.t.Helper()
	return w.callWith(sdpOf("192.0.2.10", 5000, ""), sdpOf("198.51.100.20", 6000, ""))
}

func (w *world) callWith(offer, answer string) *talk {
	w.t.Helper()
	k := &talk{w: w}
	k.a = w.caller.invite(w.west, "+4312345", offer)
	k.invite = w.gw1.next("INVITE")
	w.gw1.reply(k.invite, "180 Ringing", "gwtag", "")
	w.caller.next("180")
	w.gw1.reply(k.invite, "200 OK", "gwtag", answer)
	k.ack = w.gw1.next("ACK")
	k.ok = w.caller.next("200 INVITE")
	k.a.answered(k.ok)
	k.a.ack()
	k.b = w.gw1.uas(k.invite, "gwtag")
	return k
}

// hangUp ends a call from the caller's side and waits until nothing is left of it.
func (k *talk) hangUp() {
	k.w.t.Helper()
	k.a.bye()
	k.w.caller.next("200 BYE")
	k.w.gw1.reply(k.w.gw1.next("BYE"), "200 OK", "", "")
	k.w.gone()
}

// sdpOf is a body as an ordinary endpoint writes it. extra are further lines of the audio.
func sdpOf(addr string, port int, extra string, formats ...string) string {
	if len(formats) == 0 {
		formats = []string{"0", "8", "101"}
	}
	s := fmt.Sprintf("v=0\r\no=secretuser 42 1 IN IP4 %s\r\ns=secret session\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP %s\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n",
		addr, addr, port, strings.Join(formats, " "))
	return s + extra
}

const testKey1, testKey2 = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkw", "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNk"

// savp turns a body of sdpOf into RTP/SAVP with one crypto line.
func savp(body string, tag int, key string) string {
	return strings.Replace(body, "RTP/AVP", "RTP/SAVP", 1) + fmt.Sprintf("a=crypto:%d AES_CM_128_HMAC_SHA1_80 inline:%s|2^31\r\n", tag, key)
}

// line is the first line of a body with this prefix, without it.
func line(body, prefix string) string {
	for l := range strings.SplitSeq(body, "\r\n") {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			return rest
		}
	}
	return ""
}
