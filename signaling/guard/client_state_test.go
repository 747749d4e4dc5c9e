package guard

import (
	"net/netip"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// idle is a stack with a UDP and a TCP listener that nobody speaks to.
func idle(t testing.TB) *Stack {
	t.Helper()
	listeners := append(udpOnly(), tcpOnly()...)
	for i := range listeners {
		listeners[i].Addr = netip.MustParseAddrPort("127.0.0.1:0")
	}
	s, err := Open(t.Context(), Options{Listeners: listeners, Handler: func(*Inbound) {}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// fresh is a transaction whose request was just sent, by UDP or TCP, and whose timers are far away.
func fresh(t *testing.T, s *Stack, method sip.RequestMethod, udp bool) *clientTx {
	t.Helper()
	l := s.listeners["t"]
	if udp {
		l = s.listeners["u"]
	}
	c := &clientTx{l: l, key: clientKey{method: method}, flight: &flight{raw: []byte("request")}}
	c.begin()
	t.Cleanup(c.Terminate)
	return c
}

func TestEveryResponseHasItsPlaceInTheClientTransaction(t *testing.T) {
	s := idle(t)
	const nothing, deliver, acknowledge, again, end = "", "deliver ", "acknowledge ", "again ", "end "
	for name, c := range map[string]struct {
		method sip.RequestMethod
		udp    bool
		codes  []int
		want   []string
	}{
		"a call":                         {sip.INVITE, true, []int{100, 180, 200}, []string{deliver, deliver, deliver}},
		"a repeated 2xx, and a fork's":   {sip.INVITE, true, []int{200, 200, 202}, []string{deliver, deliver, deliver}},
		"a failure after the 2xx":        {sip.INVITE, true, []int{200, 486, 180}, []string{deliver, nothing, nothing}},
		"a failure, repeated":            {sip.INVITE, true, []int{486, 486, 180, 486}, []string{deliver + acknowledge, again, nothing, again}},
		"a 2xx after the failure":        {sip.INVITE, true, []int{486, 200}, []string{deliver + acknowledge, again}},
		"a failure on a stream":          {sip.INVITE, false, []int{180, 486}, []string{deliver, deliver + acknowledge + end}},
		"a BYE":                          {sip.BYE, true, []int{200}, []string{deliver + end}},
		"a BYE that takes a while":       {sip.BYE, true, []int{100, 100, 481}, []string{deliver, deliver, deliver + end}},
		"a BYE on a stream, answered ok": {sip.BYE, false, []int{200}, []string{deliver + end}},
	} {
		t.Run(name, func(t *testing.T) {
			tx := fresh(t, s, c.method, c.udp)
			for i, code := range c.codes {
				got := describe(tx.advance(code))
				if got != c.want[i] {
					t.Fatalf("response %d, a %d: %q, want %q", i, code, got, c.want[i])
				}
			}
		})
	}
}

func describe(s step) (text string) {
	for _, part := range []struct {
		is   bool
		name string
	}{{s.deliver, "deliver "}, {s.acknowledge, "acknowledge "}, {s.again, "again "}, {s.end, "end "}} {
		if part.is {
			text += part.name
		}
	}
	return text
}

func TestARequestIsRepeatedAsItsMethodDemands(t *testing.T) {
	s := idle(t)
	t1, t2 := sip.T1, sip.T2
	for name, c := range map[string]struct {
		method  sip.RequestMethod
		answers []int
		want    []time.Duration
	}{
		"an INVITE doubles":                   {sip.INVITE, nil, []time.Duration{2 * t1, 4 * t1, 8 * t1, 16 * t1, 32 * t1}},
		"any other doubles up to T2":          {sip.BYE, nil, []time.Duration{2 * t1, 4 * t1, 8 * t1, t2, t2}},
		"any other that was heard waits a T2": {sip.BYE, []int{100}, []time.Duration{t2, t2}},
	} {
		t.Run(name, func(t *testing.T) {
			tx := fresh(t, s, c.method, true)
			for _, code := range c.answers {
				tx.advance(code)
			}
			for i, want := range c.want {
				if tx.lengthen(); tx.flight.interval != want {
					t.Fatalf("interval %d: %s, want %s", i, tx.flight.interval, want)
				}
			}
		})
	}
}

// FuzzClientTransaction takes any order of responses: nothing follows an end, one failure is acknowledged once, and no failure
// follows a 2xx.
func FuzzClientTransaction(f *testing.F) {
	for _, seed := range [][]byte{{0, 1, 2}, {2, 2, 4}, {4, 4, 2, 1}, {1, 5, 0}} {
		f.Add(true, true, seed)
		f.Add(false, false, seed)
	}
	s := idle(f)
	codes := []int{100, 180, 200, 302, 486, 603}
	f.Fuzz(func(t *testing.T, invite, udp bool, order []byte) {
		method := sip.BYE
		if invite {
			method = sip.INVITE
		}
		tx := fresh(t, s, method, udp)
		over, acknowledged, won := false, 0, false
		for _, at := range order {
			code := codes[int(at)%len(codes)]
			next := tx.advance(code)
			if over && next != (step{}) {
				t.Fatalf("a %d after the end: %+v", code, next)
			}
			if next.acknowledge {
				acknowledged++
			}
			if acknowledged > 1 || next.acknowledge && !invite || won && code >= 300 && next.deliver {
				t.Fatalf("a %d: %+v", code, next)
			}
			won = won || next.deliver && success(code)
			if over = over || next.end; next.end {
				tx.end(nil)
			}
		}
	})
}

func TestWhatFollowsAnInviteRepeatsItsBytes(t *testing.T) {
	l := idle(t).listeners["u"]
	req := request(sip.INVITE, "followed")
	req.Recipient = sip.Uri{Scheme: "sip", User: "b", Host: "example.net", UriParams: sip.HeaderParams{{K: "x"}}}
	req.From().DisplayName = `A \"B\" <c>`
	req.From().Params.Add("odd", "x y")
	for _, host := range []string{"192.0.2.1", "192.0.2.2"} {
		req.AppendHeader(&sip.RouteHeader{Address: sip.Uri{Scheme: "sip", Host: host, UriParams: sip.HeaderParams{{K: "lr"}}}})
	}
	req.AppendHeader(sip.NewHeader("Subject", "To: somebody"))
	req.SetBody([]byte("From: the body\r\n"))
	invite, err := l.encodeRequest(req, "z9hG4bKfollowed")
	if err != nil {
		t.Fatal(err)
	}
	to := &sip.ToHeader{Address: sip.Uri{Scheme: "sip", Host: "else"}, Params: sip.HeaderParams{{K: "tag", V: "theirs"}}}
	const head = " sip:b@example.net;x SIP/2.0\r\n"
	const from = "From: \"A \\\"B\\\" <c>\" <sip:alice@example.com>;tag=ours;odd=\"x y\"\r\n"
	const routes = "Route: <sip:192.0.2.1;lr>\r\nRoute: <sip:192.0.2.2;lr>\r\n"
	via := "Via: SIP/2.0/UDP " + l.stack.Contact("u") + ";rport;branch=z9hG4bKfollowed\r\n"
	for _, c := range []struct {
		method sip.RequestMethod
		to     *sip.ToHeader
		extra  []sip.Header
		want   string
	}{
		{sip.ACK, to, nil, via + from + "To: <sip:else>;tag=theirs\r\nCall-ID: followed\r\nCSeq: 1 ACK\r\n" + routes + "Max-Forwards: 70\r\n"},
		{sip.CANCEL, nil, []sip.Header{sip.NewHeader("Reason", "Q.850;cause=16")},
			via + from + "To: <sip:bob@example.net>\r\nCall-ID: followed\r\nCSeq: 1 CANCEL\r\n" + routes + "Max-Forwards: 70\r\nReason: Q.850;cause=16\r\n"},
	} {
		want := string(c.method) + head + c.want + "Content-Length: 0\r\n\r\n"
		if got, err := follow(invite, c.method, c.to, c.extra); err != nil || string(got) != want {
			t.Errorf("%s: %v, %q\nwant %q", c.method, err, got, want)
		}
	}
	if _, err := follow(invite, sip.CANCEL, nil, []sip.Header{sip.NewHeader("Reason", "x\r\nVia: y")}); err == nil {
		t.Error("a CANCEL with an injection was built")
	}
}
