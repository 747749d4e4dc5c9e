// Package names asks DNS servers for SRV, A and AAAA records, and tells how long the answers hold.
//
// The failure it prevents is a call that waits for one bad server or follows one bad record: every server is asked in turn
// (TestSlowServerIsLeftForTheNext), an answer to another question is none (TestAnswerToAnotherQuestionIsNotBelieved), and
// "there is no such record" is kept apart from "nobody said", because only the first one may make an old answer void
// (TestDenialAndFailureAreToldApart).
//
// Nothing is remembered here but which server answered last: signaling/trunk keeps answers for their lifetime and orders
// them. Search domains are not used; a name is what it says.
package names

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// ErrNone is DNS's own word that a name or its record does not exist, as opposed to an answer that never came.
var ErrNone = errors.New("no such record")

// hostsLife is how long a line of the hosts file holds: whoever edits it wants to see it work.
const hostsLife = 10 * time.Second

// Service is an SRV record (RFC 2782).
type Service struct {
	Host     string // lower case, no final dot; empty where the record says ".": the service is not offered
	Port     uint16
	Priority uint16 // the lower is tried first
	Weight   uint16 // chance among those of the same priority
}

// Client asks. The zero value asks the servers of this machine. It is safe for concurrent use; its fields are set before.
type Client struct {
	Servers    []netip.AddrPort // asked in turn; none: those of ResolvConf
	ResolvConf string           // resolv.conf(5), read again when it changes; default /etc/resolv.conf
	Hosts      string           // hosts(5), likewise; default /etc/hosts
	Try        time.Duration    // how long one server has for one answer; default 800 ms

	good    atomic.Uint32 // place of the server that answered last: the next question goes there first
	conf    file[[]netip.AddrPort]
	hosts   file[map[string][]netip.Addr]
	slots   chan struct{} // questions under way
	slotsUp sync.Once
}

// Services are the SRV records of a name, as "_sip._udp.example.com", and how long they hold. Aliases (CNAME) are followed.
// The error is ErrNone if DNS says that there are none, with the time for which it may be believed (RFC 2308; 0: not told);
// any other means that no server gave an answer.
func (c *Client) Services(ctx context.Context, name string) ([]Service, time.Duration, error) {
	found, life, err := c.ask(ctx, name, dns.TypeSRV)
	if err != nil {
		return nil, life, err
	}
	services := make([]Service, 0, len(found))
	for _, r := range found {
		s := r.(*dns.SRV)
		services = append(services, Service{Host: plain(s.Target), Port: s.Port, Priority: s.Priority, Weight: s.Weight})
	}
	return services, life, nil
}

// Addresses are the A and AAAA records of a host, in this order, and how long they hold; the hosts file goes before DNS. The
// error is ErrNone if DNS says that there are none. Addresses beside an error are those of the one family that could be
// asked.
func (c *Client) Addresses(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	if local := c.Local(host); len(local) > 0 {
		return local, hostsLife, nil
	}
	var four, six []dns.RR
	var life4, life6 time.Duration
	var err4, err6 error
	var wait sync.WaitGroup
	wait.Go(func() { four, life4, err4 = c.ask(ctx, host, dns.TypeA) })
	wait.Go(func() { six, life6, err6 = c.ask(ctx, host, dns.TypeAAAA) })
	wait.Wait()
	none4, none6 := errors.Is(err4, ErrNone), errors.Is(err6, ErrNone)
	switch {
	case none4 && none6:
		return nil, min(life4, life6), fmt.Errorf("addresses of %s: %w", host, ErrNone)
	case none4:
		return addresses(six), life6, err6
	case none6:
		return addresses(four), life4, err4
	case err4 != nil:
		return addresses(six), life6, err4
	case err6 != nil:
		return addresses(four), life4, err6
	}
	return append(addresses(four), addresses(six)...), min(life4, life6), nil
}

// addresses are those of the records.
func addresses(found []dns.RR) []netip.Addr {
	list := make([]netip.Addr, 0, len(found))
	for _, r := range found {
		var a netip.Addr
		switch r := r.(type) {
		case *dns.A:
			a, _ = netip.AddrFromSlice(r.A)
		case *dns.AAAA:
			a, _ = netip.AddrFromSlice(r.AAAA)
		}
		if a.IsValid() {
			list = append(list, a.Unmap())
		}
	}
	return list
}

// plain is a name of DNS as configs write it: lower case, no final dot.
func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
