package relay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tandem/internal/control"
	"tandem/relay/verdict"
)

// udptl is a datagram of T.38: a sequence number, one IFP packet of n octets, no redundancy.
func udptl(seq uint16, n int) []byte {
	b := binary.BigEndian.AppendUint16(nil, seq)
	b = append(append(b, byte(n)), bytes.Repeat([]byte{0xc0}, n)...)
	return append(b, 0, 0)
}

// kind changes the kind of a session's stream, and its legs with it.
func (h *house) kind(id string, generation uint64, kind string, legs ...control.Leg) control.SessionState {
	h.t.Helper()
	return must[control.SessionState](h, control.MethodUpdate, control.Update{
		ID: id, Generation: generation, Streams: []control.Stream{{Name: "audio", Kind: kind, Legs: legs}},
	})
}

func TestAudioBecomesAFaxAndAudioAgainOnTheSamePorts(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", nil)
	a, b := leg1(s, "a"), leg1(s, "b")
	h.arrive(a.Local, alice, packet(1, 1))
	h.heard(bob)
	h.arrive(a.Local, alice, udptl(0, 1))
	h.silence("stun") // its first byte, to a stream that is RTP

	s = h.kind("one", 2, "opaque")
	if s.Streams[0].Kind != "opaque" || leg1(s, "a").Local != a.Local || leg1(s, "b").Local != b.Local {
		t.Errorf("the stream became %+v", s.Streams[0])
	}
	for seq, size := range []int{1, 40, 125, 125} {
		for _, way := range []struct {
			local    string
			from, to netip.AddrPort
		}{{a.Local, alice, bob}, {b.Local, bob, alice}} {
			p := udptl(uint16(seq*0x2fff), size) // any first byte: DTLS, RTP and nothing known among them
			h.arrive(way.local, way.from, p)
			if got := h.heard(way.to); !bytes.Equal(got, p) {
				t.Fatalf("%x became %x", p, got)
			}
		}
	}
	largest := append(udptl(7, 200), make([]byte, 2048-205)...)
	h.arrive(a.Local, alice, largest)
	if got := h.heard(bob); !bytes.Equal(got, largest) {
		t.Error("2,048 bytes did not cross")
	}
	h.arrive(a.LocalRTCP, netip.AddrPortFrom(alice.Addr(), alice.Port()+1), report(1))
	h.silence("not_rtp")

	s = h.kind("one", 3, "rtp")
	p := packet(2, 700) // at once, and under another SSRC
	h.arrive(b.Local, bob, p)
	if got := h.heard(alice); !bytes.Equal(got, p) {
		t.Errorf("%x became %x", p, got)
	}
	h.arrive(b.Local, bob, udptl(9, 1))
	h.silence("stun")
	closed := must[control.SessionState](h, control.MethodClose, control.Ref{ID: "one"})
	if got, want := leg1(closed, "a").In, (control.Traffic{Packets: 6, Opaque: 5, Bytes: 172 + 6 + 45 + 130 + 130 + 2048}); got != want {
		t.Errorf("from alice: %+v, want %+v", got, want)
	}
	if got := leg1(closed, "a").Out; got.Opaque != 4 || got.Packets != 5 || s.Streams[0].Kind != "rtp" {
		t.Errorf("to alice: %+v", got)
	}
}

func TestAFaxIsTakenFromThePinnedSourceAlone(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", nil)
	a := leg1(s, "a").Local
	h.kind("one", 2, "opaque")
	h.arrive(a, mallet, udptl(1, 9))
	h.silence("stranger")
	h.arrive(a, netip.AddrPortFrom(alice.Addr(), 9), udptl(1, 9))
	h.silence("stranger")
	h.arrive(a, alice, udptl(1, 0))
	h.silence("too_short")
	h.arrive(a, alice, make([]byte, 2049))
	h.silence("too_long")
	h.update("one", 3, control.Leg{Name: "b", Direction: "inactive"})
	h.arrive(a, alice, udptl(1, 9))
	h.silence("held")
}

