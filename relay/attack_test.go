package relay

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/srtp/v2"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/netio/fake"
)

// next is the RTCP address of a peer that named none.
func next(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr(), a.Port()+1) }

// audio is an update, or part of one, of a session's audio stream.
func audio(legs ...control.Leg) control.Stream { return control.Stream{Name: "audio", Legs: legs} }

// said is an RTP packet with a payload of one repeated byte.
func said(ssrc uint32, seq uint16, b byte) []byte {
	p := packet(ssrc, seq)
	copy(p[12:], bytes.Repeat([]byte{b}, len(p)-12))
	return p
}

// oneKeystream tells whether two SRTP packets were encrypted alike: then their difference is that of their plaintexts.
func oneKeystream(sealed, plain, sealed2, plain2 []byte) bool {
	for i := 12; i < min(len(plain), len(plain2)); i++ {
		if sealed[i]^sealed2[i] != plain[i]^plain2[i] {
			return false
		}
	}
	return true
}

func TestPacketsInFlightUnderTheOldKeyAreHeardBeforeTheFirstOfTheNew(t *testing.T) {
	behindNAT := netip.MustParseAddrPort("198.18.9.9:999")
	for _, peer := range []netip.AddrPort{alice, behindNAT} {
		t.Run(peer.String(), func(t *testing.T) {
			h := open(t, nil)
			a := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "a")
			old := pion(t, 1)
			for i := range uint16(5) { // enough to be pinned
				h.arrive(a.Local, peer, sealed(t, old, packet(7, i)))
			}
			h.left()
			h.update("one", 2, control.Leg{Name: "a", RX: crypto(11)})
			p := packet(7, 5)
			h.arrive(a.Local, peer, sealed(t, old, p))
			if got := h.heard(bob); !bytes.Equal(got, p) {
				t.Errorf("bob heard %x", got)
			}
		})
	}
}

func TestPacketsUnderTheOldKeyPinNobody(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	a, b := leg1(s, "a"), leg1(s, "b")
	old := pion(t, 1)
	h.arrive(a.Local, alice, sealed(t, old, packet(7, 0)))
	h.update("one", 2, control.Leg{Name: "a", RX: crypto(11)})
	for i := range uint16(6) {
		h.arrive(a.Local, mallet, sealed(t, old, packet(7, i+1)))
	}
	h.left()
	h.arrive(b.Local, bob, packet(8, 1))
	h.heard(alice)
}

func TestRTCPUnderTheOldKeyIsHeardForAWhile(t *testing.T) {
	h := open(t, nil)
	a := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "a")
	h.update("one", 2, control.Leg{Name: "a", RX: crypto(11)})
	h.arrive(a.LocalRTCP, next(alice), mustRTCP(t, 1, 7))
	if got := h.heard(next(bob)); !bytes.Equal(got, report(7)) {
		t.Errorf("bob heard %x", got)
	}
}

func TestAReplayIsCountedAsOneAlsoWhileAnOldKeyLives(t *testing.T) {
	h := open(t, nil)
	a := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "a")
	h.update("one", 2, control.Leg{Name: "a", RX: crypto(11)})
	p := sealed(t, pion(t, 11), packet(7, 1))
	h.arrive(a.Local, alice, p)
	h.heard(bob)
	h.arrive(a.Local, alice, p)
	h.silence("replayed")
}

func TestAReplayStaysAReplayWhenAReceiveKeyComesBack(t *testing.T) {
	h := open(t, nil)
	a := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "a")
	toUs := pion(t, 1)
	var recorded [][]byte
	for i := range uint16(3) {
		p := sealed(t, toUs, packet(7, i))
		recorded = append(recorded, p)
		h.arrive(a.Local, alice, p)
		h.heard(bob)
	}
	h.update("one", 2, control.Leg{Name: "a", RX: crypto(11)})
	h.update("one", 3, control.Leg{Name: "a", RX: crypto(1)})
	for _, p := range recorded {
		h.arrive(a.Local, mallet, p)
		if sent := h.left(); len(sent) != 0 {
			t.Fatal("a packet that was heard before was forwarded again, from a stranger")
		}
	}
	state := must[control.SessionState](h, control.MethodGet, control.Ref{ID: "one"})
	if got := leg1(state, "a").Pinned; got != "" {
		t.Errorf("replays won the pin for %s", got)
	}
}

