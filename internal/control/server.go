package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Handler answers calls. Calls of one connection are started in the order in which they were sent, each after the one
// before it returned or called Async; those of different connections run side by side. ctx ends with the connection. Answers
// to calls that were sent together may leave together: a handler that waits for something without Async keeps back those of
// the calls before it too. params are the handler's until it returns; what it keeps of them it copies, as Decode does.
//
// An *Error in err's chain is the answer with its code; any other error is CodeInternal with its text. A panic is
// CodeInternal, logged and counted, and harms nobody else.
type Handler interface {
	Handle(ctx context.Context, c *Conn, method string, params json.RawMessage) (any, error)
}

// ServerOptions say where a server listens, who may speak, and how much. Path and Handler are required.
type ServerOptions struct {
	Path      string      // of the socket; a missing parent directory is created
	Mode      os.FileMode // of the socket; default 0660
	Group     string      // group of the socket, by name or number; its members may speak; default: left alone
	AllowUIDs []uint32    // who may speak, beside root and our own user
	AllowGIDs []uint32    // whose members may speak

	Handler     Handler
	MaxConns    int          // connections at once; default 64
	MaxInFlight int          // calls of one connection that run; default 32. More are left in the socket
	EventQueue  int          // events waiting for one connection; default 1024. More are dropped
	Log         *slog.Logger // default: nothing is logged
	OnClose     func(*Conn)  // after the last call of a connection returned

	maxLine int           // tests: a shorter line
	stall   time.Duration // tests: a shorter writeStall
}

const (
	defaultConns    = 64
	defaultInFlight = 32
	defaultEvents   = 1024
	acceptPause     = 100 * time.Millisecond // after a failed accept: out of descriptors is not mended faster
)

// Server is a control socket that listens. Serve answers it, Close ends it.
type Server struct {
	o        ServerOptions
	uid      uint32 // our own
	whois    func(*net.UnixConn) (Peer, error)
	groupsOf func(uid uint32) []uint32
	l        *net.UnixListener
	file     os.FileInfo // of the socket as we made it

	closing context.Context
	end     context.CancelFunc
	running sync.WaitGroup // connections
	panics  atomic.Uint64

	mu    sync.Mutex
	conns map[*Conn]struct{}
}

// Listen makes the socket and refuses, naming the path, when another process listens there. Nothing is accepted before
// Serve.
func Listen(o ServerOptions) (*Server, error) {
	if o.Handler == nil {
		return nil, errors.New("control: ServerOptions.Handler is nil")
	}
	s := newServer(o)
	l, err := bind(&s.o)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(s.o.Path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control socket %s: %w", s.o.Path, err), l.Close())
	}
	s.l, s.file = l, info
	return s, nil
}

// newServer fills the defaults in.
func newServer(o ServerOptions) *Server {
	if o.Mode == 0 {
		o.Mode = defaultMode
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.MaxConns = orDefault(o.MaxConns, defaultConns)
	o.MaxInFlight = orDefault(o.MaxInFlight, defaultInFlight)
	o.EventQueue = orDefault(o.EventQueue, defaultEvents)
	o.maxLine = orDefault(o.maxLine, MaxLine)
	o.stall = orDefault(o.stall, writeStall)
	s := &Server{o: o, uid: uint32(os.Geteuid()), whois: credentials, groupsOf: groupsOf, conns: map[*Conn]struct{}{}}
	s.closing, s.end = context.WithCancel(context.Background())
	return s
}

func orDefault[N int | time.Duration](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

// Serve accepts connections until Close, then returns nil. Any other error is the listener's and final.
func (s *Server) Serve() error {
	for {
		nc, err := s.l.AcceptUnix()
		switch {
		case err == nil:
			s.admit(nc)
		case s.closing.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("control socket %s: accept: %w", s.o.Path, err)
		default:
			s.o.Log.Error("control: accept failed", "socket", s.o.Path, "error", err)
			select {
			case <-time.After(acceptPause):
			case <-s.closing.Done():
			}
		}
	}
}

// admit checks who connected and starts serving, or says why not and hangs up.
func (s *Server) admit(nc *net.UnixConn) {
	peer, err := s.whois(nc)
	if err != nil {
		s.refuse(nc, peer, fmt.Sprintf("your credentials cannot be read: %v", err))
		return
	}
	if !s.allowed(peer) {
		s.refuse(nc, peer, fmt.Sprintf("user %d (group %d) may not use this socket: add it to control.users or control.groups", peer.UID, peer.GID))
		return
	}
	c := newConn(s, nc, peer)
	switch err := s.enter(c); {
	case err != nil:
		s.refuse(nc, peer, err.Error())
	default:
		go func() {
			defer s.leave(c)
			c.serve()
		}()
	}
}

// refuse answers a connection with one line and closes it.
func (s *Server) refuse(nc *net.UnixConn, peer Peer, why string) {
	s.o.Log.Warn("control: connection refused", "uid", peer.UID, "gid", peer.GID, "pid", peer.PID, "reason", why)
	nc.SetWriteDeadline(time.Now().Add(s.o.stall))
	nc.Write(appendAnswer(nil, nil, nil, Errorf(CodeRefused, "refused: %s", why), s.o.maxLine)) // a peer that is gone already misses nothing
	nc.Close()
}

// enter takes a connection among those served, unless the server is full or ends.
func (s *Server) enter(c *Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing.Err() != nil:
		return errors.New("the server ends")
	case len(s.conns) >= s.o.MaxConns:
		return fmt.Errorf("all %d connections are taken: close one", s.o.MaxConns)
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return nil
}

func (s *Server) leave(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if s.o.OnClose != nil {
		s.o.OnClose(c)
	}
	s.running.Done()
}

// Conns counts the connections.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Panics counts the handler's panics since Listen: each is a fault to mend.
func (s *Server) Panics() uint64 { return s.panics.Load() }

// Close stops accepting, hangs up on everybody, waits for the calls that run and removes the socket. The handler's calls
// see their ctx end. Not to be called from within a call.
func (s *Server) Close() error {
	s.mu.Lock()
	ended := s.closing.Err() != nil
	for c := range s.conns {
		c.hangUp()
	}
	s.end()
	s.mu.Unlock()
	if ended {
		s.running.Wait()
		return nil
	}
	err := s.l.Close()
	s.running.Wait()
	if now, statErr := os.Lstat(s.o.Path); statErr == nil && os.SameFile(now, s.file) {
		if rmErr := os.Remove(s.o.Path); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			err = errors.Join(err, rmErr)
		}
	}
	return err
}
