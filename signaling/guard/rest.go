package guard

import (
	"sync"
	"time"
)

// A transaction that has its final response waits for repetitions for up to 32 s, and most of what a busy stack remembers is
// waiting like this. All that wait for the same span end in the order in which they began, so that a queue and a look once a
// second do for what would be a timer each. It is let go late by a second at most; nobody outside can tell.

const restEvery = time.Second // between two looks

// queue holds what waits for the same span, whoever waits longest first.
type queue[T any] struct {
	mu          sync.Mutex
	first, last *place[T]
}

// place is what a transaction needs to wait in a queue; under the queue's lock.
type place[T any] struct {
	of            *T            // whose it is; nil: it is in no queue
	until         time.Duration // since the stack was opened
	before, after *place[T]
}

// add lets of wait until then, and tells whether nobody else waits.
func (q *queue[T]) add(p *place[T], of *T, until time.Duration) (alone bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	alone = q.first == nil
	p.of, p.until, p.before = of, until, q.last
	if q.last == nil {
		q.first = p
	} else {
		q.last.after = p
	}
	q.last = p
	return alone
}

// next is when the first will have waited long enough, or false when nobody waits.
func (q *queue[T]) next() (until time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.first == nil {
		return 0, false
	}
	return q.first.until, true
}

// remove takes out what waits no longer.
func (q *queue[T]) remove(p *place[T]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.take(p)
}

// take needs q.mu.
func (q *queue[T]) take(p *place[T]) {
	switch {
	case p.of == nil:
		return
	case p.before == nil:
		q.first = p.after
	default:
		p.before.after = p.after
	}
	if p.after == nil {
		q.last = p.before
	} else {
		p.after.before = p.before
	}
	*p = place[T]{}
}

// due takes out those who have waited long enough.
func (q *queue[T]) due(now time.Duration) (list []*T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.first != nil && q.first.until <= now {
		list = append(list, q.first.of)
		q.take(q.first)
	}
	return list
}

// age is the time since the stack was opened.
func (s *Stack) age() time.Duration { return time.Since(s.born) }

// release ends the transactions for which no repetition can come any more.
func (s *Stack) release(now time.Duration) {
	for _, q := range []*queue[serverTx]{&s.servers.resting, &s.servers.settling} {
		for _, tx := range q.due(now) {
			tx.Terminate()
		}
	}
	for _, q := range []*queue[clientTx]{&s.clients.resting, &s.clients.settling} {
		for _, c := range q.due(now) {
			c.end(nil)
		}
	}
}
