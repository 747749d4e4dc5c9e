// Package guard is the SIP stack with its doors watched: what enters is framed, bounded, rated and valid before anybody
// spends more than a linear scan on it, and what leaves cannot carry a header that was smuggled in.
//
// It takes sipgo's messages and parser, and brings its own sockets, dispatch, transactions and serializer (append.go, encode.go).
// The sockets of a general stack hand a request to the newest connection of a stranger, keep an entry for each address that
// ever sent a byte, run each message in a goroutine of its own and so in any order, and let a silent peer hold a lock; owning
// them makes these failures impossible rather than unlikely. The tests named TestTrap1... reproduce each.
//
// The way of a message: udp.go or stream.go (rate, framing) -> filter.go (one linear look) -> receive.go (parse, normalise)
// -> validate.go (RFC 3261 sections 8.2 and 16.3) -> server.go or client.go, with the transactions' states beside them in
// server_state.go and client_state.go, and in rest.go what those that are over wait for -> the Handler.
//
// What does not live here: dialogs, calls, SDP, trunks and routes (signaling/b2bua and its neighbours). Guard does not
// know what a call is; it knows who sent what on which socket and in which transaction.
package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// Options say what to open and whom to call.
type Options struct {
	Listeners []Listener
	Limits    config.SIPLimits // a zero field takes the default of its comment

	// Known tells whether an address belongs to a trunk. It decides the rate class, nothing else, and is asked for each
	// datagram, so it must be fast and must not block. Nil: everybody is known.
	Known func(listener string, src netip.Addr) bool

	// Handler takes each request that passed. It is called in order of arrival for each connection and, on UDP, for each
	// Call-ID; it must not block. It need not say 100: an INVITE that gets nothing else for 100 ms gets that from here. One that is
	// lost in a panic gets a 500, and so does one that nobody answered.
	Handler func(*Inbound)

	Methods   []string // methods that Handler takes; others get 405 or 501. Default: INVITE, ACK, CANCEL, BYE, OPTIONS
	Supported []string // option tags understood in Require; any other gets 420. Default: none
	UserAgent string   // User-Agent and Server header; empty: none

	Log     *slog.Logger // nil: slog.Default
	Metrics Metrics      // nil: only Stats counts

	trying time.Duration // how long an INVITE waits for its 100; 0: tryingAfter
}

// Listener is one socket of ours and the identity that goes with it.
type Listener struct {
	Name      string
	Transport string         // udp, tcp, tls
	Addr      netip.AddrPort // port 0: any free one, see Stack.Address
	Advertise string         // host or host:port written into Via and Contact; default: the bound address

	TLS       *tls.Config // server side, with ClientAuth; VerifyConnection, where set, judges every chain that is shown
	ClientTLS *tls.Config // identity of connections that we open from this listener; see Egress.TLS
}

// Egress says from which of our sockets and to whom a request goes.
type Egress struct {
	Listener   string
	Dest       netip.AddrPort
	ServerName string   // TLS: sent as SNI, and the name that the peer's certificate must carry
	TLSNames   []string // TLS: when set, the certificate must carry one of these instead of ServerName

	// TLS is the identity and trust of the trunk, where it has its own; nil: those of the listener (ClientTLS). Requests
	// share a connection only if they have the same pointer here, and one with a pointer never goes over a connection that
	// the peer opened: that one was proven to the listener. The names are checked by guard; the chain by RootCAs, or with
	// InsecureSkipVerify by VerifyConnection, which must be set then.
	TLS *tls.Config
}

// Errors of the API; what comes back wraps one of them where it applies.
var (
	ErrClosed    = errors.New("the SIP stack is closed")
	ErrAnswered  = errors.New("the request has its final response already")
	ErrTimeout   = errors.New("no response in time")  // RFC 3261 timers B and F
	ErrTransport = errors.New("the transport failed") // refused, unreachable, TLS, connection lost
	ErrStalled   = errors.New("the peer does not read")
)

// Stack is an open set of listeners.
type Stack struct {
	opt       Options
	log       *slog.Logger
	born      time.Time
	parser    *sip.Parser
	listeners map[string]*listener
	order     []*listener // as in Options
	seed      maphash.Seed
	agent     sip.Header // User-Agent of every request, nil: none
	server    sip.Header // Server of every response, nil: none

	counters  counters
	strangers *rates // per source that is no trunk's
	crowd     *rates // all of those together
	trunks    *rates // per source of a trunk
	doors     doors  // stream connections admitted
	servers   serverTable
	clients   clientTable
	streams   streamTable
	calming   *time.Timer // sayTrying

	gate   sync.Mutex // no goroutine begins after closed
	work   sync.WaitGroup
	closed chan struct{}
	once   sync.Once
}

// listener is a Listener that is bound.
type listener struct {
	Listener
	stack *Stack
	local netip.AddrPort
	host  string // sent-by, without brackets
	port  int
	proto string // transport token of Via: UDP, TCP, TLS
	udp   *net.UDPConn
	tcp   net.Listener
	desks []chan datagram // UDP: one worker each, chosen by Call-ID

	collecting atomic.Bool // somebody is about to read ICMP errors
}

