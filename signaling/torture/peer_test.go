package torture

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// peer is a SIP endpoint that a test plays by hand: a socket, and messages written out.
type peer struct {
	t      *testing.T
	name   string
	wire   string         // udp, tcp, tls
	at     netip.AddrPort // its own
	tandem netip.AddrPort
	tls    *tls.Config
	udp    *net.UDPConn
	listen net.Listener

	mu    sync.Mutex
	call  net.Conn   // the connection that it opened; nil before
	doors int        // connections that it accepted
	seen  []*message // in order of arrival
	fresh chan struct{}
}

// message is a SIP message as lines.
type message struct {
	start string
	head  [][2]string
	body  string
	raw   string
	back  func([]byte) error
	taken bool
}

func (w *world) newPeer(name, wire string, at, tandem netip.AddrPort, ca *trust) *peer {
	t := w.t
	t.Helper()
	p := &peer{t: t, name: name, wire: wire, at: at, tandem: tandem, fresh: make(chan struct{}, 1)}
	var err error
	switch wire {
	case "udp":
		if p.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err == nil {
			t.Cleanup(func() { p.udp.Close() })
			go p.readDatagrams()
		}
	default:
		if p.listen, err = net.Listen("tcp", at.String()); err == nil {
			if wire == "tls" {
				p.tls = ca.identity(name+".test", at.Addr())
				p.listen = tls.NewListener(p.listen, p.tls)
			}
			t.Cleanup(func() { p.listen.Close() })
			go p.accept()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s (%s) saw:\n%s", name, at, p.story())
		}
	})
	return p
}

func (p *peer) readDatagrams() {
	buf := make([]byte, 65536)
	for {
		n, from, err := p.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		p.arrived(string(buf[:n]), func(b []byte) error { _, err := p.udp.WriteToUDPAddrPort(b, from); return err })
	}
}

func (p *peer) accept() {
	for {
		c, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.doors++
		p.mu.Unlock()
		p.t.Cleanup(func() { c.Close() })
		go p.readStream(c)
	}
}

// accepted counts the connections that tandem opened.
func (p *peer) accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.doors
}

// readStream frames by Content-Length.
func (p *peer) readStream(c net.Conn) {
	r := bufio.NewReader(c)
	back := func(b []byte) error { _, err := c.Write(b); return err }
	for {
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if head.Len() == 0 && line == "\r\n" { // a ping
				continue
			}
			head.WriteString(line)
			if line == "\r\n" {
				break
			}
		}
		n, _ := strconv.Atoi(parse(head.String()).get("Content-Length"))
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		p.arrived(head.String()+string(body), back)
	}
}

func (p *peer) arrived(raw string, back func([]byte) error) {
	m := parse(raw)
	m.back = back
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, before := range p.seen {
		m.taken = m.taken || before.raw == raw // a retransmission is no news
	}
	p.seen = append(p.seen, m)
	select {
	case p.fresh <- struct{}{}:
	default:
	}
}

func parse(raw string) *message {
	m := &message{raw: raw}
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	m.body = body
	lines := strings.Split(head, "\r\n")
	m.start = lines[0]
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ":")
		m.head = append(m.head, [2]string{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return m
}

// get is the first value of a header, all are all of them.
func (m *message) get(name string) string {
	if all := m.all(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (m *message) all(name string) (values []string) {
	for _, h := range m.head {
		if strings.EqualFold(h[0], name) {
			values = append(values, h[1])
		}
	}
	return values
}

func (m *message) code() int {
	if !strings.HasPrefix(m.start, "SIP/2.0 ") {
		return 0
	}
	n, _ := strconv.Atoi(strings.Fields(m.start)[1])
	return n
}

// is reports "INVITE", "200", "200 BYE" (with the method of CSeq), "4xx INVITE" or "final INVITE".
func (m *message) is(what string) bool {
	word, method, _ := strings.Cut(what, " ")
	code := m.code()
	if code == 0 {
		return strings.HasPrefix(m.start, what+" ")
	}
	if method != "" && !strings.HasSuffix(m.get("CSeq"), " "+method) {
		return false
	}
	if class, ok := strings.CutSuffix(word, "xx"); ok {
		return class == strconv.Itoa(code/100) && code != 100
	}
	return word == strconv.Itoa(code) || word == "final" && code >= 200
}

func (m *message) seq() int {
	n, _ := strconv.Atoi(strings.Fields(m.get("CSeq"))[0])
	return n
}

func tagOf(value string) string {
	_, tag, _ := strings.Cut(value, ";tag=")
	tag, _, _ = strings.Cut(tag, ";")
	return tag
}

func uriOf(value string) string {
	_, rest, _ := strings.Cut(value, "<")
	uri, _, _ := strings.Cut(rest, ">")
	return uri
}

// next waits for a message that nobody took yet and that is what says.
func (p *peer) next(what string) *message { p.t.Helper(); return p.match(what, nil) }

// of waits for such a message of one call.
func (p *peer) of(callID, what string) *message {
	p.t.Helper()
	return p.match(what, func(m *message) bool { return m.get("Call-ID") == callID })
}

func (p *peer) match(what string, fits func(*message) bool) *message {
	p.t.Helper()
	return p.within(patience, what, fits)
}

func (p *peer) within(limit time.Duration, what string, fits func(*message) bool) *message {
	p.t.Helper()
	end := time.After(limit)
	for {
		if m := p.take(what, fits); m != nil {
			return m
		}
		select {
		case <-p.fresh:
		case <-end:
			p.t.Fatalf("%s: no %s came", p.name, what)
		}
	}
}

func (p *peer) take(what string, fits func(*message) bool) *message {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.seen {
		if !m.taken && m.is(what) && (fits == nil || fits(m)) {
			m.taken = true
			return m
		}
	}
	return nil
}

// times waits until the very bytes of a message came n times.
func (p *peer) times(m *message, n int) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%s gets %q %d times", p.name, m.start, n), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		count := 0
		for _, x := range p.seen {
			if x.raw == m.raw {
				count++
			}
		}
		return count >= n
	})
}

