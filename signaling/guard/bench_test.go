package guard

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// The benchmarks of a call stand between the sockets: what a message costs here and nothing of what the kernel takes. One
// round is all messages of one call on one side, each through the whole way of a datagram and of what leaves.

// nowhere is a link that takes everything.
type nowhere struct{}

func (nowhere) send([]byte) error { return nil }

const benchSDP = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\n" +
	"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"

// benchListener is a listener that reads nothing, with a desk for the datagrams that the benchmark gives to it.
func benchListener(b testing.TB, take func(*Inbound)) *listener {
	s, err := Open(b.Context(), Options{Listeners: []Listener{{Name: "u", Transport: "udp", Addr: netip.MustParseAddrPort("127.0.0.1:0")}},
		Handler: take, UserAgent: "Tandem", Limits: config.SIPLimits{TrunkRate: 1 << 30}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	l := s.listeners["u"]
	l.desks = []chan datagram{make(chan datagram, 1)}
	return l
}

// arrives is what the reader and a worker do with a datagram.
func (l *listener) arrives(b *testing.B, raw []byte, src netip.AddrPort) {
	if out := l.desk(raw, src); out != Delivered {
		b.Fatalf("%s: %.200s", out, raw)
	}
	d := <-l.desks[0]
	l.receive(d.raw, d.src, nowhere{}, nil)
}

// benchMessage is a message as a peer sends it, with a place for the branch, which all of them have at the same length.
func benchMessage(first, cseq, toTag, more, body string) []byte {
	return []byte(first + "\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;rport;branch=" + strings.Repeat("x", len(newBranch())) +
		"\r\nMax-Forwards: 70\r\nFrom: \"Alice\" <sip:+15551230001@example.com>;tag=a1b2c3d4\r\nTo: <sip:+15551230002@example.net>" + toTag +
		"\r\nCall-ID: 7f3a9c1e55d04b7d@192.0.2.1\r\nCSeq: " + cseq + "\r\n" + more + "Content-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body)
}

const benchMore = "Contact: <sip:alice@192.0.2.1:5070>\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\nSupported: timer, 100rel\r\n" +
	"Session-Expires: 1800\r\nUser-Agent: bench\r\nP-Asserted-Identity: <sip:+15551230001@example.com>\r\nContent-Type: application/sdp\r\n"

// BenchmarkServerCall is a call that comes to us: INVITE, 100, 180, 200, ACK, BYE, 200.
func BenchmarkServerCall(b *testing.B) {
	src := netip.MustParseAddrPort("127.0.0.1:5070")
	answer := func(in *Inbound, code int, reason string, body []byte) {
		res := in.Response(code, reason)
		if code > 100 && in.Req.IsInvite() {
			res.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Scheme: "sip", Host: "127.0.0.1", Port: 5060}})
			res.AppendHeader(sip.NewHeader("Allow", "INVITE, ACK, CANCEL, BYE"))
		}
		if body != nil {
			res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
			res.SetBody(body)
		}
		if err := in.Respond(res); err != nil {
			b.Fatal(err)
		}
	}
	sdp := []byte(benchSDP)
	l := benchListener(b, func(in *Inbound) {
		switch {
		case in.Req.IsInvite():
			in.SetLocalTag("d4c3b2a1d4c3b2a1")
			answer(in, 100, "Trying", nil)
			answer(in, 180, "Ringing", nil)
			answer(in, 200, "OK", sdp)
		case in.Tx != nil:
			answer(in, 200, "OK", nil)
		}
	})
	tag := ";tag=d4c3b2a1d4c3b2a1"
	invite := benchMessage("INVITE sip:+15551230002@127.0.0.1 SIP/2.0", "1 INVITE", "", benchMore, benchSDP)
	ack := benchMessage("ACK sip:127.0.0.1:5060 SIP/2.0", "1 ACK", tag, "", "")
	bye := benchMessage("BYE sip:127.0.0.1:5060 SIP/2.0", "2 BYE", tag, "", "")
	b.ReportAllocs()
	for b.Loop() {
		for _, raw := range [][]byte{invite, ack, bye} {
			copy(raw[bytes.Index(raw, []byte("branch="))+len("branch="):], newBranch())
			l.arrives(b, raw, src)
		}
		l.stack.servers.closeAll()
	}
}

// BenchmarkClientCall is a call of ours: INVITE, 100, 180, 200, ACK, BYE, 200.
func BenchmarkClientCall(b *testing.B) {
	src := netip.MustParseAddrPort("127.0.0.1:5070")
	l := benchListener(b, func(*Inbound) {})
	got := 0
	on := func(res *sip.Response, err error) {
		if err == nil {
			got++
		}
	}
	start := func(req *sip.Request) string {
		branch := newBranch()
		if _, err := l.stack.send(req, branch, l, nowhere{}, on); err != nil {
			b.Fatal(err)
		}
		return branch
	}
	sdp := []byte(benchSDP)
	tag := ";tag=d4c3b2a1d4c3b2a1"
	trying := benchMessage("SIP/2.0 100 Trying", "1 INVITE", "", "", "")
	ringing := benchMessage("SIP/2.0 180 Ringing", "1 INVITE", tag, "Contact: <sip:bob@192.0.2.2:5070>\r\n", "")
	agreed := benchMessage("SIP/2.0 200 OK", "1 INVITE", tag, benchMore, benchSDP)
	ended := benchMessage("SIP/2.0 200 OK", "1 BYE", tag, "", "")
	rounds := 0
	b.ReportAllocs()
	for b.Loop() {
		rounds++
		invite := request(sip.INVITE, "7f3a9c1e55d04b7d@192.0.2.1")
		invite.AppendHeader(&sip.ContactHeader{Address: sip.Uri{Scheme: "sip", Host: "127.0.0.1", Port: 5060}})
		invite.AppendHeader(sip.NewHeader("Allow", "INVITE, ACK, CANCEL, BYE"))
		invite.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
		invite.SetBody(sdp)
		branch := start(invite)
		for _, raw := range [][]byte{trying, ringing, agreed} {
			copy(raw[bytes.Index(raw, []byte("branch="))+len("branch="):], branch)
			l.arrives(b, raw, src)
		}
		if _, err := l.encodeRequest(request(sip.ACK, "7f3a9c1e55d04b7d@192.0.2.1"), newBranch()); err != nil {
			b.Fatal(err)
		}
		branch = start(request(sip.BYE, "7f3a9c1e55d04b7d@192.0.2.1"))
		copy(ended[bytes.Index(ended, []byte("branch="))+len("branch="):], branch)
		l.arrives(b, ended, src)
		l.stack.clients.closeAll(nil)
	}
	if got != 4*rounds {
		b.Fatalf("%d responses in %d calls", got, rounds)
	}
}
