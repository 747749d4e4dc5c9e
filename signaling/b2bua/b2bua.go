// Package b2bua makes calls: an INVITE of one trunk becomes an INVITE of our own on another, with the relay's ports between
// them, and everything that happens in the one dialog is told in the other.
//
// One call is one mailbox, and one goroutine while there is something in it (crew.go). Requests, responses and events go
// into the mailbox, timers beside it; nothing else touches the call, so nothing in it is locked. Order that the network lost
// is restored there: what overtakes its INVITE or its ACK is parked for a moment
// (TestCancelThatOvertakesItsInviteStillCancels, TestByeThatOvertakesTheAckWaits).
//
// The failure it prevents is a call that outlives its reason: each ends on every path with both dialogs finished, the
// relay's session closed, the trunks' places free and no goroutine left (TestTwoHundredCallsLeaveNothingBehind,
// FuzzDialogOrder). And nothing of one side's network is told to the other (TestNothingOfOneSideReachesTheOther).
//
// What does not live here: sockets, transactions and the validity of messages (guard), bodies (sdp), who a peer is and
// whether it lives (trunk), where a number leads (route), and a single packet of media (the relay, over internal/control).
// How digest is computed is signaling/digest's affair; who is asked and who answers is decided here.
//
// Where to look: an offer inside a call goes from reinvite.go or update.go through ask.go to the other side; late.go makes the
// offer where a peer brought none; reliable.go and fork.go are what happens before the answer, timer.go what keeps a
// session; referto.go, transfer.go, consult.go, handover.go and notify.go turn a REFER or a Replaces into another call. A leg that changes
// its call is the one thing that goes from call to call, as a copy, through the mailbox.
//
// Not spoken: INVITE with Replaces of a caller whose call still rings (481: RFC 3891 section 3), REFER outside a dialog (403),
// events other than refer (489), MESSAGE (405). Of a reliable 18x to a re-INVITE only the PRACK is sent: its 2xx counts. Of an
// INVITE with both audio and T.38 the audio alone is taken up.
package b2bua

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/guard"
	"tandem/signaling/route"
	"tandem/signaling/sdp"
	"tandem/signaling/trunk"
)

// Options are what a B2BUA works with. Config, Stack, Relay, Trunks and Routes are required; Config, Trunks and Routes are
// those of the start, Reload brings others.
type Options struct {
	Config   *config.Config
	Stack    Stack
	Relay    Relay
	Trunks   *trunk.Table
	Routes   *route.Table
	Ready    func() bool                    // whether the relay can be spoken to now: OPTIONS are answered with 503 while it cannot; nil: always
	Resolver trunk.Resolver                 // of names in Contact and c=; nil: the system's
	Identity func(trunk string) *tls.Config // of connections that are opened for a trunk, where it has its own; asked at New and Reload
	Node     string                         // begins every local tag and owns the relay's sessions; empty: Config.Node
	OnRecord func(CallRecord)               // takes the record of each call at its end; must not block
	Metrics  Metrics                        // nil: only Stats counts
	Log      *slog.Logger                   // nil: slog.Default
	Timers   Timers
	Now      func() time.Time // nil: time.Now
	Rand     io.Reader        // of keys and tags; nil: crypto/rand
}

// Bounds of the whole.
const (
	defaultCalls = 5000 // limits.calls of a config that leaves it open
	overTimes    = 2    // calls in the table for each that may be active: those that ended wait for answers up to 32 s
	parkedCalls  = 1024 // CANCELs without their INVITE
	tagRandom    = 12   // bytes: a tag that can be guessed is a call that can be ended

	// emergencyReserve are calls beyond limits.calls that are looked at all the same: only their route tells whether one is an
	// emergency call. Any other is refused then.
	emergencyReserve = 64
)

var errNoAddress = errors.New("no address of the family in use")

// B2BUA holds the calls of this node.
type B2BUA struct {
	o   Options
	log *slog.Logger
	t   Timers

	mu       sync.Mutex
	calls    map[string]*call           // by id
	dialogs  map[string]member          // by local tag
	sessions map[string]*call           // by id of the relay's session
	parked   map[inviteKey]*earlyCancel // CANCELs that overtook their INVITE
	unclosed map[string]bool            // sessions whose end the relay has not confirmed
	boot     string                     // of the relay, at the last hello
	running  map[*view]int              // calls in the table, by what they see
	states   map[string]trunk.State     // of each trunk, as the log has it

	seen     atomic.Pointer[view]           // what new calls see; written under mu
	known    atomic.Pointer[[]*trunk.Table] // of seen and running; written under mu
	active   atomic.Int64                   // calls that are not over
	draining atomic.Bool
	pressure pressure
	closing  atomic.Bool
	counters counters
	stop     chan struct{}
	work     sync.WaitGroup // of every goroutine, and of the calls in the table
	crew     crew
	spell    atomic.Pointer[spell]
	plates   sync.Map // *plate by listener
}