func TestAFaxBehindNATIsFollowedByItsOwnNumbers(t *testing.T) {
	h := open(t, nil)
	natted := netip.AddrPortFrom(alice.Addr(), 45678)
	s := h.call("one", func(a, _ *control.Leg) { a.Pin = "learn" })
	a, b := leg1(s, "a").Local, leg1(s, "b").Local
	for seq := range uint16(4) {
		h.arrive(a, natted, packet(1, seq))
		h.heard(bob)
	}
	h.kind("one", 2, "opaque")
	h.arrive(b, bob, udptl(1, 9))
	h.heard(alice) // signalling has spoken: what the audio proved is over
	for seq := range uint16(3) {
		h.arrive(a, natted, udptl(seq, 9))
		h.heard(bob)
		h.arrive(a, natted, udptl(seq, 9)) // a repetition proves nothing
		h.heard(bob)
	}
	h.arrive(b, bob, udptl(2, 9))
	h.heard(alice)
	h.arrive(a, natted, udptl(3, 9))
	h.heard(bob)
	h.arrive(b, bob, udptl(3, 9))
	h.heard(natted)
	h.arrive(a, mallet, udptl(4, 9))
	h.silence("stranger")
}

func TestNothingOpaqueCrossesAnSRTPLeg(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	a, b := leg1(s, "a"), leg1(s, "b")
	fax := func(generation uint64, legs ...control.Leg) error {
		_, err := try[control.SessionState](h, control.MethodUpdate, control.Update{
			ID: "one", Generation: generation, Streams: []control.Stream{{Name: "audio", Kind: "opaque", Legs: legs}},
		})
		return err
	}
	none := &control.Crypto{Suite: "none"}
	for name, legs := range map[string][]control.Leg{
		"its keys are still there":    nil,
		"only one key was taken back": {{Name: "a", RX: none}},
		"it pins by evidence":         {{Name: "a", RX: none, TX: none, Pin: "auth"}},
	} {
		if err := fax(2, legs...); control.CodeOf(err) != control.CodeParams || !strings.Contains(err.Error(), "kind") && !strings.Contains(err.Error(), "auth") {
			t.Errorf("%s: %v", name, err)
		}
	}
	toUs := pion(t, 1)
	h.arrive(a.Local, alice, sealed(t, toUs, packet(1, 1)))
	h.heard(bob) // nothing has changed
	if err := fax(2, control.Leg{Name: "a", RX: none, TX: none, Pin: "exact"}); err != nil {
		t.Fatal(err)
	}
	h.arrive(b.Local, bob, udptl(1, 9))
	h.heard(alice)
	if _, err := try[control.SessionState](h, control.MethodUpdate, control.Update{
		ID: "one", Generation: 3, Streams: []control.Stream{{Name: "audio", Legs: []control.Leg{{Name: "a", RX: crypto(1)}}}},
	}); err == nil {
		t.Error("a leg of an opaque stream took a key")
	}
	h.kind("one", 3, "rtp", control.Leg{Name: "a", RX: crypto(1), TX: crypto(3), Pin: "auth"})
	h.arrive(a.Local, alice, sealed(t, toUs, packet(1, 2)))
	h.heard(bob)
	h.arrive(b.Local, bob, packet(9, 1))
	if sealed := h.heard(alice); len(sealed) != 172+10 {
		t.Errorf("%d bytes left by the SRTP leg", len(sealed))
	}
}

func TestAFaxAllocatesNothing(t *testing.T) {
	for _, c := range []struct {
		fate verdict.Verdict
		data []byte
		from netip.AddrPort
	}{
		{verdict.Forward, udptl(1, 40), alice}, {verdict.Stranger, udptl(1, 40), mallet}, {verdict.TooShort, []byte{0, 1, 0}, alice},
	} {
		t.Run(c.fate.String(), func(t *testing.T) {
			h := open(t, nil)
			replayed(h, 8, nil, func(int) ([]byte, netip.AddrPort) { return c.data, c.from })
			for i := range 8 {
				h.kind("session"+string(rune('0'+i)), 2, "opaque")
			}
			rounds(h, 50)
			before := h.relay.Stats()
			if n := rounds(h, 200); n > 2 { // ReadMemStats itself may cost one or two
				t.Errorf("%d objects allocated in 1,600 packets", n)
			}
			after := h.relay.Stats()
			if after.Forwarded == before.Forwarded && after.Drops[c.fate.String()] == before.Drops[c.fate.String()] {
				t.Errorf("no packet met this fate: %v", after.Drops)
			}
		})
	}
}

