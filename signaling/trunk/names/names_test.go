package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tandem/signaling/trunk/names/fake"
)

// patient gives a server of a test all the time it needs: only what must time out is asked with less.
const patient = 20 * time.Second

// client asks the servers, and has a hosts file of its own.
func client(t *testing.T, servers ...*fake.Server) *Client {
	c := &Client{Hosts: written(t, "hosts", ""), Try: patient}
	for _, s := range servers {
		c.Servers = append(c.Servers, s.Addr)
	}
	return c
}

// written is a file of the test's own.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// told is an answer about addresses as one line.
func told(addrs []netip.Addr, life time.Duration, err error) string {
	return fmt.Sprint(addrs, " ", life, " ", err)
}

func TestServicesComeWithAllTheirNumbersAndTheLifeOfTheShortest(t *testing.T) {
	s := fake.Serve(t,
		"_sip._udp.example.net. 60 IN SRV 10 5 5060 A.Example.net.",
		"_sip._udp.example.net. 60 IN SRV 20 0 5070 b.example.net.",
		"_sip._udp.example.net. 30 IN SRV 20 0 5071 b.example.net.",
		"_sip._udp.example.net. 30 IN SRV 20 0 5071 b.example.net.",
		"_sip._tcp.example.net. 1 IN SRV 0 0 1 wrong.example.net.",
	)
	got, life, err := client(t, s).Services(context.Background(), "_sip._udp.example.net")
	want := []Service{{"a.example.net", 5060, 10, 5}, {"b.example.net", 5070, 20, 0}, {"b.example.net", 5071, 20, 0}}
	if err != nil || !slices.Equal(got, want) || life != 30*time.Second {
		t.Errorf("%v, %s, %v", got, life, err)
	}
}

