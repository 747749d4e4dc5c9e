package register

import (
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// script is a registrar that answers at once, one byte an answer.
type script struct {
	t     *testing.T
	left  []byte
	value string // of every header that is read
	sent  int
	cseq  uint32
}

func (s *script) Contact(string) string { return "192.0.2.1:5060" }

func (s *script) Request(_ context.Context, req *sip.Request, _ guard.Egress, on guard.ClientHandler) (guard.ClientTx, error) {
	if s.sent++; req.CSeq().SeqNo <= s.cseq {
		s.t.Fatalf("CSeq %d after %d", req.CSeq().SeqNo, s.cseq)
	}
	s.cseq = req.CSeq().SeqNo
	tx := &sent{end: make(chan struct{})}
	if len(s.left) == 0 {
		on(nil, guard.ErrTimeout)
		return tx, nil
	}
	code := []int{200, 401, 407, 423, 500, 503, 403, 301, 699, 299}[int(s.left[0])%10]
	stale := s.left[0] >= 128
	s.left = s.left[1:]
	res := sip.NewResponseFromRequest(req, code, "Whatever", nil)
	for _, name := range []string{"Expires", "Min-Expires", "Retry-After"} {
		res.AppendHeader(sip.NewHeader(name, s.value))
	}
	c := &sip.ContactHeader{Address: sip.Uri{Scheme: "sip", User: "4312", Host: "192.0.2.1"}}
	c.Params.Add("expires", s.value)
	res.AppendHeader(c)
	for _, name := range []string{"WWW-Authenticate", "Proxy-Authenticate"} {
		res.AppendHeader(sip.NewHeader(name, `Digest realm="r", nonce="n", qop="auth", stale=`+strconv.FormatBool(stale)))
	}
	on(res, nil)
	return tx, nil
}

// FuzzRegistrar: whatever a registrar answers, a cycle ends after a bounded number of requests and the wait after it has its
// bounds.
func FuzzRegistrar(f *testing.F) {
	f.Add([]byte{0}, "3600")
	f.Add([]byte{1, 0, 1, 2, 0, 129, 129, 129}, "60")
	f.Add([]byte{3, 3, 3, 3, 3, 3, 3, 3}, "86400")
	f.Add([]byte{3, 0, 4, 5, 6, 7, 8, 9}, "4294967296")
	f.Add([]byte{5}, " 10 (soon);x")
	f.Add([]byte{5, 2, 1, 130}, "-1")
	table, err := trunk.New(&config.Config{
		SIP: config.SIP{Listeners: map[string]config.Listener{"out": {Transport: "udp", Address: netip.MustParseAddrPort("192.0.2.1:5060")}}},
		Trunks: map[string]config.Trunk{"provider": {Listener: "out", Peer: "192.0.2.9", Auth: &config.Auth{User: "alice", Password: "x"},
			Register: &config.Register{User: "4312", Expires: time.Hour}}},
	}, zone{}, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	tr, _ := table.ByName("provider")
	f.Fuzz(func(t *testing.T, answers []byte, value string) {
		s := &script{t: t, left: answers, value: value}
		r := &Registrar{o: Options{Stack: s, Log: slog.New(slog.DiscardHandler), Now: time.Now, Rand: func() float64 { return 0.5 }}}
		r.o.TLS = none
		b := newBinding(&r.o, tr, r.terms(tr))
		for range 3 {
			before := s.sent
			out := b.cycle(context.Background())
			if n := s.sent - before; n < 1 || n > sendsMost {
				t.Fatalf("%d requests", n)
			}
			if out.err == nil && (out.granted <= 0 || out.granted > maxExpires) {
				t.Fatalf("granted %s", out.granted)
			}
			if wait := b.note(out); wait < minWait || wait > maxExpires/2 {
				t.Fatalf("waits for %s after %+v", wait, out)
			}
			if b.asks < time.Hour || b.asks > maxExpires {
				t.Fatalf("asks for %s", b.asks)
			}
		}
	})
}
