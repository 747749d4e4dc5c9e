package guard

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

var home = netip.MustParseAddrPort("192.0.2.1:5060")

// fullInvite has the headers of an ordinary call.
func fullInvite() string {
	body := "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
	return message("INVITE", "z9hG4bKfull", home, "Contact", "<sip:alice@192.0.2.1:5060;transport=udp>", "Record-Route", "<sip:192.0.2.2;lr>,<sip:192.0.2.3;lr>",
		"Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK", "Supported", "timer,replaces", "Content-Type", "application/sdp",
		"User-Agent", "A Phone/1.0", "Content-Length", fmt.Sprint(len(body))) + body
}

func headOf(msg string) []byte {
	return []byte(msg[:strings.Index(msg, "\r\n\r\n")+4])
}

func TestFilterReadsWhatFramingNeeds(t *testing.T) {
	for _, c := range []struct {
		name, msg string
		length    int
		callID    string
	}{
		{"long names", fullInvite(), 128, "call-z9hG4bKfull"},
		{"compact names in odd case", "BYE sip:a SIP/2.0\r\nI:  x@y \r\nL : 17\r\n\r\n", 17, "x@y"},
		{"neither", "BYE sip:a SIP/2.0\r\nX: 1\r\n\r\n", -1, ""},
		{"the same length twice", "BYE sip:a SIP/2.0\r\nContent-Length: 7\r\nl: 7\r\n\r\n", 7, ""},
		{"a response", "SIP/2.0 200 \r\nl: 0\r\n\r\n", 0, ""},
	} {
		g, out := inspect(headOf(c.msg))
		if out != Delivered || g.length != c.length || string(g.callID) != c.callID {
			t.Errorf("%s: %s, length %d, Call-ID %q", c.name, out, g.length, g.callID)
		}
	}
}

