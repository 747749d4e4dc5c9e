package b2bua

import (
	"fmt"
	"strings"
	"testing"

	"tandem/internal/config"
	"tandem/internal/control"
)

// faxOf is what a gateway offers and answers to go on with a fax as data.
func faxOf(addr string, port int) string {
	return fmt.Sprintf("v=0\r\no=secretuser 42 2 IN IP4 %s\r\ns=secret session\r\nc=IN IP4 %s\r\nt=0 0\r\nm=image %d udptl t38\r\n"+
		"a=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxMaxDatagram:238\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n", addr, addr, port)
}

// beside puts the audio, switched off, in front of a fax; behind puts the fax, switched off, behind the audio.
func beside(fax string) string {
	return strings.Replace(fax, "m=image", "m=audio 0 RTP/AVP 0\r\nm=image", 1)
}
func behind(audio string) string {
	return audio + "m=image 0 udptl t38\r\n"
}

// passing is a world whose trunks let faxes pass.
func passing(c *config.Config, _ *Timers) {
	for _, name := range []string{"alice", "gw1", "gw2"} {
		edit(c, name, func(tr *config.Trunk) { tr.Fax = config.FaxPassthrough })
	}
}

// kind is what the relay was told last of the kind of its latest session's stream.
func (r *fakeRelay) kind() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.opens[len(r.opens)-1]
	kind := last.Streams[0].Kind
	for _, u := range r.updates {
		for _, st := range u.Streams {
			if u.ID == last.ID && st.Kind != "" {
				kind = st.Kind
			}
		}
	}
	return kind
}

// faxer is one side of a talk and what it says of its media.
type faxer struct {
	p         *peer
	d         *dialog
	addr      string
	port      int
	leased    string // our port towards it
	relay     string // its leg
	audio     string
	fax       string
	audioBack string
}

func (k *talk) parties(alone bool) (a, b *faxer) {
	a = &faxer{p: k.w.caller, d: k.a, addr: "192.0.2.10", port: 5000, leased: "40000", relay: "a"}
	b = &faxer{p: k.w.gw1, d: k.b, addr: "198.51.100.20", port: 6000, leased: "40002", relay: "b"}
	for _, x := range []*faxer{a, b} {
		x.audio, x.fax = sdpOf(x.addr, x.port, ""), faxOf(x.addr, x.port+2)
		if x.audioBack = x.audio; !alone {
			x.fax, x.audioBack = beside(x.fax), behind(x.audio)
		}
	}
	return a, b
}

// change has one side offer a body and the other answer it, and returns what each was told.
func (x *faxer) change(o *faxer, offer, answer string) (told, got message) {
	x.p.t.Helper()
	x.d.invite(offer)
	told = o.p.next("INVITE")
	o.p.reply(told, "200 OK", "", answer)
	o.p.next("ACK")
	got = x.p.next("200 INVITE")
	x.d.ack()
	return told, got
}