// had counts the messages so far that are what says, repetitions left out.
func (p *peer) had(what string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[string]bool{}
	for _, m := range p.seen {
		if m.is(what) && !seen[m.raw] {
			seen[m.raw] = true
			n++
		}
	}
	return n
}

// all returns what came so far, as bytes.
func (p *peer) all() (raw []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.seen {
		raw = append(raw, m.raw)
	}
	return raw
}

// story is what came, a line each, with the bodies of the last few messages.
func (p *peer) story() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	const whole = 6
	for i, m := range p.seen {
		if i < len(p.seen)-whole {
			fmt.Fprintf(&b, "  %s [%s]\n", m.start, m.get("CSeq"))
		} else {
			b.WriteString("  " + strings.ReplaceAll(strings.TrimSpace(m.raw), "\r\n", "\n  ") + "\n\n")
		}
	}
	return b.String()
}

// raw sends bytes to tandem.
func (p *peer) raw(text string) {
	p.t.Helper()
	if p.wire == "udp" {
		if _, err := p.udp.WriteToUDPAddrPort([]byte(text), p.tandem); err != nil {
			p.t.Fatalf("%s: %v", p.name, err)
		}
		return
	}
	if _, err := p.dial().Write([]byte(text)); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// dial is the connection to tandem, opened when it is first needed.
func (p *peer) dial() net.Conn {
	p.t.Helper()
	if p.call != nil {
		return p.call
	}
	var err error
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.at.Addr(), 0)), Timeout: patience}
	if p.wire == "tls" {
		c := p.tls.Clone()
		c.InsecureSkipVerify = true // the test is about what tandem sees
		p.call, err = tls.DialWithDialer(&d, "tcp", p.tandem.String(), c)
	} else {
		p.call, err = d.Dial("tcp", p.tandem.String())
	}
	if err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	p.t.Cleanup(func() { p.call.Close() })
	go p.readStream(p.call)
	return p.call
}

// text writes a message: Content-Type, where there is a body and no other is given, and Content-Length are added.
func text(start string, lines []string, body string) string {
	lines = slices.Clone(lines)
	if body != "" && !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Content-Type:") }) {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	return start + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// reply answers a request where it came from. extra are header lines.
func (p *peer) reply(req *message, status, tag, body string, extra ...string) {
	p.t.Helper()
	var lines []string
	for _, v := range req.all("Via") {
		lines = append(lines, "Via: "+v)
	}
	for _, v := range req.all("Record-Route") {
		lines = append(lines, "Record-Route: "+v)
	}
	to := req.get("To")
	if tag != "" && tagOf(to) == "" {
		to += ";tag=" + tag
	}
	lines = append(lines, "From: "+req.get("From"), "To: "+to, "Call-ID: "+req.get("Call-ID"), "CSeq: "+req.get("CSeq"))
	if !slices.ContainsFunc(extra, func(l string) bool { return strings.HasPrefix(l, "Contact:") }) {
		lines = append(lines, "Contact: "+p.contact())
	}
	if err := req.back([]byte(text("SIP/2.0 "+status, append(lines, extra...), body))); err != nil {
		p.t.Errorf("%s: %v", p.name, err)
	}
}

func (p *peer) contact() string {
	transport := ""
	if p.wire != "udp" {
		transport = ";transport=" + p.wire
	}
	return "<sip:" + p.name + "@" + p.at.String() + transport + ">"
}