func TestASendKeyDoesNotComeBackInAnotherDress(t *testing.T) {
	for _, c := range []struct {
		name  string
		dress func(*control.Crypto)
	}{
		{"with an MKI", func(c *control.Crypto) { c.MKI = "01" }},
		{"with a shorter tag", func(c *control.Crypto) { c.Suite = "AES_CM_128_HMAC_SHA1_32" }},
		{"with plain RTCP", func(c *control.Crypto) { c.UnencryptedRTCP = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, nil)
			b := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "b")
			first, second := said(8, 100, 'x'), said(8, 100, 'y')
			h.arrive(b.Local, bob, first)
			one := h.heard(alice)
			dressed := crypto(2)
			c.dress(dressed)
			if _, err := try[control.SessionState](h, control.MethodUpdate, control.Update{ID: "one", Generation: 2,
				Streams: []control.Stream{audio(control.Leg{Name: "a", TX: dressed})}}); err != nil {
				return // refused: nothing is sealed with it
			}
			h.arrive(b.Local, bob, second)
			for _, d := range h.left() {
				if oneKeystream(one, first, d.Data, second) {
					t.Error("two payloads were sealed with one key, SSRC and index")
				}
			}
		})
	}
}

func TestNoTwoSendersOfASessionShareAKey(t *testing.T) {
	for _, c := range []struct {
		name       string
		atx, brx   byte // keys; alice seals with 1, we seal with 4 for bob
		aliceFirst bool
	}{
		{"both legs seal with one key", 4, 3, false},
		{"a leg seals with its peer's key", 1, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, nil)
			s, err := try[control.SessionState](h, control.MethodOpen, control.Open{ID: "one", Streams: []control.Stream{audio(
				control.Leg{Name: "a", Network: "uc", Remote: alice.String(), RX: crypto(1), TX: crypto(c.atx)},
				control.Leg{Name: "b", Network: "pstn", Remote: bob.String(), RX: crypto(c.brx), TX: crypto(4)},
			)}})
			if err != nil {
				return // refused: nothing is sealed
			}
			fromAlice, fromBob := said(7, 1, 'x'), said(7, 1, 'y') // both chose the same SSRC
			fromA := sealed(t, pion(t, 1), fromAlice)
			h.arrive(leg1(s, "a").Local, alice, fromA)
			toB := h.heard(bob)
			h.arrive(leg1(s, "b").Local, bob, sealed(t, pion(t, c.brx), fromBob))
			toA := h.heard(alice)
			other := toB
			if c.aliceFirst {
				other = fromA
			}
			if oneKeystream(other, fromAlice, toA, fromBob) {
				t.Error("two payloads were sealed with one key, SSRC and index")
			}
		})
	}
}

func TestAKeyThatCarriesGoesOnAtTheRolloverCounter(t *testing.T) {
	h := open(t, nil)
	b := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "b")
	for i := range uint16(10) {
		h.arrive(b.Local, bob, packet(8, 65530+i))
	}
	h.left()
	carried := crypto(12)
	carried.ROC = "carry"
	h.update("one", 2, control.Leg{Name: "a", TX: carried})
	h.update("one", 3, control.Leg{Name: "a", TX: carried}) // again: nothing new
	far := pion(t, 12)
	far.SetROC(8, 1)
	for seq := range uint16(3) {
		h.arrive(b.Local, bob, packet(8, 4+seq))
		if got, err := far.DecryptRTP(nil, h.heard(alice), nil); err != nil || !bytes.Equal(got, packet(8, 4+seq)) {
			t.Fatalf("sequence %d: %v", 4+seq, err)
		}
	}
}

func TestASecureLegWithOneKeyTakenAwayCarriesNothingPlain(t *testing.T) {
	none := &control.Crypto{Suite: "none"}
	for _, c := range []struct {
		name   string
		update control.Leg
		at     string
		from   netip.AddrPort
	}{
		{"receive key gone, in", control.Leg{Name: "a", RX: none}, "a", alice},
		{"send key gone, out", control.Leg{Name: "a", TX: none}, "b", bob},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, nil)
			s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
			h.update("one", 2, c.update)
			h.arrive(leg1(s, c.at).Local, c.from, packet(8, 1))
			h.silence("no_key")
			h.arrive(leg1(s, c.at).LocalRTCP, next(c.from), report(8))
			if sent := h.left(); len(sent) != 0 {
				t.Errorf("RTCP left: %x", sent[0].Data)
			}
		})
	}
}