func TestAFaxPassesWhereBothTrunksSaySoAndAudioComesBack(t *testing.T) {
	for _, alone := range []bool{true, false} {
		for _, byCaller := range []bool{true, false} {
			for _, backBySame := range []bool{true, false} {
				t.Run(fmt.Sprintf("alone %t, by the caller %t, back by the same %t", alone, byCaller, backBySame), func(t *testing.T) {
					w := newWorld(t, passing)
					k := w.call()
					x, y := k.parties(alone)
					if !byCaller {
						x, y = y, x
					}
					told, got := x.change(y, x.fax, faxOf(y.addr, y.port+2))
					for _, m := range []struct {
						message
						leased string
						lines  int
					}{{told, y.leased, 1}, {got, x.leased, strings.Count(x.fax, "m=")}} {
						if line(m.body, "m=image ") != m.leased+" udptl t38" || strings.Count(m.body, "m=") != m.lines || line(m.body, "c=") != "IN IP4 127.0.0.1" {
							t.Errorf("fax:\n%s", m.body)
						}
						for _, want := range []string{"a=T38FaxVersion:0\r\n", "a=T38MaxBitRate:14400\r\n", "a=T38FaxMaxDatagram:238\r\n", "a=T38FaxUdpEC:t38UDPRedundancy\r\n"} {
							if !strings.Contains(m.body, want) {
								t.Errorf("%q is not in\n%s", want, m.body)
							}
						}
						if strings.Contains(m.body, "secret") || strings.Contains(m.body, x.addr) || strings.Contains(m.body, y.addr) {
							t.Errorf("one side shows in what the other gets:\n%s", m.body)
						}
					}
					if w.relay.kind() != "opaque" || w.relay.leg(t, x.relay).Remote != fmt.Sprint(x.addr, ":", x.port+2) || w.relay.leg(t, y.relay).Remote != fmt.Sprint(y.addr, ":", y.port+2) {
						t.Errorf("the relay carries %s between %+v and %+v", w.relay.kind(), w.relay.leg(t, "a"), w.relay.leg(t, "b"))
					}
					x.d.invite(x.fax) // a refresh says nothing new
					if again := x.p.next("200 INVITE"); again.body != got.body {
						t.Errorf("answered anew with\n%s", again.body)
					}
					x.d.ack()
					y.d.invite("") // what is agreed is offered
					if again := y.p.next("200 INVITE"); line(again.body, "m=image ") != y.leased+" udptl t38" {
						t.Errorf("an empty re-INVITE got\n%s", again.body)
					}
					y.d.ackWith(faxOf(y.addr, y.port+2))
					if backBySame {
						told, got = x.change(y, x.audioBack, y.audio)
					} else {
						told, got = y.change(x, y.audio, x.audioBack)
					}
					for _, m := range []message{told, got} {
						if f := strings.Fields(line(m.body, "m=audio ")); len(f) != 5 || f[0] == "0" || line(m.body, "a=T38FaxVersion") != "" || strings.Contains(m.body, "m=image 4") {
							t.Errorf("back to audio:\n%s", m.body)
						}
					}
					if w.relay.kind() != "rtp" || w.relay.leg(t, "a").Remote != "192.0.2.10:5000" || w.relay.leg(t, "b").Remote != "198.51.100.20:6000" {
						t.Errorf("the relay carries %s between %+v and %+v", w.relay.kind(), w.relay.leg(t, "a"), w.relay.leg(t, "b"))
					}
					k.hangUp()
				})
			}
		}
	}
}

