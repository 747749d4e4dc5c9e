package control

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must come; nothing is judged by it.
const patience = 20 * time.Second

// handlerFunc is a Handler in one function.
type handlerFunc func(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error)

func (f handlerFunc) Handle(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error) {
	return f(ctx, c, method, params)
}

// echo answers a few methods without any state.
var echo = handlerFunc(func(_ context.Context, c *Conn, method string, params json.RawMessage) (any, error) {
	switch method {
	case MethodHello:
		h, err := Decode[Hello](params)
		if err != nil {
			return nil, err
		}
		if h.Protocol != 0 && h.Protocol != Protocol {
			return nil, Errorf(CodeUnsupported, "protocol %d: this relay speaks %d", h.Protocol, Protocol)
		}
		c.SetHello(h)
		return HelloResult{Protocol: Protocol, Boot: "boot-1"}, nil
	case MethodGet:
		r, err := Decode[Ref](params)
		return SessionState{ID: r.ID}, err
	case MethodOpen:
		o, err := Decode[Open](params)
		return SessionState{ID: o.ID, Generation: max(1, o.Generation), Opaque: o.Opaque}, err
	case "panic":
		panic("on purpose")
	}
	return nil, UnknownMethod(method, MethodHello, MethodGet, MethodOpen)
})

// audience is echo that remembers who said hello.
type audience struct {
	mu    sync.Mutex
	conns []*Conn
}

func (a *audience) Handle(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error) {
	if method == MethodHello {
		a.mu.Lock()
		a.conns = append(a.conns, c)
		a.mu.Unlock()
	}
	return echo(ctx, c, method, params)
}

// tell sends an event to everybody who said hello.
func (a *audience) tell(method string, e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		c.Notify(method, e)
	}
}

// owners lists the owners in the order of their hellos.
func (a *audience) owners() (names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		names = append(names, c.Peer().Owner)
	}
	return names
}

// listen starts a server on a socket of its own and ends it with the test. Each of prepare sees it before it accepts.
func listen(t testing.TB, o ServerOptions, prepare ...func(*Server)) *Server {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "s")
	}
	if o.Handler == nil {
		o.Handler = echo
	}
	s, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range prepare {
		f(s)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// person is somebody with socat.
type person struct {
	t  testing.TB
	nc *net.UnixConn
	r  *bufio.Reader
}

func connect(t testing.TB, s *Server) *person {
	t.Helper()
	nc, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: s.o.Path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { nc.Close() })
	return &person{t, nc, bufio.NewReader(nc)}
}

func (p *person) say(line string) {
	p.t.Helper()
	if _, err := p.nc.Write([]byte(line + "\n")); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) hear() string {
	p.t.Helper()
	line, err := p.r.ReadString('\n')
	if err != nil {
		p.t.Fatalf("waiting for an answer: %v (got %q)", err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

// ask sends a line and returns the next one heard.
func (p *person) ask(line string) string {
	p.t.Helper()
	p.say(line)
	return p.hear()
}

// reply is any answer or event.
type reply struct {
	ID     json.RawMessage
	Method string
	Result json.RawMessage
	Error  *Error
}

func parse(t testing.TB, line string) reply {
	t.Helper()
	var r reply
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	return r
}

// await waits for a signal.
func await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

// eventually yields until a condition that nothing signals holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen", what)
		}
	}
}

// background bounds what a test asks for.
func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