func TestATokenIsMadeOfWhatRFC3261Allows(t *testing.T) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.!%*_+`'~"
	for c := range 256 {
		if got, want := isToken([]byte{byte(c)}), strings.IndexByte(allowed, byte(c)) >= 0; got != want {
			t.Errorf("%q: %t", byte(c), got)
		}
	}
}

func TestFilterBoundsWhatIsQuadraticAndNothingElse(t *testing.T) {
	with := func(name, value string) string {
		return message("OPTIONS", "z9hG4bKb", home, name, value)
	}
	for _, c := range []struct {
		name, msg string
		want      Outcome
	}{
		{"64 parameters", with("Contact", "<sip:a@b>"+strings.Repeat(";p", maxParams)), Delivered},
		{"65 parameters", with("Contact", "<sip:a@b>"+strings.Repeat(";p", maxParams+1)), TooManyParams},
		{"quoted values one after another", with("Via", "SIP/2.0/UDP h;branch=z9hG4bKx;"+strings.Repeat(`a=""`, maxParams/2)), TooManyParams},
		{"quoted values in a URI", with("Contact", `<sip:a@b;a=""a="">`), Smuggled},
		{"quoted values in a URI over folded lines", with("Contact", "<sip:a@b\r\n ;a=\"\"a=\"\">"), Smuggled},
		{"a tag inside quotes over folded lines", with("From", "<sip:a@b>;x=\"y\r\n ;tag=z\""), Smuggled},
		{"a quote in the Request-URI", `OPTIONS sip:a@b;a=""a="" SIP/2.0` + "\r\n\r\n", BadFirstLine},
		{"quotes where they belong", with("Contact", `"A <b>, \"c\"" <sip:a@b>;q="0.1"`), Delivered},
		{"65 parameters over folded lines", with("Contact", "<sip:a@b>"+strings.Repeat(";p", 40)+"\r\n "+strings.Repeat(";p", 25)), TooManyParams},
		{"65 routes in a line", with("Route", strings.Repeat("<sip:a>,", maxParams+1)+"<sip:a>"), TooManyParams},
		{"a Request-URI is no header", "OPTIONS sip:a@b?" + strings.Repeat("h=1&", 10) + " SIP/2.0\r\n\r\n", Delivered},
		{"8 KB of a header that is kept as text (T30)", with("Diversion", strings.Repeat("<sip:a@b>;r=c,", 600)), Delivered},
		{"256 headers", with("X", strings.Repeat("1\r\nX: ", maxHeaders-8)+"1"), Delivered},
		{"257 headers", with("X", strings.Repeat("1\r\nX: ", maxHeaders-7)+"1"), TooManyHeaders},
		{"many parameters over many headers", with("Contact", strings.Repeat("<sip:a>"+strings.Repeat(";p", maxParams)+"\r\nContact: ", 17)+"<sip:a>"), TooManyParams},
		{"a long method", "A" + strings.Repeat("B", maxMethod) + " sip:a SIP/2.0\r\n\r\n", BadFirstLine},
		{"a long first line", "INVITE sip:" + strings.Repeat("a", maxFirstLine) + " SIP/2.0\r\n\r\n", BadFirstLine},
	} {
		if _, out := inspect(headOf(c.msg)); out != c.want {
			t.Errorf("%s: %s, want %s", c.name, out, c.want)
		}
	}
}

func TestFilterAllocatesNothing(t *testing.T) {
	for name, msg := range map[string]string{
		"delivered":        fullInvite(),
		"too many params":  message("OPTIONS", "z9hG4bKb", home, "Contact", "<sip:a@b>"+strings.Repeat(";p", 6000)),
		"too many headers": message("OPTIONS", "z9hG4bKb", home, "X", strings.Repeat("1\r\nX: ", maxHeaders)+"1"),
		"bad first line":   "junk\r\n\r\n",
		"bad line break":   "BYE sip:a SIP/2.0\nX: 1\r\n\r\n",
		"bad header":       "BYE sip:a SIP/2.0\r\nno colon\r\n\r\n",
		"bad length":       "BYE sip:a SIP/2.0\r\nl: x\r\n\r\n",
		"smuggled":         "BYE sip:a SIP/2.0\r\nf: <sip:a>;x=\"y;tag=1\"\r\n\r\n",
	} {
		head := headOf(msg)
		if n := testing.AllocsPerRun(100, func() { inspect(head) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// seeds are messages in the manner of RFC 4475, valid and not.
func seeds() []string {
	full := fullInvite()
	return []string{full, "\r\n\r\n" + full, full + full, full[:len(full)-7], "junk\r\n\r\n", "BYE sip:a SIP/2.0\r\n\r\n",
		message("OPTIONS", "z9hG4bKs", home),
		"INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\nTO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\nfrom   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\nMaX-fOrWaRdS: 0068\r\nCall-ID: wsinv.ndaksdj@192.0.2.1\r\nContent-Length   : 0\r\ncseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\ns :\r\nv:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n\r\n",
		"!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0\r\nVia: SIP/2.0/TCP host1.example.com;branch=z9hG4bK-.!%66*_+`'~\r\nTo: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\" <sip:a@b>\r\nContent-Length: 0\r\n\r\n",
		"SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xd0\xbe\r\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\r\nCall-ID: unreason.1234ksdfak3j2erwedfsASdf\r\nCSeq: 35 INVITE\r\nFrom: sip:user@example.com;tag=11141343\r\nTo: sip:user@example.edu;tag=2229\r\nContent-Length: 0\r\n\r\n",
		"INVITE <sip:user@example.com> SIP/2.0\r\nl: -999\r\n\r\n",
		"OPTIONS sip:user@example.com SIP/7.0\r\nl: 1\r\nContent-Length: 1\r\n\r\na",
	}
}

// FuzzFilter: whatever passes the filter is framed the same way by the parser, costs it a bounded number of parameters,
// and carries no line break that a peer of ours would read as a header.
func FuzzFilter(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	parser := sip.NewParser()
	f.Fuzz(func(t *testing.T, b []byte) {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		head := b[:end+4]
		g, out := inspect(head)
		if out != Delivered {
			return
		}
		if bytes.Count(head, []byte("\n")) != bytes.Count(head, []byte("\r\n")) || bytes.Count(head, []byte("\r")) != bytes.Count(head, []byte("\r\n")) || bytes.IndexByte(head, 0) >= 0 {
			t.Fatalf("passed: %q", head)
		}
		msg, _, err := parser.ParseHeaders(head, false)
		if err != nil {
			return
		}
		length := -1
		for _, h := range msg.GetHeaders("content-length") {
			if n := int(*h.(*sip.ContentLengthHeader)); length >= 0 && n != length {
				t.Fatalf("the parser saw two lengths: %q", head)
			} else {
				length = n
			}
		}
		if length != g.length {
			t.Fatalf("framed as %d, parsed as %d: %q", g.length, length, head)
		}
	})
}

