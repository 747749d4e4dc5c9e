package relay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/srtp/v2"

	"tandem/internal/control"
	"tandem/relay/rtp"
)

func TestPlainPacketsCrossUnchangedInBothDirections(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", nil)
	a, b := leg1(s, "a"), leg1(s, "b")
	for i := range 10 {
		p := packet(1, uint16(65530+i))
		h.arrive(a.Local, alice, p)
		if got := h.heard(bob); !bytes.Equal(got, p) {
			t.Fatalf("bob heard %x, alice said %x", got, p)
		}
		h.arrive(b.Local, bob, p)
		if got := h.heard(alice); !bytes.Equal(got, p) {
			t.Fatalf("alice heard %x, bob said %x", got, p)
		}
	}
	state := must[control.SessionState](h, control.MethodGet, control.Ref{ID: "one"})
	if got := leg1(state, "a"); got.In.Packets != 10 || got.Out.Packets != 10 || got.Quality.Lost != 0 || got.Quality.MOS < 4 {
		t.Errorf("leg a: %+v", got)
	}
}

func TestRTCPCrossesOnItsOwnPortAndNextToRTPWithMux(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, b *control.Leg) { b.RTCP = "mux" })
	a, b := leg1(s, "a"), leg1(s, "b")
	if a.LocalRTCP == a.Local || b.LocalRTCP != b.Local {
		t.Fatalf("leased %s/%s and %s/%s", a.Local, a.LocalRTCP, b.Local, b.LocalRTCP)
	}
	aliceRTCP := netip.AddrPortFrom(alice.Addr(), alice.Port()+1)
	h.arrive(a.LocalRTCP, aliceRTCP, report(1))
	h.heard(bob)
	h.arrive(b.Local, bob, report(2))
	h.heard(aliceRTCP)
	h.arrive(a.Local, alice, report(1))
	h.silence("not_rtp")
	h.arrive(a.LocalRTCP, aliceRTCP, packet(1, 1))
	h.silence("not_rtp")
}

// climb has a source begin at sequence number 0 and rise to last in steps that are no restart, so that what we seal of it has its
// numbers: a sealed stream begins in the lower half. By seals what is said, nil: it is plain.
func (h *house) climb(local string, from, to netip.AddrPort, ssrc uint32, last uint16, by *srtp.Context) {
	h.t.Helper()
	const step = maxDropout - 1
	for seq := 0; ; seq += step {
		p := packet(ssrc, uint16(min(seq, int(last))))
		if by != nil {
			p = sealed(h.t, by, p)
		}
		h.arrive(local, from, p)
		h.heard(to)
		if seq >= int(last) {
			return
		}
	}
}

func TestSRTPIsOpenedForAPlainLegAndSealedForASecureOne(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	a, b := leg1(s, "a"), leg1(s, "b")
	toUs, fromUs := pion(t, 1), pion(t, 2)
	h.climb(b.Local, bob, alice, 7, 65524, nil)
	for i := range 20 {
		p := packet(7, uint16(65525+i)) // across the rollover
		h.arrive(a.Local, alice, sealed(t, toUs, p))
		if got := h.heard(bob); !bytes.Equal(got, p) {
			t.Fatalf("bob heard %x, alice said %x", got, p)
		}
		h.arrive(b.Local, bob, p)
		got, err := fromUs.DecryptRTP(nil, h.heard(alice), nil)
		if err != nil || !bytes.Equal(got, p) {
			t.Fatalf("alice opened %x (%v), bob said %x", got, err, p)
		}
	}
	if a.RXSuite != suite80 || b.RXSuite != "none" {
		t.Errorf("suites %q and %q", a.RXSuite, b.RXSuite)
	}
}

