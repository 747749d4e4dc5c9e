package phone

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v2"
)

const (
	frameTime   = 20 * time.Millisecond
	reportEvery = 5 * time.Second // between sender reports (RFC 3550 section 6.2: the minimum)

	maxPacket   = 1500 // bytes read of one datagram
	bindTries   = 100  // for an even port whose odd neighbour is free
	sealMargin  = 32   // bytes that SRTP and SRTCP append at most: a tag of 16, an index of 4
	maxFirstSeq = 1 << 15
)

// A sender report without report blocks (RFC 3550 section 6.4.1).
const (
	senderReport = 200
	reportLen    = 28
)

// ErrEnded is of calls that are over.
var ErrEnded = errors.New("the call is over")

// media is the sockets of one call and what goes through them: one goroutine reads RTP, one RTCP, Talk sends both.
type media struct {
	rtp, rtcp *net.UDPConn
	local     netip.AddrPort // of RTP; RTCP is one above
	suite     *suite         // nil: plain
	ours      key            // what we seal with; the same for the whole call
	wait      sync.WaitGroup

	talking sync.Mutex // one Talk at a time

	mu        sync.Mutex // sending
	remote    netip.AddrPort
	reports   netip.AddrPort // where our RTCP goes
	seal      *srtp.Context
	silent    bool // by direction: hold
	voice     voice
	ssrc      uint32
	seq       uint16
	base      uint32    // timestamp of epoch
	epoch     time.Time // of the first packet
	said      uint64
	nextSR    time.Time
	plain     [rtpHeader + frameSamples]byte
	sealed    []byte
	listening bool

	hearing sync.Mutex // receiving
	ear     ear
	waiting []waiter
}

// waiter wants to know when so many packets were received unharmed.
type waiter struct {
	packets uint64
	reached chan struct{}
}

const rtpHeader = 12 // bytes

// openMedia binds an even port for RTP and the odd one above for RTCP (RFC 3550 section 11).
func openMedia(at netip.Addr, s *suite) (*media, error) {
	m := &media{suite: s, ssrc: rand.Uint32(), seq: uint16(rand.IntN(maxFirstSeq)), base: rand.Uint32()}
	if s != nil {
		m.ours = key{tag: "1", suite: s.name, inline: s.newKey()}
		var err error
		if m.seal, err = s.context(m.ours.inline); err != nil {
			return nil, err
		}
		m.sealed = make([]byte, 0, len(m.plain)+sealMargin)
	}
	var last error
	for range bindTries {
		a, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		if err != nil {
			return nil, fmt.Errorf("media: %w", err)
		}
		port := localOf(a).Port()
		b, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, port^1)))
		if err != nil {
			last = errors.Join(err, a.Close())
			continue
		}
		if port%2 == 1 {
			a, b = b, a
		}
		m.rtp, m.rtcp, m.local = a, b, netip.AddrPortFrom(at, port&^1)
		return m, nil
	}
	return nil, fmt.Errorf("media: no pair of free ports on %s in %d tries: %w", at, bindTries, last)
}

// describe is our side of the SDP.
func (m *media) describe(d *description) {
	d.rtp, d.rtcp = m.local, netip.AddrPortFrom(m.local.Addr(), m.local.Port()+1)
	d.secure, d.keys = m.suite != nil, nil
	if d.secure {
		d.keys = []key{m.ours}
	}
}

// choose finds the peer's key in its SDP, or says why there is no media with it.
func (m *media) choose(peer *description) (key, error) {
	switch {
	case m.suite == nil && peer.secure:
		return key{}, errors.New("the peer wants SRTP, this phone has none")
	case m.suite == nil:
		return key{}, nil
	case !peer.secure:
		return key{}, errors.New("the peer wants plain RTP, this phone demands SRTP")
	}
	for _, k := range peer.keys {
		if k.suite == m.suite.name {
			return k, nil
		}
	}
	return key{}, fmt.Errorf("the peer has no key for %s", m.suite.name)
}

