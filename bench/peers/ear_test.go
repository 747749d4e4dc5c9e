package peers

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// RTP as it is sent here (RFC 3550 section 5.1, RFC 3551 table 4).
const (
	rtpHeader   = 12                    // bytes
	frame       = 160                   // samples and bytes of 20 ms of PCMU
	frameTime   = 20 * time.Millisecond //
	payloadPCMU = 0
)

// ear is the media end of a peer: the UDP socket that the peer's SDP names. It keeps what arrives.
type ear struct {
	t    *testing.T
	conn *net.UDPConn
	ssrc uint32
	sent [][]byte // by whoever speaks: the test, or its chatter while that runs

	mu    sync.Mutex
	heard [][]byte
}

// listen opens an ear. ssrc marks what it sends, so that every packet tells whose it is.
func listen(t *testing.T, at netip.Addr, ssrc uint32) *ear {
	t.Helper()
	var conn *net.UDPConn
	for { // an even port (RFC 3550 section 11)
		var err error
		if conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0))); err != nil {
			t.Fatal(err)
		}
		if conn.LocalAddr().(*net.UDPAddr).Port%2 == 0 {
			break
		}
		defer conn.Close()
	}
	e := &ear{t: t, conn: conn, ssrc: ssrc}
	done := make(chan struct{})
	go e.hear(done)
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return e
}

func (e *ear) hear(done chan<- struct{}) {
	defer close(done)
	b := make([]byte, 2048)
	for {
		n, _, err := e.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		e.mu.Lock()
		e.heard = append(e.heard, bytes.Clone(b[:n]))
		e.mu.Unlock()
	}
}

// at is the address to write into SDP.
func (e *ear) at() netip.AddrPort { return e.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// all returns what arrived so far.
func (e *ear) all() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([][]byte(nil), e.heard...)
}

// say sends the next packet: its payload differs from every other's.
func (e *ear) say(to netip.AddrPort) {
	n := len(e.sent)
	payload := make([]byte, frame)
	for i := range payload {
		payload[i] = byte(i*7 + n*13 + int(e.ssrc))
	}
	e.send(to, n, payload)
}

// send sends packet n of this end's stream.
func (e *ear) send(to netip.AddrPort, n int, payload []byte) {
	p := make([]byte, rtpHeader, rtpHeader+frame)
	p[0], p[1] = 2<<6, payloadPCMU
	binary.BigEndian.PutUint16(p[2:], uint16(65500+n)) // wraps early
	binary.BigEndian.PutUint32(p[4:], uint32(n*frame))
	binary.BigEndian.PutUint32(p[8:], e.ssrc)
	p = append(p, payload...)
	if _, err := e.conn.WriteToUDPAddrPort(p, to); err != nil {
		e.t.Error(err)
	}
	e.sent = append(e.sent, p)
}

// until calls do every 20 ms, with 0, 1, 2 and so on, until the returned function is called or the test ends.
func until(t *testing.T, do func(n int)) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(frameTime)
		defer tick.Stop()
		for n := 0; ; n++ {
			do(n)
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(quit); <-done })
	t.Cleanup(stop)
	return stop
}

// tell sends one packet and waits until the other ear has it.
func (e *ear) tell(to netip.AddrPort, other *ear) {
	e.t.Helper()
	before := len(other.all())
	e.say(to)
	await(e.t, "a packet arrives", func() bool { return len(other.all()) > before })
}

// same asserts that what one ear heard is what another sent, byte for byte and in order.
func same(t *testing.T, way string, heard, sent [][]byte) {
	t.Helper()
	if len(heard) != len(sent) {
		t.Errorf("%s: %d packets sent, %d arrived", way, len(sent), len(heard))
		return
	}
	for i := range sent {
		if !bytes.Equal(heard[i], sent[i]) {
			t.Errorf("%s: packet %d was\n%x, arrived as\n%x", way, i, sent[i], heard[i])
			return
		}
	}
}