// member is one end of a call.
type member struct {
	c *call
	l *leg
}

// New starts a B2BUA: from now on it polls trunks and takes requests. Close ends it.
func New(o Options) (*B2BUA, error) {
	switch {
	case o.Config == nil:
		return nil, errors.New("b2bua: no config")
	case o.Stack == nil:
		return nil, errors.New("b2bua: no SIP stack")
	case o.Relay == nil:
		return nil, errors.New("b2bua: no media relay")
	case o.Trunks == nil || o.Routes == nil:
		return nil, errors.New("b2bua: no trunks or no routes")
	}
	if o.Node == "" {
		o.Node = o.Config.Node
	}
	if o.Node == "" || len(o.Node) > control.MaxID-4*tagRandom {
		return nil, errors.New("b2bua: node: a name of at most 80 characters is required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Resolver == nil {
		o.Resolver = trunk.System{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	b := &B2BUA{
		o: o, log: o.Log, t: o.Timers.defaults(), running: map[*view]int{}, states: map[string]trunk.State{},
		calls: map[string]*call{}, dialogs: map[string]member{}, sessions: map[string]*call{},
		parked: map[inviteKey]*earlyCancel{}, unclosed: map[string]bool{}, stop: make(chan struct{}),
	}
	b.Reload(o.Config, o.Trunks, o.Routes)
	b.work.Go(b.poll)
	b.work.Go(b.sweep)
	return b, nil
}

// Drain refuses new calls (On), or takes them again. Calls in progress go on.
func (b *B2BUA) Drain(on bool) { b.draining.Store(on) }

// Draining reports whether new calls are refused.
func (b *B2BUA) Draining() bool { return b.draining.Load() }

// Close refuses new calls, hangs up those there are, and waits for their last answers until ctx ends.
func (b *B2BUA) Close(ctx context.Context) error {
	if b.closing.Swap(true) {
		return nil
	}
	b.Drain(true)
	for _, c := range b.all() {
		c.postOwn(func() { c.hangUp(503, "shutting down", "") })
	}
	close(b.stop)
	b.crew.thin(true)
	done := make(chan struct{})
	go func() {
		b.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		b.sweepOnce(ctx)
		if s := b.spell.Load(); s != nil {
			s.end() // nobody waits any more
		}
		return nil
	case <-ctx.Done():
	}
	for _, c := range b.all() {
		c.postOwn(func() { c.gone = true })
	}
	return ctx.Err()
}

// all lists the calls in the table.
func (b *B2BUA) all() []*call {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]*call, 0, len(b.calls))
	for _, c := range b.calls {
		list = append(list, c)
	}
	return list
}

// limit is the most calls at once.
func (b *B2BUA) limit() int {
	if n := b.seen.Load().cfg.SIP.Limits.Calls; n > 0 {
		return n
	}
	return defaultCalls
}

// learn enters a dialog into the table, unlearn takes it out.
func (b *B2BUA) learn(tag string, c *call, l *leg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dialogs[tag] = member{c, l}
}

func (b *B2BUA) unlearn(tag string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.dialogs, tag)
}

// unlearnOf takes a dialog out of the table if it is still that call's.
func (b *B2BUA) unlearnOf(tag string, c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dialogs[tag].c == c {
		delete(b.dialogs, tag)
	}
}

// claim says that a session of the relay is a call's, unclaim that it is not any more.
func (b *B2BUA) claim(session string, c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sessions[session] = c
}

func (b *B2BUA) unclaim(session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.sessions, session)
}

// over gives back a call's place while it waits for its last answers.
func (b *B2BUA) over(c *call) {
	if c.counted {
		c.counted = false
		b.active.Add(-1)
	}
	c.publish()
}

