package guard

import (
	"strconv"
	"strings"
	"testing"
)

func TestAHandlerThatIsSlowHasA100SentAndOneThatIsNotHasNone(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	p.send(message("INVITE", "z9hG4bKfast", p.addr()))
	if err := await(t, got, "the first INVITE").Reply(180, "Ringing"); err != nil {
		t.Fatal(err)
	}
	p.send(message("INVITE", "z9hG4bKcancelled", p.addr(), "Call-ID", "another"))
	await(t, got, "the second INVITE")
	p.send(message("CANCEL", "z9hG4bKcancelled", p.addr(), "Call-ID", "another"))
	p.send(message("INVITE", "z9hG4bKslow", p.addr(), "Call-ID", "a third", "Timestamp", "54"))
	slow := await(t, got, "the third INVITE")
	for slow.Req.IsCancel() {
		slow = await(t, got, "the third INVITE")
	}
	want := map[string]string{"180 z9hG4bKfast": "", "200 z9hG4bKcancelled": "", "487 z9hG4bKcancelled": "", "100 z9hG4bKslow": ""}
	for len(want) > 0 { // those that came first would get theirs first
		said := p.recv()
		_, branch, _ := strings.Cut(field(said, "Via"), "branch=")
		branch, _, _ = strings.Cut(branch, ";")
		name := status(said) + " " + branch
		if _, ok := want[name]; !ok && name != "487 z9hG4bKcancelled" { // which is repeated
			t.Fatalf("got %q", said)
		}
		delete(want, name)
		if status(said) != "100" {
			continue
		}
		stamp, late, _ := strings.Cut(field(said, "Timestamp"), " ")
		if seconds, err := strconv.ParseFloat(late, 64); stamp != "54" || err != nil || seconds < tryingAfter.Seconds() {
			t.Errorf("Timestamp: %q", field(said, "Timestamp"))
		}
	}
	if err := slow.Reply(486, "Busy Here"); err != nil {
		t.Error(err)
	}
}

func TestNoINVITEWaitsForA100AfterClose(t *testing.T) {
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	p.send(message("INVITE", "z9hG4bKgone", p.addr()))
	await(t, got, "the INVITE")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, waits := s.servers.waiting.next(); waits {
		t.Error("it still waits")
	}
}
