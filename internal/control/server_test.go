package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const getX = `{"jsonrpc":"2.0","id":1,"method":"session.get","params":{"id":"x"}}`

func TestAConnectionSurvivesWhateverIsSentToIt(t *testing.T) {
	p := connect(t, listen(t, ServerOptions{}))
	for _, line := range []string{
		"nonsense", `[]`, `{}`, `{"jsonrpc":"2.0","id":{},"method":"x"}`, "\xff\xfe", "\x00",
		strings.Repeat("[", 100000), strings.Repeat("x", MaxLine), `{"jsonrpc":"2.0","id":1,"method":"panic"}`,
		`{"jsonrpc":"2.0","id":1,"method":"session.gett"}`, `{"jsonrpc":"2.0","id":1,"method":"session.get","params":{"idd":"x"}}`,
	} {
		if r := parse(t, p.ask(line)); r.Error == nil {
			t.Errorf("%.40q was taken: %+v", line, r)
		}
		if got := p.ask(getX); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":1,"result":{"id":"x"`) {
			t.Errorf("after %.40q: %s", line, got)
		}
	}
	p.say("\n  \r\n") // somebody leans on the return key
	p.say(`{"jsonrpc":"2.0","method":"session.get","params":{"id":"never answered"}}`)
	if got := p.ask(getX); !strings.Contains(got, `"x"`) {
		t.Errorf("after blank lines and a notification: %s", got)
	}
}

func TestAnOverlongLineIsAnsweredWithTheLimit(t *testing.T) {
	p := connect(t, listen(t, ServerOptions{}))
	r := parse(t, p.ask(strings.Repeat("x", 3*MaxLine)))
	if r.Error.Code != CodeInvalid || r.Error.Message != "the line has more than 262144 bytes and was skipped" {
		t.Errorf("got %v", r.Error)
	}
}

func TestAnUnknownMethodIsAnsweredWithTheKnownOnes(t *testing.T) {
	p := connect(t, listen(t, ServerOptions{}))
	r := parse(t, p.ask(`{"jsonrpc":"2.0","id":1,"method":"session.opne"}`))
	const want = `unknown method "session.opne"; did you mean "session.open"? (known: relay.hello, session.get, session.open)`
	if r.Error.Code != CodeNoMethod || r.Error.Message != want {
		t.Errorf("got %v", r.Error)
	}
}

func TestAPeerThatOnlyStoppedSendingGetsItsAnswers(t *testing.T) {
	release := make(chan struct{})
	s := listen(t, ServerOptions{Handler: handlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) {
		<-release
		return "done", nil
	})})
	p := connect(t, s)
	p.say(getX)
	if _, err := p.nc.Write([]byte(getX)); err != nil { // and no newline
		t.Fatal(err)
	}
	if err := p.nc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(release)
	for range 2 {
		if r := parse(t, p.hear()); string(r.Result) != `"done"` {
			t.Errorf("got %+v", r)
		}
	}
	if _, err := p.r.ReadByte(); err != io.EOF {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestHandlersErrorsReachTheCallerWithTheirCode(t *testing.T) {
	fault := map[string]error{
		"protocol": Errorf(CodeStale, "session x: generation 1 is older than 2"),
		"wrapped":  fmt.Errorf("while updating: %w", Errorf(CodeNotFound, "no session x")),
		"other":    errors.New("disk on fire"),
	}
	p := connect(t, listen(t, ServerOptions{Handler: handlerFunc(func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		return nil, fault[method]
	})}))
	for method, want := range map[string]Error{
		"protocol": {CodeStale, "session x: generation 1 is older than 2"},
		"wrapped":  {CodeNotFound, "while updating: no session x (code 1)"},
		"other":    {CodeInternal, "disk on fire"},
	} {
		r := parse(t, p.ask(`{"jsonrpc":"2.0","id":1,"method":"`+method+`"}`))
		if r.Error == nil || *r.Error != want {
			t.Errorf("%s: got %v", method, r.Error)
		}
	}
	if got := p.ask(`{"jsonrpc":"2.0","id":1,"method":"fine"}`); got != `{"jsonrpc":"2.0","id":1,"result":null}` {
		t.Errorf("no result and no error: %s", got)
	}
}

