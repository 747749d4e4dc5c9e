package b2bua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/guard"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// paperStack is a SIP stack that keeps what it is given to send. It has no sockets, so that a whole call fits into a
// bubble with a clock of its own.
type paperStack struct {
	mu   sync.Mutex
	sent []*paperTx
	acks int
}

type paperTx struct {
	req   *sip.Request
	on    guard.ClientHandler
	final bool
}

func (s *paperStack) Request(_ context.Context, req *sip.Request, _ guard.Egress, on guard.ClientHandler) (guard.ClientTx, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := &paperTx{req: req, on: on}
	s.sent = append(s.sent, tx)
	return tx, nil
}

func (s *paperStack) Ack(*sip.Request, guard.Egress) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks++
	return nil
}

func (s *paperStack) Contact(string) string { return "192.0.2.1:5060" }

func (*paperTx) Cancel(...sip.Header) error { return nil }
func (*paperTx) Terminate()                 {}
func (*paperTx) Done() <-chan struct{}      { return nil }
func (*paperTx) Err() error                 { return nil }

// at is the n-th request that was sent, modulo their number; nil without any.
func (s *paperStack) at(n int) *paperTx {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sent) == 0 {
		return nil
	}
	return s.sent[n%len(s.sent)]
}

// end lets every transaction without a final response time out.
func (s *paperStack) end() {
	s.mu.Lock()
	list := slices.Clone(s.sent)
	s.mu.Unlock()
	for _, tx := range list {
		if !tx.final {
			tx.final = true
			tx.on(nil, guard.ErrTimeout)
		}
	}
}

// paper is a B2BUA between two trunks without a network.
type paper struct {
	b       *B2BUA
	stack   *paperStack
	relay   *fakeRelay
	invites []*guard.Inbound // that made calls
	calls   []*call
	seq     uint32
}

func newPaper(t *testing.T, change ...func(*config.Config)) *paper {
	p := &paper{stack: &paperStack{}, relay: newFakeRelay(), seq: 1}
	listener := config.Listener{Transport: "udp", Address: netip.MustParseAddrPort("192.0.2.1:5060")}
	tr := func(peer string) config.Trunk {
		return config.Trunk{Listener: "l", Peer: peer, Network: "n", SRTP: config.SRTPOff, Options: config.Options{Off: true},
			Sources: []netip.Prefix{netip.MustParsePrefix(peer + "/32")}}
	}
	cfg := &config.Config{Node: "n", SIP: config.SIP{
		Listeners: map[string]config.Listener{"l": listener},
		Trunks:    map[string]config.Trunk{"a": tr("192.0.2.10"), "b1": tr("192.0.2.20"), "b2": tr("192.0.2.30")},
		Routes:    []config.Route{{Name: "r", From: []string{"a"}, To: []string{"b1", "b2"}}},
	}}
	for _, f := range change {
		f(cfg)
	}
	trunks, err := trunk.New(&cfg.SIP, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.b, err = New(Options{Config: cfg, Stack: p.stack, Relay: p.relay, Trunks: trunks, Routes: route.New(cfg.SIP.Routes),
		Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// invite starts a call.
func (p *paper) invite(n int) {
	if len(p.calls) >= 4 {
		return
	}
	in := p.inbound(sip.INVITE, "192.0.2.10", fmt.Sprintf("call%d", n), "from", "", 1)
	in.Req.SetBody([]byte(sdpOf("192.0.2.10", 5000, "")))
	before := p.b.all()
	p.b.Handle(in)
	for _, c := range p.b.all() {
		if !slices.Contains(before, c) {
			p.calls, p.invites = append(p.calls, c), append(p.invites, in)
		}
	}
}

// inbound is a request as the stack hands it over. Nobody reads the answers: without a transaction they go nowhere.
func (p *paper) inbound(method sip.RequestMethod, source, id, from, to string, seq uint32) *guard.Inbound {
	req := sip.NewRequest(method, sip.Uri{Scheme: "sip", User: "1", Host: "192.0.2.1"})
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: "UDP", Host: source}
	via.Params.Add("branch", "z9hG4bK"+id)
	f := &sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: "a", Host: "x"}}
	f.Params.Add("tag", from)
	h := &sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: "b", Host: "y"}}
	if to != "" {
		h.Params.Add("tag", to)
	}
	callID, ct := sip.CallIDHeader(id), sip.ContentTypeHeader(contentSDP)
	contact := &sip.ContactHeader{Address: sip.Uri{Scheme: "sip", Host: source}}
	for _, h := range []sip.Header{via, f, h, &callID, &sip.CSeqHeader{SeqNo: seq, MethodName: method}, &ct, contact} {
		req.AppendHeader(h)
	}
	return &guard.Inbound{Req: req, Listener: "l", Transport: "udp", Source: netip.MustParseAddrPort(source + ":5060")}
}