// connect takes the peer's address and key, and whether we talk. The first time it begins to listen.
func (m *media) connect(peer *description, k, was key, silent bool) error {
	if m.suite != nil && k.inline != was.inline {
		m.hearing.Lock()
		err := m.ear.unlock(m.suite, k.inline)
		m.hearing.Unlock()
		if err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remote, m.reports, m.silent = peer.rtp, peer.rtcp, silent || peer.rtp.Addr().IsUnspecified()
	if !m.listening {
		m.listening = true
		m.wait.Go(func() { m.read(m.rtp, func(b []byte) { m.ear.hear(b, time.Now()) }) })
		m.wait.Go(func() { m.read(m.rtcp, func(b []byte) { m.ear.report(b) }) })
	}
	return nil
}

// read hands what arrives to the ear until the socket is closed.
func (m *media) read(c *net.UDPConn, take func([]byte)) {
	buf := make([]byte, maxPacket)
	for {
		n, _, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m.hearing.Lock()
		take(buf[:n])
		m.waiting = slices.DeleteFunc(m.waiting, func(w waiter) bool {
			if m.ear.received < w.packets {
				return false
			}
			close(w.reached)
			return true
		})
		m.hearing.Unlock()
	}
}

// talk sends a frame each 20 ms of an absolute schedule: what comes late does not make the next one late. d is rounded down
// to whole frames; 0 means until ctx or done, which is no error then.
func (m *media) talk(ctx context.Context, d time.Duration, done <-chan struct{}) error {
	if !m.talking.TryLock() {
		return errors.New("the phone talks already on this call")
	}
	defer m.talking.Unlock()
	begin := time.Now()
	next := time.NewTimer(0)
	defer next.Stop()
	for n := 0; d == 0 || n <= int(d/frameTime); n++ {
		next.Reset(time.Until(begin.Add(time.Duration(n) * frameTime)))
		select {
		case <-next.C:
		case <-done:
			return ErrEnded
		case <-ctx.Done():
			if d == 0 {
				return nil
			}
			return ctx.Err()
		}
		if d > 0 && n == int(d/frameTime) {
			return nil // the last frame has been heard out
		}
		if err := m.speak(begin, n); errors.Is(err, net.ErrClosed) {
			return ErrEnded
		} else if err != nil {
			return fmt.Errorf("phone: media: %w", err)
		}
	}
	return nil
}

// speak sends frame n of a Talk that began at begin, and a sender report when one is due.
func (m *media) speak(begin time.Time, n int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.silent {
		return nil
	}
	if m.epoch.IsZero() {
		m.epoch, m.nextSR = begin, begin.Add(reportEvery)
	}
	frames := int(begin.Sub(m.epoch).Round(frameTime)/frameTime) + n
	timestamp := m.base + uint32(frames)*frameSamples
	h := rtp.Header{
		Version: 2, PayloadType: payloadPCMU, Marker: n == 0,
		SequenceNumber: m.seq, Timestamp: timestamp, SSRC: m.ssrc,
	}
	if _, err := h.MarshalTo(m.plain[:]); err != nil {
		return err
	}
	m.voice.say((*[frameSamples]byte)(m.plain[rtpHeader:]), timestamp)
	packet := m.plain[:]
	if m.seal != nil {
		var err error
		if packet, err = m.seal.EncryptRTP(m.sealed[:0], packet, &h); err != nil {
			return err
		}
	}
	if _, err := m.rtp.WriteToUDPAddrPort(packet, m.remote); err != nil {
		return err
	}
	m.seq++
	m.said++
	if now := time.Now(); !now.Before(m.nextSR) {
		m.nextSR = now.Add(reportEvery)
		return m.sendReport(now, timestamp)
	}
	return nil
}

// sendReport sends one sender report.
func (m *media) sendReport(now time.Time, timestamp uint32) error {
	const ntpEpoch = 2208988800 // seconds from 1900 to 1970 (RFC 868)
	b := make([]byte, reportLen, reportLen+sealMargin)
	b[0], b[1] = 2<<6, senderReport
	binary.BigEndian.PutUint16(b[2:], reportLen/4-1)
	binary.BigEndian.PutUint32(b[4:], m.ssrc)
	binary.BigEndian.PutUint32(b[8:], uint32(now.Unix()+ntpEpoch))
	binary.BigEndian.PutUint32(b[12:], uint32(uint64(now.Nanosecond())<<32/uint64(time.Second)))
	binary.BigEndian.PutUint32(b[16:], timestamp)
	binary.BigEndian.PutUint32(b[20:], uint32(m.said))
	binary.BigEndian.PutUint32(b[24:], uint32(m.said)*frameSamples)
	if m.seal != nil {
		var err error
		if b, err = m.seal.EncryptRTCP(nil, b, nil); err != nil {
			return err
		}
	}
	_, err := m.rtcp.WriteToUDPAddrPort(b, m.reports)
	return err
}

// await returns a channel that is closed when n packets were received unharmed.
func (m *media) await(n uint64) <-chan struct{} {
	m.hearing.Lock()
	defer m.hearing.Unlock()
	w := waiter{n, make(chan struct{})}
	if m.ear.received >= n {
		close(w.reached)
		return w.reached
	}
	m.waiting = append(m.waiting, w)
	return w.reached
}

// close ends both sockets and waits for their readers.
func (m *media) close() {
	m.rtp.Close()
	m.rtcp.Close()
	m.wait.Wait()
}