func TestServiceThatIsNotOfferedHasNoHost(t *testing.T) {
	s := fake.Serve(t, "_sip._udp.example.net. 60 IN SRV 0 0 0 .")
	got, _, err := client(t, s).Services(context.Background(), "_sip._udp.example.net")
	if err != nil || len(got) != 1 || got[0].Host != "" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAddressesAreThoseOfBothFamilies(t *testing.T) {
	s := fake.Serve(t, "gw.example.net. 60 IN A 192.0.2.1", "gw.example.net. 50 IN AAAA 2001:db8::1", "gw.example.net. 60 IN A 192.0.2.2",
		"four.example.net. 40 IN A 192.0.2.4", "six.example.net. 40 IN AAAA 2001:db8::6")
	for host, want := range map[string]string{
		"gw.example.net":        "[192.0.2.1 192.0.2.2 2001:db8::1] 50s <nil>",
		"GW.Example.NET.":       "[192.0.2.1 192.0.2.2 2001:db8::1] 50s <nil>",
		"four.example.net":      "[192.0.2.4] 40s <nil>",
		"six.example.net":       "[2001:db8::6] 40s <nil>",
		"none.example.net":      "[] 7s addresses of none.example.net: no such record",
		"a..b":                  `[] 0s addresses of a..b: no such record`,
		strings.Repeat("x", 64): "[] 0s addresses of " + strings.Repeat("x", 64) + ": no such record",
	} {
		if got := told(client(t, s).Addresses(context.Background(), host)); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestAliasesAreFollowedWithinAnAnswerAndAcrossAnswers(t *testing.T) {
	s := fake.Serve(t, "gw.example.net. 60 IN CNAME gw.example.org.", "gw.example.org. 20 IN CNAME a.example.org.", "a.example.org. 60 IN A 192.0.2.1")
	c := client(t, s)
	want := "[192.0.2.1] 20s <nil>"
	if got := told(c.Addresses(context.Background(), "gw.example.net")); got != want {
		t.Errorf("in one answer: %s, want %s", got, want)
	}
	s.Hook(func(w dns.ResponseWriter, q *dns.Msg) bool { // a server that tells the first alias and leaves the rest to us
		m := s.Answer(q)
		if len(m.Answer) > 1 {
			m.Answer, m.Ns = m.Answer[:1], nil
		}
		w.WriteMsg(m)
		return true
	})
	if got := told(c.Addresses(context.Background(), "gw.example.net")); got != want {
		t.Errorf("alias by alias: %s, want %s", got, want)
	}
}

func TestRingOfAliasesEnds(t *testing.T) {
	s := fake.Serve(t, "a.example.net. 60 IN CNAME b.example.net.", "b.example.net. 60 IN CNAME a.example.net.")
	s.Hook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := s.Answer(q)
		m.Answer, m.Ns, m.Rcode = m.Answer[:1], nil, dns.RcodeSuccess
		w.WriteMsg(m)
		return true
	})
	_, _, err := client(t, s).Services(context.Background(), "a.example.net")
	if want := "SRV of a.example.net: more than 8 aliases"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if n := len(s.Asked()); n != chainMost+1 {
		t.Errorf("%d questions", n)
	}
}

func TestAnswerThatIsCutOffComesByTCP(t *testing.T) {
	var records []string
	for i := range 100 {
		records = append(records, fmt.Sprintf("_sip._udp.example.net. 60 IN SRV 10 %d 5060 node-%d.example.net.", i, i))
	}
	s := fake.Serve(t, records...)
	got, _, err := client(t, s).Services(context.Background(), "_sip._udp.example.net")
	if err != nil || len(got) != 100 {
		t.Errorf("%d services, %v", len(got), err)
	}
	want := []string{"udp SRV _sip._udp.example.net.", "tcp SRV _sip._udp.example.net."}
	if asked := s.Asked(); !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

func TestAnswerThatIsCutOffByTCPTooIsNone(t *testing.T) {
	s := fake.Serve(t, "_sip._udp.example.net. 60 IN SRV 10 5 5060 a.example.net.")
	s.Hook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := s.Answer(q)
		m.Truncated = true
		w.WriteMsg(m)
		return true
	})
	got, _, err := client(t, s).Services(context.Background(), "_sip._udp.example.net")
	if err == nil || !strings.Contains(err.Error(), "its answer is cut off") {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDenialAndFailureAreToldApart(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(m *dns.Msg)
		none   bool
		want   string
	}{
		"no such name":                {func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, true, ""},
		"the name has no such record": {func(m *dns.Msg) { m.Rcode = dns.RcodeSuccess }, true, ""},
		"an answer without any word":  {func(m *dns.Msg) { m.Rcode, m.Ns = dns.RcodeSuccess, nil }, true, ""},
		"of a server that fails":      {func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, false, "it says SERVFAIL"},
		"of a server that refuses":    {func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }, false, "it says REFUSED"},
		"of a code that nobody knows": {func(m *dns.Msg) { m.Rcode = 13 }, false, "it says response code 13"},
		"of a server that knows only who might know": {func(m *dns.Msg) {
			m.Rcode, m.RecursionAvailable = dns.RcodeSuccess, false
			m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "net.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "ns.example.net."}}
		}, false, "it does not answer for others"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fake.Serve(t)
			s.Hook(func(w dns.ResponseWriter, q *dns.Msg) bool {
				m := s.Answer(q)
				tc.change(m)
				w.WriteMsg(m)
				return true
			})
			_, _, err := client(t, s).Services(context.Background(), "_sip._udp.example.net")
			if err == nil || errors.Is(err, ErrNone) != tc.none || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestServerThatDoesNotHelpIsLeftForTheNext(t *testing.T) {
	for name, hook := range map[string]func(w dns.ResponseWriter, q *dns.Msg) bool{
		"it fails": func(w dns.ResponseWriter, q *dns.Msg) bool {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
			return true
		},
		"its answer is garbage": func(w dns.ResponseWriter, q *dns.Msg) bool {
			w.Write([]byte("no DNS at all, and long enough to be taken for it"))
			m, _ := new(dns.Msg).SetReply(q).Pack()
			m[7] = 200 // records that are not there
			w.Write(m)
			return true
		},
		"its answer is too short for a header": func(w dns.ResponseWriter, q *dns.Msg) bool {
			w.Write([]byte{1, 2, 3})
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			bad := fake.Serve(t)
			bad.Hook(hook)
			good := fake.Serve(t, "_sip._udp.example.net. 60 IN SRV 10 5 5060 a.example.net.")
			got, _, err := client(t, bad, good).Services(context.Background(), "_sip._udp.example.net")
			if err != nil || len(got) != 1 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestAnswerToAnotherQuestionIsNotBelieved(t *testing.T) {
	for name, change := range map[string]func(m *dns.Msg){
		"another name":  func(m *dns.Msg) { m.Question[0].Name = "_sip._udp.example.org." },
		"another kind":  func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA },
		"another class": func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no question":   func(m *dns.Msg) { m.Question = nil },
		"a question":    func(m *dns.Msg) { m.Response = false },
	} {
		t.Run(name, func(t *testing.T) {
			s := fake.Serve(t, "_sip._udp.example.net. 60 IN SRV 10 5 5060 a.example.net.")
			s.Hook(func(w dns.ResponseWriter, q *dns.Msg) bool {
				m := s.Answer(q)
				change(m)
				w.WriteMsg(m)
				return true
			})
			got, _, err := client(t, s).Services(context.Background(), "_sip._udp.example.net")
			if err == nil || !strings.Contains(err.Error(), "it answers another question") {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestRecordsOfOtherNamesAreNotTaken(t *testing.T) {
	s := fake.Serve(t)
	s.Hook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := new(dns.Msg).SetReply(q)
		m.RecursionAvailable = true
		stranger, _ := dns.NewRR("gw.example.org. 60 IN A 203.0.113.66")
		m.Answer = []dns.RR{stranger}
		w.WriteMsg(m)
		return true
	})
	if _, _, err := client(t, s).Addresses(context.Background(), "gw.example.net"); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
}

// silence is a hook that keeps silent.
func silence(dns.ResponseWriter, *dns.Msg) bool { return true }

func TestSlowServerIsLeftForTheNext(t *testing.T) {
	slow := fake.Serve(t)
	slow.Hook(silence)
	good := fake.Serve(t, "_sip._udp.example.net. 60 IN SRV 10 5 5060 a.example.net.", "_sip._tcp.example.net. 60 IN SRV 10 5 5060 a.example.net.")
	c := client(t, slow, good)
	c.Try = 200 * time.Millisecond
	for c.good.Load() != 1 { // a busy machine may lose the good one's answer too
		c.Services(context.Background(), "_sip._udp.example.net")
	}
	c.Try = patient
	if got, _, err := c.Services(context.Background(), "_sip._tcp.example.net"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if slices.Contains(slow.Asked(), "udp SRV _sip._tcp.example.net.") {
		t.Error("the slow one was asked first again")
	}
}

func TestLostAnswerIsAskedForAgain(t *testing.T) {
	s := fake.Serve(t, "_sip._udp.example.net. 60 IN SRV 10 5 5060 a.example.net.")
	lost := make(chan struct{}, 1)
	s.Hook(func(dns.ResponseWriter, *dns.Msg) bool {
		select {
		case lost <- struct{}{}:
			return true
		default:
			return false
		}
	})
	c := client(t, s)
	c.Try = time.Second
	if got, _, err := c.Services(context.Background(), "_sip._udp.example.net"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSilentServersEndWithTheNamesOfAll(t *testing.T) {
	a, b := fake.Serve(t), fake.Serve(t)
	asked := make(chan *fake.Server, 2*rounds)
	for _, s := range []*fake.Server{a, b} {
		s.Hook(func(dns.ResponseWriter, *dns.Msg) bool { asked <- s; return true })
	}
	c := client(t, a, b)
	c.Try = 10 * time.Millisecond
	_, _, err := c.Services(context.Background(), "_sip._udp.example.net")
	for _, want := range []string{"SRV of _sip._udp.example.net: ", "server " + a.Addr.String() + ": ", "server " + b.Addr.String() + ": ", "i/o timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	times := make(map[*fake.Server]int)
	for range 2 * rounds {
		times[<-asked]++
	}
	if times[a] != rounds || times[b] != rounds {
		t.Errorf("asked %d and %d times", times[a], times[b])
	}
	var lost net.Error
	if !errors.As(err, &lost) || !lost.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
}

func TestOneFamilyThatCannotBeAskedIsToldBesideTheOther(t *testing.T) {
	s := fake.Serve(t, "gw.example.net. 60 IN A 192.0.2.1", "gw.example.net. 50 IN AAAA 2001:db8::1")
	for kind, want := range map[uint16]string{dns.TypeA: "2001:db8::1", dns.TypeAAAA: "192.0.2.1"} {
		s.Hook(func(w dns.ResponseWriter, q *dns.Msg) bool {
			if q.Question[0].Qtype == kind {
				w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
			}
			return q.Question[0].Qtype == kind
		})
		got, _, err := client(t, s).Addresses(context.Background(), "gw.example.net")
		if err == nil || errors.Is(err, ErrNone) || len(got) != 1 || got[0].String() != want {
			t.Errorf("without %s: %v, %v", dns.TypeToString[kind], got, err)
		}
	}
}

func TestQuestionEndsWithItsContext(t *testing.T) {
	s := fake.Serve(t)
	s.Hook(silence)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := client(t, s).Services(ctx, "_sip._udp.example.net"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestHostsFileGoesBeforeDNSAndIsReadAgainWhenItChanges(t *testing.T) {
	s := fake.Serve(t, "gw.example.net. 60 IN A 192.0.2.1")
	c := client(t, s)
	if err := os.WriteFile(c.Hosts, []byte("192.0.2.77 other GW.example.net # ours\n2001:db8::77 gw.example.net\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := told(c.Addresses(context.Background(), "gw.example.net")), "[192.0.2.77 2001:db8::77] 10s <nil>"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := os.WriteFile(c.Hosts, []byte("# gw.example.net is in DNS\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := told(c.Addresses(context.Background(), "gw.example.net")), "[192.0.2.1] 1m0s <nil>"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := os.Remove(c.Hosts); err != nil {
		t.Fatal(err)
	}
	if got := c.Local("gw.example.net"); got != nil {
		t.Errorf("without a file: %v", got)
	}
}
