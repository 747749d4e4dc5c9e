package register

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/signaling/guard"
	"tandem/signaling/trunk"
	"tandem/signaling/trunk/names"
)

const patience = 10 * time.Second // for an event that must come

func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// until polls for what no event announces.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// world is a registrar that the test plays, and a clock that it moves.
type world struct {
	t     *testing.T
	cfg   *config.Config
	table *trunk.Table
	r     *Registrar
	sent  chan *sent
	waits chan pending

	mu  sync.Mutex
	now time.Time
}

// pending is a wait that somebody has begun.
type pending struct {
	d  time.Duration
	at chan time.Time
}

// sent is a request on its way to the registrar.
type sent struct {
	*sip.Request
	t   *testing.T
	way guard.Egress
	on  guard.ClientHandler
	end chan struct{}
}

func newWorld(t *testing.T, change func(*config.Trunk)) *world {
	w := &world{t: t, sent: make(chan *sent, 16), waits: make(chan pending, 16), now: time.Unix(1_800_000_000, 0)}
	w.cfg = w.config(change)
	w.table = w.trunks(w.cfg)
	w.r = Start(Options{
		Stack: w, Trunks: w.table, Log: slog.New(slog.DiscardHandler), Now: w.clock, Rand: func() float64 { return 0 },
		After: func(d time.Duration) <-chan time.Time {
			p := pending{d, make(chan time.Time, 1)}
			w.waits <- p
			return p.at
		},
	})
	t.Cleanup(func() {
		ctx, stop := context.WithCancel(context.Background())
		stop()
		w.r.Close(ctx)
		over := make(chan struct{})
		go func() { w.r.ending.Wait(); close(over) }()
		await(t, over, "the end of every goroutine")
	})
	return w
}

func (w *world) config(change func(*config.Trunk)) *config.Config {
	tr := config.Trunk{
		Listener: "out", Peer: "192.0.2.9:5070",
		Auth:     &config.Auth{User: "alice", Password: "open sesame"},
		Register: &config.Register{User: "4312", Domain: "provider.example", Expires: time.Hour},
	}
	if change != nil {
		change(&tr)
	}
	return &config.Config{
		SIP: config.SIP{Listeners: map[string]config.Listener{
			"out": {Transport: "udp", Address: netip.MustParseAddrPort("192.0.2.1:5060")},
		}},
		Trunks: map[string]config.Trunk{"provider": tr},
	}
}

func (w *world) trunks(cfg *config.Config) *trunk.Table {
	w.t.Helper()
	table, err := trunk.New(cfg, zone{}, w.clock)
	if err != nil {
		w.t.Fatal(err)
	}
	return table
}

// zone is a name service that knows one name of two addresses.
type zone struct{}

func (zone) Services(context.Context, string) ([]names.Service, time.Duration, error) {
	return nil, time.Hour, names.ErrNone
}

func (zone) Addresses(context.Context, string) ([]netip.Addr, time.Duration, error) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.21"), netip.MustParseAddr("192.0.2.22")}, time.Hour, nil
}

func (zone) Local(string) []netip.Addr { return nil }

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Contact and Request make the world a Stack.
func (w *world) Contact(string) string { return "192.0.2.1:5060" }

func (w *world) Request(_ context.Context, req *sip.Request, way guard.Egress, on guard.ClientHandler) (guard.ClientTx, error) {
	s := &sent{Request: req, t: w.t, way: way, on: on, end: make(chan struct{})}
	w.sent <- s
	return s, nil
}

func (s *sent) Cancel(...sip.Header) error { return nil }
func (s *sent) Terminate()                 { close(s.end) }
func (s *sent) Done() <-chan struct{}      { return s.end }
func (s *sent) Err() error                 { return nil }

// next is the next request. It must be a REGISTER for the address of record and for our Contact.
func (w *world) next() *sent {
	w.t.Helper()
	s := await(w.t, w.sent, "a REGISTER")
	if s.Method != sip.REGISTER || s.Recipient.String() != "sip:provider.example" {
		w.t.Fatalf("got %s", s.Request)
	}
	return s
}

// quiet makes sure that nothing is sent: what is waiting was there before the wait began.
func (w *world) quiet() {
	w.t.Helper()
	select {
	case s := <-w.sent:
		w.t.Fatalf("unexpected: %s", s.Request)
	default:
	}
}

// wait is the wait after a cycle; it must be of this length.
func (w *world) wait(want time.Duration) pending {
	w.t.Helper()
	p := await(w.t, w.waits, "the wait")
	if p.d != want {
		w.t.Fatalf("waits for %s, want %s", p.d, want)
	}
	w.quiet()
	return p
}

// pass lets a wait end.
func (w *world) pass(p pending) {
	w.mu.Lock()
	w.now = w.now.Add(p.d)
	now := w.now
	w.mu.Unlock()
	p.at <- now
}

// reply answers with headers "Name: value".
func (s *sent) reply(code int, headers ...string) {
	res := sip.NewResponseFromRequest(s.Request, code, "Whatever", nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name != "Contact" {
			res.AppendHeader(sip.NewHeader(name, value))
			continue
		}
		c := &sip.ContactHeader{}
		uri, params, _ := strings.Cut(strings.TrimPrefix(value, "<"), ">")
		if err := sip.ParseUri(uri, &c.Address); err != nil {
			s.t.Fatal(err)
		}
		if v, ok := strings.CutPrefix(params, ";expires="); ok {
			c.Params.Add("expires", v)
		}
		res.AppendHeader(c)
	}
	s.on(res, nil)
}

func (s *sent) fail(err error) { s.on(nil, fmt.Errorf("request REGISTER: %w", err)) }

func (s *sent) header(name string) string {
	if h := s.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

func (s *sent) expires() int {
	n, err := strconv.Atoi(s.header("Expires"))
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// shown is what the trunk shows of its registration.
func (w *world) shown() string {
	tr, ok := w.table.ByName("provider")
	if !ok {
		w.t.Fatal("the trunk is gone")
	}
	return tr.Snapshot(w.clock()).Registration
}

func (w *world) status() Status {
	w.t.Helper()
	list := w.r.Status()
	if len(list) != 1 {
		w.t.Fatalf("status %v", list)
	}
	return list[0]
}
