package b2bua

import (
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
	"tandem/signaling/route"
	"tandem/signaling/trunk"
)

// call is one call: a mailbox, the goroutine that empties it, and two legs. Everything below box belongs to that goroutine
// alone, which is another one each time and one at a time; the rest of the process sees info, and posts.
type call struct {
	b    *B2BUA
	v    *view // what held at its INVITE, to its end
	id   string
	box  mailbox
	log  *slog.Logger
	info snapshotInfo

	timers deadlines
	bell   *bell
	phase  Phase
	called string // numbers: as they came, then as they go into the B leg
	caller string

	a         *leg
	firstSeq  uint32       // CSeq number of the INVITE that made the call
	try       *attempt     // the one in progress; nil before and between
	peer      *leg         // of the attempt that answered
	attempts  []*attempt   // every one whose transaction may still speak
	place     place        // on the trunk by which it entered
	turn      *turn        // of the trunk that is tried or that answered; nil before and between
	queue     []route.Hop  // trunks that are left
	forwards  int          // Max-Forwards towards B
	brought   carried      // what the INVITE brought beside SDP
	connected []sip.Header // who answers, as the caller is told

	session *session
	opened  int   // sessions so far: part of the next one's id
	leaseB  Media // the port leased for the B leg
	shown   bool  // the caller was sent SDP: its port must not change any more
	behind  bool  // what the caller answered before the callee did is still to be told there

	xfer       *transfer    // a REFER at work; nil: none
	promised   *claim       // the callee goes to a transfer once it answers; nil: it does not
	from       *origin      // a REFER began this call, and who stays is not here yet; nil: otherwise
	entry      *trunk.Trunk // of who sent that REFER: as if the call had entered by it
	depth      int          // transfers behind each other so far
	former     []*leg       // legs that transfers took out of the call
	rel        reliable     // 18x to the caller that wait for their PRACK
	ring       *deadline    // Timer C (RFC 3261 section 16.6, item 11), over all trunks
	waiting    int          // requests of ours that have no final answer yet
	counted    bool         // holds a place of limits.calls
	surplus    bool         // beyond limits.calls: good for an emergency call only
	inside     bool         // one of those for which new calls have to wait (pressure.go)
	givenUp    bool         // by its caller, before the answer
	missed     int          // what the caller got although the callee had answered; 0: nothing yet, or its 200
	last       int          // status of the trunk that failed last
	said       []reason     // the Reason it gave
	unable     []failure    // the trunks that failed so far
	rec        CallRecord
	gone       bool   // nothing is awaited any more
	invites    []*uac // ours that may still be answered
	triedShown bool   // rec.Tried was published: nothing in it changes any more
}

// leg is one dialog at work: its state, and the transactions in progress.
type leg struct {
	name  string // "a" or "b", as the relay's session names it
	d     Dialog
	trunk *trunk.Trunk

	open   *served // an INVITE of the peer: from its arrival until the ACK of our answer
	update *served // an UPDATE or a PRACK of the peer with an offer, until our answer
	asked  *asked  // an offer of ours inside the dialog, until its final answer
	can    ability // what the peer said that it can
	timer  sessionTimer
	refers int                  // REFERs of the peer so far
	moved  func(*guard.Inbound) // the leg went to another call, which takes its requests; nil: it did not
	infos  int                  // INFO of ours without an answer
	egress *guard.Egress        // where requests go; nil: to be found again
	parked []func()             // what waits for the ACK of open, which it overtook
	unpark *deadline
	proof  []sip.Header // what our latest INVITE proved us with: its ACK carries the same (RFC 3261 section 22.1)
	bye    *goodbye     // to be sent once the ACK is here
	ended  bool         // a BYE was sent or received
}

// String names a leg in a record.
func (l *leg) String() string { return "leg " + l.name + " (trunk " + l.trunk.Name + ")" }

func newCall(b *B2BUA, v *view, id string) *call {
	c := &call{b: b, v: v, id: id, log: newCallLog(b.log, id)}
	c.bell = &bell{}
	c.bell.of.Store(c)
	c.timers = deadlines{now: b.o.Now, ring: c.bell.ring}
	c.rec = CallRecord{Call: id, Node: b.o.Node, Start: b.o.Now()}
	return c
}

// begins says what the call does first. That is before anybody finds it; employ starts it.
func (c *call) begins(with func()) { c.box.put(with, mailboxSize) }

// post puts a message of the network into the mailbox. False: it is full or closed, the message is dropped and counted.
func (c *call) post(do func()) bool {
	ok := c.put(do, mailboxSize-ownShare)
	if !ok {
		c.b.count(DropMailbox)
	}
	return ok
}

// postOwn does so for what the call itself waits for, and for what must not be lost: true says that it will be run.
func (c *call) postOwn(do func()) bool {
	ok := c.put(do, mailboxSize)
	if !ok && !c.box.isEnded() {
		c.b.count(DropMailbox)
	}
	return ok
}

func (c *call) put(do func(), most int) bool {
	ok, begin := c.box.put(do, most)
	if begin {
		c.b.employ(c)
	}
	return ok
}

// bell is all that the runtime's timer holds of a call: one that was stopped is kept for a while.
type bell struct{ of atomic.Pointer[call] }

func (b *bell) ring() {
	if c := b.of.Load(); c != nil && c.box.ring() {
		c.b.employ(c)
	}
}