func TestAFaxThatOneSideRefusesLeavesTheAudioAsItIs(t *testing.T) {
	t.Run("the far side", func(t *testing.T) {
		w := newWorld(t, passing)
		k := w.call()
		_, before, _ := w.relay.counts()
		k.b.invite(faxOf("198.51.100.20", 6002))
		inv := w.caller.next("INVITE")
		w.caller.reply(inv, "488 Not Acceptable Here", "", "")
		k.b.ackFailure(w.gw1.next("488"))
		if _, after, _ := w.relay.counts(); after != before {
			t.Error("the relay heard of it")
		}
		k.a.invite(sdpOf("192.0.2.10", 5000, ""))
		if ok := w.caller.next("200 INVITE"); !strings.HasPrefix(line(ok.body, "m=audio "), "40000 ") {
			t.Errorf("audio:\n%s", ok.body)
		}
		k.a.ack()
		k.hangUp()
	})
	t.Run("the far side's trunk", func(t *testing.T) {
		w := newWorld(t, passing, func(c *config.Config, _ *Timers) {
			edit(c, "alice", func(tr *config.Trunk) { tr.Fax = config.FaxRefuse })
		})
		k := w.call()
		k.b.invite(faxOf("198.51.100.20", 6002))
		k.b.ackFailure(w.gw1.next("488"))
		k.a.invite(faxOf("192.0.2.10", 5002))
		refused := w.caller.next("488")
		if !strings.Contains(refused.get("Warning"), "T.38 is refused on this trunk") {
			t.Errorf("Warning: %s", refused.get("Warning"))
		}
		k.a.ackFailure(refused)
		if n := w.caller.had("INVITE") + w.gw1.had("INVITE"); n != 1 {
			t.Errorf("%d INVITEs crossed", n)
		}
		k.hangUp()
	})
	t.Run("the far side, in a 200", func(t *testing.T) {
		w := newWorld(t, passing)
		k := w.call()
		k.b.invite(faxOf("198.51.100.20", 6002))
		inv := w.caller.next("INVITE")
		w.caller.reply(inv, "200 OK", "", faxOf("192.0.2.10", 0))
		w.caller.next("ACK")
		k.b.ackFailure(w.gw1.next("488"))
		inv = w.caller.next("INVITE") // it must not stay without any media
		if !strings.HasPrefix(line(inv.body, "m=audio "), "40000 ") || strings.Contains(inv.body, "m=image") {
			t.Errorf("put back:\n%s", inv.body)
		}
		if v := strings.Fields(line(inv.body, "o=")); v[2] != "3" {
			t.Errorf("the third body of the dialog has version %s", v[2])
		}
		w.caller.reply(inv, "200 OK", "", sdpOf("192.0.2.10", 5000, ""))
		w.caller.next("ACK")
		k.hangUp()
		if w.relay.kind() != "" {
			t.Errorf("the relay was told %s", w.relay.kind())
		}
	})
	t.Run("the relay", func(t *testing.T) {
		w := newWorld(t, passing)
		k := w.call()
		w.relay.failing(func(method, _ string) error {
			if method == "update" {
				return control.Errorf(control.CodeUnsupported, "kind opaque is unknown")
			}
			return nil
		})
		k.b.invite(faxOf("198.51.100.20", 6002))
		inv := w.caller.next("INVITE")
		w.caller.reply(inv, "200 OK", "", faxOf("192.0.2.10", 5002))
		w.caller.next("ACK")
		k.b.ackFailure(w.gw1.next("500"))
		w.relay.failing(nil)
		if inv = w.caller.next("INVITE"); !strings.HasPrefix(line(inv.body, "m=audio "), "40000 ") {
			t.Errorf("put back:\n%s", inv.body)
		}
		w.caller.reply(inv, "200 OK", "", sdpOf("192.0.2.10", 5000, ""))
		w.caller.next("ACK")
		k.hangUp()
	})
	t.Run("who asked, too late", func(t *testing.T) {
		w := newWorld(t, passing)
		k := w.call()
		k.b.invite(faxOf("198.51.100.20", 6002))
		inv := w.caller.next("INVITE")
		k.b.cancel()
		k.b.ackFailure(w.gw1.next("487"))
		w.caller.reply(inv, "200 OK", "", faxOf("192.0.2.10", 5002))
		w.caller.next("ACK")
		if inv = w.caller.next("INVITE"); !strings.HasPrefix(line(inv.body, "m=audio "), "40000 ") || strings.Contains(inv.body, "m=image") {
			t.Errorf("put back:\n%s", inv.body)
		}
		w.caller.reply(inv, "200 OK", "", sdpOf("192.0.2.10", 5000, ""))
		w.caller.next("ACK")
		k.hangUp()
		if w.relay.kind() == "opaque" { // which it may have been for a moment: the 487 is the stack's, and we hear of it later
			t.Errorf("the relay was told %s", w.relay.kind())
		}
	})
}

