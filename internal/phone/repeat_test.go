package phone

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

// wire is a peer that speaks SIP by hand, to do what no phone does.
type wire struct {
	t *testing.T
	c *net.UDPConn
}

func openWire(t *testing.T) *wire {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &wire{t, c}
}

func (w *wire) address() netip.AddrPort { return localOf(w.c) }

// expect reads until a message begins with the given words.
func (w *wire) expect(first string) (string, netip.AddrPort) {
	w.t.Helper()
	b := make([]byte, 65535)
	w.c.SetReadDeadline(time.Now().Add(patience))
	for {
		n, from, err := w.c.ReadFromUDPAddrPort(b)
		if err != nil {
			w.t.Fatalf("waiting for %q: %v", first, err)
		}
		if strings.HasPrefix(string(b[:n]), first) {
			return string(b[:n]), from
		}
	}
}

func (w *wire) send(text string, to netip.AddrPort) {
	w.t.Helper()
	if _, err := w.c.WriteToUDPAddrPort([]byte(strings.ReplaceAll(text, "\n", "\r\n")), to); err != nil {
		w.t.Fatal(err)
	}
}

// answer makes a response with the headers of a request.
func answer(request, status, contact, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %s\n", status)
	for _, name := range []string{"Via", "From", "Call-ID", "CSeq"} {
		b.WriteString(header(request, name) + "\n")
	}
	to := header(request, "To")
	if !strings.Contains(to, "tag=") {
		to += ";tag=wire"
	}
	fmt.Fprintf(&b, "%s\nContact: <sip:%s>\nContent-Type: application/sdp\nContent-Length: %d\n\n%s", to, contact, len(body)+strings.Count(body, "\n"), body)
	return b.String()
}

func header(message, name string) string {
	return strings.TrimRight(regexp.MustCompile(`(?mi)^`+name+`: .*$`).FindString(message), "\r")
}

const plainSDP = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"

func TestARepeatedAnswerIsAcknowledgedAgain(t *testing.T) {
	w, p := openWire(t), open(t, Options{})
	called := make(chan *Call, 1)
	go func() {
		c, err := p.Call(t.Context(), "1", w.address())
		if err != nil {
			t.Error(err)
		}
		called <- c
	}()
	invite, from := w.expect("INVITE ")
	ok := answer(invite, "200 OK", w.address().String(), plainSDP)
	w.send(ok, from)
	first, _ := w.expect("ACK ")
	w.send(ok, from)
	second, _ := w.expect("ACK ")
	if header(first, "CSeq") != header(second, "CSeq") || header(first, "Via") == header(second, "Via") {
		t.Errorf("want two ACKs of one INVITE on branches of their own:\n%s\n%s", first, second)
	}
	c := <-called
	if c == nil {
		t.FailNow()
	}
	go func() {
		bye, from := w.expect("BYE ")
		w.send(answer(bye, "481 No Such Call", w.address().String(), ""), from)
	}()
	if err := c.Hangup(patient(t)); err != nil {
		t.Errorf("both hung up at once: %v", err)
	}
}

// invitation is an INVITE that the wire sends.
func invitation(w *wire, p *Phone) string {
	return fmt.Sprintf("INVITE sip:1@%[2]s SIP/2.0\nVia: SIP/2.0/UDP %[1]s;branch=z9hG4bKone\nFrom: <sip:wire@%[1]s>;tag=wire\n"+
		"To: <sip:1@%[2]s>\nCall-ID: one\nCSeq: 1 INVITE\nContact: <sip:wire@%[1]s>\nMax-Forwards: 70\n"+
		"Content-Type: application/sdp\nContent-Length: %[3]d\n\n%[4]s",
		w.address(), p.Address(), len(plainSDP)+strings.Count(plainSDP, "\n"), plainSDP)
}

