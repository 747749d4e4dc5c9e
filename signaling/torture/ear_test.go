package torture

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// ear is the media end of a peer: the UDP socket that the peer's SDP names. It keeps what arrives.
type ear struct {
	t    *testing.T
	conn *net.UDPConn
	ssrc uint32
	pt   byte
	seq  uint16
	when uint32 // timestamp

	seal func([]byte) []byte // nil: plain RTP

	mu    sync.Mutex
	open  func([]byte) ([]byte, bool) // nil: plain RTP
	heard [][]byte                    // in clear
	from  netip.AddrPort              // of the last
	junk  int                         // packets that could not be opened
	news  chan struct{}               // closed when the next packet came

	above *ear // at the next port, for RTCP; nil: this is one
}

// listen opens an ear at an even port, and one above it for RTCP (RFC 3550 section 11).
func listen(t *testing.T, at netip.Addr, ssrc uint32) *ear {
	t.Helper()
	for range 1000 {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		if local.Port()%2 != 0 {
			continue
		}
		next, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, local.Port()+1)))
		if err != nil {
			continue
		}
		t.Cleanup(func() { next.Close() })
		e := &ear{t: t, conn: conn, ssrc: ssrc, news: make(chan struct{}), seq: 65530} // wraps early
		e.above = &ear{t: t, conn: next, ssrc: ssrc, news: make(chan struct{})}
		go e.hear()
		go e.above.hear()
		return e
	}
	t.Fatalf("no pair of ports on %s", at)
	return nil
}

func (e *ear) hear() {
	b := make([]byte, 65536)
	for {
		n, from, err := e.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		e.took(bytes.Clone(b[:n]), from)
	}
}

func (e *ear) took(p []byte, from netip.AddrPort) {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.news)
	e.news = make(chan struct{})
	e.from = from
	if e.open != nil {
		clear, ok := e.open(p)
		if !ok {
			e.junk++
			return
		}
		p = clear
	}
	e.heard = append(e.heard, p)
}

// spoilt counts the packets that could not be opened.
func (e *ear) spoilt() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.junk
}

func (e *ear) at() netip.AddrPort { return e.conn.LocalAddr().(*net.UDPAddr).AddrPort() }
func (e *ear) port() int          { return int(e.at().Port()) }

// got returns what arrived so far.
func (e *ear) got() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([][]byte(nil), e.heard...)
}

// RTP as it is sent here (RFC 3550 section 5.1): 20 ms of an eight-bit codec.
const (
	rtpHeader = 12
	frame     = 160
	frameTime = 20 * time.Millisecond
)

// packet makes the next packet of the stream: its payload differs from every other's.
func (e *ear) packet() []byte {
	p := make([]byte, rtpHeader+frame)
	p[0], p[1] = 2<<6, e.pt
	binary.BigEndian.PutUint16(p[2:], e.seq)
	binary.BigEndian.PutUint32(p[4:], e.when)
	binary.BigEndian.PutUint32(p[8:], e.ssrc)
	for i := range frame {
		p[rtpHeader+i] = byte(i*7 + int(e.seq)*13 + int(e.ssrc))
	}
	e.seq++
	e.when += frame
	return p
}

// send sends bytes as they are.
func (e *ear) send(to string, p []byte) {
	e.t.Helper()
	if _, err := e.conn.WriteToUDPAddrPort(p, netip.MustParseAddrPort(to)); err != nil {
		e.t.Fatal(err)
	}
}

// say sends one packet, sealed where the ear has a key, and returns it in clear.
func (e *ear) say(to string) []byte {
	e.t.Helper()
	p := e.packet()
	e.utter(to, p)
	return p
}

// utter seals and sends a packet of a test's own making.
func (e *ear) utter(to string, p []byte) {
	e.t.Helper()
	out := bytes.Clone(p)
	if e.seal != nil {
		out = e.seal(out)
	}
	e.send(to, out)
}

// has reports whether a packet arrived: payload, payload type, marker and timestamp as they were sent. Sequence numbers and the
// SSRC are the relay's own where a stream is sealed anew.
func (e *ear) has(p []byte) bool {
	for _, q := range e.got() {
		if len(q) > rtpHeader && bytes.Equal(q[rtpHeader:], p[rtpHeader:]) && q[1] == p[1] && bytes.Equal(q[4:8], p[4:8]) {
			return true
		}
	}
	return false
}

// tell sends one packet and waits until the other ear has it.
func (e *ear) tell(to string, other *ear) {
	e.t.Helper()
	e.tellAs(to, other, e.packet())
}

func (e *ear) tellAs(to string, other *ear, p []byte) {
	e.t.Helper()
	e.utter(to, p)
	other.awaits(p)
}

// hears waits until ok, asked anew with each packet that comes; false: it did not come to pass in time.
func (e *ear) hears(within time.Duration, ok func() bool) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		e.mu.Lock()
		next := e.news
		e.mu.Unlock()
		if ok() {
			return true
		}
		select {
		case <-next:
		case <-late.C:
			return ok()
		}
	}
}

// gets waits until so many packets came.
func (e *ear) gets(n int, what string) {
	e.t.Helper()
	if !e.hears(patience, func() bool { return len(e.got()) >= n }) {
		e.t.Fatalf("%s did not arrive at %s, which heard %d packets", what, e.at(), len(e.got()))
	}
}

// awaits waits for a packet.
func (e *ear) awaits(p []byte) {
	e.t.Helper()
	if e.hears(patience, func() bool { return e.has(p) }) {
		return
	}
	for _, q := range e.got() {
		e.t.Logf("heard % x", q[:min(len(q), 16)])
	}
	e.t.Fatalf("% x did not arrive at %s, which heard %d packets", p[:min(len(p), 16)], e.at(), len(e.got()))
}

// reach sends packets until one arrives at the other ear: for media that begins a moment after what the test waited for.
func (e *ear) reach(to string, other *ear) {
	e.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		p := e.say(to)
		if other.hears(frameTime, func() bool { return other.has(p) }) {
			return
		}
	}
	e.t.Fatalf("no packet reached %s, which heard %d packets", other.at(), len(other.got()))
}
