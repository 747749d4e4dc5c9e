package b2bua

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// streamSide is what a peer over TCP has instead of a datagram socket.
type streamSide struct {
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

// newStreamPeer listens on TCP; it answers on the connection that came last.
func newStreamPeer(t testing.TB, name string) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, name: name, in: make(chan message, 4096), stream: &streamSide{listener: l},
		addr: l.Addr().(*net.TCPAddr).AddrPort()}
	t.Cleanup(p.stream.die)
	go p.accept()
	return p
}

func (p *peer) accept() {
	for {
		conn, err := p.stream.listener.Accept()
		if err != nil {
			return
		}
		p.stream.mu.Lock()
		p.stream.conns = append(p.stream.conns, conn)
		p.stream.mu.Unlock()
		go p.readStream(conn)
	}
}

// readStream takes messages apart by their Content-Length.
func (p *peer) readStream(conn net.Conn) {
	r := bufio.NewReader(conn)
	from := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	for {
		var head strings.Builder
		length := 0
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
			if v, ok := strings.CutPrefix(line, "Content-Length:"); ok {
				length, _ = strconv.Atoi(strings.TrimSpace(v))
			}
			if line == "\r\n" {
				break
			}
		}
		body := make([]byte, length)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		p.in <- parse(head.String()+string(body), netip.AddrPortFrom(from.Addr(), from.Port()))
	}
}

func (s *streamSide) write(t testing.TB, raw string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) == 0 {
		t.Fatal("nobody connected")
	}
	if _, err := io.WriteString(s.conns[len(s.conns)-1], raw); err != nil {
		t.Fatal(err)
	}
}

// die ends the process that the peer plays: nobody listens, and every connection is gone.
func (s *streamSide) die() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
}