func TestAFaxTakesThePlaceOfSRTPOnlyWhereTheTrunkSaysSo(t *testing.T) {
	secure := func(fax string) func(*config.Config, *Timers) {
		return func(c *config.Config, _ *Timers) {
			edit(c, "alice", func(tr *config.Trunk) { tr.SRTP, tr.Pin, tr.Fax = config.SRTPRequired, config.PinAuth, fax })
		}
	}
	offer := savp(sdpOf("192.0.2.10", 5000, ""), 1, testKey1)
	t.Run("passthrough", func(t *testing.T) {
		w := newWorld(t, passing, secure(config.FaxPassthrough))
		k := w.callWith(offer, sdpOf("198.51.100.20", 6000, ""))
		k.b.invite(faxOf("198.51.100.20", 6002))
		k.b.ackFailure(w.gw1.next("488"))
		k.a.invite(faxOf("192.0.2.10", 5002))
		refused := w.caller.next("488")
		if !strings.Contains(refused.get("Warning"), "T.38 has no encryption") {
			t.Errorf("Warning: %s", refused.get("Warning"))
		}
		k.a.ackFailure(refused)
		if leg := w.relay.leg(t, "a"); leg.RX.Key != testKey1 || leg.Pin != "auth" || w.relay.kind() != "" {
			t.Errorf("the relay has %s, %s", leg.Pin, w.relay.kind())
		}
		k.hangUp()
	})
	t.Run("passthrough_clear", func(t *testing.T) {
		w := newWorld(t, passing, secure(config.FaxClear))
		k := w.callWith(offer, sdpOf("198.51.100.20", 6000, ""))
		before := w.relay.leg(t, "a")
		x, y := k.parties(true)
		told, _ := y.change(x, y.fax, x.fax)
		if strings.Contains(told.body, "a=crypto") || line(told.body, "m=image ") == "" {
			t.Errorf("fax:\n%s", told.body)
		}
		during := w.relay.leg(t, "a")
		if during.RX.Suite != "none" || during.TX.Suite != "none" || during.Pin != "exact" || w.relay.kind() != "opaque" {
			t.Errorf("the relay's leg: %s %s %s, %s", during.RX.Suite, during.TX.Suite, during.Pin, w.relay.kind())
		}
		y.d.invite(y.audio)
		told = x.p.next("INVITE")
		crypto := strings.Fields(line(told.body, "a=crypto:"))
		if !strings.Contains(line(told.body, "m=audio "), "RTP/SAVP") || len(crypto) < 3 {
			t.Fatalf("back to audio, but not to SRTP:\n%s", told.body)
		}
		x.p.reply(told, "200 OK", "", savp(sdpOf("192.0.2.10", 5000, ""), 1, testKey2))
		x.p.next("ACK")
		y.p.next("200 INVITE")
		y.d.ack()
		after := w.relay.leg(t, "a")
		if after.RX.Key != testKey2 || after.TX.Key == before.TX.Key || after.TX.Key == "" || after.Pin != "auth" || w.relay.kind() != "rtp" {
			t.Error("the audio after the fax must have a new key of ours, and the peer's")
		}
		x.change(y, x.fax, y.fax)
		x.change(y, savp(x.audio, 7, testKey1), y.audio)
		if last := w.relay.leg(t, "a"); last.RX.Key != testKey1 || last.TX.Key == after.TX.Key || last.TX.Key == before.TX.Key {
			t.Error("the audio after the second fax must have new keys as well")
		}
		k.hangUp()
	})
}

func TestTheRelayIsToldWhatIsDemandedOfAPeer(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.RTCPActive, tr.RTCPHeld = true, true })
		edit(c, "gw1", func(tr *config.Trunk) { tr.RTCPActive = false })
	})
	k := w.call()
	a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b")
	if a.RTCPActive != nil || a.RTCPHeld == nil || !*a.RTCPHeld || b.RTCPActive == nil || *b.RTCPActive || b.RTCPHeld != nil {
		t.Errorf("a: %v %v, b: %v %v", a.RTCPActive, a.RTCPHeld, b.RTCPActive, b.RTCPHeld)
	}
	k.hangUp()
	off, on := false, true
	for _, c := range []struct{ was, want, said *bool }{{nil, &off, &off}, {&off, nil, &on}, {&off, &off, nil}, {nil, nil, nil}} {
		d, changed := difference(control.Leg{RTCPActive: c.was}, control.Leg{RTCPActive: c.want})
		if changed != (c.said != nil) || changed && *d.RTCPActive != *c.said {
			t.Errorf("from %v to %v: said %v", c.was, c.want, d.RTCPActive)
		}
	}
}
