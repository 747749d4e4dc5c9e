package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"weak"

	"github.com/emiago/sipgo/sip"
)

// An INVITE transaction lives for 32 s, thousands of them at a time: what it holds in that time is what a call costs.
func TestTrap7AnsweredInviteIsReleasedWhileItsTransactionLives(t *testing.T) {
	got := make(chan weak.Pointer[sip.Request], 1)
	s := serve(t, Options{Listeners: udpOnly(), Handler: func(in *Inbound) {
		if in.Req.IsInvite() {
			held := weak.Make(in.Req)
			in.Reply(486, "Busy Here")
			got <- held
		} else if in.Tx != nil {
			in.Reply(200, "OK")
		}
	}})
	p := dialPeer(t, s.Address("u"))
	body := strings.Repeat("a=x\r\n", 1000)
	p.send(strings.Replace(message("INVITE", "z9hG4bKtrap7", p.addr(), "Content-Length", fmt.Sprint(len(body))), "\r\n\r\n", "\r\n\r\n"+body, 1))
	held := await(t, got, "the INVITE")
	until(t, "the INVITE and its body are released", func() bool {
		p.send(message("OPTIONS", "z9hG4bKnext", p.addr())) // whoever read the INVITE has read something else now
		runtime.GC()
		return held.Value() == nil
	})
	if s.servers.count() == 0 {
		t.Fatal("the transaction is over: nothing was proved")
	}
}

func TestTrap7AnsweredRequestOfOursIsReleasedWhileItsTransactionLives(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	held := func() weak.Pointer[sip.Request] {
		req := request("INVITE", "trap7")
		req.SetBody([]byte(strings.Repeat("a=x\r\n", 1000)))
		if _, err := s.Request(context.Background(), req, Egress{Listener: "u", Dest: p.addr()}, on); err != nil {
			t.Fatal(err)
		}
		return weak.Make(req)
	}()
	p.send(answer(p.recv(), "486 Busy Here", "p"))
	await(t, got, "the 486")
	until(t, "the INVITE is released", func() bool {
		runtime.GC()
		return held.Value() == nil
	})
	if s.clients.count() == 0 {
		t.Fatal("the transaction is over: nothing was proved")
	}
}

func TestTrap8ManyProvisionalResponsesEndNothing(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	got, on := events()
	_, invite := p.invited(s, "trap8", on)
	const many = 40
	for range many {
		p.send(answer(invite, "183 Session Progress", "p"))
	}
	p.send(answer(invite, "200 OK", "p"))
	for i := range many + 1 {
		e := await(t, got, "a response")
		if want := map[bool]int{true: 200, false: 183}[i == many]; e.res == nil || e.res.StatusCode != want {
			t.Fatalf("response %d: %v %v, want %d", i, e.res, e.err, want)
		}
	}
}

// What a request names is nobody's business here: it goes to the address that it is given for.
func TestTrap12NothingIsAskedOfDNS(t *testing.T) {
	var asked atomic.Int64
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		asked.Add(1)
		return nil, errors.New("no DNS in this test")
	}}
	defer func() { net.DefaultResolver = before }()
	got, on := inbox()
	s := serve(t, Options{Listeners: udpOnly(), Handler: on})
	p := dialPeer(t, s.Address("u"))
	req := request("OPTIONS", "trap12")
	req.Recipient.Host = "nobody.invalid"
	req.AppendHeader(sip.NewHeader("Route", "<sip:route.invalid;lr>"))
	answers, onAnswer := events()
	if _, err := s.Request(context.Background(), req, Egress{Listener: "u", Dest: p.addr()}, onAnswer); err != nil {
		t.Fatal(err)
	}
	p.send(answer(p.recv(), "200 OK", "p"))
	await(t, answers, "the answer")
	p.send(message("OPTIONS", "z9hG4bKtrap12", p.addr(), "Via", "SIP/2.0/UDP via.invalid;rport;branch=z9hG4bKtrap12", "Contact", "<sip:contact.invalid>"))
	await(t, got, "a request").Reply(200, "OK")
	p.recv()
	if n := asked.Load(); n != 0 {
		t.Fatalf("DNS was asked %d times", n)
	}
}
