package b2bua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
	"tandem/signaling/trunk/names"
)

// paperStack is a SIP stack that keeps what it is given to send. It has no sockets, so that a whole call fits into a
// bubble with a clock of its own.
type paperStack struct {
	mu   sync.Mutex
	sent []*paperTx
	acks int
}

type paperTx struct {
	req       *sip.Request
	to        guard.Egress
	on        guard.ClientHandler
	final     bool
	cancelled atomic.Bool
}

func (s *paperStack) Request(_ context.Context, req *sip.Request, to guard.Egress, on guard.ClientHandler) (guard.ClientTx, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tx := &paperTx{req: req.Clone(), to: to, on: on}
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

func (tx *paperTx) Cancel(...sip.Header) error { tx.cancelled.Store(true); return nil }
func (*paperTx) Terminate()                    {}
func (*paperTx) Done() <-chan struct{}         { return nil }
func (*paperTx) Err() error                    { return nil }

// count is how many requests were sent.
func (s *paperStack) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent)
}

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

// paperNames is a DNS of A records alone: a pool has as many addresses as its name says.
type paperNames struct{}

const poolName = "pool%d.example.net"

func (paperNames) Services(context.Context, string) ([]names.Service, time.Duration, error) {
	return nil, time.Hour, names.ErrNone
}

func (paperNames) Addresses(_ context.Context, host string) (list []netip.Addr, ttl time.Duration, err error) {
	var n int
	if _, err := fmt.Sscanf(host, poolName, &n); err != nil {
		return nil, time.Hour, names.ErrNone
	}
	for i := range n {
		list = append(list, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", 101+i)))
	}
	return list, time.Hour, nil
}

func (paperNames) Local(string) []netip.Addr { return nil }

// paper is a B2BUA between two trunks without a network.
type paper struct {
	cfg     *config.Config
	records chan CallRecord
	b       *B2BUA
	stack   *paperStack
	relay   *fakeRelay
	invites []*guard.Inbound // that made calls
	calls   []*call
	seq     uint32
	proof   string // Authorization of INVITEs; empty: none
}

// reload takes another config up, as the call plane does.
func (p *paper) reload(t *testing.T, cfg *config.Config) {
	trunks, err := trunk.New(cfg, paperNames{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	trunks.Adopt(p.b.seen.Load().trunks)
	p.b.Reload(cfg, trunks, route.New(cfg))
}

func newPaper(t *testing.T, change ...func(*config.Config)) *paper {
	return newLoggedPaper(t, slog.New(slog.DiscardHandler), change...)
}

func newLoggedPaper(t *testing.T, log *slog.Logger, change ...func(*config.Config)) *paper {
	p := &paper{stack: &paperStack{}, relay: newFakeRelay(), seq: 1, records: make(chan CallRecord, 1024)}
	listener := config.Listener{Transport: "udp", Address: netip.MustParseAddrPort("192.0.2.1:5060")}
	tr := func(peer string) config.Trunk {
		return config.Trunk{Listener: "l", Peer: peer, Network: "n", Sources: []netip.Prefix{netip.MustParsePrefix(peer + "/32")},
			Policy: config.Policy{SRTP: config.SRTPOff, Options: config.Options{Off: true}}}
	}
	cfg := &config.Config{Node: "n", SIP: config.SIP{
		Listeners: map[string]config.Listener{"l": listener},
	},
		Trunks: map[string]config.Trunk{"a": tr("192.0.2.10"), "b1": tr("192.0.2.20"), "b2": tr("192.0.2.30")},
		Routes: []config.Route{{Name: "r", From: []string{"a"}, To: []string{"b1", "b2"}}},
	}
	for _, f := range change {
		f(cfg)
	}
	p.cfg = cfg
	trunks, err := trunk.New(cfg, paperNames{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.b, err = New(Options{Config: cfg, Stack: p.stack, Relay: p.relay, Trunks: trunks, Routes: route.New(cfg),
		OnRecord: func(r CallRecord) { p.records <- r }, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// invite starts a call.
func (p *paper) invite(n int, extra ...sip.Header) {
	if len(p.calls) >= 4 {
		return
	}
	in := p.inbound(sip.INVITE, "192.0.2.10", fmt.Sprintf("call%d", n), "from", "", 1)
	in.Req.SetBody([]byte(sdpOf("192.0.2.10", 5000, "")))
	if p.proof != "" {
		in.Req.AppendHeader(sip.NewHeader("Authorization", p.proof))
	}
	for _, h := range extra {
		in.Req.AppendHeader(h)
	}
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
func (p *paper) fromCaller(n int, method sip.RequestMethod, body string, extra ...sip.Header) {
	if len(p.calls) == 0 {
		return
	}
	n %= len(p.calls)
	in := p.inbound(method, "192.0.2.10", callID(p.invites[n].Req), "from", p.calls[n].id, p.next(method))
	in.Req.SetBody([]byte(body))
	for _, h := range extra {
		in.Req.AppendHeader(h)
	}
	p.b.Handle(in)
}

func (p *paper) fromCallee(n int, method sip.RequestMethod, body string, extra ...sip.Header) {
	tx := p.stack.at(n)
	if tx == nil {
		return
	}
	in := p.inbound(method, "192.0.2.20", callID(tx.req), "callee", fromTag(tx.req), p.next(method))
	in.Req.SetBody([]byte(body))
	for _, h := range extra {
		in.Req.AppendHeader(h)
	}
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
func (p *paper) answer(n, code int, tag string, withSDP bool, extra ...sip.Header) {
	tx := p.stack.at(n)
	if tx == nil || tx.final && (code < 200 || code >= 300 || !tx.req.IsInvite()) {
		return
	}
	tx.final = tx.final || code >= 200
	res := sip.NewResponseFromRequest(tx.req, code, "", nil)
	res.To().Params.Add("tag", tag)
	res.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Scheme: "sip", Host: "192.0.2.20"}})
	for _, h := range extra {
		res.AppendHeader(h)
	}
	if withSDP {
		setSDP(res, []byte(sdpOf("198.51.100.20", 6000, "")))
	}
	if code == 401 {
		res.AppendHeader(sip.NewHeader("WWW-Authenticate", `Digest realm="r", nonce="n", stale=true`))
	}
	tx.on(res, nil)
}

// talk places a call that is answered.
func (p *paper) talk() {
	p.invite(0)
	synctest.Wait()
	p.answer(0, 200, "callee", true)
	synctest.Wait()
	p.fromCaller(0, sip.ACK, "")
	synctest.Wait()
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
			if s := p.b.Stats(); s.Active != 0 || s.Table != 0 || s.Dialogs != 0 || s.Waiting != 0 || s.Drops[DropPanic] != 0 {
				t.Fatalf("left behind: %+v", s)
			}
			return
		default:
			time.Sleep(time.Second)
		}
	}
}
