package b2bua

import (
	"slices"
	"strings"
	"testing"

	"tandem/signaling/sdp"
)

// beyondOffer is a body that names G.729 beside other formats.
func beyondOffer(addr string, port int, formats ...string) string {
	return sdpOf(addr, port, "a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n", formats...)
}

func TestAnswerBeyondTheOfferReachesNobody(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answer  []string
		formats string // as the caller is told
	}{
		{"behind the codec of the call", []string{"0", "18", "101"}, "0 101"},
		{"in front of it", []string{"18", "8"}, "8"},
		{"nothing beyond", []string{"8", "101"}, "8 101"},
	} {
		for _, early := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				w := newWorld(t)
				a := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, "a=rtpmap:8 PCMA/8000\r\n"))
				inv := w.gw1.next("INVITE")
				body := beyondOffer("198.51.100.20", 6000, tt.answer...)
				if early {
					w.gw1.reply(inv, "183 Session Progress", "gwtag", body)
					if got := w.caller.next("183"); !strings.HasSuffix(line(got.body, "m=audio "), "RTP/AVP "+tt.formats) || strings.Contains(got.body, "G729") {
						t.Errorf("183:\n%s", got.body)
					}
				}
				w.gw1.reply(inv, "200 OK", "gwtag", body)
				w.gw1.next("ACK")
				ok := w.caller.next("200 INVITE")
				a.answered(ok)
				a.ack()
				if !strings.HasSuffix(line(ok.body, "m=audio "), "RTP/AVP "+tt.formats) || strings.Contains(ok.body, ":18 ") {
					t.Errorf("200:\n%s", ok.body)
				}
				k := &talk{w: w, a: a, b: w.gw1.uas(inv, "gwtag")}
				k.a.invite(sdpOf("192.0.2.10", 5000, "a=rtpmap:8 PCMA/8000\r\na=sendonly\r\n"))
				again := w.gw1.next("INVITE")
				w.gw1.reply(again, "200 OK", "", body+"a=recvonly\r\n")
				w.gw1.next("ACK")
				held := w.caller.next("200 INVITE")
				k.a.ack()
				if !strings.HasSuffix(line(held.body, "m=audio "), "RTP/AVP "+tt.formats) || strings.Contains(held.body, "G729") {
					t.Errorf("200 to the re-INVITE:\n%s", held.body)
				}
				k.hangUp()
			})
		}
	}
}

func TestAnswerWithoutAnyCodecOfTheOfferFailsTheCall(t *testing.T) {
	for name, formats := range map[string][]string{"another codec": {"18"}, "another codec and DTMF": {"18", "101"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			a := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""))
			inv := w.gw1.next("INVITE")
			w.gw1.reply(inv, "200 OK", "gwtag", beyondOffer("198.51.100.20", 6000, formats...))
			w.gw1.next("ACK")
			w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
			a.ackFailure(w.caller.next("488"))
			if r := w.record(); r.Code != 488 || !r.Answer.IsZero() || r.Tried[0].Why != "the answer takes no codec that was offered" {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}

func TestCodecIsTheSameUnderAnotherNumber(t *testing.T) {
	for _, tt := range []struct {
		p, o sdp.Payload
		same bool
	}{
		{sdp.Payload{Type: 18, Name: "G729"}, sdp.Payload{Type: 18, Name: "G729A"}, true},
		{sdp.Payload{Type: 96, Name: "telephone-event", Clock: 8000}, sdp.Payload{Type: 101, Name: "Telephone-Event", Clock: 8000}, true},
		{sdp.Payload{Type: 96, Name: "telephone-event", Clock: 16000}, sdp.Payload{Type: 101, Name: "telephone-event", Clock: 8000}, false},
		{sdp.Payload{Type: 96, Name: "AMR"}, sdp.Payload{Type: 96, Name: "opus"}, false},
		{sdp.Payload{Type: 96}, sdp.Payload{Type: 96, Name: "opus"}, true},
		{sdp.Payload{Type: 97}, sdp.Payload{Type: 96}, false},
	} {
		if got := sameCodec(&tt.p, &tt.o); got != tt.same {
			t.Errorf("%+v and %+v: %v", tt.p, tt.o, got)
		}
	}
}

// FuzzAnswerBeyondTheOffer strips arbitrary answers: what is left can be read, has an m-line where the answer had it, and names
// none of what was taken out.
func FuzzAnswerBeyondTheOffer(f *testing.F) {
	offer := sdpOf("192.0.2.1", 5000, "a=rtpmap:8 PCMA/8000\r\n")
	for _, s := range []string{beyondOffer("192.0.2.2", 6000, "0", "18"), beyondOffer("192.0.2.2", 6000, "18"), "v=0\rm=audio 5 RTP/AVP 0  96\n a=rtpmap: 96  x/1\n", behind(beyondOffer("192.0.2.2", 1, "8", "18"))} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s, err := sdp.Read([]byte(body))
		if err != nil || len(s.Media()) == 0 {
			return
		}
		m := Media{Sent: offer}
		m.hear(s, 0)
		lines := len(s.Media())
		if m.offeredOnly(&Media{}) != nil {
			return
		}
		got := m.mline()
		if after, err := m.heard(); err != nil || len(after.Media()) != lines || got == nil {
			t.Fatalf("%q became %q: %v", body, m.Received, err)
		}
		sent, _ := readSDP(offer)
		if drop := beyond(got.Payloads, sent.Media()[0].Payloads); len(drop) > 0 {
			t.Fatalf("%v is left in %q", drop, m.Received)
		}
		if i := slices.IndexFunc(s.Media()[0].Payloads, func(p sdp.Payload) bool { return p.Type == 0 }); i >= 0 &&
			!slices.ContainsFunc(got.Payloads, func(p sdp.Payload) bool { return p.Type == 0 }) {
			t.Fatalf("%q lost what was offered: %q", body, m.Received)
		}
	})
}
