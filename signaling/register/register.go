// Package register keeps our Contact bound at the peers that send calls to whoever registered (RFC 3261 section 10).
//
// The failures that this package prevents: a binding that lapses because one REGISTER was lost; a registrar that is flooded
// by the retries of a wrong password or of a dead node; and a challenge that is answered for ever. Every cycle sends a
// bounded number of requests, and between cycles there is a bounded wait that grows with each failure (RFC 5626 section
// 4.5).
//
// Calls that come in are not looked at here: to signaling/b2bua a peer that we registered at is a trunk like any other.
package register

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/digest"
	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// leaveWithin is how long the farewell to a registrar may take. It is a courtesy: a binding also ends by itself.
const leaveWithin = 3 * time.Second

// Stack is the guarded SIP stack; *guard.Stack is one.
type Stack interface {
	Request(context.Context, *sip.Request, guard.Egress, guard.ClientHandler) (guard.ClientTx, error)
	Contact(listener string) string
}

// Options are what a Registrar works with. Stack and Trunks are required.
type Options struct {
	Stack  Stack
	Trunks *trunk.Table                   // those with register are registered
	TLS    func(trunk string) *tls.Config // identity of a trunk that has its own (identity.Store.Trunk); nil: none has

	Log   *slog.Logger                         // nil: slog.Default
	Now   func() time.Time                     // nil: time.Now
	After func(time.Duration) <-chan time.Time // nil: time.After
	Rand  func() float64                       // of waits, in [0,1), safe for concurrent use; nil: math/rand
}

// Registrar keeps the bindings of this node. It is safe for concurrent use.
type Registrar struct {
	o Options

	mu     sync.Mutex
	live   map[string]*binding // by trunk
	ending sync.WaitGroup      // every binding that was ever begun
	closed bool
}

// Start begins to register every trunk that wants it. It waits for nothing.
func Start(o Options) *Registrar {
	if o.TLS == nil {
		o.TLS = none
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	r := &Registrar{o: o, live: make(map[string]*binding)}
	r.Update(o.Trunks)
	return r
}

// none is the identity of trunks that have none of their own.
func none(string) *tls.Config { return nil }

// Update goes over to the trunks of a changed configuration. A binding whose trunk says what it said before goes on; of
// the others the old is withdrawn and the new begun. Password files are read again; what Options.TLS asks must be up to
// date already. It waits for no peer.
func (r *Registrar) Update(trunks *trunk.Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	gone := r.live
	r.live = make(map[string]*binding)
	for _, tr := range trunks.All() {
		if tr.Policy.Register == nil || r.o.Stack.Contact(tr.Policy.Listener) == "" {
			continue // no contact: the listener is another node's
		}
		t, was := r.terms(tr), gone[tr.Name]
		delete(gone, tr.Name)
		if was != nil && reflect.DeepEqual(was.terms, t) {
			was.adopt(tr)
			r.live[tr.Name] = was
			continue
		}
		b := newBinding(&r.o, tr, t)
		if was != nil {
			was.leave(!was.terms.sameBinding(t)) // else the new REGISTER takes the old one's place
			b.after = was
		}
		r.live[tr.Name] = b
		r.ending.Go(b.run)
	}
	for _, b := range gone {
		b.leave(true)
	}
}

// terms reads what a trunk wants. A password that cannot be read matters once somebody asks for it.
func (r *Registrar) terms(tr *trunk.Trunk) terms {
	p := tr.Policy
	t := terms{
		listener: p.Listener, peer: p.Peer, names: strings.Join(p.TLSNames, " "), tls: r.o.TLS(tr.Name),
		user: p.Register.User, domain: p.Register.Domain, expires: p.Register.Expires,
		contact: r.o.Stack.Contact(p.Listener), transport: tr.Listener.Transport,
	}
	if p.Auth != nil {
		who, err := digest.Who(*p.Auth)
		if err != nil {
			t.fault = err.Error()
			r.o.Log.Error("no password for a trunk", "trunk", tr.Name, "error", err)
		}
		t.who = who
		if t.user == "" {
			t.user = who.User
		}
	}
	if t.domain == "" {
		t.domain = tr.Host
	}
	if t.expires <= 0 {
		t.expires = defaultExpires
	}
	return t
}

// Status is how one binding stands.
type Status struct {
	Trunk      string
	Address    string    // of record: sip:user@domain
	Contact    string    // bound to it
	Registered bool      // now
	Until      time.Time // of the binding that was granted last; zero: none ever was
	Next       time.Time // the next attempt; zero: one is under way
	Failures   int       // attempts in a row that failed
	Error      string    // of the last attempt; empty: it succeeded, or there was none yet
}

// String is what trunk.Trunk.SetRegistration gets: it begins with "registered" exactly while the binding holds.
func (s Status) String() string {
	switch {
	case s.Registered && s.Error != "":
		return fmt.Sprintf("registered until %s, but: %s", s.Until.UTC().Format(time.RFC3339), s.Error)
	case s.Registered:
		return "registered until " + s.Until.UTC().Format(time.RFC3339)
	case s.Error != "":
		return "not registered: " + s.Error
	}
	return "not registered: no answer yet"
}

// Status lists the bindings, by trunk.
func (r *Registrar) Status() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Status, 0, len(r.live))
	for _, b := range r.live {
		list = append(list, b.status())
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Trunk, b.Trunk) })
	return list
}

// Close withdraws every binding and waits for the answers: no longer than ctx, and never longer than a few seconds for a
// registrar that does not answer.
func (r *Registrar) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		for _, b := range r.live {
			b.leave(true)
		}
	}
	r.mu.Unlock()
	over := make(chan struct{})
	go func() {
		r.ending.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		for _, b := range r.live {
			b.abandon()
		}
		r.mu.Unlock()
		return errors.Join(errors.New("closed before every registrar had answered"), ctx.Err())
	}
}