// receiverReport is RTCP about media that was heard up to an extended sequence number.
func receiverReport(sender, media, highest uint32) []byte {
	b := make([]byte, 32)
	b[0], b[1], b[3] = 0x81, 201, 7
	binary.BigEndian.PutUint32(b[4:], sender)
	binary.BigEndian.PutUint32(b[8:], media)
	binary.BigEndian.PutUint32(b[16:], highest)
	return b
}

func TestReportsSpeakOfTheSequenceNumbersThatTheirReaderSent(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	a, b := leg1(s, "a"), leg1(s, "b")
	var last []byte
	for _, seq := range []uint16{100, 101, 20_000, 20_001} { // bob restarts
		h.arrive(b.Local, bob, packet(8, seq))
		last = h.heard(alice)
	}
	highest := uint32(binary.BigEndian.Uint16(last[2:]))
	if highest != 103 {
		t.Fatalf("the restart reached alice as sequence %d", highest)
	}
	in, err := pion(t, 1).EncryptRTCP(nil, receiverReport(7, 8, highest), nil)
	if err != nil {
		t.Fatal(err)
	}
	h.arrive(a.LocalRTCP, next(alice), in)
	if got, want := h.heard(next(bob)), receiverReport(7, 8, 20_001); !bytes.Equal(got, want) {
		t.Errorf("bob reads %x, want %x", got, want)
	}
}

func TestRTCPOfAPlainPeerDoesNotUseUpWhatMediaNeeds(t *testing.T) {
	h := open(t, nil)
	b := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "b")
	for ssrc := range uint32(40) { // one address, forged or not, under many names
		h.arrive(b.LocalRTCP, next(bob), report(1000+ssrc))
	}
	h.left()
	p := packet(8, 1)
	h.arrive(b.Local, bob, p)
	if got, err := pion(t, 2).DecryptRTP(nil, h.heard(alice), nil); err != nil || !bytes.Equal(got, p) {
		t.Errorf("alice heard %x: %v", got, err)
	}
}

func TestWithMuxRTCPLeavesByThePortOfRTP(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", nil)
	a, b := leg1(s, "a"), leg1(s, "b")
	mux := true
	h.update("one", 2, control.Leg{Name: "b", RTCPMux: &mux})
	h.arrive(a.LocalRTCP, next(alice), report(7))
	sent := h.left()
	if len(sent) != 1 || sent[0].Peer.AddrPort() != bob {
		t.Fatalf("sent %+v", sent)
	}
	if got := sent[0].Local; got != local(b.Local) {
		t.Errorf("RTCP left by port %d; RFC 5761 has one port for both, %s", got.Port(), b.Local)
	}
}

func TestANamedRTCPAddressComesBackWhenMuxEnds(t *testing.T) {
	elsewhere := netip.MustParseAddrPort("198.18.2.9:50000")
	h := open(t, nil)
	a := leg1(h.call("one", func(_, b *control.Leg) { b.RemoteRTCP = elsewhere.String() }), "a")
	for i, mux := range []bool{true, false} {
		h.update("one", uint64(2+i), control.Leg{Name: "b", RTCPMux: &mux})
	}
	h.arrive(a.LocalRTCP, next(alice), report(7))
	h.heard(elsewhere)
}

func TestNobodyIsCalledSilentWhileEitherEndIsHeld(t *testing.T) {
	h := open(t, func(o *Options) { o.Initial, o.Running = 100*time.Millisecond, 100*time.Millisecond })
	_, l := h.listen("test")
	h.call("held", func(_, b *control.Leg) { b.Direction = "inactive" })
	h.call("silent", nil)
	for reports := 0; reports < 2; { // between two of them every other leg was looked at
		e := l.await(t, control.EventTimeout)
		if e.Session == "held" {
			t.Fatalf("leg %s was reported, though the other end is held", e.Leg)
		}
		if e.Leg == "a" {
			reports++
		}
	}
}