// FuzzFramer: however a stream is cut into reads, the same messages come out, and nothing beyond the limit is held.
func FuzzFramer(f *testing.F) {
	for i, s := range seeds() {
		f.Add([]byte(s), uint8(i))
	}
	f.Add([]byte("BAD"+strings.Repeat("a", 5000)+"\r\n\r\n"), uint8(9)) // two reasons to refuse it: the size comes first
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		const limit = 4096
		cut := func(step int) (log string) {
			fr := framer{limit: limit, buf: make([]byte, 0, 16)}
			for rest := b; ; {
				for {
					msg, pings, out := fr.next()
					if out == Keepalive {
						break
					}
					log += fmt.Sprintf("%s %q ", out, msg)
					if _ = pings; msg == nil {
						return log
					}
					if len(msg) > limit {
						t.Fatalf("a message of %d bytes", len(msg))
					}
				}
				if len(rest) == 0 {
					return log
				}
				fr.room()
				n := copy(fr.buf[len(fr.buf):cap(fr.buf)], rest[:min(step, len(rest))])
				fr.buf, rest = fr.buf[:len(fr.buf)+n], rest[n:]
				if len(fr.buf) > 4*limit+2*step {
					t.Fatalf("%d bytes are held", len(fr.buf))
				}
			}
		}
		if whole, parts := cut(len(b)+1), cut(int(step)+1); whole != parts {
			t.Fatalf("whole: %s\nin steps of %d: %s", whole, int(step)+1, parts)
		}
	})
}

func TestStreamIsFramed(t *testing.T) {
	a, b := message("OPTIONS", "z9hG4bKa", home), fullInvite()
	for _, c := range []struct {
		name, stream string
		want         []Outcome // of what comes out; a nil message ends the list
		lost         bool
	}{
		{"two messages in one read", a + b, []Outcome{Delivered, Delivered}, false},
		{"line breaks between", "\r\n\r\n" + a + "\r\n" + b, []Outcome{Delivered, Delivered}, false},
		{"half a message", a + b[:len(b)-1], []Outcome{Delivered}, false},
		{"a bad one among good ones", a + message("BYE", "x", home, "f", `<sip:a>;x="y;z"`) + a, []Outcome{Delivered, Smuggled, Delivered}, false},
		{"no Content-Length", strings.Replace(a, "Content-Length: 0\r\n", "", 1), []Outcome{BadLength}, true},
		{"a body beyond the limit", strings.Replace(a, "Content-Length: 0", "Content-Length: 99999999", 1), []Outcome{TooLarge}, true},
		{"a head without end", "INVITE sip:a SIP/2.0\r\n" + strings.Repeat("X: 1\r\n", 20000), []Outcome{TooLarge}, true},
		{"another protocol", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", []Outcome{BadFirstLine}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := framer{limit: 65535, buf: []byte(c.stream)}
			var got []Outcome
			lost := false
			for {
				msg, _, out := f.next()
				if out == Keepalive {
					break
				}
				got = append(got, out)
				if lost = msg == nil; lost {
					break
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) || lost != c.lost {
				t.Fatalf("got %v, boundary lost %t", got, lost)
			}
		})
	}
}

func TestPingsAreAnswered(t *testing.T) {
	s := serve(t, Options{Listeners: tcpOnly()})
	c := dialTCP(t, s.Address("t"))
	c.send("\r\n\r\n")
	b := make([]byte, 2)
	if _, err := c.r.Read(b); err != nil || string(b) != "\r\n" {
		t.Fatalf("got %q, %v", b, err)
	}
	msg := message("OPTIONS", "z9hG4bKping", s.Address("t"))
	for i := range msg { // byte by byte: no CRLF inside is taken for a ping
		c.send(msg[i : i+1])
	}
	if res := c.recv(); status(res) != "200" {
		t.Fatalf("got %q", res)
	}
}

func BenchmarkFilter(b *testing.B) {
	head := headOf(fullInvite())
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		inspect(head)
	}
}

func BenchmarkParseOfTheSame(b *testing.B) { // what the filter stands before
	parser, msg := sip.NewParser(), []byte(fullInvite())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parser.ParseSIP(msg); err != nil {
			b.Fatal(err)
		}
	}
}
