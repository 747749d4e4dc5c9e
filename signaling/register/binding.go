package register

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"sync"
	"time"

	"tandem/signaling/digest"
	"tandem/signaling/trunk"
)

// Bounds of the waits.
const (
	defaultExpires = time.Hour
	maxExpires     = 24 * time.Hour   // a registrar that grants or demands more is not believed
	minWait        = 5 * time.Second  // between two cycles, whatever the registrar grants or asks
	backoffBase    = 30 * time.Second // RFC 5626 section 4.5
	backoffMost    = 30 * time.Minute // likewise
	refusedWait    = 10 * time.Minute // after an answer that a repetition does not change: a wrong password locks accounts
	retryAfterMost = time.Hour
)

// terms are what a binding is made of. While they stay the same a reload does not touch it.
type terms struct {
	listener, transport, contact string
	peer, names                  string
	tls                          *tls.Config
	user, domain                 string
	expires                      time.Duration
	who                          digest.Credentials
	fault                        string // why who has no password; empty: it has one
}

// sameBinding tells whether a REGISTER for other replaces ours at the registrar.
func (t terms) sameBinding(other terms) bool {
	return t.user == other.user && t.domain == other.domain && t.contact == other.contact && t.transport == other.transport
}

// binding keeps one trunk registered. run is its goroutine; what is not under mu belongs to it.
type binding struct {
	o     *Options
	terms terms
	after *binding // must have ended before this one begins; nil: none

	callID, tag string // of every REGISTER of this binding (RFC 3261 section 10.2.4)
	cseq        uint32
	asks        time.Duration // what we ask for: terms.expires, or more after a 423
	challenges  [2][]string   // the latest of each kind, to be answered at once the next time
	count       digest.Counter
	home, tried home // where the binding is, and where it was asked for last
	exists      bool // the registrar may have it

	ctx     context.Context // of requests; done when the binding ends
	abandon context.CancelFunc
	left    chan struct{} // closed by leave
	over    chan struct{} // closed by run

	mu    sync.Mutex
	tr    *trunk.Trunk // of the latest configuration
	gone  bool         // leave was called
	bye   bool         // the registrar is to be told
	state Status
}

func newBinding(o *Options, tr *trunk.Trunk, t terms) *binding {
	b := &binding{
		o: o, terms: t, tr: tr, callID: rand.Text(), tag: rand.Text(), asks: t.expires,
		left: make(chan struct{}), over: make(chan struct{}),
		state: Status{Trunk: tr.Name, Address: "sip:" + t.user + "@" + bracket(t.domain), Contact: t.user + "@" + t.contact},
	}
	b.ctx, b.abandon = context.WithCancel(context.Background())
	b.tell()
	return b
}

// adopt goes over to the trunk of a new configuration, which says the same.
func (b *binding) adopt(tr *trunk.Trunk) {
	b.mu.Lock()
	b.tr = tr
	b.mu.Unlock()
	b.tell()
}

func (b *binding) trunk() *trunk.Trunk {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tr
}

// leave ends the binding; with bye the registrar is told.
func (b *binding) leave(bye bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.gone {
		b.gone, b.bye = true, bye
		close(b.left)
	}
}

// run registers, waits and registers again until leave.
func (b *binding) run() {
	defer close(b.over)
	defer b.abandon()
	if b.after != nil {
		b.inherit()
	}
	work, stop := context.WithCancel(b.ctx)
	defer context.AfterFunc(b.ctx, stop)()
	go func() {
		select {
		case <-b.left:
			stop()
		case <-work.Done():
		}
	}()
	for work.Err() == nil {
		out := b.cycle(work)
		if work.Err() != nil {
			break
		}
		b.wait(work, b.note(out))
	}
	stop()
	b.farewell()
}

// inherit waits for the binding before this one, and goes on with its Call-ID if it was at the same address: a registrar
// takes a lower CSeq of the same Call-ID for an old request.
func (b *binding) inherit() {
	select {
	case <-b.after.over:
	case <-b.ctx.Done():
		return
	}
	if was := b.after; was.terms.sameBinding(b.terms) {
		b.callID, b.cseq, b.exists, b.home, b.tried = was.callID, was.cseq, was.exists, was.home, was.tried
	}
	b.after = nil
}

