package phone

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// following lets a phone do what REFERs ask; the new calls come by the channel.
func following(p *Phone) <-chan *Call {
	calls := make(chan *Call, 1)
	p.OnTransfer(func(_, next *Call) { calls <- next })
	return calls
}

func TestABlindTransferJoinsTheFarEndWithTheTarget(t *testing.T) {
	for _, o := range []Options{{}, {Transport: "tls", TLS: identity(t), SRTP: "AES_CM_128_HMAC_SHA1_80"}} {
		a, b, c := open(t, o), open(t, o), open(t, o)
		near, far := connect(t, a, b)
		converse(t, near, far, 5)
		moved, taken := following(b), answering(t, c)
		if err := near.Transfer(patient(t), "+49777", c.Address()); err != nil {
			t.Fatal(err)
		}
		next, third := <-moved, <-taken
		converse(t, next, third, 5)
		if next.Number != "+49777" || third.Number != "+49777" {
			t.Errorf("a call to %s, taken as one to %s", next.Number, third.Number)
		}
		if err := near.Hangup(patient(t)); err != nil {
			t.Error(err)
		}
		<-far.Done()
		converse(t, next, third, 5)
	}
}

func TestATransferThatFailsLeavesTheCallAsItWas(t *testing.T) {
	a, b, c := open(t, Options{}), open(t, Options{}), open(t, Options{})
	near, far := connect(t, a, b)
	err := near.Transfer(patient(t), "1", c.Address())
	if r, ok := errors.AsType[*Refused](err); !ok || r.Method != "REFER" || r.Code != 603 {
		t.Errorf("by a phone that follows none: %v", err)
	}
	following(b)
	c.OnCall(func(in *Incoming) { in.Reject(486) })
	err = near.Transfer(patient(t), "1", c.Address())
	if r, ok := errors.AsType[*Refused](err); !ok || r.Method != "INVITE" || r.Code != 486 {
		t.Errorf("to a phone that is busy: %v", err)
	}
	converse(t, near, far, 5)
}

func TestAnAttendedTransferTakesThePlaceOfTheOtherCall(t *testing.T) {
	a, b, c := open(t, Options{}), open(t, Options{}), open(t, Options{})
	first, far := connect(t, a, b)
	asked, old := connect(t, a, c)
	moved, taken := following(b), make(chan *Call, 1)
	c.OnCall(func(in *Incoming) {
		if in.Replaces != old {
			t.Error("the target does not know which call is replaced")
		}
		call, err := in.Answer()
		if err != nil {
			t.Error(err)
		}
		taken <- call
	})
	if err := first.TransferTo(patient(t), asked); err != nil {
		t.Fatal(err)
	}
	<-asked.Done()
	<-old.Done()
	converse(t, <-moved, <-taken, 5)
	if err := first.Hangup(patient(t)); err != nil {
		t.Error(err)
	}
	<-far.Done()
}

func TestOnlyACallThatIsThereIsReplaced(t *testing.T) {
	a, b := open(t, Options{}), open(t, Options{})
	call, there := connect(t, a, b)
	b.OnCall(func(*Incoming) { t.Error("an INVITE that replaces nothing rang") })
	right := replaced{callID: there.ID(), toTag: there.d.id.tag, fromTag: call.d.id.tag}
	stranger, forged := right, right
	stranger.callID, forged.fromTag = "nobody", "guessed"
	value := func(r replaced) string { return unescaped(r.escaped()) }
	for _, tt := range []struct {
		name  string
		lines []string
		code  int
	}{
		{"no such call", []string{value(stranger)}, 481},
		{"the tag of somebody else", []string{value(forged)}, 481},
		{"an answered one, early only", []string{value(right) + ";early-only"}, 486},
		{"two at once", []string{value(right), value(right)}, 400},
		{"without tags", []string{there.ID()}, 400},
	} {
		var extra []sip.Header
		for _, l := range tt.lines {
			extra = append(extra, sip.NewHeader("Replaces", l))
		}
		_, err := a.call(patient(t), "1", b.Address(), extra...)
		if r, ok := errors.AsType[*Refused](err); !ok || r.Code != tt.code {
			t.Errorf("%s: want %d, have %v", tt.name, tt.code, err)
		}
	}
	converse(t, call, there, 5)
}

func TestAReferThatCannotBeReadIsRefused(t *testing.T) {
	a, b := open(t, Options{}), open(t, Options{})
	call, _ := connect(t, a, b)
	following(b)
	for _, to := range []string{"<tel:+491>", "<sip:127.0.0.1>", "<", "<sip:1@127.0.0.1>, <sip:2@127.0.0.1"} {
		err := call.refer(patient(t), to)
		if r, ok := errors.AsType[*Refused](err); !ok || r.Code != 400 {
			t.Errorf("Refer-To: %s: %v", to, err)
		}
	}
}