func TestAHeldCallOutlivesARestartOfItsController(t *testing.T) {
	// Half of what the clock shows, so that a session can be made older than that.
	h := open(t, func(o *Options) { o.Orphan = time.Duration(netio.Now() / 2) })
	client, _ := h.listen("test")
	h.call("one", func(a, b *control.Leg) { a.Direction, b.Direction = "inactive", "inactive" })
	s := h.relay.sessions["one"]
	s.worker.do(func(int64) {
		for _, e := range s.streams[0].legs {
			s.worker.legs[e.index].opened = 1
		}
	})
	h.relay.closeOrphans(netio.Now())
	client.Close()
	for h.attendedBy("test") {
		runtime.Gosched()
	}
	h.relay.closeOrphans(netio.Now())
	if h.relay.Stats().Sessions != 1 {
		t.Error("a call that was silent under its controller was closed the moment the controller went")
	}
	h.relay.closeOrphans(2 * netio.Now())
	if h.relay.Stats().Sessions != 0 {
		t.Error("an orphan lives on")
	}
}

func TestALeaseThatCannotBeMarkedGivesItsPortsBack(t *testing.T) {
	h := open(t, nil)
	h.relay.network("pstn").DSCP = 64 // no code point: the engine refuses it
	if _, err := try[control.SessionState](h, control.MethodOpen, control.Open{ID: "one", Streams: []control.Stream{audio(
		control.Leg{Name: "a", Network: "uc"}, control.Leg{Name: "b", Network: "pstn"})}}); err == nil {
		t.Fatal("a leg that could not be marked was opened")
	}
	if bound := h.engine.Bound(); len(bound) != 0 {
		t.Errorf("the refused open left %d ports bound", len(bound))
	}
}

func TestAnUpdateThatNamesOneThingTwiceIsRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		streams []control.Stream
	}{
		{"stream", []control.Stream{audio(control.Leg{Name: "a", Direction: "inactive"}), audio(control.Leg{Name: "a", TX: crypto(12)})}},
		{"leg", []control.Stream{audio(control.Leg{Name: "a", Direction: "inactive"}, control.Leg{Name: "a", TX: crypto(12)})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, nil)
			h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
			_, err := try[control.SessionState](h, control.MethodUpdate, control.Update{ID: "one", Generation: 2, Streams: c.streams})
			if control.CodeOf(err) != control.CodeParams {
				t.Errorf("half of it was applied without a word: %v", err)
			}
		})
	}
}

func TestAnUpdateWithOneWrongLegChangesNothing(t *testing.T) {
	h := open(t, nil)
	h.call("one", nil)
	_, err := try[control.SessionState](h, control.MethodUpdate, control.Update{ID: "one", Generation: 2, Streams: []control.Stream{
		audio(control.Leg{Name: "a", Direction: "inactive"}, control.Leg{Name: "b", Remote: "0.0.0.0:9"})}})
	if err == nil || !strings.Contains(err.Error(), `leg "b"`) {
		t.Fatal(err)
	}
	state := must[control.SessionState](h, control.MethodGet, control.Ref{ID: "one"})
	if state.Generation != 1 || leg1(state, "a").Direction != "sendrecv" {
		t.Errorf("generation %d, leg a is %s", state.Generation, leg1(state, "a").Direction)
	}
}

func TestFinalCountersMissNoPacket(t *testing.T) {
	h := open(t, nil)
	var counted uint64
	for i := range 20 { // a packet may always arrive while its session is being closed
		s := h.call(fmt.Sprint(i), nil)
		before := h.relay.Stats().Forwarded
		h.engine.Replay(0, []fake.Datagram{{Local: local(leg1(s, "a").Local), Peer: netio.AddrFrom(alice), Data: packet(7, 1)}})
		for h.relay.Stats().Forwarded == before {
			runtime.Gosched()
		}
		final := must[control.SessionState](h, control.MethodClose, control.Ref{ID: s.ID})
		h.engine.Replay(0, nil)
		counted += leg1(final, "b").Out.Packets
	}
	if got := h.relay.Stats().Forwarded; got != counted {
		t.Errorf("the closed sessions count %d packets sent, the relay forwarded %d", counted, got)
	}
}

