package b2bua

import "testing"

func TestWhatFindsNoRoomIsAnswered(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	c := w.b.all()[0]
	busy, held := make(chan struct{}), make(chan struct{})
	c.postOwn(func() { close(busy); <-held })
	<-busy // nothing that came before waits any more
	const most = 2 * mailboxSize
	for range most {
		k.a.other("OPTIONS", "")
	}
	eventually(t, "the mailbox is full", func() bool { return w.caller.had("500 OPTIONS") > 0 })
	k.b.other("BYE", "")
	eventually(t, "the BYE found room", func() bool { return c.box.len() > mailboxSize-ownShare })
	for _, m := range w.caller.seen {
		if m.is("500 OPTIONS") && m.get("Retry-After") == "" {
			t.Fatalf("when to come again is not said:\n%s", m.raw)
		}
	}
	close(held)
	w.gw1.next("200 BYE")
	w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
	eventually(t, "every OPTIONS is answered", func() bool { return w.caller.had("500 OPTIONS")+w.caller.had("200 OPTIONS") == most })
	w.gone()
}