func TestSRTPBetweenTwoSecureLegsIsAlwaysRekeyed(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, b *control.Leg) {
		a.RX, a.TX = crypto(1), crypto(2)
		b.RX, b.TX = crypto(3), crypto(4)
	})
	p := packet(7, 1)
	in := sealed(t, pion(t, 1), p)
	h.arrive(leg1(s, "a").Local, alice, in)
	out := h.heard(bob)
	if bytes.Equal(in, out) || bytes.Equal(out[:len(p)], p) {
		t.Fatal("the packet was passed through")
	}
	if got, err := pion(t, 4).DecryptRTP(nil, out, nil); err != nil || !bytes.Equal(got, p) {
		t.Fatalf("bob opened %x: %v", got, err)
	}
}

func TestSRTCPCrossesWithAnIndexOfOurOwn(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, b *control.Leg) {
		a.RTCP, b.RTCP = "mux", "mux"
		a.RX, a.TX = crypto(1), crypto(2)
	})
	in, err := pion(t, 1).EncryptRTCP(nil, report(9), nil)
	if err != nil {
		t.Fatal(err)
	}
	h.arrive(leg1(s, "a").Local, alice, in)
	if got := h.heard(bob); !bytes.Equal(got, report(9)) {
		t.Fatalf("bob heard %x", got)
	}
	h.arrive(leg1(s, "b").Local, bob, report(8))
	got, err := pion(t, 2).DecryptRTCP(nil, h.heard(alice), nil)
	if err != nil || !bytes.Equal(got, report(8)) {
		t.Fatalf("alice opened %x: %v", got, err)
	}
}

func TestASecureLegNeverCarriesPlainRTPWhileAKeyIsMissing(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.Pin = "auth" })
	h.arrive(leg1(s, "b").Local, bob, packet(1, 1))
	h.silence("no_key")
	h.arrive(leg1(s, "a").Local, alice, packet(1, 1))
	h.silence("no_key")
	h.update("one", 2, control.Leg{Name: "a", RX: crypto(1)})
	h.arrive(leg1(s, "b").Local, bob, packet(1, 2))
	h.silence("no_key")
}

func TestARestartOfThePlainSideNeverRepeatsASealedIndex(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	b, far := leg1(s, "b"), pion(t, 2) // refuses what it has seen
	seen := map[string]bool{}
	n := uint16(0)
	for run, start := range []struct {
		ssrc uint32
		seq  uint16
	}{{5, 100}, {5, 20000}, {5, 100}, {6, 100}, {5, 100}, {5, 65534}, {6, 1}} {
		anyPort := run%2 == 0 // a changed word of signalling re-arms the pin: another SSRC may speak at once
		h.update("one", uint64(run+2), control.Leg{Name: "b", AnyPort: &anyPort})
		for i := range uint16(8) {
			p := packet(start.ssrc, start.seq+i)
			n++
			binary.BigEndian.PutUint16(p[20:], n)
			h.arrive(b.Local, bob, p)
			out := h.heard(alice)
			if id := string(out[2:4]) + string(out[8:12]); seen[id] {
				t.Fatalf("SSRC %x sequence %x was sealed twice", out[8:12], out[2:4])
			} else {
				seen[id] = true
			}
			got, err := far.DecryptRTP(nil, out, nil)
			if err != nil || !bytes.Equal(got[12:], p[12:]) {
				t.Fatalf("packet %d after %+v: %v", i, start, err)
			}
		}
	}
	h.arrive(b.Local, bob, packet(6, 8))
	h.silence("already_sealed")
}

func TestHoldStopsMediaKeepsRTCPAndTheRolloverCounter(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	a, toUs := leg1(s, "a"), pion(t, 1)
	h.arrive(a.Local, alice, sealed(t, toUs, packet(7, 65530)))
	h.heard(bob)
	h.update("one", 2, control.Leg{Name: "a", Direction: "inactive"})
	for i := range 20 {
		h.arrive(a.Local, alice, sealed(t, toUs, packet(7, uint16(65531+i))))
	}
	h.silence("held")
	h.arrive(a.LocalRTCP, netip.AddrPortFrom(alice.Addr(), alice.Port()+1), mustRTCP(t, 1, 7))
	if sent := h.left(); len(sent) != 1 {
		t.Fatalf("%d RTCP packets crossed a held call, not 1", len(sent))
	}
	h.update("one", 3, control.Leg{Name: "a", Direction: "sendrecv"})
	p := packet(7, 15) // the rollover happened while held
	h.arrive(a.Local, alice, sealed(t, toUs, p))
	if got := h.heard(bob); !bytes.Equal(got, p) {
		t.Fatalf("after hold bob heard %x", got)
	}
}