// forget takes a call out of every table.
func (b *B2BUA) forget(c *call) {
	b.over(c)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls[c.id] != c {
		return
	}
	b.drop(c.v)
	delete(b.calls, c.id)
	b.work.Done()
	tags := []string{c.id, c.a.d.LocalTag}
	for _, l := range append(c.former, c.peer) {
		if l != nil {
			tags = append(tags, l.d.LocalTag)
		}
	}
	for _, at := range c.attempts {
		tags = append(tags, at.leg.d.LocalTag)
	}
	for _, tag := range tags {
		if b.dialogs[tag].c == c { // a leg may have gone to another call
			delete(b.dialogs, tag)
		}
	}
}

// terms are the media terms of a leg.
func (b *B2BUA) terms(l *leg) terms {
	v4 := l.trunk.Listener.Address.Addr().Unmap().Is4()
	if local := l.d.Media.Local; local.IsValid() {
		v4 = local.Addr().Is4()
	}
	return terms{policy: &l.trunk.Policy, rand: b.o.Rand, lookup: func(ctx context.Context, host string) (netip.Addr, error) {
		return b.lookup(ctx, host, v4)
	}}
}

// newTag makes a local tag: the node's name, a dot, and what nobody can guess.
func (b *B2BUA) newTag() string { return b.o.Node + "." + b.token() }

// newCallID makes a Call-ID. It has no host: it crosses to nobody, and tells nothing.
func (b *B2BUA) newCallID() string { return b.token() }

func (b *B2BUA) token() string {
	var x [tagRandom]byte
	b.read(x[:])
	return hex.EncodeToString(x[:])
}

// origin starts the o= line of a leg. 31 bits: some peers read a signed integer.
func (b *B2BUA) origin() sdp.Origin {
	return sdp.Origin{ID: uint64(b.random(1<<31-1)) + 1, Version: 1}
}

// random is a number in [0, n).
func (b *B2BUA) random(n int) int {
	var x [8]byte
	b.read(x[:])
	return int(binary.BigEndian.Uint64(x[:]) % uint64(n))
}

// read fills x with randomness. Without any no call could be told from another.
func (b *B2BUA) read(x []byte) {
	if _, err := io.ReadFull(b.o.Rand, x); err != nil {
		panic("b2bua: no randomness: " + err.Error())
	}
}

// soon is a Retry-After in seconds: 1 to 10, so that peers do not come back together (RFC 3261 section 14.2).
func (b *B2BUA) soon() int { return 1 + b.random(10) }

// MediaEvent takes an event of the relay. Silence ends the call; the other events say nothing to SIP yet.
func (b *B2BUA) MediaEvent(method string, e control.Event) {
	if method != control.EventTimeout {
		return
	}
	b.mu.Lock()
	c := b.sessions[e.Session]
	b.mu.Unlock()
	if c == nil {
		return
	}
	c.postOwn(func() {
		if c.session == nil || c.session.id != e.Session {
			return
		}
		c.timers.after(secondLook, func() { c.mediaTimeout(e) })
	})
}

// secondLook is how long after a media timeout the relay is asked again: one that stood still reports before it has read what
// came meanwhile.
const secondLook = 500 * time.Millisecond

// mediaTimeout ends a call of which the relay has heard nothing since it said so.
func (c *call) mediaTimeout(e control.Event) {
	s := c.session
	if c.phase == Over || s == nil || s.id != e.Session || c.heardSince(e) {
		return
	}
	c.log.Info("media timeout", "leg", e.Leg, "after", e.After, "silent_ms", e.SilentMS)
	silent := c.a
	if e.Leg == legB && c.peer != nil {
		silent = c.peer
	}
	c.hangUp(408, "media timeout", fmt.Sprintf("nothing heard from %s for %d ms", silent, e.SilentMS))
}

// heardSince asks the relay how long a leg has been silent: the same generation again changes nothing.
func (c *call) heardSince(e control.Event) bool {
	ctx := c.b.patience()
	st, err := c.b.o.Relay.Update(ctx, control.Update{ID: c.session.id, Generation: c.session.gen})
	if err != nil {
		return false
	}
	for _, stream := range st.Streams {
		for _, l := range stream.Legs {
			if l.Name == e.Leg && l.SilentMS >= 0 && l.SilentMS < e.SilentMS {
				c.log.Info("media timeout taken back", "leg", e.Leg, "silent_ms", l.SilentMS)
				return true
			}
		}
	}
	return false
}

var _ Stack = (*guard.Stack)(nil)
