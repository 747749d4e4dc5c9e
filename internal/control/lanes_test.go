package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// writes counts the writes of a tape.
type writes struct {
	tape
	n int
}

func (w *writes) Write(b []byte) (int, error) { w.n++; return w.tape.Write(b) }

func TestAnswersThatAreReadyTogetherLeaveInOneWrite(t *testing.T) {
	w := &writes{tape: tape{Reader: strings.NewReader(strings.Repeat(getX+"\n", 20))}}
	newConn(newServer(ServerOptions{Handler: echo}), w, Peer{}).serve()
	if answers := bytes.Count(w.out.Bytes(), []byte("\n")); answers != 20 || w.n != 1 {
		t.Errorf("%d answers in %d writes", answers, w.n)
	}
}

func TestManyAnswersDoNotWaitForTheLast(t *testing.T) {
	const n = 400
	w := &writes{tape: tape{Reader: strings.NewReader(strings.Repeat(getX+"\n", n))}}
	newConn(newServer(ServerOptions{Handler: echo}), w, Peer{}).serve()
	if least := w.out.Len() / (2 * writeBuffer); w.n < least || w.n > n/10 {
		t.Errorf("%d bytes in %d writes, want %d to %d", w.out.Len(), w.n, least, n/10)
	}
}

func TestAsyncIsFoundInAContextMadeFromTheCalls(t *testing.T) {
	release := make(chan struct{})
	s := listen(t, ServerOptions{Handler: handlerFunc(func(ctx context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		if method == "slow" {
			bounded, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			Async(bounded)
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
	p.hear()
}

func TestAsyncAfterTheCallReturnedChangesNothing(t *testing.T) {
	calls := make(chan context.Context, 10)
	s := listen(t, ServerOptions{Handler: handlerFunc(func(ctx context.Context, _ *Conn, _ string, _ json.RawMessage) (any, error) {
		calls <- ctx
		return nil, nil
	})})
	p := connect(t, s)
	for range 5 {
		p.ask(getX)
		Async(await(t, "a call", calls)) // two goroutines that read would answer in any order, or not at all
	}
}

func TestAnswersAreSentBeforeACallWaitsForAPlace(t *testing.T) {
	release := make(chan struct{})
	s := listen(t, ServerOptions{MaxInFlight: 1, Handler: handlerFunc(func(ctx context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		if method == "slow" {
			Async(ctx)
			<-release
		}
		return method, nil
	})})
	p := connect(t, s)
	p.say(`{"jsonrpc":"2.0","id":1,"method":"quick"}` + "\n" + `{"jsonrpc":"2.0","id":2,"method":"slow"}` + "\n" + `{"jsonrpc":"2.0","id":3,"method":"quick"}`)
	if r := parse(t, p.hear()); string(r.ID) != "1" {
		t.Errorf("first answer: %+v", r)
	}
	close(release)
	p.hear()
	p.hear()
}

func TestAPanicAfterAsyncIsAnsweredAndTheNextCallRuns(t *testing.T) {
	s := listen(t, ServerOptions{Handler: handlerFunc(func(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error) {
		Async(ctx)
		return echo(ctx, c, method, params)
	})})
	p := connect(t, s)
	p.say(`{"jsonrpc":"2.0","id":7,"method":"panic"}`)
	seen := map[string]bool{}
	p.say(getX)
	for range 2 {
		seen[string(parse(t, p.hear()).ID)] = true
	}
	if !seen["7"] || !seen["1"] || s.Panics() != 1 {
		t.Errorf("answered %v, %d panics", seen, s.Panics())
	}
}

func TestCallersThatGiveUpDisturbNobody(t *testing.T) {
	c := dial(t, listen(t, ServerOptions{Handler: opener}), DialOptions{})
	ctx := background(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				short, cancel := context.WithTimeout(ctx, time.Duration(i)*20*time.Microsecond)
				r, err := c.Open(short, Open{ID: "x", Streams: []Stream{}})
				cancel()
				if (err != nil || r.ID != openState.ID) && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %q, %v", r.ID, err)
				}
			}
		})
	}
	all.Wait()
	if _, err := c.Open(ctx, Open{ID: "x", Streams: []Stream{}}); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiters) != 0 {
		t.Errorf("%d calls are still waited for", len(c.waiters))
	}
}
