package relay

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"testing"

	"github.com/pion/srtp/v2"

	"tandem/internal/control"
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
	h.climb(b.Local, bob, alice, 8, 65529, nil)
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
	h.climb(leg1(s, "a").Local, alice, bob, 7, 65_532, toUs)
	for i := range uint16(6) {
		p := packet(7, 65_533+i)
		h.arrive(leg1(s, "a").Local, alice, sealed(t, toUs, p))
		if got, err := toBob.DecryptRTP(nil, h.heard(bob), nil); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("packet %d: bob opened %x: %v", i, got, err)
		}
	}
}

// A receiver that misses the first packets of a stream, because the call is not answered there yet, cannot know that the sequence
// number wrapped among them (RFC 3711 section 3.3.1): it would be deaf for the whole call.
func TestAnSRTPPeerThatMissesTheFirstPacketsOpensTheOthers(t *testing.T) {
	h := open(t, nil)
	b, far := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "b"), pion(t, 2)
	for i := range uint16(20) {
		p := packet(7, 65530+i)
		h.arrive(b.Local, bob, p)
		if out := h.heard(alice); i >= 10 { // the first ten are lost on the way
			if got, err := far.DecryptRTP(nil, out, nil); err != nil || !bytes.Equal(got[12:], p[12:]) {
				t.Fatalf("packet %d: %v", i, err)
			}
		}
	}
}

// Likewise for us: a peer whose first packets came before its key did, or were lost, has counted one wrap that we have not seen.
func TestAPeerWhoseNumbersWrappedBeforeItsFirstPacketThatWeCanOpenIsHeard(t *testing.T) {
	h := open(t, nil)
	a, far := leg1(h.call("one", func(a, _ *control.Leg) { a.Pin, a.TX = "auth", crypto(2) }), "a"), pion(t, 1)
	for i := range uint16(10) {
		h.arrive(a.Local, alice, sealed(t, far, packet(7, 65530+i)))
		h.silence("no_key")
	}
	h.update("one", 2, control.Leg{Name: "a", RX: crypto(1)})
	for i := range uint16(10) {
		p := packet(7, 4+i)
		h.arrive(a.Local, alice, sealed(t, far, p))
		if got := h.heard(bob); !bytes.Equal(got, p) {
			t.Fatalf("packet %d: bob heard %x", i, got)
		}
	}
}

// Two sources that take turns under one key, as a mixer's may, are not told of with every packet, and the last one is told of.
func TestSourcesThatTakeTurnsAreNotToldOfWithEveryPacket(t *testing.T) {
	h := open(t, nil)
	a, far := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "a"), pion(t, 1)
	_, l := h.listen("test")
	const each = 100
	for i := range uint16(2 * each) {
		h.arrive(a.Local, alice, sealed(t, far, packet(7+uint32(i%2), i/2)))
	}
	told := []uint32{l.await(t, control.EventSSRC).SSRC, l.await(t, control.EventSSRC).SSRC}
	for told[len(told)-1] != 8 { // the one that spoke last; the watch looks at a leg once a second
		told = append(told, l.await(t, control.EventSSRC).SSRC)
	}
	if told[0] != 7 || len(told) > each/10 {
		t.Errorf("told of %v", told)
	}
}
