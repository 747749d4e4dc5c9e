package register

import (
	"context"
	"strings"
	"testing"
	"time"

	"tandem/internal/config"
	"tandem/signaling/digest"
)

func TestCloseWithdrawsTheBinding(t *testing.T) {
	w := newWorld(t, nil)
	d := door(w)
	w.next().reply(200, ours+"600")
	w.wait(300 * time.Second)
	closed := make(chan error, 1)
	go func() { closed <- w.r.Close(context.Background()) }()
	s := w.next()
	if s.expires() != 0 || s.CSeq().SeqNo != 2 || s.header("Contact") != "<sip:4312@192.0.2.1:5060;transport=udp>" {
		t.Fatalf("got %s", s.Request)
	}
	s.reply(401, challenge(d, "WWW-Authenticate", false)...)
	s = w.next()
	if r := judge(s, d, "Authorization"); s.expires() != 0 || r != digest.OK {
		t.Fatalf("%s for %s", r, s.Request)
	}
	s.reply(200)
	if err := await(t, closed, "Close"); err != nil {
		t.Error(err)
	}
	if got := w.shown(); got != "not registered: withdrawn" {
		t.Errorf("shown: %s", got)
	}
	w.r.Update(w.table)
	w.quiet()
	if err := w.r.Close(context.Background()); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

func TestCloseWithdrawsABindingWhoseAnswerIsStillOut(t *testing.T) {
	w := newWorld(t, nil)
	first := w.next()
	go w.r.Close(context.Background())
	if s := w.next(); s.expires() != 0 || s.way.Dest != first.way.Dest {
		t.Errorf("got %s", s.Request)
	}
	await(t, first.end, "the end of the first request")
}

func TestCloseDoesNotWaitForADeadRegistrar(t *testing.T) {
	w := newWorld(t, nil)
	w.next().reply(200, ours+"600")
	w.wait(300 * time.Second)
	ctx, stop := context.WithCancel(context.Background())
	closed := make(chan error, 1)
	go func() { closed <- w.r.Close(ctx) }()
	s := w.next()
	stop()
	if err := await(t, closed, "Close"); err == nil || !strings.Contains(err.Error(), "before every registrar had answered") {
		t.Errorf("got %v", err)
	}
	await(t, s.end, "the end of the farewell")
}

func TestReloadLeavesABindingAloneThatStaysTheSame(t *testing.T) {
	w := newWorld(t, nil)
	w.next().reply(200, ours+"600")
	p := w.wait(300 * time.Second)
	w.table = w.trunks(w.config(func(tr *config.Trunk) { tr.MaxCalls = 7 }))
	w.r.Update(w.table)
	if got := w.shown(); !strings.HasPrefix(got, "registered until ") {
		t.Errorf("the new trunk shows: %s", got)
	}
	w.quiet()
	w.pass(p)
	if s := w.next(); s.CSeq().SeqNo != 2 {
		t.Errorf("got %s", s.Request)
	}
}

func TestReloadWithAnotherPasswordRegistersAnewAndWithdrawsNothing(t *testing.T) {
	w := newWorld(t, nil)
	first := w.next()
	first.reply(403)
	w.wait(refusedWait)
	w.r.Update(w.trunks(w.config(func(tr *config.Trunk) { tr.Auth.Password = "better" })))
	s := w.next()
	if s.expires() != 3600 || s.CallID().Value() != first.CallID().Value() || s.CSeq().SeqNo != 2 {
		t.Errorf("got %s", s.Request)
	}
}

func TestReloadToAnotherAddressOfRecordWithdrawsTheOldOneFirst(t *testing.T) {
	w := newWorld(t, nil)
	first := w.next()
	first.reply(200, ours+"600")
	w.wait(300 * time.Second)
	w.r.Update(w.trunks(w.config(func(tr *config.Trunk) { tr.Register.User = "4313" })))
	bye := w.next()
	if bye.expires() != 0 || bye.To().Address.User != "4312" {
		t.Fatalf("got %s", bye.Request)
	}
	w.quiet()
	bye.reply(200)
	s := w.next()
	if s.expires() != 3600 || s.To().Address.User != "4313" || s.CallID().Value() == first.CallID().Value() || s.CSeq().SeqNo != 1 {
		t.Errorf("got %s", s.Request)
	}
}

func TestReloadWithoutTheTrunkWithdrawsItsBinding(t *testing.T) {
	w := newWorld(t, nil)
	w.next().reply(200, ours+"600")
	w.wait(300 * time.Second)
	w.r.Update(w.trunks(w.config(func(tr *config.Trunk) { tr.Register = nil })))
	if s := w.next(); s.expires() != 0 {
		t.Errorf("got %s", s.Request)
	}
	if list := w.r.Status(); len(list) != 0 {
		t.Errorf("status %v", list)
	}
}