// fromCaller is a request inside the A leg of the n-th call, fromCallee inside the B leg of whoever answered.
func (p *paper) fromCaller(n int, method sip.RequestMethod, body string) {
	if len(p.calls) == 0 {
		return
	}
	n %= len(p.calls)
	in := p.inbound(method, "192.0.2.10", callID(p.invites[n].Req), "from", p.calls[n].id, p.next(method))
	in.Req.SetBody([]byte(body))
	p.b.Handle(in)
}

func (p *paper) fromCallee(n int, method sip.RequestMethod, body string) {
	tx := p.stack.at(n)
	if tx == nil {
		return
	}
	in := p.inbound(method, "192.0.2.20", callID(tx.req), "callee", fromTag(tx.req), p.next(method))
	in.Req.SetBody([]byte(body))
	p.b.Handle(in)
}

func (p *paper) next(method sip.RequestMethod) uint32 {
	if method != sip.ACK {
		p.seq++
	}
	return p.seq
}

// cancel is a CANCEL of the n-th call's INVITE; met says that the stack matched and answered it.
func (p *paper) cancel(n int, met bool) {
	id := fmt.Sprintf("call%d", n)
	in := p.inbound(sip.CANCEL, "192.0.2.10", id, "from", "", 1)
	if met && len(p.calls) > 0 {
		n %= len(p.calls)
		in.Invite = p.inbound(sip.INVITE, "192.0.2.10", id, "from", p.calls[n].id, 1)
	}
	p.b.Handle(in)
}

// answer is a response to the n-th request that was sent.
func (p *paper) answer(n, code int, tag string, withSDP bool) {
	tx := p.stack.at(n)
	if tx == nil || tx.final && (code < 200 || code >= 300 || !tx.req.IsInvite()) {
		return
	}
	tx.final = tx.final || code >= 200
	res := sip.NewResponseFromRequest(tx.req, code, "", nil)
	res.To().Params.Add("tag", tag)
	res.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Scheme: "sip", Host: "192.0.2.20"}})
	if withSDP {
		setSDP(res, []byte(sdpOf("198.51.100.20", 6000, "")))
	}
	tx.on(res, nil)
}

// step does what one byte of a fuzzer says to call or request number n.
func (p *paper) step(op byte, n int) {
	hold := sdpOf("192.0.2.10", 5000, "a=sendonly\r\n")
	switch op % 24 {
	case 0, 1:
		p.invite(n)
	case 2:
		p.cancel(n, true)
	case 3:
		p.cancel(n, false)
	case 4:
		p.fromCaller(n, sip.ACK, "")
	case 5:
		p.seq = 1 // the ACK of the first INVITE
		p.fromCaller(n, sip.ACK, "")
		p.seq = 1000 + uint32(n)
	case 6:
		p.fromCaller(n, sip.BYE, "")
	case 7:
		p.fromCallee(n, sip.BYE, "")
	case 8:
		p.fromCaller(n, sip.INVITE, hold)
	case 9:
		p.fromCallee(n, sip.INVITE, hold)
	case 10:
		p.fromCaller(n, sip.INVITE, sdpOf("192.0.2.99", 5000, ""))
	case 11:
		p.fromCallee(n, sip.ACK, "")
	case 12, 13, 14, 15:
		p.answer(n, []int{100, 180, 183, 183}[op%4], "callee", op%4 == 3)
	case 16, 17:
		p.answer(n, 200, "callee", true)
	case 18:
		p.answer(n, 200, "fork", n%2 == 0)
	case 19:
		p.answer(n, []int{302, 401, 408, 481, 486, 487, 488, 491, 500, 503, 603}[n%11], "callee", false)
	case 20:
		time.Sleep(time.Duration(n+1) * 150 * time.Millisecond) // of the bubble's clock
	case 21:
		p.event(n)
	case 22:
		p.relay.failing(nil)
		if n%2 == 0 {
			p.relay.failing(func(string, string) error { return errTest })
		}
	case 23:
		if tx := p.stack.at(n); tx != nil && !tx.final {
			tx.final = true
			tx.on(nil, guard.ErrTransport)
		}
	}
}