// Silence of two hours, as the watch finds it.
func TestWhatSilenceIsReported(t *testing.T) {
	off, on := false, true
	for _, c := range []struct {
		name   string
		kind   string
		a, b   control.Leg
		speaks string // the leg that was heard just now; "" none
		told   bool   // of leg a
	}{
		{"a peer that sends nothing", "", control.Leg{}, control.Leg{}, "b", true},
		{"a peer that was heard", "", control.Leg{}, control.Leg{}, "a", false},
		{"a peer without RTCP may be silent", "", control.Leg{RTCPActive: &off}, control.Leg{}, "", false},
		{"a peer that is held", "", control.Leg{Direction: "inactive"}, control.Leg{}, "", false},
		{"a peer that is held and sends RTCP all the same", "", control.Leg{Direction: "inactive", RTCPHeld: &on}, control.Leg{}, "", true},
		{"a peer that holds the other and sends RTCP", "", control.Leg{RTCPHeld: &on}, control.Leg{Direction: "sendonly"}, "", true},
		{"a peer that sends RTCP in held calls alone", "", control.Leg{RTCPActive: &off, RTCPHeld: &on}, control.Leg{}, "", false},
		{"a fax machine that listens", "opaque", control.Leg{}, control.Leg{}, "b", false},
		{"two fax machines that are silent", "opaque", control.Leg{}, control.Leg{}, "", true},
		{"two silent fax machines that send no RTCP", "opaque", control.Leg{RTCPActive: &off}, control.Leg{RTCPActive: &off}, "", true},
		{"a fax on hold", "opaque", control.Leg{Direction: "inactive", RTCPHeld: &on}, control.Leg{}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, func(o *Options) { o.Initial, o.Running = time.Hour, time.Hour })
			h.call("one", nil)
			c.a.Name, c.b.Name = "a", "b"
			h.kind("one", 2, c.kind, c.a, c.b)
			h.relay.mu.Lock()
			session := h.relay.sessions["one"]
			at := map[string]uint32{}
			session.legs(func(e *end) { at[e.name.Value()] = e.index })
			h.relay.mu.Unlock()
			w := h.relay.workers[0]
			told := false
			w.do(func(now int64) {
				later := now + int64(2*time.Hour)
				if c.speaks != "" {
					w.legs[at[c.speaks]].heard = later
				}
				w.watchSilence(at["a"], later)
				told = w.cold[at["a"]].told == later
			})
			if told != c.told {
				t.Errorf("reported: %t, want %t", told, c.told)
			}
		})
	}
}

func TestSilenceCountsFromWhereWhatIsExpectedChanged(t *testing.T) {
	on := true
	h := open(t, func(o *Options) { o.Initial, o.Running = time.Hour, time.Hour })
	h.call("one", func(a, _ *control.Leg) { a.RTCPHeld = &on })
	w := h.relay.workers[0]
	silentFor := func(leg string) (d time.Duration) {
		h.relay.mu.Lock()
		defer h.relay.mu.Unlock()
		s := h.relay.sessions["one"]
		w.do(func(now int64) {
			s.legs(func(e *end) {
				if e.name.Value() == leg {
					l := &w.legs[e.index]
					d = time.Duration(now - max(l.heard, l.since))
					l.since -= int64(2 * time.Hour) // as if that were long ago
				}
			})
		})
		return d
	}
	silentFor("a")
	silentFor("b")
	for generation, change := range []func(uint64){
		func(g uint64) { h.update("one", g, control.Leg{Name: "a", Direction: "inactive"}) },
		func(g uint64) { h.update("one", g, control.Leg{Name: "a", Direction: "sendrecv"}) },
		func(g uint64) { h.kind("one", g, "opaque") },
		func(g uint64) { h.kind("one", g, "rtp") },
	} {
		change(uint64(generation + 2))
		for _, leg := range []string{"a", "b"} {
			if d := silentFor(leg); d > time.Hour {
				t.Errorf("change %d: leg %s is said to be silent for %s", generation+1, leg, d)
			}
		}
	}
}
