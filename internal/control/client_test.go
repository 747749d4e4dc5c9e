package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func dial(t testing.TB, s *Server, o DialOptions) *Client {
	t.Helper()
	c, err := Dial(background(t), s.o.Path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEveryMethodOfTheClientAsksWhatItsNameSays(t *testing.T) {
	type asked struct{ method, params string }
	var got asked
	s := listen(t, ServerOptions{Handler: handlerFunc(func(_ context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
		got = asked{method, string(params)}
		return map[string]any{"id": "x", "boot": "b", "draining": true}, nil
	})})
	c := dial(t, s, DialOptions{})
	ctx := background(t)
	for _, m := range []struct {
		want asked
		call func() (string, error)
	}{
		{asked{MethodHello, `{"owner":"n"}`}, func() (string, error) { r, err := c.Hello(ctx, Hello{Owner: "n"}); return r.Boot, err }},
		{asked{MethodOpen, `{"id":"x","streams":null}`}, func() (string, error) { r, err := c.Open(ctx, Open{ID: "x"}); return r.ID, err }},
		{asked{MethodUpdate, `{"id":"x","generation":2}`}, func() (string, error) {
			r, err := c.Update(ctx, Update{ID: "x", Generation: 2})
			return r.ID, err
		}},
		{asked{MethodClose, `{"id":"x"}`}, func() (string, error) { r, err := c.CloseSession(ctx, Ref{ID: "x"}); return r.ID, err }},
		{asked{MethodGet, `{"id":"x"}`}, func() (string, error) { r, err := c.Get(ctx, Ref{ID: "x"}); return r.ID, err }},
		{asked{MethodDrain, `{"on":true}`}, func() (string, error) { r, err := c.Drain(ctx, true); return fmt.Sprint(r.Draining), err }},
	} {
		answer, err := m.call()
		if err != nil || got != m.want || answer == "" || answer == "false" {
			t.Errorf("asked %v, want %v; answer %q, %v", got, m.want, answer, err)
		}
	}
	s2 := listen(t, ServerOptions{Handler: handlerFunc(func(_ context.Context, _ *Conn, method string, params json.RawMessage) (any, error) {
		return map[string]any{"boot": method + string(params), "sessions": 7}, nil
	})})
	if r, err := dial(t, s2, DialOptions{}).Stats(ctx); err != nil || r.Boot != MethodStats || r.Sessions != 7 {
		t.Errorf("stats: %+v, %v", r, err)
	}
}

func TestEachWalksAllPagesAndStopsWhenToldTo(t *testing.T) {
	stuck := false
	s := listen(t, ServerOptions{Handler: handlerFunc(func(_ context.Context, _ *Conn, _ string, params json.RawMessage) (any, error) {
		l, err := Decode[List](params)
		if err != nil || l.Owner != "n" {
			return nil, Errorf(CodeParams, "owner: got %q (%v)", l.Owner, err)
		}
		pages := map[string]ListResult{
			"":  {Sessions: []SessionState{{ID: "a"}, {ID: "b"}}, Next: "b"},
			"b": {Sessions: []SessionState{{ID: "c"}}, Next: "c"},
			"c": {Sessions: []SessionState{}},
		}
		if stuck {
			return pages[""], nil
		}
		return pages[l.After], nil
	})})
	c := dial(t, s, DialOptions{})
	var ids string
	if err := c.Each(background(t), "n", func(s SessionState) error { ids += s.ID; return nil }); err != nil || ids != "abc" {
		t.Errorf("%q, %v", ids, err)
	}
	enough := errors.New("enough")
	if err := c.Each(background(t), "n", func(SessionState) error { return enough }); err != enough {
		t.Errorf("got %v", err)
	}
	if err := c.Each(background(t), "m", nil); CodeOf(err) != CodeParams {
		t.Errorf("got %v", err)
	}
	stuck = true
	if err := c.Each(background(t), "n", func(SessionState) error { return nil }); CodeOf(err) != CodeInternal {
		t.Errorf("a server that never gets to the last page: %v", err)
	}
}

func TestManyCallersShareAClient(t *testing.T) {
	c := dial(t, listen(t, ServerOptions{}), DialOptions{})
	ctx := background(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for j := range 20 {
				id := fmt.Sprintf("s%d-%d", i, j)
				if r, err := c.Get(ctx, Ref{ID: id}); err != nil || r.ID != id {
					t.Errorf("%s: got %s, %v", id, r.ID, err)
				}
			}
		})
	}
	all.Wait()
}