func mustRTCP(t *testing.T, n byte, ssrc uint32) []byte {
	t.Helper()
	b, err := pion(t, n).EncryptRTCP(nil, report(ssrc), nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOneWayHoldLetsMusicThroughAndNothingBack(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", nil)
	h.update("one", 2, control.Leg{Name: "a", Direction: "recvonly"}, control.Leg{Name: "b", Direction: "sendonly"})
	h.arrive(leg1(s, "a").Local, alice, packet(1, 1))
	h.heard(bob)
	h.arrive(leg1(s, "b").Local, bob, packet(2, 1))
	h.silence("held")
}

func TestAnIdenticalUpdateChangesNothingAndANewKeyStartsAtRolloverZero(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	a, b := leg1(s, "a"), leg1(s, "b")
	toUs, far := pion(t, 1), pion(t, 2)
	h.climb(b.Local, bob, alice, 8, 65529, nil)
	for i := range 10 {
		h.arrive(a.Local, alice, sealed(t, toUs, packet(7, uint16(65530+i))))
		h.heard(bob)
		h.arrive(b.Local, bob, packet(8, uint16(65530+i)))
		h.heard(alice)
	}
	h.update("one", 2, control.Leg{Name: "a", Remote: alice.String(), RX: crypto(1), TX: crypto(2)})
	h.arrive(a.Local, alice, sealed(t, toUs, packet(7, 4)))
	h.heard(bob)
	far.SetROC(8, 1)
	h.arrive(b.Local, bob, packet(8, 4))
	if _, err := far.DecryptRTP(nil, h.heard(alice), nil); err != nil {
		t.Fatalf("an identical update restarted the rollover counter: %v", err)
	}

	late := sealed(t, toUs, packet(7, 5)) // in flight when the key changes
	h.update("one", 3, control.Leg{Name: "a", RX: crypto(11), TX: crypto(12)})
	h.arrive(a.Local, alice, sealed(t, pion(t, 11), packet(7, 6)))
	h.heard(bob)
	h.arrive(a.Local, alice, late)
	h.heard(bob)
	h.arrive(b.Local, bob, packet(8, 5))
	if _, err := pion(t, 12).DecryptRTP(nil, h.heard(alice), nil); err != nil {
		t.Fatalf("a new key did not start at rollover 0: %v", err)
	}
	if _, err := try[control.SessionState](h, control.MethodUpdate, control.Update{ID: "one", Generation: 4, Streams: []control.Stream{
		{Name: "audio", Legs: []control.Leg{{Name: "a", TX: crypto(2)}}}}}); err == nil || !strings.Contains(err.Error(), "used this key before") {
		t.Fatalf("a spent send key was taken back: %v", err)
	}
}

func TestAStrangerIsNeitherForwardedNorAnswered(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", nil)
	h.arrive(leg1(s, "a").Local, mallet, packet(1, 1))
	h.silence("stranger")
	h.arrive(leg1(s, "b").Local, bob, packet(2, 1))
	h.heard(alice)
}

func TestAnAuthLegFollowsItsPeerAndTellsSo(t *testing.T) {
	h := open(t, nil)
	_, l := h.listen("test")
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	roamed := netip.MustParseAddrPort("198.18.9.9:999")
	toUs := pion(t, 1)
	for i := range 3 {
		h.arrive(leg1(s, "a").Local, roamed, sealed(t, toUs, packet(7, uint16(i))))
	}
	if e := l.await(t, control.EventPinned); e.Address != roamed.String() || e.Session != "one" || e.Leg != "a" {
		t.Errorf("%+v", e)
	}
	h.left()
	h.arrive(leg1(s, "b").Local, bob, packet(8, 1))
	h.heard(roamed)
	if e := l.await(t, control.EventSSRC); e.SSRC != 7 {
		t.Errorf("%+v", e)
	}
}

func TestSilenceIsReportedButNotWhileHeldOrUnwatched(t *testing.T) {
	off := false
	h := open(t, func(o *Options) { o.Initial, o.Running = 100*time.Millisecond, 200*time.Millisecond })
	_, l := h.listen("test")
	h.call("held", func(a, b *control.Leg) { a.Direction, b.Direction = "inactive", "inactive" })
	must[control.SessionState](h, control.MethodOpen, control.Open{ID: "ringing", Owner: "test", Streams: []control.Stream{{
		Name: "audio", Watch: &off, Legs: []control.Leg{
			{Name: "a", Network: "uc", Remote: alice.String()}, {Name: "b", Network: "pstn", Remote: bob.String()}}}}})
	h.call("silent", nil)
	first := l.await(t, control.EventTimeout)
	if first.Session != "silent" || first.After != "initial" || first.SilentMS < 100 {
		t.Fatalf("%+v", first)
	}
	s := h.call("talked", nil)
	h.arrive(leg1(s, "a").Local, alice, packet(1, 1))
	h.arrive(leg1(s, "b").Local, bob, packet(1, 1))
	for {
		e := l.await(t, control.EventTimeout)
		if e.Session == "held" || e.Session == "ringing" {
			t.Fatalf("silence of %q was reported", e.Session)
		}
		if e.Session == "talked" {
			if e.After != "running" || e.SilentMS < 200 {
				t.Fatalf("%+v", e)
			}
			return
		}
	}
}

func TestSTUNAndDTLSAreCountedUntilSomebodyAsksForThem(t *testing.T) {
	h := open(t, nil)
	a := leg1(h.call("one", nil), "a")
	stun := append([]byte{0, 1, 0, 0}, make([]byte, 16)...)
	h.arrive(a.Local, alice, stun)
	h.silence("stun")
	h.arrive(a.Local, alice, append([]byte{22}, make([]byte, 20)...))
	h.silence("dtls")
	w := h.relay.workers[0]
	w.do(func(int64) { w.beside.diverting = true })
	for range ringSlots {
		h.arrive(a.Local, alice, stun)
	}
	h.silence("diverted")
	h.arrive(a.Local, alice, stun)
	h.silence("divert_full")
	taken := w.beside.diverted.next()
	if taken == nil || taken.kind != rtp.STUN || !bytes.Equal(taken.data[:taken.n], stun) || taken.address.AddrPort() != alice {
		t.Fatalf("diverted %+v", taken)
	}
	w.beside.diverted.release()
}

func TestInjectedPacketsAreSealedLikeAnyOther(t *testing.T) {
	h := open(t, nil)
	h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	w, s := h.relay.workers[0], h.relay.sessions["one"]
	index := s.streams[0].legs[0].index
	if !w.inject(index, s.serial, rtp.RTCP, report(3)) || !w.inject(index, s.serial, rtp.RTP, packet(3, 1)) {
		t.Fatal("the inject queue is full")
	}
	w.order(func(int64) {})
	w.order(func(int64) {}) // a whole round of the worker has passed
	sent := h.left()
	if len(sent) != 2 {
		t.Fatalf("%d packets left", len(sent))
	}
	far := pion(t, 2)
	if got, err := far.DecryptRTCP(nil, sent[0].Data, nil); err != nil || !bytes.Equal(got, report(3)) {
		t.Errorf("RTCP %x: %v", got, err)
	}
	if got, err := far.DecryptRTP(nil, sent[1].Data, nil); err != nil || !bytes.Equal(got, packet(3, 1)) {
		t.Errorf("RTP %x: %v", got, err)
	}
	if w.inject(index, s.serial+1, rtp.RTP, packet(3, 2)); len(h.left()) != 0 {
		t.Error("a packet for a session that is gone was sent")
	}
}