// event is one of the relay's, or of the operator.
func (p *paper) event(n int) {
	switch n % 4 {
	case 0:
		p.relay.mu.Lock()
		ids := slices.Clone(p.relay.opens)
		p.relay.mu.Unlock()
		for _, o := range ids {
			p.b.MediaEvent(control.EventTimeout, control.Event{Session: o.ID})
		}
	case 1:
		p.relay.forget()
		p.b.RelayUp(control.HelloResult{Boot: fmt.Sprint(n)})
	case 2:
		p.b.RelayUp(control.HelloResult{Boot: "same"})
	case 3:
		p.b.Drain(n%8 == 3)
	}
}

// over ends everything and says what is left.
func (p *paper) over(t *testing.T) {
	p.relay.failing(nil)
	done := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	go func() { done <- p.b.Close(ctx) }()
	for {
		synctest.Wait()
		p.stack.end()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatalf("close: %v", err)
			}
			if s := p.b.Stats(); s.Active != 0 || s.Table != 0 || s.Dialogs != 0 || s.Drops[DropPanic] != 0 {
				t.Fatalf("left behind: %+v", s)
			}
			return
		default:
			time.Sleep(time.Second)
		}
	}
}

// FuzzDialogOrder plays requests, responses, timers and events in any order. Nothing may panic, and afterwards no call, no
// dialog, no place of a trunk and no session of the relay may be left.
func FuzzDialogOrder(f *testing.F) {
	f.Add([]byte{0, 0, 13, 0, 16, 0, 5, 0, 6, 0})             // a call
	f.Add([]byte{3, 0, 0, 0})                                 // CANCEL before INVITE
	f.Add([]byte{0, 0, 13, 0, 2, 0, 16, 0})                   // CANCEL crossing 200
	f.Add([]byte{0, 0, 16, 0, 6, 0, 5, 0})                    // BYE before ACK
	f.Add([]byte{0, 0, 16, 0, 5, 0, 8, 0, 9, 0, 19, 7})       // glare
	f.Add([]byte{0, 0, 16, 0, 5, 0, 8, 0, 16, 1, 7, 0})       // hold, BYE of the callee
	f.Add([]byte{0, 0, 19, 9, 16, 1, 18, 1, 20, 255})         // failover, fork, no ACK
	f.Add([]byte{0, 0, 22, 0, 16, 0, 22, 1, 0, 1, 21, 1})     // the relay comes and goes
	f.Add([]byte{0, 0, 15, 0, 23, 0, 17, 1, 5, 0, 10, 0})     // early media, transport failure
	f.Add([]byte{0, 0, 0, 1, 16, 0, 16, 1, 21, 0, 21, 2, 21}) // media timeout
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 200 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(t)
			for i := 0; i+1 < len(script); i += 2 {
				p.step(script[i], int(script[i+1]))
				synctest.Wait()
			}
			p.over(t)
			for _, tr := range p.b.o.Trunks.All() {
				if tr.Active() != 0 {
					t.Fatalf("trunk %s: %d places taken", tr.Name, tr.Active())
				}
			}
			if _, _, open := p.relay.counts(); open != 0 {
				t.Fatalf("%d sessions of the relay left open", open)
			}
		})
	})
}

func TestMailboxOfABusyCallDropsAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		p.invite(0)
		synctest.Wait()
		c := p.calls[0]
		held := make(chan struct{})
		c.postOwn(func() { <-held })
		synctest.Wait()
		for range 2 * mailboxSize {
			p.fromCaller(0, sip.OPTIONS, "")
		}
		if n := p.b.Stats().Drops[DropMailbox]; n != 2*mailboxSize-(mailboxSize-ownShare) {
			t.Errorf("%d dropped", n)
		}
		if !c.postOwn(func() {}) {
			t.Error("no room was left for our own answers")
		}
		close(held)
		synctest.Wait()
		p.over(t)
	})
}