// subscriber is a call to the wire, whose REFER was accepted. told is what Transfer returns.
func subscriber(t *testing.T) (w *wire, to netip.AddrPort, invite string, told <-chan error) {
	w, p := openWire(t), open(t, Options{})
	done := make(chan error, 1)
	go func() {
		c, err := p.Call(t.Context(), "1", w.address())
		if err == nil {
			err = c.Transfer(patient(t), "2", w.address())
		}
		done <- err
	}()
	invite, to = w.expect("INVITE ")
	w.send(answer(invite, "200 OK", w.address().String(), plainSDP), to)
	refer, _ := w.expect("REFER ")
	w.send(answer(refer, "202 Accepted", w.address().String(), ""), to)
	return w, to, invite, done
}

// inside is a request of the wire in the dialog of an INVITE that it answered.
func inside(w *wire, invite, method, seq, extra, body string) string {
	swap := func(name, as string) string { return strings.Replace(header(invite, name), name, as, 1) }
	return method + " sip:phone@127.0.0.1 SIP/2.0\nVia: SIP/2.0/UDP " + w.address().String() + ";branch=z9hG4bK" + method + seq + "\n" +
		swap("To", "From") + ";tag=wire\n" + swap("From", "To") + "\n" + header(invite, "Call-ID") + "\nCSeq: " + seq + " " + method +
		"\nMax-Forwards: 70\n" + extra + "\n" + body
}

func TestTheLastNotifyMayComeAfterTheBye(t *testing.T) {
	w, to, invite, told := subscriber(t)
	w.send(inside(w, invite, "BYE", "1", "", ""), to)
	w.expect("SIP/2.0 200 ")
	w.send(inside(w, invite, "NOTIFY", "2", "Event: refer\nSubscription-State: terminated\n", "SIP/2.0 200 OK\n"), to)
	w.expect("SIP/2.0 200 ")
	if err := <-told; err != nil {
		t.Error(err)
	}
}

func TestANotifyIsOfTheTransferOrRefused(t *testing.T) {
	w, to, invite, told := subscriber(t)
	for seq, tt := range map[string]struct{ event, body, status string }{
		"1": {"Event: presence\n", "SIP/2.0 200 OK\n", "481"},
		"2": {"Event: refer\n", "no status\n", "400"},
		"3": {"Event: refer\n", "SIP/2.0 99 Low\n", "400"},
		"4": {"Event: refer;id=1\nSubscription-State: active\n", "SIP/2.0 180 Ringing\n", "200"},
	} {
		w.send(inside(w, invite, "NOTIFY", seq, tt.event, tt.body), to)
		w.expect("SIP/2.0 " + tt.status + " ")
	}
	w.send(inside(w, invite, "NOTIFY", "5", "Event: refer\nSubscription-State: terminated;reason=giveup\n", "SIP/2.0 100 Trying\n"), to)
	if err := <-told; err == nil || !strings.Contains(err.Error(), "no end") {
		t.Errorf("a subscription that ended without a result: %v", err)
	}
}

func TestChangesOfTheFarEndAreSeen(t *testing.T) {
	a, b := connect(t, open(t, Options{}), open(t, Options{}))
	for n := range uint64(2) {
		if err := a.Resume(patient(t)); err != nil {
			t.Fatal(err)
		}
		if err := b.Changed(patient(t), n+1); err != nil {
			t.Error(err)
		}
	}
	if err := a.Hangup(patient(t)); err != nil {
		t.Error(err)
	}
	<-b.Done()
	if err := b.Changed(patient(t), 3); !errors.Is(err, ErrEnded) {
		t.Errorf("of a call that is over: %v", err)
	}
}

func TestWhoMeetsAnotherSaysAndHearsAnotherVoice(t *testing.T) {
	a, b := connect(t, open(t, Options{}), open(t, Options{}))
	a.Meet("+1", false)
	b.Meet("+1", true)
	converse(t, a, b, 5)
	a.Meet("+2", true) // b still talks as of +1
	if err := b.Talk(t.Context(), frameTime); err != nil {
		t.Fatal(err)
	}
	if err := a.Talk(t.Context(), frameTime); err != nil {
		t.Fatal(err)
	}
	if err := a.Hangup(patient(t)); err != nil {
		t.Error(err)
	}
	if r := a.Report(); r.Received != 5 {
		t.Errorf("audio of another call is heard: %+v", r)
	}
}