// Open binds every listener or none. The error names the listener and its address.
func Open(ctx context.Context, opt Options) (*Stack, error) {
	if opt.Handler == nil {
		return nil, errors.New("sip: no handler for requests")
	}
	s := &Stack{opt: opt, log: opt.Log, born: time.Now(), listeners: map[string]*listener{}, seed: maphash.MakeSeed(), closed: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.opt.Known == nil {
		s.opt.Known = func(string, netip.Addr) bool { return true }
	}
	if len(s.opt.Methods) == 0 {
		s.opt.Methods = []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"}
	}
	s.opt.Limits = withDefaults(opt.Limits)
	if s.opt.trying <= 0 {
		s.opt.trying = tryingAfter
	}
	if ua := opt.UserAgent; ua != "" {
		s.agent, s.server = sip.NewHeader("User-Agent", ua), sip.NewHeader("Server", ua)
	}
	s.parser = sip.NewParser()
	s.parser.MaxMessageLength = s.opt.Limits.Message
	s.strangers = newRates(s.seed, s.opt.Limits.StrangerRate, rateSets)
	s.crowd = newRates(s.seed, s.opt.Limits.StrangerRate*strangersTogether, 1)
	s.trunks = newRates(s.seed, s.opt.Limits.TrunkRate, rateSets)
	s.servers.open()
	s.clients.open()
	s.streams.open()
	s.doors.open(s.opt.Limits)
	s.calming = time.AfterFunc(s.opt.trying, s.sayTrying)
	for _, l := range opt.Listeners {
		if err := s.bind(ctx, l); err != nil {
			s.Close()
			return nil, fmt.Errorf("sip listener %s: %s %s: %w", l.Name, l.Transport, l.Addr, err)
		}
	}
	return s, nil
}

// withDefaults fills the fields that are zero with what internal/config documents.
func withDefaults(l config.SIPLimits) config.SIPLimits {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&l.Message, 65535)
	set(&l.Connections, 4096)
	set(&l.PerSource, 256)
	set(&l.StrangerRate, 10)
	set(&l.TrunkRate, 5000)
	span(&l.Handshake, 5*time.Second)
	span(&l.Idle, 15*time.Minute)
	span(&l.RingTimeout, 3*time.Minute)
	return l
}

func (s *Stack) bind(ctx context.Context, l Listener) error {
	if _, twice := s.listeners[l.Name]; twice {
		return errors.New("two listeners have this name")
	}
	b := &listener{Listener: l, stack: s, proto: strings.ToUpper(l.Transport)}
	var lc net.ListenConfig
	switch l.Transport {
	case "udp":
		c, err := lc.ListenPacket(ctx, "udp", l.Addr.String())
		if err != nil {
			return err
		}
		b.udp = c.(*net.UDPConn)
		b.local = b.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	case "tls", "tcp":
		if l.Transport == "tls" && l.TLS == nil {
			return errors.New("transport tls needs a certificate; set tls on this listener")
		}
		c, err := lc.Listen(ctx, "tcp", l.Addr.String())
		if err != nil {
			return err
		}
		b.tcp = c
		b.local = c.Addr().(*net.TCPAddr).AddrPort()
	default:
		return errors.New("unknown transport; use udp, tcp or tls")
	}
	s.listeners[l.Name], s.order = b, append(s.order, b) // first, so that a failure below still closes the socket
	b.local = netip.AddrPortFrom(b.local.Addr().Unmap(), b.local.Port())
	return b.advertise()
}

// advertise settles the sent-by host and port (RFC 3261 section 18.1.1).
func (l *listener) advertise() error {
	l.host, l.port = l.local.Addr().String(), int(l.local.Port())
	if l.Advertise == "" {
		if l.local.Addr().IsUnspecified() {
			return errors.New("an unspecified address cannot be written into Via and Contact; bind a concrete one or set advertise")
		}
		return nil
	}
	host, port := l.Advertise, ""
	if h, p, err := net.SplitHostPort(l.Advertise); err == nil {
		host, port = h, p
	}
	l.host = strings.Trim(host, "[]")
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("advertise %q: the port is not 1-65535", l.Advertise)
		}
		l.port = int(n)
	}
	if !plainHost(l.host) {
		return fmt.Errorf("advertise %q: not a host name or an address", l.Advertise)
	}
	return nil
}

// plainHost reports whether h may stand as a host in a header without quoting.
func plainHost(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	ok := h != ""
	for i := 0; i < len(h); i++ {
		c := h[i]
		ok = ok && (c == '-' || c == '.' || c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z')
	}
	return ok
}

// Serve reads every listener until ctx is done or Close is called, then closes the stack and waits for its goroutines.
// The Handler is called only while Serve runs.
func (s *Stack) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	for _, l := range s.order {
		if l.udp != nil {
			l.serveDatagrams()
		} else {
			s.goes(l.accept)
		}
	}
	s.goes(s.sweep)
	<-s.closed
	s.work.Wait()
	return nil
}

// goes runs f in a goroutine that Serve waits for; false when the stack is closed and f was not run.
func (s *Stack) goes(f func()) bool {
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.isClosed() {
		return false
	}
	s.work.Go(f)
	return true
}

// Close ends every socket and every transaction; nothing is delivered afterwards.
func (s *Stack) Close() error {
	s.once.Do(func() {
		s.gate.Lock()
		close(s.closed)
		s.gate.Unlock()
		s.calming.Stop()
		for _, l := range s.order {
			if l.udp != nil {
				l.udp.Close()
			}
			if l.tcp != nil {
				l.tcp.Close()
			}
		}
		s.clients.closeAll(ErrClosed)
		s.servers.closeAll()
		s.streams.closeAll(ErrClosed)
	})
	return nil
}

func (s *Stack) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// Address is where a listener is bound; the zero AddrPort for a name that does not exist.
func (s *Stack) Address(name string) netip.AddrPort {
	if l := s.listeners[name]; l != nil {
		return l.local
	}
	return netip.AddrPort{}
}

// Contact is the host:port that the outside uses for a listener, brackets around IPv6; empty for an unknown name.
func (s *Stack) Contact(name string) string {
	if l := s.listeners[name]; l != nil {
		return net.JoinHostPort(l.host, strconv.Itoa(l.port))
	}
	return ""
}
