package b2bua

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patienceOfTests is when a test that waits for a message gives up. Nothing is asserted about how long things take.
const patienceOfTests = 10 * time.Second

// peer is a SIP endpoint that a test plays by hand: a UDP socket, and messages written out.
type peer struct {
	t    testing.TB
	name string
	conn *net.UDPConn
	addr netip.AddrPort
	in   chan message
	seen []message // what next took, in order

	stream *streamSide // over TCP; nil: conn
}

// message is a SIP message as lines.
type message struct {
	start string
	head  [][2]string
	body  string
	raw   string
	from  netip.AddrPort
}

func newPeer(t testing.TB, name string) *peer {
	t.Helper()
	return newPeerAt(t, name, "127.0.0.1")
}

func newPeerAt(t testing.TB, name, addr string) *peer {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, name: name, conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), in: make(chan message, 4096)}
	t.Cleanup(func() { conn.Close() })
	go p.read()
	return p
}

func (p *peer) read() {
	buf := make([]byte, 65536)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			close(p.in)
			return
		}
		p.in <- parse(string(buf[:n]), from)
	}
}

func parse(raw string, from netip.AddrPort) message {
	m := message{raw: raw, from: from}
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

func (m message) get(name string) string {
	if all := m.all(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (m message) all(name string) (values []string) {
	for _, h := range m.head {
		if strings.EqualFold(h[0], name) {
			values = append(values, h[1])
		}
	}
	return values
}

func (m message) code() int {
	if !strings.HasPrefix(m.start, "SIP/2.0 ") {
		return 0
	}
	n, _ := strconv.Atoi(strings.Fields(m.start)[1])
	return n
}

// is reports "INVITE", "200", or "200 BYE" (with the method of CSeq).
func (m message) is(what string) bool {
	word, method, _ := strings.Cut(what, " ")
	if m.code() != 0 {
		return word == strconv.Itoa(m.code()) && (method == "" || strings.HasSuffix(m.get("CSeq"), " "+method))
	}
	return strings.HasPrefix(m.start, what+" ")
}

func (m message) seq() string { return strings.Fields(m.get("CSeq"))[0] }

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

// next waits for a message that is what says. Others on the way are noted and passed over: 100, retransmissions.
func (p *peer) next(what string) message {
	p.t.Helper()
	timeout := time.After(patienceOfTests)
	for {
		select {
		case m, ok := <-p.in:
			if !ok {
				p.t.Fatalf("%s: socket closed while waiting for %s", p.name, what)
			}
			p.seen = append(p.seen, m)
			if m.is(what) {
				return m
			}
		case <-timeout:
			var got []string
			for _, m := range p.seen {
				got = append(got, m.start)
			}
			p.t.Fatalf("%s: no %s came; so far:\n%s", p.name, what, strings.Join(got, "\n"))
		}
	}
}

// had counts the messages seen so far that are what says, those that nobody took yet included.
func (p *peer) had(what string) (n int) {
	for {
		select {
		case m, ok := <-p.in:
			if ok {
				p.seen = append(p.seen, m)
				continue
			}
		default:
		}
		break
	}
	for _, m := range p.seen {
		if m.is(what) {
			n++
		}
	}
	return n
}

func (p *peer) send(to netip.AddrPort, start string, lines []string, body string) {
	p.t.Helper()
	if body != "" && !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Content-Type:") }) {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	raw := start + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
	if p.stream != nil {
		p.stream.write(p.t, raw)
		return
	}
	if _, err := p.conn.WriteToUDPAddrPort([]byte(raw), to); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// reply answers a request. extra are header lines.
func (p *peer) reply(req message, status, tag, body string, extra ...string) {
	p.t.Helper()
	var lines []string
	for _, v := range req.all("Via") {
		lines = append(lines, "Via: "+v)
	}
	lines = append(lines, "From: "+req.get("From"))
	to := req.get("To")
	if tag != "" && tagOf(to) == "" {
		to += ";tag=" + tag
	}
	lines = append(lines, "To: "+to, "Call-ID: "+req.get("Call-ID"), "CSeq: "+req.get("CSeq"))
	if !slices.ContainsFunc(extra, func(l string) bool { return strings.HasPrefix(l, "Contact:") }) {
		lines = append(lines, "Contact: <sip:"+p.name+"@"+p.addr.String()+">")
	}
	p.send(req.from, "SIP/2.0 "+status, append(lines, extra...), body)
}

var serial atomic.Int64

// dialog is a peer's view of one dialog: enough to write its requests.
type dialog struct {
	p         *peer
	to        netip.AddrPort
	callID    string
	local     string // From value of our requests
	remote    string // To value
	target    string // Request-URI inside the dialog
	seq       int
	branch    string // of the last INVITE
	inviteSeq int
	uri       string // Request-URI of that INVITE
}

// invite sends the first INVITE of a call.
func (p *peer) invite(to netip.AddrPort, number, body string, extra ...string) *dialog {
	p.t.Helper()
	n := serial.Add(1)
	d := &dialog{p: p, to: to, callID: fmt.Sprintf("cid-%d@%s.secret.example", n, p.name),
		local:  fmt.Sprintf(`"Caller" <sip:%s@%s.secret.example>;tag=%s%d`, "+4311111", p.name, p.name, n),
		remote: "<sip:" + number + "@dialled.secret.example>", target: "sip:" + number + "@" + to.String()}
	d.invite(body, extra...)
	return d
}

// invite sends an INVITE, first or not.
func (d *dialog) invite(body string, extra ...string) {
	d.p.t.Helper()
	d.seq++
	d.inviteSeq, d.branch, d.uri = d.seq, fmt.Sprintf("z9hG4bK%s%d", d.p.name, serial.Add(1)), d.target
	d.request("INVITE", d.seq, d.branch, d.uri, body, extra...)
}

func (d *dialog) request(method string, seq int, branch, uri, body string, extra ...string) {
	d.p.t.Helper()
	lines := []string{
		"Via: SIP/2.0/UDP " + d.p.addr.String() + ";rport;branch=" + branch,
		"Max-Forwards: 70",
		"From: " + d.local, "To: " + d.remote, "Call-ID: " + d.callID,
		fmt.Sprintf("CSeq: %d %s", seq, method),
	}
	if method != "CANCEL" && method != "ACK" {
		lines = append(lines, "Contact: <sip:"+d.p.name+"@"+d.p.addr.String()+">", "User-Agent: "+d.p.name+"-agent-secret")
	}
	d.p.send(d.to, method+" "+uri+" SIP/2.0", append(lines, extra...), body)
}

// answered takes tag and target from a 2xx (or an 18x).
func (d *dialog) answered(res message) {
	d.remote = res.get("To")
	if c := uriOf(res.get("Contact")); c != "" {
		d.target = c
	}
}

func (d *dialog) ack() {
	d.p.t.Helper()
	d.request("ACK", d.inviteSeq, fmt.Sprintf("z9hG4bKack%d", serial.Add(1)), d.target, "")
}

// ackFailure acknowledges a failure: the same branch and Request-URI (RFC 3261 section 17.1.1.3).
func (d *dialog) ackFailure(res message) {
	d.p.t.Helper()
	remote := d.remote
	d.remote = res.get("To")
	d.request("ACK", d.inviteSeq, d.branch, d.uri, "")
	d.remote = remote
}

func (d *dialog) cancel(extra ...string) {
	d.p.t.Helper()
	d.request("CANCEL", d.inviteSeq, d.branch, d.uri, "", extra...)
}

func (d *dialog) bye(extra ...string) {
	d.p.t.Helper()
	d.other("BYE", "", extra...)
}

// other sends any other request inside the dialog.
func (d *dialog) other(method, body string, extra ...string) {
	d.p.t.Helper()
	d.seq++
	d.request(method, d.seq, fmt.Sprintf("z9hG4bK%d", serial.Add(1)), d.target, body, extra...)
}

// uas is the dialog of somebody who was called, from the INVITE and the tag that the answers carry.
func (p *peer) uas(invite message, tag string) *dialog {
	return &dialog{p: p, to: invite.from, callID: invite.get("Call-ID"), local: invite.get("To") + ";tag=" + tag,
		remote: invite.get("From"), target: uriOf(invite.get("Contact")), seq: 100}
}
