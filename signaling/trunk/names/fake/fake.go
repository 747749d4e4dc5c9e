// Package fake is a DNS server on loopback for tests: a real one, on UDP and TCP, that answers from lines of a zone file and
// can be made to misbehave. It knows no zones but one that holds everything, and no recursion; it only claims it.
package fake

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Server is a DNS server. It is safe for concurrent use and stops with its test.
type Server struct {
	Addr netip.AddrPort // of both UDP and TCP

	mu    sync.Mutex
	zone  []dns.RR
	hook  func(w dns.ResponseWriter, q *dns.Msg) bool
	asked []string
}

// negative is how long the server's denials hold, in seconds.
const negative = 7

// Serve starts a server with the records, each a line of a zone file, as "_sip._udp.example.net. 60 IN SRV 10 1 5060 a.example.net.".
func Serve(t testing.TB, records ...string) *Server {
	t.Helper()
	s := new(Server)
	s.Set(t, records...)
	packets, listener := listen(t)
	s.Addr = packets.LocalAddr().(*net.UDPAddr).AddrPort()
	var wait sync.WaitGroup
	t.Cleanup(wait.Wait) // the last of the cleanups
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: listener, Handler: s}} {
		up := make(chan struct{})
		server.NotifyStartedFunc = func() { close(up) }
		wait.Go(func() {
			if err := server.ActivateAndServe(); err != nil {
				t.Errorf("DNS server: %v", err)
			}
		})
		<-up
		t.Cleanup(func() { server.Shutdown() })
	}
	return s
}

// listen opens the same free port for UDP and TCP.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var last error
	for range 20 { // the number may be taken on TCP
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, listener
		}
		last = err
		packets.Close()
	}
	t.Fatal(last)
	return nil, nil
}

// Set replaces all records.
func (s *Server) Set(t testing.TB, records ...string) {
	t.Helper()
	var zone []dns.RR
	for _, line := range records {
		r, err := dns.NewRR(line)
		if err != nil || r == nil {
			t.Fatalf("record %q: %v", line, err)
		}
		zone = append(zone, r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = zone
}

// Hook is asked before the records are. If it reports true it has answered, or kept silent on purpose. Nil: none.
func (s *Server) Hook(hook func(w dns.ResponseWriter, q *dns.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Asked are the questions so far, as "udp SRV _sip._udp.example.net.".
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	hook := s.hook
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s", w.RemoteAddr().Network(), dns.TypeToString[q.Question[0].Qtype], q.Question[0].Name))
	s.mu.Unlock()
	if hook != nil && hook(w, q) {
		return
	}
	m := s.Answer(q)
	if w.RemoteAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	w.WriteMsg(m)
}

// Answer is what the records say to a question: aliases are followed, and the absence of a name or a record is denied.
func (s *Server) Answer(q *dns.Msg) *dns.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	name, exists := q.Question[0].Name, false
	for range len(s.zone) + 1 {
		alias := ""
		for _, r := range s.zone {
			if !strings.EqualFold(r.Header().Name, name) {
				continue
			}
			exists = true
			cname, ok := r.(*dns.CNAME)
			if ok {
				alias = cname.Target
			}
			if ok || r.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, r)
			}
		}
		if alias == "" {
			break
		}
		name, exists = alias, false
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 || m.Answer[len(m.Answer)-1].Header().Rrtype == dns.TypeCNAME {
		m.Ns = append(m.Ns, &dns.SOA{
			Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 3600}, Ns: "ns.", Mbox: "root.", Minttl: negative,
		})
	}
	return m
}
