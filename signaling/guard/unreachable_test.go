package guard

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// nobodyAt is an address of UDP at which nobody listens.
func nobodyAt(t testing.TB, host string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil && host == "::1" {
		t.Skip("no IPv6 here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// asked sends a request, and says how it ended: at once or by an event.
func asked(t testing.TB, s *Stack, method sip.RequestMethod, callID string, to netip.AddrPort, tag string) error {
	t.Helper()
	req := request(method, callID)
	if tag != "" {
		req.To().Params.Add("tag", tag)
	}
	got, on := events()
	if _, err := s.Request(context.Background(), req, Egress{Listener: "u", Dest: to}, on); err != nil {
		return err
	}
	return await(t, got, "the end of "+callID).err
}

func TestDeadPeerIsKnownByICMP(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		for _, method := range []sip.RequestMethod{sip.INVITE, sip.OPTIONS} {
			t.Run(host+" "+string(method), func(t *testing.T) {
				dead := nobodyAt(t, host)
				s := serve(t, Options{Listeners: []Listener{{Name: "u", Transport: "udp", Addr: netip.AddrPortFrom(dead.Addr(), 0)}}})
				err := asked(t, s, method, "dead", dead, "")
				if !errors.Is(err, ErrTransport) || !errors.Is(err, ErrUnreachable) {
					t.Errorf("%v", err)
				}
				if n := s.Stats().Clients; n != 0 {
					t.Errorf("%d transactions are left", n)
				}
			})
		}
	}
}

func TestErrorsOfADeadPeerHurtNobodyElse(t *testing.T) {
	dead := nobodyAt(t, "127.0.0.1")
	s := serve(t, Options{Listeners: udpOnly()})
	p := dialPeer(t, s.Address("u"))
	const times = 200
	for range times {
		got, on := events()
		gone, none := events()
		if _, err := s.Request(context.Background(), request("OPTIONS", "dead"+newBranch()), Egress{Listener: "u", Dest: dead}, none); err != nil && !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		} else if err == nil {
			if err := await(t, gone, "the end of a request to nobody").err; !errors.Is(err, ErrUnreachable) {
				t.Fatal(err)
			}
		}
		if _, err := s.Request(context.Background(), request("OPTIONS", "alive"+newBranch()), Egress{Listener: "u", Dest: p.addr()}, on); err != nil {
			t.Fatalf("the error of another peer: %v", err)
		}
		p.send(answer(p.recv(), "200 OK", "x"))
		if e := await(t, got, "an answer"); e.err != nil || e.res.StatusCode != 200 {
			t.Fatalf("%+v", e)
		}
	}
}

func TestOnlyWhoSawARequestCanEndItByICMP(t *testing.T) {
	s := serve(t, Options{Listeners: udpOnly()})
	l := s.listeners["u"]
	p := dialPeer(t, s.Address("u"))
	begin := func(tag string) (chan event, string) {
		req := request("INVITE", "quoted"+newBranch())
		if tag != "" {
			req.To().Params.Add("tag", tag)
		}
		got, on := events()
		if _, err := s.Request(context.Background(), req, Egress{Listener: "u", Dest: p.addr()}, on); err != nil {
			t.Fatal(err)
		}
		return got, p.recv()
	}
	quiet := func(t *testing.T, got chan event) {
		t.Helper()
		select {
		case e := <-got:
			t.Errorf("%+v", e)
		default:
		}
	}
	got, sent := begin("")
	for name, forged := range map[string]string{
		"a branch that was guessed": strings.Replace(sent, param(field(sent, "Via"), "branch"), newBranch(), 1),
		"a branch that is cut off":  sent[:strings.Index(sent, "branch=")+len("branch=")+12],
		"eight bytes":               sent[:8],
		"no request":                "SIP/2.0 200 OK\r\n" + sent,
		"nothing":                   "",
	} {
		t.Run(name, func(t *testing.T) {
			l.unreachable([]byte(forged), p.addr())
			quiet(t, got)
		})
	}
	t.Run("another address", func(t *testing.T) {
		l.unreachable([]byte(sent), netip.AddrPortFrom(p.addr().Addr(), 9))
		quiet(t, got)
	})
	t.Run("a request inside a dialog", func(t *testing.T) {
		got, sent := begin("theirs")
		l.unreachable([]byte(sent), p.addr())
		quiet(t, got)
	})
	t.Run("one that was answered", func(t *testing.T) {
		got, sent := begin("")
		p.send(answer(sent, "180 Ringing", "x"))
		await(t, got, "180")
		l.unreachable([]byte(sent), p.addr())
		quiet(t, got)
	})
	t.Run("what was seen", func(t *testing.T) {
		l.unreachable([]byte(sent[:strings.Index(sent, "\r\nFrom")+len("\r\n")]), p.addr())
		if e := await(t, got, "the end"); !errors.Is(e.err, ErrUnreachable) {
			t.Errorf("%+v", e)
		}
	})
}

func TestErrorThatIsNoDestinationUnreachableMeansNothing(t *testing.T) {
	message := func(origin, kind, code byte) []byte {
		b := make([]byte, 16+16) // cmsghdr on 64 bits, sock_extended_err
		b[0], b[8+4], b[16], b[16+4], b[16+5], b[16+6] = 32, 11, 111, origin, kind, code
		return b
	}
	for _, tt := range []struct {
		origin, kind, code byte
		dead               bool
	}{{2, 3, 3, true}, {2, 3, 1, true}, {2, 3, 4, false}, {2, 11, 0, false}, {2, 4, 0, false}, {1, 3, 3, false}, {0, 0, 0, false}} {
		if got := means(message(tt.origin, tt.kind, tt.code)); got != tt.dead {
			t.Errorf("origin %d, type %d, code %d: %v", tt.origin, tt.kind, tt.code, got)
		}
	}
	if means(nil) || means(make([]byte, 5)) {
		t.Error("nothing means nothing")
	}
}

// FuzzQuoted reads arbitrary quotes: a key that is found stands in them.
func FuzzQuoted(f *testing.F) {
	f.Add([]byte("INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKabc;rport\r\n"))
	f.Add([]byte("INVITE branch="))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, ok := quoted(b); ok && (!unique(key.branch) || !strings.Contains(string(b), "branch="+key.branch) || !strings.HasPrefix(string(b), string(key.method))) {
			t.Fatalf("%q: %+v", b, key)
		}
	})
}