func TestAPanicIsAnsweredLoggedAndCountedAndHarmsNobody(t *testing.T) {
	var log lockedBuffer
	s := listen(t, ServerOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	p, other := connect(t, s), connect(t, s)
	r := parse(t, p.ask(`{"jsonrpc":"2.0","id":1,"method":"panic"}`))
	if r.Error == nil || r.Error.Code != CodeInternal {
		t.Errorf("got %+v", r)
	}
	if s.Panics() != 1 || !strings.Contains(log.String(), "on purpose") {
		t.Errorf("%d panics counted, log: %s", s.Panics(), log.String())
	}
	p.ask(getX)
	other.ask(getX)
}

func TestCallsOfAConnectionAreStartedInTheirOrder(t *testing.T) {
	const n = 200
	var mu sync.Mutex
	var order []string
	s := listen(t, ServerOptions{Handler: handlerFunc(func(ctx context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		mu.Lock()
		order = append(order, method)
		mu.Unlock()
		if len(method)%2 == 0 {
			Async(ctx)
			Async(ctx) // once more is once
		}
		return nil, nil
	})})
	p := connect(t, s)
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, `{"jsonrpc":"2.0","id":%d,"method":"m%d"}`+"\n", i, i)
	}
	p.say(strings.TrimSuffix(all.String(), "\n"))
	for range n {
		p.hear()
	}
	for i, m := range order {
		if m != fmt.Sprintf("m%d", i) {
			t.Fatalf("call %d to start was %s", i, m)
		}
	}
}

func TestASlowCallHoldsTheNextOneBackOnlyUntilItSaysAsync(t *testing.T) {
	release := make(chan struct{})
	s := listen(t, ServerOptions{Handler: handlerFunc(func(ctx context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		if method == "slow" {
			Async(ctx)
			<-release
		}
		return method, nil
	})})
	p := connect(t, s)
	p.say(`{"jsonrpc":"2.0","id":1,"method":"slow"}`)
	if r := parse(t, p.ask(`{"jsonrpc":"2.0","id":2,"method":"quick"}`)); string(r.ID) != "2" {
		t.Errorf("first answer: %+v", r)
	}
	close(release)
	if r := parse(t, p.hear()); string(r.ID) != "1" {
		t.Errorf("second answer: %+v", r)
	}
	Async(context.Background()) // outside of a call: nothing
}

func TestCallsInFlightAreBounded(t *testing.T) {
	const limit = 3
	started, release := make(chan struct{}, 100), make(chan struct{})
	s := listen(t, ServerOptions{MaxInFlight: limit, Handler: handlerFunc(func(ctx context.Context, _ *Conn, _ string, _ json.RawMessage) (any, error) {
		Async(ctx)
		started <- struct{}{}
		<-release
		return nil, nil
	})})
	p := connect(t, s)
	for range 10 {
		p.say(getX)
	}
	for range limit {
		await(t, "a call", started)
	}
	s.mu.Lock()
	for c := range s.conns {
		if len(c.slots) != limit || cap(c.slots) != limit {
			t.Errorf("%d of %d slots taken", len(c.slots), cap(c.slots))
		}
	}
	s.mu.Unlock()
	if len(started) != 0 {
		t.Errorf("%d calls more than %d run at once", len(started), limit)
	}
	close(release)
	for range 10 {
		p.hear()
	}
}

func TestAPeerThatReadsNoAnswersIsDisconnectedAndBlocksNobody(t *testing.T) {
	closed := make(chan *Conn, 2)
	big := strings.Repeat("x", MaxLine/2)
	s := listen(t, ServerOptions{
		stall: 50 * time.Millisecond, OnClose: func(c *Conn) { closed <- c },
		Handler: handlerFunc(func(context.Context, *Conn, string, json.RawMessage) (any, error) { return big, nil }),
	})
	stuck, other := connect(t, s), connect(t, s)
	go func() {
		for range 10000 {
			if _, err := stuck.nc.Write([]byte(getX + "\n")); err != nil {
				return // cut off, as it should be
			}
		}
	}()
	for {
		select {
		case <-closed:
			if got := other.ask(getX); len(got) < len(big) {
				t.Errorf("the other connection got %.80s", got)
			}
			return
		default:
			other.ask(getX) // while the first one is stuck
		}
	}
}

