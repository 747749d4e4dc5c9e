package control

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"runtime"
	"testing"
)

// serveAt starts a server that the test itself ends.
func serveAt(t *testing.T, path string, h Handler) *Server {
	t.Helper()
	s, err := Listen(ServerOptions{Path: path, Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	t.Cleanup(func() { s.Close() })
	return s
}

// bootHandler is a relay whose sessions were lost at boot; owners hears who says hello.
func bootHandler(boot string, owners chan<- string) Handler {
	return handlerFunc(func(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error) {
		if method == MethodHello {
			h, err := Decode[Hello](params)
			owners <- h.Owner
			return HelloResult{Protocol: Protocol, Boot: boot}, err
		}
		return echo(ctx, c, method, params)
	})
}

func TestALinkComesBackAfterTheRelayDid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	before := runtime.NumGoroutine()
	ups, downs, owners := make(chan string, 10), make(chan error, 10), make(chan string, 10)
	l := NewLink(LinkOptions{
		Path: path, Hello: Hello{Owner: "n1"},
		OnUp:   func(_ *Client, r HelloResult) { ups <- r.Boot },
		OnDown: func(err error) { downs <- err },
	})
	defer l.Close()
	if l.Up() {
		t.Error("up without a relay")
	}
	waiting := make(chan error, 1)
	go func() {
		r, err := l.Get(background(t), Ref{ID: "early"}) // before there is a relay
		if r.ID != "early" {
			t.Errorf("got %+v", r)
		}
		waiting <- err
	}()
	s := serveAt(t, path, bootHandler("one", owners))
	if boot := await(t, "the link", ups); boot != "one" {
		t.Errorf("boot %s", boot)
	}
	if err := await(t, "the early call", waiting); err != nil {
		t.Errorf("the early call: %v", err)
	}
	if owner := <-owners; owner != "n1" || !l.Up() {
		t.Errorf("the link said hello as %q", owner)
	}

	s.Close()
	if err := await(t, "the loss", downs); !errors.Is(err, ErrClosed) {
		t.Errorf("OnDown got %v", err)
	}
	s = serveAt(t, path, bootHandler("two", owners))
	if boot := await(t, "the second link", ups); boot != "two" {
		t.Errorf("boot %s", boot)
	}
	if _, err := l.Get(background(t), Ref{ID: "x"}); err != nil || <-owners != "n1" {
		t.Errorf("after the return: %v", err)
	}
	l.Close()
	if _, err := l.Get(background(t), Ref{ID: "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	s.Close()
	eventually(t, "the end of every goroutine", func() bool { return runtime.NumGoroutine() <= before })
}

func TestACallWhoseAnswerWasLostIsMadeAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	arrived := make(chan struct{}, 1)
	first := serveAt(t, path, handlerFunc(func(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error) {
		if method == MethodOpen {
			arrived <- struct{}{}
			<-ctx.Done() // the relay dies with the answer in hand
		}
		return echo(ctx, c, method, params)
	}))
	l := NewLink(LinkOptions{Path: path})
	defer l.Close()
	opened := make(chan error, 1)
	go func() {
		r, err := l.Open(background(t), Open{ID: "s1", Generation: 3})
		if err == nil && (r.ID != "s1" || r.Generation != 3) {
			t.Errorf("got %+v", r)
		}
		opened <- err
	}()
	await(t, "the call", arrived)
	first.Close()
	serveAt(t, path, echo)
	if err := await(t, "the answer", opened); err != nil {
		t.Error(err)
	}
}

func TestAProtocolErrorIsNotTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	serveAt(t, path, echo)
	l := NewLink(LinkOptions{Path: path})
	defer l.Close()
	if err := l.Call(background(t), "bogus", nil, nil); CodeOf(err) != CodeNoMethod {
		t.Errorf("got %v", err)
	}
}

func TestACallThroughALinkWaitsNoLongerThanItsContext(t *testing.T) {
	l := NewLink(LinkOptions{Path: filepath.Join(t.TempDir(), "none")})
	defer l.Close()
	ctx, cancel := context.WithCancel(background(t))
	failed := make(chan error, 1)
	go func() { failed <- l.Call(ctx, MethodGet, nil, nil) }()
	cancel()
	if err := await(t, "the end of the call", failed); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	go func() { failed <- l.Call(background(t), MethodGet, nil, nil) }()
	l.Close()
	if err := await(t, "the end of the call", failed); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestOnUpMayCallThroughTheLinkItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	serveAt(t, path, echo)
	made := make(chan *Link, 1)
	listed := make(chan error, 1)
	l := NewLink(LinkOptions{Path: path, OnUp: func(c *Client, _ HelloResult) {
		l := <-made
		_, err := l.Get(background(t), Ref{ID: "x"})
		listed <- err
	}})
	made <- l
	defer l.Close()
	if err := await(t, "the call from OnUp", listed); err != nil {
		t.Error(err)
	}
}

func TestUpAndDownAlternateHoweverFastTheConnectionFlaps(t *testing.T) {
	l := &Link{o: LinkOptions{}, changed: make(chan struct{}), wake: make(chan struct{}, 1)}
	l.o.Log = newServer(ServerOptions{}).o.Log
	l.ctx, l.cancel = context.WithCancel(context.Background())
	var told []string
	seen := make(chan struct{}, 10)
	hold := make(chan struct{})
	l.o.OnUp = func(c *Client, r HelloResult) { told = append(told, "up "+r.Boot); seen <- struct{}{}; <-hold }
	l.o.OnDown = func(err error) { told = append(told, "down "+err.Error()); seen <- struct{}{} }
	boot := func(b string) *Client { return &Client{hello: HelloResult{Boot: b}} }
	l.done.Go(l.tell)
	l.setUp(boot("1"))
	await(t, "OnUp", seen)
	l.setDown(errors.New("1")) // all of this while OnUp runs
	l.setUp(boot("2"))
	l.setDown(errors.New("2"))
	l.setUp(boot("3"))
	close(hold)
	await(t, "OnDown", seen)
	await(t, "OnUp", seen)
	l.Close()
	want := []string{"up 1", "down 1", "up 3"}
	for i := range max(len(want), len(told)) {
		if i >= len(told) || i >= len(want) || told[i] != want[i] {
			t.Fatalf("told %q, want %q", told, want)
		}
	}
}