func TestAnAnswerIsRepeatedUntilItsACK(t *testing.T) {
	w, p := openWire(t), open(t, Options{})
	calls := answering(t, p)
	w.send(invitation(w, p), p.Address())
	first, _ := w.expect("SIP/2.0 200")
	second, _ := w.expect("SIP/2.0 200") // after T1, because no ACK came
	if first != second {
		t.Errorf("a repeated answer differs:\n%s\n%s", first, second)
	}
	w.send(fmt.Sprintf("ACK sip:1@%s SIP/2.0\nVia: SIP/2.0/UDP %s;branch=z9hG4bKtwo\n%s\n%s\nCall-ID: one\nCSeq: 1 ACK\nContent-Length: 0\n\n",
		p.Address(), w.address(), header(first, "From"), header(first, "To")), p.Address())
	if c := <-calls; c == nil {
		t.Error("the call did not come about")
	}
}

func TestAnAnswerThatCrossesOurCancelIsHungUp(t *testing.T) {
	w, p := openWire(t), open(t, Options{})
	ctx, stop := contextOf(t)
	failed := make(chan error, 1)
	go func() {
		_, err := p.Call(ctx, "1", w.address())
		failed <- err
	}()
	invite, from := w.expect("INVITE ")
	w.send(answer(invite, "180 Ringing", w.address().String(), ""), from)
	stop()
	w.expect("CANCEL ")
	w.send(answer(invite, "200 OK", w.address().String(), plainSDP), from)
	w.expect("ACK ")
	bye, _ := w.expect("BYE ")
	w.send(answer(bye, "200 OK", w.address().String(), ""), from)
	if err := <-failed; !errors.Is(err, ctx.Err()) {
		t.Errorf("want the context's error, have %v", err)
	}
}

func TestNoCancelBeforeAnythingWasHeard(t *testing.T) {
	w, p := openWire(t), open(t, Options{})
	ctx, stop := contextOf(t)
	failed := make(chan error, 1)
	go func() {
		_, err := p.Call(ctx, "1", w.address())
		failed <- err
	}()
	invite, from := w.expect("INVITE ")
	stop()
	again, _ := w.expect("") // RFC 3261 section 9.1: what comes next is the INVITE again
	if !strings.HasPrefix(again, "INVITE ") {
		t.Errorf("want the INVITE again, have\n%s", again)
	}
	w.send(answer(invite, "180 Ringing", w.address().String(), ""), from)
	cancel, _ := w.expect("CANCEL ")
	if header(cancel, "Via") != header(invite, "Via") || header(cancel, "CSeq") != "CSeq: 1 CANCEL" {
		t.Errorf("this CANCEL is of another INVITE:\n%s\n%s", invite, cancel)
	}
	w.send(answer(cancel, "200 OK", w.address().String(), ""), from)
	w.send(answer(invite, "487 Request Terminated", w.address().String(), ""), from)
	w.expect("ACK ")
	if err := <-failed; !errors.Is(err, ctx.Err()) {
		t.Errorf("want the context's error, have %v", err)
	}
}

func TestRequestsThatAreNotForACall(t *testing.T) {
	w, p := openWire(t), open(t, Options{})
	request := func(method, tag string) {
		w.send(fmt.Sprintf("%[1]s sip:1@%[3]s SIP/2.0\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[1]s%[4]s\nFrom: <sip:wire@%[2]s>;tag=wire\n"+
			"To: <sip:1@%[3]s>%[4]s\nCall-ID: none\nCSeq: 1 %[1]s\nContent-Length: 0\n\n", method, w.address(), p.Address(), tag), p.Address())
	}
	for _, tt := range []struct{ method, tag, want string }{
		{"OPTIONS", "", "SIP/2.0 200"}, {"BYE", ";tag=x", "SIP/2.0 481"}, {"CANCEL", "", "SIP/2.0 481"},
		{"INVITE", ";tag=x", "SIP/2.0 481"}, {"SUBSCRIBE", "", "SIP/2.0 405"},
	} {
		request(tt.method, tt.tag)
		if res, _ := w.expect("SIP/2.0 "); !strings.HasPrefix(res, tt.want) {
			t.Errorf("%s: want %s, have %s", tt.method, tt.want, res)
		}
	}
}
