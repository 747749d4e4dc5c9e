package console

import (
	"slices"
	"strings"
	"time"

	"tandem/signaling/trunk"
)

// trunks lists a page of the trunks, in the order of their names.
func (c *Console) trunks(p List) (TrunkList, error) {
	table, now := c.o.Now().Trunks, c.o.Clock()
	all := table.All()
	expiries := c.expiries()
	found := slices.DeleteFunc(all, func(tr *trunk.Trunk) bool {
		return p.Trunk != "" && tr.Name != p.Trunk ||
			p.Match != "" && !strings.Contains(tr.Name, p.Match) && !strings.Contains(tr.Policy.Peer, p.Match) && !strings.Contains(tr.Policy.Site, p.Match)
	})
	r := TrunkList{Found: len(found), Total: len(table.All())}
	list := make([]Trunk, 0, len(found))
	for _, tr := range found {
		t := Trunk{Status: tr.Snapshot(now), Looked: now}
		if view, ok := table.Look(tr.Name, now); ok {
			t.Full = view.Full
		}
		if q, ok := c.o.Ledger.Quality(tr.Name, now); ok {
			t.Quality = &q
		}
		if end, ok := expiries[certificate(tr)]; ok {
			t.Expires = end
		}
		list = append(list, t)
	}
	var err error
	r.Trunks, r.Next, err = page(p, list, func(t *Trunk) string { return t.Name })
	return r, err
}

// certificate is the file of the one that we show on a trunk; empty: none.
func certificate(tr *trunk.Trunk) string {
	if own := tr.Policy.TLS; own != nil && own.Certificate != "" {
		return own.Certificate
	}
	if l := tr.Listener.TLS; l != nil {
		return l.Certificate
	}
	return ""
}

// expiries are when our certificates end, by file.
func (c *Console) expiries() map[string]time.Time {
	ends := map[string]time.Time{}
	if c.o.Certificates == nil {
		return ends
	}
	for _, e := range c.o.Certificates() {
		ends[e.File] = e.At
	}
	return ends
}

// Registered tells whether a trunk's registration, in the words of its Status, holds.
func Registered(state string) bool { return strings.HasPrefix(state, "registered") }