func TestEventsNeverBlockAndAFullQueueDropsThem(t *testing.T) {
	conns := make(chan *Conn, 1)
	s := listen(t, ServerOptions{EventQueue: 4, Handler: handlerFunc(func(_ context.Context, c *Conn, _ string, _ json.RawMessage) (any, error) {
		conns <- c
		return nil, nil
	})})
	p := connect(t, s)
	p.ask(getX)
	c := await(t, "the call", conns)
	sent, dropped := 0, 0
	for dropped == 0 { // nobody reads: the socket's buffer and then the queue fill up
		if c.Notify(EventPinned, Event{Session: "s", Address: strings.Repeat("a", 4000)}) {
			sent++
		} else {
			dropped++
		}
	}
	for range sent {
		if r := parse(t, p.hear()); r.Method != EventPinned || r.ID != nil {
			t.Fatalf("got %+v", r)
		}
	}
	if c.Notify(EventPinned, make(chan int)) {
		t.Error("an event that cannot be encoded was taken")
	}
	p.nc.Close()
	await(t, "the end of the connection", c.ctx.Done())
	if c.Notify(EventPinned, Event{}) {
		t.Error("a connection that is gone took an event")
	}
}

func TestAnEventIsOneNotificationBesideTheAnswers(t *testing.T) {
	a := &audience{}
	p := connect(t, listen(t, ServerOptions{Handler: a}))
	p.ask(`{"jsonrpc":"2.0","id":1,"method":"relay.hello","params":{"events":true}}`)
	a.tell(EventTimeout, Event{Session: "s1", Owner: "n1", Stream: "audio", Leg: "a", After: "running", SilentMS: 60000})
	const want = `{"jsonrpc":"2.0","method":"media.timeout","params":{"session":"s1","owner":"n1","stream":"audio","leg":"a","after":"running","silent_ms":60000}}`
	if got := p.hear(); got != want {
		t.Errorf("got %s", got)
	}
	p.ask(getX)
}

func TestHelloShowsInPeer(t *testing.T) {
	peers := make(chan Peer, 2)
	s := listen(t, ServerOptions{Handler: handlerFunc(func(_ context.Context, c *Conn, _ string, params json.RawMessage) (any, error) {
		peers <- c.Peer()
		c.SetHello(Hello{Client: "me", Owner: "n1", Events: true})
		peers <- c.Peer()
		return nil, nil
	})})
	connect(t, s).ask(getX)
	want := Peer{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid())}
	if p := <-peers; p != want {
		t.Errorf("before hello: %+v, want %+v", p, want)
	}
	want.Client, want.Owner, want.Events = "me", "n1", true
	if p := <-peers; p != want {
		t.Errorf("after hello: %+v, want %+v", p, want)
	}
}

func TestOneConnectionTooManyIsRefusedAndAFreedPlaceTaken(t *testing.T) {
	left := make(chan *Conn, 3)
	s := listen(t, ServerOptions{MaxConns: 2, OnClose: func(c *Conn) { left <- c }})
	first, second := connect(t, s), connect(t, s)
	first.ask(getX)
	second.ask(getX)
	if r := parse(t, connect(t, s).hear()); r.Error == nil || r.Error.Code != CodeRefused {
		t.Errorf("got %+v", r)
	}
	first.nc.Close()
	await(t, "the end of the first", left)
	connect(t, s).ask(getX)
	second.ask(getX)
}

func TestCloseEndsEverythingAndLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	started := make(chan struct{}, 10)
	s, err := Listen(ServerOptions{Path: filepath.Join(t.TempDir(), "s"), Handler: handlerFunc(
		func(ctx context.Context, _ *Conn, _ string, _ json.RawMessage) (any, error) {
			started <- struct{}{}
			<-ctx.Done() // a call that waits ends with its connection
			return nil, ctx.Err()
		})})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	for range 5 {
		p := connect(t, s)
		p.say(getX)
		p.say(getX) // waits for its turn
		await(t, "a call", started)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := await(t, "the end of Serve", served); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if _, err := os.Stat(s.o.Path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	eventually(t, "the end of every goroutine", func() bool { return runtime.NumGoroutine() <= before })
}

func TestDebugLogsShowCallsWithoutTheirKeys(t *testing.T) {
	var log lockedBuffer
	s := listen(t, ServerOptions{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	p := connect(t, s)
	p.ask(`{"jsonrpc":"2.0","id":1,"method":"session.open","params":` + strings.ReplaceAll(openExample, "\n", "") + `}`)
	if got := log.String(); !strings.Contains(got, "call-1") || strings.Contains(got, "WVNfX19") {
		t.Errorf("logged: %s", got)
	}
}

// lockedBuffer is a log that a test reads while others write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
