package subject

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tandem/bench/load"
)

// ownWay is the way by which an engine sends when nothing is wrong, as relay.stats names it.
func ownWay(engine string) string {
	switch engine {
	case "sockets":
		return "socket"
	case "xdp":
		return "xdp"
	}
	return "frame"
}

// Prove implements Subject: what the load sent was received, what was received was forwarded or dropped under a name, and
// what left took the engine's own way.
func (t *Tandem) Prove(before, after Counters, r *load.Result) (string, error) {
	d := after.Since(before)
	switch {
	case d.Received > r.Sent:
		return "", fmt.Errorf("%s received %d packets, but only %d were sent: somebody else's traffic is in the numbers", t.Name(), d.Received, r.Sent)
	case r.Delivered > d.Forwarded:
		return "", fmt.Errorf("%s forwarded %d packets, but %d arrived: they took another path", t.Name(), d.Forwarded, r.Delivered)
	case d.Received != d.Forwarded+total(d.Drops):
		return "", fmt.Errorf("%s received %d packets, forwarded %d and dropped %d (%s): the sum is wrong", t.Name(), d.Received, d.Forwarded, total(d.Drops), named(d.Drops))
	}
	sent, want := total(d.Ways), ownWay(t.Name())
	if sent == 0 && r.Delivered > 0 {
		return "", fmt.Errorf("%s counts no packet by the way it left: this relay is older than the rig", t.Name())
	}
	if float64(d.Ways[want]) < leastPath*float64(sent) {
		return "", fmt.Errorf("%s should send by %q, but packets left by: %s", t.Name(), want, named(d.Ways))
	}
	return t.Name() + "/" + want, nil
}

// Since returns what happened between an earlier reading and this one.
func (c Counters) Since(before Counters) Counters {
	c.Received -= before.Received
	c.Forwarded -= before.Forwarded
	c.Drops = difference(c.Drops, before.Drops)
	c.Ways = difference(c.Ways, before.Ways)
	c.RecvCalls -= before.RecvCalls
	c.SendCalls -= before.SendCalls
	c.Overflows -= before.Overflows
	c.Unmatched -= before.Unmatched
	c.Allocs -= before.Allocs
	c.Kernel -= before.Kernel
	return c
}

// difference leaves out what did not change.
func difference(after, before map[string]uint64) map[string]uint64 {
	d := map[string]uint64{}
	for name, n := range after {
		if n != before[name] {
			d[name] = n - before[name]
		}
	}
	return d
}

func total(counts map[string]uint64) (sum uint64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// named lists counts by name, "nothing" when there are none.
func named(counts map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}
