package trunk

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// avoidFor is how long an address that failed comes last. It is about the time of a transaction's death (RFC 3261: 64*T1 =
// 32 s): calls of a busy trunk run into a dead node once, and a node that restarted is found soon.
const avoidFor = 30 * time.Second

// Targets lists the addresses of the peer that the trunk's listener can reach (its address family), in the order of trying,
// and the name that the peer's certificate must carry: the peer's own, whatever host an SRV record leads to (RFC 5922
// section 7.1). Each call gets a draw of its own: SRV records by priority and among equals by weight, the addresses of one
// host shuffled; addresses that failed lately come last. It waits for DNS only if there is no answer at all yet, and then no
// longer than two seconds or the context. The slice is the caller's.
func (tr *Trunk) Targets(ctx context.Context) (targets []netip.AddrPort, serverName string, err error) {
	found, err := tr.peer.lookup(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("trunk %s: %w", tr.Name, err)
	}
	local := tr.Listener.Address.Addr().Unmap()
	ours := make([]target, 0, len(found))
	for _, t := range found {
		if t.addr.Is4() == local.Is4() {
			ours = append(ours, t)
		}
	}
	if len(ours) == 0 {
		return nil, "", fmt.Errorf("trunk %s: %s has no address of the family of listener %s (%s)",
			tr.Name, tr.Host, tr.Policy.Listener, local)
	}
	return tr.live.avoided(tr.draw(ours), tr.world.now()), tr.serverName(), nil
}

// record is an SRV record with its addresses. Without SRV there is one, of priority and weight 0.
type record struct {
	priority, weight uint16
	addrs            []netip.AddrPort
}

// draw orders the targets for one call.
func (tr *Trunk) draw(targets []target) []netip.AddrPort {
	random := tr.world.random
	records := tr.records(targets)
	list := make([]netip.AddrPort, 0, len(targets))
	for len(records) > 0 {
		same := 1
		for same < len(records) && records[same].priority == records[0].priority {
			same++
		}
		spin(records[:same], random)
		for _, r := range records[:same] {
			shuffle(r.addrs, random)
			for _, a := range r.addrs {
				if !slices.Contains(list, a) {
					list = append(list, a)
				}
			}
		}
		records = records[same:]
	}
	return list
}

// records puts the targets together that one SRV record led to, by priority.
func (tr *Trunk) records(targets []target) (records []record) {
	for i, t := range targets {
		port := t.port
		if port == 0 {
			port = tr.Port
		}
		if i == 0 || targets[i-1].host != t.host || targets[i-1].port != t.port || targets[i-1].priority != t.priority || targets[i-1].weight != t.weight {
			records = append(records, record{priority: t.priority, weight: t.weight})
		}
		r := &records[len(records)-1]
		r.addrs = append(r.addrs, netip.AddrPortFrom(t.addr, port))
	}
	slices.SortStableFunc(records, func(a, b record) int { return int(a.priority) - int(b.priority) })
	return records
}

// spinScale refines the wheel of weights: a record without weight is drawn first once in spinScale times the sum of the
// weights, which is RFC 2782's "very small chance", and the others by their weights as exactly.
const spinScale = 100

// spin orders records of one priority by weighted chance, each drawn among those that are left (RFC 2782, "Weight").
func spin(records []record, random func(n int) int) {
	shuffle(records, random)
	slices.SortStableFunc(records, func(a, b record) int { return min(int(a.weight), 1) - min(int(b.weight), 1) })
	sum := 0
	for _, r := range records {
		sum += int(r.weight) * spinScale
	}
	for left := records; len(left) > 1; left = left[1:] {
		n, at := random(sum+1), 0
		for run := int(left[0].weight) * spinScale; run < n; run += int(left[at].weight) * spinScale {
			at++
		}
		drawn := left[at]
		copy(left[1:at+1], left[:at])
		left[0] = drawn
		sum -= int(drawn.weight) * spinScale
	}
}

// shuffle is Fisher and Yates's.
func shuffle[T any](list []T, random func(n int) int) {
	for i := len(list) - 1; i > 0; i-- {
		j := random(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

// AddressFailed notes that an address of the peer did not take a connection or did not answer: for half a minute it comes
// last. Its trunk may be in the best of health, by its other addresses.
func (tr *Trunk) AddressFailed(addr netip.AddrPort, now time.Time) {
	l := tr.live
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, until := range l.avoid {
		if !now.Before(until) {
			delete(l.avoid, a)
		}
	}
	if l.avoid == nil {
		l.avoid = make(map[netip.AddrPort]time.Time)
	}
	if len(l.avoid) < addressesMost {
		l.avoid[addr] = now.Add(avoidFor)
	}
}

// AddressWorked notes that an address of the peer answered.
func (tr *Trunk) AddressWorked(addr netip.AddrPort) {
	tr.live.mu.Lock()
	defer tr.live.mu.Unlock()
	delete(tr.live.avoid, addr)
}

// avoided puts the addresses that failed lately last. The order stays otherwise.
func (l *live) avoided(list []netip.AddrPort, now time.Time) []netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.avoid) == 0 {
		return list
	}
	rank := func(a netip.AddrPort) int {
		if until, ok := l.avoid[a]; ok && now.Before(until) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b netip.AddrPort) int { return rank(a) - rank(b) })
	return list
}

// serverName is the name to ask for in the TLS handshake and to verify: the peer's host if tls_names covers it, else the
// first of them that is no wildcard.
func (tr *Trunk) serverName() string {
	for _, name := range tr.Policy.TLSNames {
		if sameName(name, tr.Host) {
			return tr.Host
		}
	}
	for _, name := range tr.Policy.TLSNames {
		if name[0] != '*' {
			return fold(name)
		}
	}
	return tr.Host
}
