package b2bua

import (
	"context"
	"net/netip"
	"testing"

	"tandem/internal/config"
	"tandem/signaling/sdp"
)

// plainTerms are those of a trunk without SRTP whose peers write addresses, not names.
func plainTerms() terms {
	return terms{policy: &config.Trunk{}, lookup: func(_ context.Context, host string) (netip.Addr, error) {
		return netip.ParseAddr(host)
	}}
}

func TestABodyIsReadOnceWhileItIsAgreed(t *testing.T) {
	m, err := plainTerms().offered(context.Background(), Media{}, []byte(sdpOf("192.0.2.10", 5000, "b=AS:64\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	first, err := m.heard()
	if err != nil {
		t.Fatal(err)
	}
	later := m // as Media goes from hand to hand
	if again, err := later.heard(); again != first || err != nil {
		t.Errorf("read again: %v", err)
	}
	if n := testing.AllocsPerRun(100, func() { bandwidth(&later, "", false) }); n != 0 {
		t.Errorf("the bandwidth of a body that was read takes %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { payloads(&later, &m) }); n != 1 {
		t.Errorf("the payload types of two bodies that were read take %v allocations, want their list alone", n)
	}
}

func TestAnotherBodyIsNotTakenForTheOneThatWasRead(t *testing.T) {
	m, err := plainTerms().offered(context.Background(), Media{}, []byte(sdpOf("192.0.2.10", 5000, "")))
	if err != nil {
		t.Fatal(err)
	}
	m.Received = ownBody
	if s, err := m.heard(); err != nil || s.Text() != ownBody {
		t.Errorf("%v instead of our own body, %v", s, err)
	}
	m.Received = "not a body"
	if s, err := m.heard(); err == nil {
		t.Errorf("%v instead of an error", s)
	}
	if m.Received = ""; m.mline() != nil || bandwidth(&m, "", false) != 80 {
		t.Error("no body has no m-line and counts like an unknown codec")
	}
	if m.Received, m.Audio = ownBody, 1; m.mline() != nil {
		t.Error("an m-line that the body does not have")
	}
}

func TestWhatWasReadOfABodyLastsUntilTheAnswer(t *testing.T) {
	w := newWorld(t)
	read := func() (a, b bool) {
		c, done := w.b.all()[0], make(chan struct{})
		c.postOwn(func() {
			a, b = c.a.d.Media.read != nil, c.peer != nil && c.peer.d.Media.read != nil
			close(done)
		})
		<-done
		return a, b
	}
	a := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	if a, _ := read(); !a {
		t.Error("the offer must not be read again for the answer")
	}
	w.gw1.reply(inv, "200 OK", "gwtag", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.next("ACK")
	a.answered(w.caller.next("200 INVITE"))
	a.ack()
	if a, b := read(); a || b {
		t.Errorf("kept for the whole call: of the offer %v, of the answer %v", a, b)
	}
}

// BenchmarkMedia is what a call without SRTP asks of its two bodies: both read and judged, the room on both trunks, what the
// relay is told of both legs when the session is opened and when it is answered, and the offer and the answer that go out.
func BenchmarkMedia(b *testing.B) {
	t := plainTerms()
	offer, answer := []byte(sdpOf("192.0.2.10", 5000, "")), []byte(sdpOf("198.51.100.20", 6000, ""))
	ours := Media{Local: netip.MustParseAddrPort("203.0.113.1:40000"), RTCP: 40001, Origin: sdp.Origin{ID: 1, Version: 1}}
	b.ReportAllocs()
	for b.Loop() {
		na, err := t.offered(context.Background(), ours, offer)
		if err != nil {
			b.Fatal(err)
		}
		bandwidth(&na, "", false)
		bandwidth(&na, "", false)
		payloads(&na, nil)
		nb, err := t.propose(ours, false, na.Theirs)
		if err != nil {
			b.Fatal(err)
		}
		heard, err := na.heard()
		if err != nil {
			b.Fatal(err)
		}
		nb.tell(func() []byte { return sdp.Offer(heard, na.Audio, nb.side()) })
		if nb, err = t.answered(context.Background(), nb, answer); err != nil {
			b.Fatal(err)
		}
		if _, err := answerFrom(&na, &nb); err != nil {
			b.Fatal(err)
		}
		payloads(&na, &nb)
		payloads(&nb, &na)
	}
}
