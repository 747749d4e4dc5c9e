package b2bua

import "sync"

// Bounds of one call. What would go beyond is counted: a request is refused, a response lost.
const (
	mailboxSize = 64 // messages: a call in its busiest second has a handful
	ownShare    = 16 // of them only for answers to our own requests: a chatty peer must not drown them
	parkedMost  = 4  // requests that overtook an ACK, per leg
	mailboxRoom = 4  // messages without an allocation: an INVITE's 100 and 180 that come together
)

// mailbox is what a call has to do, in the order it came. Anybody puts something in; one worker at a time takes it out, and
// there is one only while there is something.
type mailbox struct {
	mu    sync.Mutex
	queue []func()
	taken int // of the queue, from its beginning
	first [mailboxRoom]func()
	due   bool // the earliest deadline may have come
	held  bool // a worker has the call, or is about to
	ended bool // nothing is taken any more
}

// put adds a message unless most wait already. begin says that a worker is needed for it.
func (m *mailbox) put(do func(), most int) (ok, begin bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || len(m.queue)-m.taken >= most {
		return false, false
	}
	if m.queue == nil {
		m.queue = m.first[:0]
	}
	if len(m.queue) == cap(m.queue) {
		m.shift()
	}
	m.queue = append(m.queue, do)
	begin, m.held = !m.held, true
	return true, begin
}

// shift makes room in front of what waits: who is never empty must not grow for ever. It needs m.mu.
func (m *mailbox) shift() {
	n := copy(m.queue, m.queue[m.taken:])
	clear(m.queue[n:])
	m.queue, m.taken = m.queue[:n], 0
	if n == mailboxRoom && cap(m.queue) == mailboxRoom { // it moves out of first, which keeps nothing
		m.queue = append(make([]func(), 0, mailboxSize), m.queue...)
		clear(m.first[:])
	}
}

// ring says that a deadline may have come. True: a worker is needed for it.
func (m *mailbox) ring() (begin bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due = true
	if m.ended {
		return false
	}
	begin, m.held = !m.held, true
	return begin
}

// next takes what is to be done now: the deadlines (due), or a message; nil without any. A deadline never waits for messages: no flood
// of them can keep a call from its end.
func (m *mailbox) next() (do func(), due bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.due {
		m.due = false
		return nil, true
	}
	return m.take(), false
}

// take needs m.mu.
func (m *mailbox) take() (do func()) {
	if m.taken == len(m.queue) {
		return nil
	}
	do, m.queue[m.taken] = m.queue[m.taken], nil
	if m.taken++; m.taken == len(m.queue) {
		m.queue, m.taken = m.queue[:0], 0
	}
	return do
}

// rest gives the call back until something comes. False: something came.
func (m *mailbox) rest() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = m.due || len(m.queue) > 0
	return !m.held
}

// last takes what came at the last moment, and closes the mailbox when there is nothing more.
func (m *mailbox) last() (do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do = m.take()
	m.ended = do == nil
	return do
}

func (m *mailbox) isEnded() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended
}

func (m *mailbox) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue) - m.taken
}