func TestTheLimitCountsSessionsAndNotTheirStreams(t *testing.T) {
	h := open(t, func(o *Options) { o.Sessions = 2 })
	two := func(id string) control.Open {
		m := control.Open{ID: id}
		for _, name := range []string{"audio", "more"} {
			m.Streams = append(m.Streams, control.Stream{Name: name, Legs: []control.Leg{{Name: "a", Network: "uc"}, {Name: "b", Network: "pstn"}}})
		}
		return m
	}
	for _, id := range []string{"one", "two"} {
		if _, err := try[control.SessionState](h, control.MethodOpen, two(id)); err != nil {
			t.Fatalf("session %s of 2: %v", id, err)
		}
	}
	if _, err := try[control.SessionState](h, control.MethodOpen, two("three")); control.CodeOf(err) != control.CodeFull {
		t.Errorf("session 3 of 2: %v", err)
	}
}

// TestCloseMayComeAtAnyTime is for the race detector: calls of many controllers, packets, and the end in the middle of it.
func TestCloseMayComeAtAnyTime(t *testing.T) {
	engine := fake.New(2)
	h := open(t, func(o *Options) {
		o.Workers = 2
		o.Open = func(netio.Options) (netio.Engine, error) { return engine, nil }
	})
	var callers sync.WaitGroup
	begun := make(chan struct{}, 4)
	for n := range 4 {
		callers.Go(func() {
			for i := range 40 {
				if i == 10 {
					begun <- struct{}{}
				}
				id := fmt.Sprint(n, "/", i)
				if s, err := try[control.SessionState](h, control.MethodOpen, control.Open{ID: id, Streams: []control.Stream{audio(
					control.Leg{Name: "a", Network: "uc", Remote: alice.String(), RX: crypto(1), TX: crypto(2)},
					control.Leg{Name: "b", Network: "pstn", Remote: bob.String()})}}); err == nil {
					at := local(leg1(s, "b").Local)
					if queue, ok := engine.Receiver(at); ok {
						engine.Inject(queue, at, netio.AddrFrom(bob), packet(8, 1))
					}
				}
				try[control.SessionState](h, control.MethodUpdate, control.Update{ID: id, Generation: 2, Streams: []control.Stream{
					audio(control.Leg{Name: "a", TX: crypto(12)})}})
				h.relay.Stats()
				try[control.ListResult](h, control.MethodList, control.List{Limit: 3})
				h.relay.closeOrphans(netio.Now())
				if i%2 == 0 {
					try[control.SessionState](h, control.MethodClose, control.Ref{ID: id})
				}
			}
		})
	}
	for range 4 {
		<-begun
	}
	if err := h.relay.Close(); err != nil {
		t.Error(err)
	}
	callers.Wait()
	if n, bound := h.relay.Stats().Sessions, engine.Bound(); n != 0 || len(bound) != 0 {
		t.Errorf("%d sessions and %d ports outlived the relay", n, len(bound))
	}
	if held := h.relay.registry.Names(); len(held) != 0 {
		t.Errorf("descriptors still held: %v", held)
	}
}

func TestGCMLegsAreRekeyedAcrossLikeAnyOther(t *testing.T) {
	gcm := func(n byte) *control.Crypto {
		return &control.Crypto{Suite: "AEAD_AES_128_GCM", Key: base64.StdEncoding.EncodeToString(key(n)[:28])}
	}
	far := func(n byte) *srtp.Context {
		c, err := srtp.CreateContext(key(n)[:16], key(n)[16:28], srtp.ProtectionProfileAeadAes128Gcm)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	h := open(t, nil)
	s := h.call("one", func(a, b *control.Leg) { a.RX, a.TX, b.RX, b.TX = gcm(1), gcm(2), gcm(3), gcm(4) })
	toUs, toBob := far(1), far(4)
	for i := range uint16(6) {
		p := packet(7, 65_533+i)
		h.arrive(leg1(s, "a").Local, alice, sealed(t, toUs, p))
		if got, err := toBob.DecryptRTP(nil, h.heard(bob), nil); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("packet %d: bob opened %x: %v", i, got, err)
		}
	}
}
