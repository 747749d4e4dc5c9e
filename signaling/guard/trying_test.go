package guard

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// waits tells whether anybody waits for a 100.
func (s *Stack) waits() bool {
	_, waits := s.servers.waiting.next()
	return waits
}

func TestAnINVITEWaitsForA100UntilAnythingIsSaid(t *testing.T) {
	for name, say := range map[string]func(p *peer, in *Inbound){
		"180":    func(_ *peer, in *Inbound) { in.Reply(180, "Ringing") },
		"200":    func(_ *peer, in *Inbound) { in.Reply(200, "OK") },
		"486":    func(_ *peer, in *Inbound) { in.Reply(486, "Busy Here") },
		"487":    func(p *peer, in *Inbound) { p.send(message("CANCEL", "z9hG4bKone", p.addr())) },
		"100":    func(p *peer, in *Inbound) { p.send(message("INVITE", "z9hG4bKone", p.addr())) }, // again
		"close":  func(_ *peer, in *Inbound) { in.l.stack.Close() },
		"forget": func(_ *peer, in *Inbound) { in.tx.Terminate() },
	} {
		t.Run(name, func(t *testing.T) {
			got, on := inbox()
			s := serve(t, Options{Listeners: udpOnly(), Handler: on})
			p := dialPeer(t, s.Address("u"))
			p.send(message("INVITE", "z9hG4bKone", p.addr()))
			in := await(t, got, "the INVITE")
			if !s.waits() {
				t.Fatal("it waits for none")
			}
			say(p, in)
			until(t, "nobody waits", func() bool { return !s.waits() })
			if _, err := strconv.Atoi(name); err != nil {
				return
			}
			said := p.recv()
			if name == "487" && field(said, "CSeq") == "1 CANCEL" {
				said = p.recv()
			}
			if status(said) != name {
				t.Errorf("got %q", said)
			}
		})
	}
}

func TestWhoWaitsBehindAnotherGetsA100Too(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on, trying: 50 * time.Millisecond})
	p := dialPeer(t, s.Address("u"))
	left := map[string]bool{}
	for _, branch := range []string{"z9hG4bKone", "z9hG4bKtwo", "z9hG4bKthree"} {
		p.send(message("INVITE", branch, p.addr()))
		await(t, got, "the INVITE")
		left[branch] = true
	}
	for len(left) > 0 {
		said := p.recv()
		if branch := param(field(said, "Via"), "branch"); status(said) != "100" || !left[branch] {
			t.Fatalf("got %q", said)
		} else {
			delete(left, branch)
		}
	}
}

func TestAHandlerThatIsSlowHasA100SentWithTheTimeItTook(t *testing.T) {
	for given, want := range map[string]bool{"54": true, "54 0.2": false} { // two numbers: somebody's own delay
		got, on := inbox()
		s := serve(t, Options{Listeners: append(udpOnly(), tcpOnly()...), Handler: on, trying: 2 * time.Millisecond})
		p, c := dialPeer(t, s.Address("u")), dialTCP(t, s.Address("t"))
		for transport, way := range map[string]struct {
			send func(string)
			recv func() string
		}{"udp": {p.send, p.recv}, "tcp": {c.send, c.recv}} {
			way.send(message("INVITE", "z9hG4bK"+transport, p.addr(), "Timestamp", given, "To", "<sip:bob@example.net>;tag=ours"))
			in := await(t, got, "the INVITE")
			said := way.recv()
			stamp, late, _ := strings.Cut(field(said, "Timestamp"), " ")
			if seconds, err := strconv.ParseFloat(late, 64); status(said) != "100" || stamp != "54" || err != nil || want != (late != "0.2") || seconds <= 0 {
				t.Errorf("%s: got %q", transport, said)
			}
			if !strings.HasSuffix(field(said, "To"), ";tag=ours") {
				t.Errorf("%s: To: %s", transport, field(said, "To"))
			}
			if err := in.Reply(486, "Busy Here"); err != nil {
				t.Error(err)
			}
			if said = way.recv(); status(said) != "486" {
				t.Errorf("%s: got %q", transport, said)
			}
		}
	}
}