// deliver takes a request of a peer inside a dialog. One that finds the mailbox full is answered at once: the stack absorbs its
// repetition, so nothing else would ever answer it. A BYE has the call's own share: what one side sends too much must not
// keep the other from hanging up (TestWhatFindsNoRoomIsAnswered). An ACK is repeated as often as our 2xx is.
func (c *call) deliver(l *leg, in *guard.Inbound) {
	put := c.post
	if in.Req.Method == sip.BYE {
		put = c.postOwn
	}
	switch {
	case put(func() { c.arrived(l, in) }):
	case c.box.isEnded():
		c.decide(in, 481, nil)
	default:
		c.decide(in, 500, retryAfter(c.b.soon()))
	}
}

// work does what there is to do, and takes the call out of the tables once nothing is awaited any more.
func (c *call) work() {
	if !c.toil() {
		c.leave()
	}
}

// toil empties the mailbox. True: the call goes on when something comes.
func (c *call) toil() bool {
	defer c.rescue()
	for !c.done() {
		switch do, due := c.box.next(); {
		case due:
			c.timers.fire()
		case do != nil:
			do()
		case c.rest():
			return true
		}
		if c.box.len() > 0 { // as long as messages come, it would not rest
			c.timers.arm()
		}
	}
	return false
}

// rest gives the worker back. False: something came.
func (c *call) rest() bool {
	c.timers.arm()
	return c.box.rest()
}

// leave takes the call out of the tables, answers what came at the last moment, and lets go of what would keep it in memory. A
// leg that another call gave at the last moment is still looked at: it would be nobody's.
func (c *call) leave() {
	c.b.forget(c)
	for !c.clear() { // a fault left the rest
	}
	c.timers.clear()
	c.bell.of.Store(nil)
	for _, u := range c.invites {
		u.deafen()
	}
}

// clear empties the mailbox for the last time. False: there was a fault, and it is not empty yet.
func (c *call) clear() bool {
	defer c.rescue()
	for do := c.box.last(); do != nil; do = c.box.last() {
		do()
	}
	return true
}

// rescue keeps one call's fault from ending all the others. It is counted, and its session is closed.
func (c *call) rescue() {
	if r := recover(); r != nil {
		c.b.count(DropPanic)
		c.log.Error("call ended by a fault in tandem; please report it", "panic", r, "stack", string(debug.Stack()))
		c.finish(500, byUs, "internal error")
	}
}

// done reports that the call is over, and every request of ours has its answer.
func (c *call) done() bool {
	if c.phase != Over {
		return false
	}
	return c.gone || c.waiting == 0 && !c.a.owed() && (c.peer == nil || !c.peer.owed())
}

// owed reports whether the leg still waits for an ACK after which a BYE is due.
func (l *leg) owed() bool { return l != nil && l.bye != nil }

// finish ends the call's part in everything that is shared: the relay's session, the trunks' places, the limit of calls. It
// happens once; what remains afterwards are answers to come.
func (c *call) finish(code int, by, why string) {
	if c.phase == Over {
		return
	}
	c.phase = Over
	c.away()
	if c.missed != 0 { // whatever became of the rest: no call of the caller's was answered
		code, c.rec.Answer = c.missed, time.Time{}
	}
	code = c.breakPromise(code)
	c.timers.stop(c.ring)
	for _, at := range c.attempts {
		c.timers.stop(at.timer)
	}
	c.endTurn()
	c.place.give()
	if x := c.xfer; x != nil {
		c.endTransfer(x)
	}
	if o := c.from; o != nil {
		c.from = nil
		if code < 300 { // the other end hung up before anybody was there
			code = 480
		}
		o.report(code)
	}
	c.timers.after(c.b.t.giveUp(), func() { c.gone = true })
	c.b.over(c)
	c.complete(code, by, why, c.closeSession())
	c.shrink()
}

// shrink drops what only a living call needs: transactions keep a call reachable for 32 s after its end.
func (c *call) shrink() {
	c.queue, c.unable = nil, nil
	for _, l := range []*leg{c.a, c.peer} {
		if l != nil {
			l.d.Media = Media{}
		}
	}
	c.rec = CallRecord{}
}

// snapshot is the call's state as plain data.
func (c *call) snapshot() *State {
	s := &State{ID: c.id, Phase: c.phase, Called: c.called, Caller: c.caller, A: c.a.d}
	if c.session != nil {
		s.Session, s.Generation = c.session.id, c.session.gen
	}
	if l := c.far(); l != nil {
		s.B = l.d
	}
	return s
}

// opaque is State.Opaque of the snapshot, without making one.
func (c *call) opaque() string {
	b := &Dialog{}
	if l := c.far(); l != nil {
		b = &l.d
	}
	return writeOpaque(c.id, c.phase, c.called, c.caller, &c.a.d, b)
}

// far is the leg that was called and answered, or is being called; nil: none is.
func (c *call) far() *leg {
	if c.peer == nil && c.try != nil {
		return c.try.leg
	}
	return c.peer
}

// other is the opposite leg; nil before the answer.
func (c *call) other(l *leg) *leg {
	if l == c.a {
		return c.peer
	}
	return c.a
}

// opposite is other, and before the answer the leg that is being called.
func (c *call) opposite(l *leg) *leg {
	if l == c.a && c.peer == nil && c.try != nil {
		return c.try.leg
	}
	return c.other(l)
}

// since is the time from the call's start.
func (c *call) since(t time.Time) time.Duration { return t.Sub(c.rec.Start) }
