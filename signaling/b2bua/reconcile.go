package b2bua

import (
	"context"
	"time"

	"tandem/internal/control"
)

// reconcileTime is how long a comparison with the relay may take: 10,000 sessions are 20 pages.
const reconcileTime = 30 * time.Second

// unclosedMost bounds the sessions that wait to be closed while the relay is away. What is beyond is found again by the
// comparison after its next hello.
const unclosedMost = 10_000

// RelayUp is called after every hello of the control socket's link. What we and the relay know of each other's sessions is
// made equal again: a session of ours that belongs to no call is closed, as we cannot rebuild its call; a call whose session
// vanished is ended. It returns at once.
func (b *B2BUA) RelayUp(hello control.HelloResult) {
	b.mu.Lock()
	if b.boot != "" && b.boot != hello.Boot {
		b.log.Warn("media relay restarted", "boot", hello.Boot, "before", b.boot)
	}
	b.boot = hello.Boot
	b.mu.Unlock()
	if b.closing.Load() {
		return
	}
	b.work.Go(b.reconcile)
}

// reconcile compares once.
func (b *B2BUA) reconcile() {
	ctx, cancel := context.WithTimeout(context.Background(), reconcileTime)
	defer cancel()
	before := b.claims() // sessions opened while we list are not missing
	found := make(map[string]bool)
	list := control.List{Owner: b.o.Node}
	for {
		page, err := b.o.Relay.List(ctx, list)
		if err != nil {
			b.log.Warn("sessions of the media relay not listed", "error", err)
			return
		}
		for i := range page.Sessions {
			id := page.Sessions[i].ID
			found[id] = true
			if !b.claimed(id) {
				b.sweepLater(id)
			}
		}
		if page.Next == "" || page.Next <= list.After {
			break
		}
		list.After = page.Next
	}
	for id, c := range before {
		if !found[id] {
			c.postOwn(func() { c.lostSession(id) })
		}
	}
	b.sweepOnce(ctx)
}

// claims are the sessions of calls that the relay has confirmed or may be about to.
func (b *B2BUA) claims() map[string]*call {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := make(map[string]*call, len(b.sessions))
	for id, c := range b.sessions {
		m[id] = c
	}
	return m
}

func (b *B2BUA) claimed(session string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[session] != nil
}

// lostSession ends a call whose session the relay does not have. One that was being opened while the relay was asked is
// looked at once more: the mailbox was not emptied before the open came back.
func (c *call) lostSession(id string) {
	s := c.session
	if s == nil || s.id != id || c.phase == Over {
		return
	}
	ctx := c.b.patience()
	_, err := c.b.o.Relay.Update(ctx, control.Update{ID: id, Generation: s.gen}) // the same generation changes nothing
	if control.CodeOf(err) != control.CodeNotFound {
		return
	}
	c.hangUp(503, "media relay restarted", "")
}

// sweepLater has a session closed that nobody needs, as soon as the relay can be reached.
func (b *B2BUA) sweepLater(session string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.unclosed) < unclosedMost {
		b.unclosed[session] = true
	}
}

// sweep tries again and again, until Close, and sends workers home that are not needed.
func (b *B2BUA) sweep() {
	tick := time.NewTicker(b.t.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.sweepOnce(b.patience())
			b.crew.thin(false)
		case <-b.stop:
			return
		}
	}
}

// sweepOnce closes what is left over.
func (b *B2BUA) sweepOnce(ctx context.Context) {
	b.mu.Lock()
	list := make([]string, 0, len(b.unclosed))
	for id := range b.unclosed {
		list = append(list, id)
	}
	b.mu.Unlock()
	for _, id := range list {
		_, err := b.o.Relay.CloseSession(ctx, control.Ref{ID: id})
		if err != nil && control.CodeOf(err) == 0 {
			return // not reachable
		}
		b.mu.Lock()
		delete(b.unclosed, id)
		b.mu.Unlock()
	}
}
