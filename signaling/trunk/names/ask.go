package names

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// How long and how often servers are asked.
const (
	tryDefault = 800 * time.Millisecond // a far resolver that must ask on takes half of it; two dead servers pass within a caller's patience
	tcpTry     = 2 * time.Second        // of a truncated answer's second way: a handshake more
	rounds     = 2                      // over all servers: UDP loses packets
	inFlight   = 32                     // questions at once: a start with hundreds of trunks must not flood a server
	udpSize    = 1232                   // bytes of an answer on UDP: what passes everywhere unfragmented (DNS flag day 2020)
)

// ask puts one question to the servers until one of them answers it, and follows aliases to the name that has the record.
func (c *Client) ask(ctx context.Context, name string, kind uint16) ([]dns.RR, time.Duration, error) {
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, 0, fmt.Errorf("%q is no domain name: %w", name, ErrNone)
	}
	life := lifeMost
	for next, hops := dns.Fqdn(name), 0; hops <= chainMost; hops++ {
		f, err := c.round(ctx, dns.Question{Name: next, Qtype: kind, Qclass: dns.ClassINET})
		life = min(life, f.life)
		switch {
		case err != nil:
			return nil, life, fmt.Errorf("%s of %s: %w", dns.TypeToString[kind], name, err)
		case len(f.records) > 0:
			return f.records, life, nil
		}
		next = f.alias
	}
	return nil, 0, fmt.Errorf("%s of %s: more than %d aliases", dns.TypeToString[kind], name, chainMost)
}

// round asks every server, and every one once more. The error names the last reason of each.
func (c *Client) round(ctx context.Context, q dns.Question) (finding, error) {
	servers, err := c.servers()
	if err != nil {
		return finding{}, err
	}
	first := int(c.good.Load())
	errs := make([]error, len(servers))
	for n := range rounds * len(servers) {
		i := (first + n) % len(servers)
		f, err := c.once(ctx, servers[i], q)
		if err == nil || errors.Is(err, ErrNone) {
			c.good.Store(uint32(i))
			return f, err
		}
		errs[i] = fmt.Errorf("server %s: %w", servers[i], err)
		if ctx.Err() != nil {
			break
		}
	}
	return finding{}, errors.Join(errs...)
}

// once asks one server by UDP, and by TCP where the answer did not fit (RFC 7766).
func (c *Client) once(ctx context.Context, server netip.AddrPort, q dns.Question) (finding, error) {
	if err := c.enter(ctx); err != nil {
		return finding{}, err
	}
	defer c.leave()
	m := new(dns.Msg)
	m.Id, m.RecursionDesired, m.Question = dns.Id(), true, []dns.Question{q}
	m.SetEdns0(udpSize, false)
	try := c.Try
	if try <= 0 {
		try = tryDefault
	}
	udp := dns.Client{Net: "udp", Timeout: try}
	answer, _, err := udp.ExchangeContext(ctx, m, server.String())
	if err == nil && answer.Truncated {
		tcp := dns.Client{Net: "tcp", Timeout: tcpTry}
		answer, _, err = tcp.ExchangeContext(ctx, m, server.String())
	}
	if err != nil {
		return finding{}, err
	}
	return read(q, answer)
}

// enter waits for a free slot.
func (c *Client) enter(ctx context.Context) error {
	c.slotsUp.Do(func() { c.slots = make(chan struct{}, inFlight) })
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) leave() { <-c.slots }