// counted is a connection that counts its writes.
type counted struct {
	net.Conn
	writes atomic.Int32
}

func (c *counted) Write(b []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(b) }

func TestCallsThatAreMadeTogetherLeaveTogether(t *testing.T) {
	c := dial(t, listen(t, ServerOptions{}), DialOptions{})
	nc := &counted{Conn: c.nc}
	c.out.nc = nc
	ctx := background(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that all of them are ready before the first one runs
	var all sync.WaitGroup
	const calls = 100
	for range calls {
		all.Go(func() {
			if _, err := c.Get(ctx, Ref{ID: "x"}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := nc.writes.Load(); n > calls/4 {
		t.Errorf("%d writes for %d calls", n, calls)
	}
}

func TestAProtocolErrorKeepsItsCodeAndWords(t *testing.T) {
	c := dial(t, listen(t, ServerOptions{}), DialOptions{})
	err := c.Call(background(t), "session.opne", nil, nil)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeNoMethod || CodeOf(err) != CodeNoMethod || !strings.Contains(e.Message, "did you mean") {
		t.Errorf("got %v", err)
	}
	if CodeOf(nil) != 0 || CodeOf(errors.New("x")) != 0 {
		t.Error("what is no protocol error has no code")
	}
	if c.Err() != nil {
		t.Errorf("the connection suffered: %v", c.Err())
	}
}

func TestDialSaysHelloAndARefusedHelloIsItsError(t *testing.T) {
	a := &audience{}
	s := listen(t, ServerOptions{Handler: a})
	c := dial(t, s, DialOptions{Hello: &Hello{Protocol: Protocol, Owner: "n1"}})
	if c.Greeting().Boot != "boot-1" || !slices.Equal(a.owners(), []string{"n1"}) {
		t.Errorf("greeting %+v to %q", c.Greeting(), a.owners())
	}
	_, err := Dial(background(t), s.o.Path, DialOptions{Hello: &Hello{Protocol: 99}})
	if CodeOf(err) != CodeUnsupported || !strings.Contains(err.Error(), s.o.Path) {
		t.Errorf("got %v", err)
	}
}

func TestDialSaysWhatToDoWhenNobodyListens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	_, err := Dial(background(t), path, DialOptions{})
	if err == nil || !strings.Contains(err.Error(), path+": nobody listens there: start tandem") || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestARefusedClientLearnsWhy(t *testing.T) {
	s := listen(t, ServerOptions{MaxConns: 1})
	dial(t, s, DialOptions{Hello: &Hello{}})
	for range 50 { // the refusal may come before, while or after the hello is written
		_, err := Dial(background(t), s.o.Path, DialOptions{Hello: &Hello{}})
		if CodeOf(err) != CodeRefused || !strings.Contains(err.Error(), "all 1 connections are taken") {
			t.Fatalf("got %v", err)
		}
	}
}

func TestAServersEndReachesEveryCallThatWaits(t *testing.T) {
	started := make(chan struct{}, 3)
	s, err := Listen(ServerOptions{Path: filepath.Join(t.TempDir(), "s"), Handler: handlerFunc(func(ctx context.Context, _ *Conn, _ string, _ json.RawMessage) (any, error) {
		Async(ctx)
		started <- struct{}{}
		<-ctx.Done()
		return nil, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	c := dial(t, s, DialOptions{})
	failed := make(chan error, 3)
	for range 3 {
		go func() { failed <- c.Call(background(t), MethodGet, nil, nil) }()
		await(t, "a call", started)
	}
	s.Close()
	for range 3 {
		if err := await(t, "the end of a call", failed); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	await(t, "the end of the connection", c.Done())
	if err := c.Err(); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "the other side hung up") {
		t.Errorf("Err is %v", err)
	}
	if err := c.Call(background(t), MethodGet, nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a call after the end: %v", err)
	}
}

func TestACallEndsWithItsContextAndTheConnectionLivesOn(t *testing.T) {
	ctx, cancel := context.WithCancel(background(t))
	release := make(chan struct{})
	s := listen(t, ServerOptions{Handler: handlerFunc(func(ctx context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		if method == "slow" {
			Async(ctx)
			cancel()
			<-release
		}
		return nil, nil
	})})
	c := dial(t, s, DialOptions{})
	if err := c.Call(ctx, "slow", nil, nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	close(release) // its answer comes and finds nobody
	if err := c.Call(background(t), "quick", nil, nil); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestARequestThatIsTooLongIsRefusedBeforeItIsSent(t *testing.T) {
	c := dial(t, listen(t, ServerOptions{}), DialOptions{})
	_, err := c.Open(background(t), Open{ID: "x", Opaque: strings.Repeat("x", MaxLine)})
	if err == nil || !strings.Contains(err.Error(), "more than the 262144 of a line") {
		t.Errorf("got %v", err)
	}
	if _, err := c.Get(background(t), Ref{ID: "x"}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestEventsArriveInOrderAndTheirListenerMayCall(t *testing.T) {
	a := &audience{}
	s := listen(t, ServerOptions{Handler: a})
	var c *Client
	ready, heard := make(chan struct{}), make(chan Event, 10)
	ctx := background(t)
	c = dial(t, s, DialOptions{Hello: &Hello{Events: true}, OnEvent: func(method string, e Event) {
		<-ready
		if r, err := c.Get(ctx, Ref{ID: e.Session}); err != nil || r.ID != e.Session || method != EventSSRC {
			t.Errorf("%s: %+v, %v", method, r, err)
		}
		heard <- e
	}})
	close(ready)
	for i := range 10 {
		a.tell(EventSSRC, Event{Session: "s", SSRC: uint32(i)})
	}
	for i := range 10 {
		if e := await(t, "an event", heard); e.SSRC != uint32(i) {
			t.Errorf("event %d is %+v", i, e)
		}
	}
	if c.Lost() != 0 {
		t.Errorf("%d events lost", c.Lost())
	}
}

func TestASlowListenerLosesEventsAndNoAnswers(t *testing.T) {
	a := &audience{}
	s := listen(t, ServerOptions{Handler: a, EventQueue: 4 * clientEvents})
	release := make(chan struct{})
	c := dial(t, s, DialOptions{Hello: &Hello{Events: true}, OnEvent: func(string, Event) { <-release }})
	for range 2 * clientEvents {
		a.tell(EventPinned, Event{Session: "s"})
	}
	for c.Lost() == 0 { // answers overtake events, so one call does not prove that all of them came
		if _, err := c.Get(background(t), Ref{ID: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
}

func TestRawIsOneCallByHand(t *testing.T) {
	s := listen(t, ServerOptions{})
	ctx := background(t)
	got, err := Raw(ctx, s.o.Path, MethodOpen, json.RawMessage(`{"id":"x","streams":[]}`))
	if err != nil || !reflect.DeepEqual(string(got), `{"id":"x","generation":1,"age_ms":0,"streams":null}`) {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Raw(ctx, s.o.Path, MethodGet, nil); CodeOf(err) != CodeParams {
		t.Errorf("no params: %v", err)
	}
	if _, err := Raw(ctx, s.o.Path, MethodGet, json.RawMessage(`{"id":`)); err == nil {
		t.Error("params that are no JSON were sent")
	}
	if _, err := Raw(ctx, s.o.Path+"x", MethodGet, nil); err == nil {
		t.Error("nobody answered, and no error")
	}
}

func TestAClosedClientLeavesNothing(t *testing.T) {
	s := listen(t, ServerOptions{})
	connect(t, s).ask(getX) // what a first connection starts for good is there
	eventually(t, "quiet", func() bool { return s.Conns() == 1 })
	before := runtime.NumGoroutine()
	for range 5 {
		c := dial(t, s, DialOptions{Hello: &Hello{Events: true}, OnEvent: func(string, Event) {}})
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		if err := c.Err(); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "closed by its owner") {
			t.Errorf("Err is %v", err)
		}
	}
	eventually(t, "the end of every goroutine", func() bool { return s.Conns() == 1 && runtime.NumGoroutine() <= before })
}
