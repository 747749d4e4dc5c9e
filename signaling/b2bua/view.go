package b2bua

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"

	"tandem/internal/config"
	"tandem/signaling/digest"
	"tandem/signaling/guard"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// view is what a call sees from its INVITE to its end: a config with the trunks and the routes that were made from it. A
// reload gives later calls another view and takes nothing from those that run.
type view struct {
	cfg    *config.Config
	trunks *trunk.Table
	routes *route.Table
	doors  map[string]*digest.Server // by trunk: those that challenge
	selves map[string]*self          // by trunk: those that have auth
	tls    map[string]*tls.Config    // by trunk: those that have an identity of their own
}

// self is who we are to a peer that asks.
type self struct {
	digest.Credentials
	count *digest.Counter
	err   error // the password cannot be read
}

// Reload makes cfg, trunks and routes hold for every call that enters from now on, and for the polling of trunks. The three
// belong together: both tables were made from cfg. Calls that run keep what they began with, trunks that are gone included,
// until they end. Listeners, limits of the stack and the node's name are not touched.
//
// So that places, rates and health live on, trunks must have adopted the table before it (trunk.Table.Adopt) when it comes
// here.
func (b *B2BUA) Reload(cfg *config.Config, trunks *trunk.Table, routes *route.Table) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen.Store(b.newView(cfg, trunks, routes))
	b.listKnown()
	for name := range b.states {
		if _, ok := trunks.ByName(name); !ok {
			delete(b.states, name)
		}
	}
}

// newView makes a view. A trunk whose challenge stayed the same keeps its nonces: what a peer was given is good still.
func (b *B2BUA) newView(cfg *config.Config, trunks *trunk.Table, routes *route.Table) *view {
	v := &view{cfg: cfg, trunks: trunks, routes: routes,
		doors: map[string]*digest.Server{}, selves: map[string]*self{}, tls: map[string]*tls.Config{}}
	before := b.seen.Load()
	if before == nil {
		before = &view{}
	}
	for _, tr := range trunks.All() {
		name := tr.Name
		if c := tr.Policy.Challenge; c != nil {
			if v.doors[name] = before.doors[name]; v.doors[name] == nil || !before.challenges(name, c) {
				v.doors[name] = digest.NewServer(*c, b.o.Now, b.o.Rand)
			}
		}
		if a := tr.Policy.Auth; a != nil {
			v.selves[name] = b.whoAmI(name, a, before.selves[name])
		}
		if b.o.Identity != nil {
			v.tls[name] = b.o.Identity(name)
		}
	}
	return v
}

// challenges reports whether a trunk asks for the same as c.
func (v *view) challenges(name string, c *config.Challenge) bool {
	tr, ok := v.trunks.ByName(name)
	return ok && reflect.DeepEqual(tr.Policy.Challenge, c)
}

// whoAmI reads the password. The count of answers goes on: a peer may use a nonce for long.
func (b *B2BUA) whoAmI(trunk string, a *config.Auth, before *self) *self {
	s := &self{Credentials: digest.Credentials{User: a.User, Password: a.Password, Realm: a.Realm}}
	if s.count = (&digest.Counter{Random: b.o.Rand}); before != nil {
		s.count = before.count
	}
	if a.File != "" {
		text, err := os.ReadFile(a.File)
		line, _, _ := strings.Cut(string(text), "\n")
		s.Password = config.Secret(strings.TrimSuffix(line, "\r"))
		if s.err = err; err == nil && s.Password == "" {
			s.err = fmt.Errorf("%s: the first line is empty; write the password there", a.File)
		}
	}
	if s.err != nil {
		b.log.Error("no password for a trunk", "trunk", trunk, "error", s.err)
	}
	return s
}

// egress is how something gets to an address of a trunk's peer.
func (v *view) egress(tr *trunk.Trunk, dest netip.AddrPort, server string) guard.Egress {
	return guard.Egress{Listener: tr.Policy.Listener, Dest: dest, ServerName: server, TLSNames: tr.Policy.TLSNames, TLS: v.tls[tr.Name]}
}

// hold and drop count the calls of each view. Under b.mu.
func (b *B2BUA) hold(v *view) {
	b.running[v]++
	if b.running[v] == 1 {
		b.listKnown()
	}
}

func (b *B2BUA) drop(v *view) {
	if b.running[v]--; b.running[v] == 0 {
		delete(b.running, v)
		b.listKnown()
	}
}

// listKnown renews what Known asks: the trunks of today, and those that calls still run on. Under b.mu.
func (b *B2BUA) listKnown() {
	now := b.seen.Load()
	list := []*trunk.Table{now.trunks}
	for v := range b.running {
		if v.trunks != now.trunks {
			list = append(list, v.trunks)
		}
	}
	b.known.Store(&list)
}

// Known reports whether an address belongs to a trunk, for the rate class of the stack (guard.Options.Known): to one of
// today, or to one that is gone but still has calls. It waits for nothing.
func (b *B2BUA) Known(listener string, src netip.Addr) bool {
	for _, t := range *b.known.Load() {
		if t.Known(listener, src) {
			return true
		}
	}
	return false
}