// outcome is what became of one cycle.
type outcome struct {
	granted time.Duration // with a nil err
	err     error
	refused bool          // a repetition does not change it
	rest    time.Duration // that the registrar asked for; 0: none
}

// note writes down what became of a cycle and tells how long to wait for the next.
func (b *binding) note(out outcome) time.Duration {
	now := b.o.Now()
	b.mu.Lock()
	s := &b.state
	first := !s.registered(now)
	if out.err == nil {
		s.Until, s.Failures, s.Error = now.Add(out.granted), 0, ""
	} else {
		s.Failures++
		s.Error = out.err.Error()
	}
	wait := b.pause(out, s.Failures)
	s.Next = now.Add(wait)
	name, until, failures := s.Trunk, s.Until, s.Failures
	b.mu.Unlock()
	switch {
	case out.err != nil:
		b.o.Log.Warn("registration failed", "trunk", name, "error", out.err, "failures", failures, "again", wait.Round(time.Second))
	case first:
		b.o.Log.Info("registered", "trunk", name, "address", b.state.Address, "until", until)
	default:
		b.o.Log.Debug("registration renewed", "trunk", name, "until", until)
	}
	b.tell()
	return wait
}

// pause is the wait after a cycle: half of what was granted; what the registrar asked for; a long one where nothing will
// change; or half to all of a bound that doubles with each failure, so that a registrar that comes back is not met by
// everybody at once (RFC 5626 section 4.5).
func (b *binding) pause(out outcome, failures int) time.Duration {
	jitter := func(d time.Duration) time.Duration { return d/2 + time.Duration(b.o.Rand()*float64(d/2)) }
	switch {
	case out.err == nil:
		return max(out.granted/2, minWait)
	case out.rest > 0:
		rest := min(max(out.rest, minWait), retryAfterMost)
		return rest + time.Duration(b.o.Rand()*float64(rest)/10)
	case out.refused:
		return jitter(2 * refusedWait)
	}
	bound := backoffBase
	for i := 0; i < failures && bound < backoffMost; i++ {
		bound *= 2
	}
	return jitter(min(bound, backoffMost))
}

// wait waits, and says so when the binding lapses meanwhile.
func (b *binding) wait(ctx context.Context, d time.Duration) {
	b.mu.Lock()
	left := b.state.Until.Sub(b.o.Now()) // asked before the wait begins: both count from the same moment
	b.mu.Unlock()
	next := b.o.After(d)
	var lapse <-chan time.Time
	if left > 0 && left < d {
		lapse = b.o.After(left)
	}
	for {
		select {
		case <-next:
			b.mu.Lock()
			b.state.Next = time.Time{}
			b.mu.Unlock()
			return
		case <-lapse:
			lapse = nil
			b.o.Log.Error("registration lapsed", "trunk", b.state.Trunk, "address", b.state.Address)
			b.tell()
		case <-ctx.Done():
			return
		}
	}
}

// farewell withdraws the binding, once and briefly.
func (b *binding) farewell() {
	b.mu.Lock()
	bye := b.bye && b.exists
	b.mu.Unlock()
	if bye {
		ctx, stop := context.WithTimeout(b.ctx, leaveWithin)
		defer stop()
		at := b.home
		if !at.addr.IsValid() {
			at = b.tried
		}
		if out := b.talk(ctx, at, 0); out.err != nil {
			b.o.Log.Info("registration not withdrawn; it ends by itself", "trunk", b.state.Trunk, "error", out.err)
		} else {
			b.exists = false
		}
	}
	b.mu.Lock()
	if b.bye {
		b.state.Until, b.state.Next, b.state.Error = time.Time{}, time.Time{}, "withdrawn"
	}
	b.mu.Unlock()
	if bye {
		b.tell()
	}
}

func (s *Status) registered(now time.Time) bool { return now.Before(s.Until) }

func (b *binding) status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state
	s.Registered = s.registered(b.o.Now())
	return s
}

// tell shows the state where the trunk's is shown.
func (b *binding) tell() { b.trunk().SetRegistration(b.status().String()) }
