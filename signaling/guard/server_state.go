package guard

import (
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// The server transaction of RFC 3261 section 17.2, with the Accepted state of RFC 6026 section 7.1, as one state. Without a final
// response it has what the Handler got; afterwards it keeps its key and the bytes of the last response, and nothing else lives
// for the 32 s: to wait for their end is a place in a queue (rest.go). Only a failure that is repeated has a timer.

// serverState is how far a request of a peer has come.
type serverState uint8

const (
	trying    serverState = iota // without a final response
	agreed                       // Accepted: an INVITE got its 2xx, which the call repeats
	refused                      // Completed: the final response is repeated, to an INVITE by itself
	confirmed                    // the ACK of a failure came
	forgotten
)

// repetition is how a failure of an INVITE is sent again until its ACK comes; under the lock of its transaction.
type repetition struct {
	timer    *time.Timer
	interval time.Duration
	again    time.Time // the next one; zero: none, on a stream
	until    time.Time // when it is given up
}

// transmit sends a response that may be sent, and takes the transaction one further. t.mu is held.
func (t *serverTx) transmit(code int, raw []byte) error {
	t.calmed()
	repeated := t.state == agreed
	switch {
	case repeated:
	case code < 200:
		t.last = raw
	case !t.invite:
		t.state, t.last = refused, raw
		t.rest(sip.Timer_J)
	case success(code):
		t.state, t.last = agreed, nil // RFC 6026: a repeated INVITE is absorbed
		t.rest(sip.Timer_L)
	default:
		t.state, t.last = refused, raw
		t.persist()
	}
	if code >= 200 {
		t.settle()
		t.final = int16(code)
	}
	err := t.back.send(raw)
	if err != nil && t.state != agreed || !t.invite && t.state == refused && t.l.udp == nil { // J is nothing on a stream
		t.forget()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTransport, err)
	}
	return nil
}

// settle lets go of what only an answer to come needs. t.mu is held.
func (t *serverTx) settle() {
	in := t.in
	if in == nil {
		return
	}
	if t.invite && !t.inDialog {
		t.l.stack.servers.settle(in.merge, t)
	}
	t.in, in.repeats, in.merge, in.onCancel = nil, nil, mergeKey{}, nil
}

// rest waits for the end, for d. t.mu is held.
func (t *serverTx) rest(d time.Duration) {
	s := t.l.stack
	t.queue().add(&t.place, t, s.age()+d)
}

// queue is where the transaction waits in its state: timers J and L are the same, timer I is another. t.mu is held.
func (t *serverTx) queue() *queue[serverTx] {
	if t.state == confirmed {
		return &t.l.stack.servers.settling
	}
	return &t.l.stack.servers.resting
}

// persist starts timer H and, where datagrams are lost, G. t.mu is held.
func (t *serverTx) persist() {
	now := time.Now()
	r := &repetition{until: now.Add(sip.Timer_H)}
	if t.l.udp != nil {
		r.interval = sip.T1
		r.again = now.Add(r.interval)
	}
	t.failure = r
	r.timer = time.AfterFunc(r.due(now), t.tick)
}

// due is the time until the next thing that happens by itself.
func (r *repetition) due(now time.Time) time.Duration {
	if !r.again.IsZero() && r.again.Before(r.until) {
		return r.again.Sub(now)
	}
	return r.until.Sub(now)
}

// tick is the timer: the end, or a repetition of a failure that has no ACK.
func (t *serverTx) tick() {
	defer t.l.recovered("a response's timer", t.l.local)
	t.mu.Lock()
	defer t.mu.Unlock()
	now, r := time.Now(), t.failure
	switch {
	case r == nil: // the ACK was faster
	case !now.Before(r.until):
		t.forget()
	case r.again.IsZero() || now.Before(r.again):
		r.timer.Reset(r.due(now))
	default:
		r.interval = min(2*r.interval, sip.T2)
		r.again = now.Add(r.interval)
		r.timer.Reset(r.due(now))
		if t.back.send(t.last) != nil {
			t.forget()
		}
	}
}

// desist ends the repetition of a failure. t.mu is held.
func (t *serverTx) desist() {
	if t.failure != nil {
		t.failure.timer.Stop()
		t.failure = nil
	}
}

// repeat absorbs a retransmission, and sends the last response again unless that is a 2xx to an INVITE.
func (t *serverTx) repeat() Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.last != nil:
		t.back.send(t.last) //nolint:errcheck // whoever asks again will do so once more
	case t.waits:
		t.hush()
	}
	return Absorbed
}

// confirm is the ACK of a failure: nothing is repeated any more. t.mu is held.
func (t *serverTx) confirm() {
	if t.state != refused {
		return
	}
	t.desist()
	t.state, t.last = confirmed, nil
	if t.l.udp == nil { // timer I is nothing on a stream
		t.forget()
		return
	}
	t.rest(sip.Timer_I)
}

// Terminate ends the transaction, whatever its state.
func (t *serverTx) Terminate() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
}

// forget is the end. t.mu is held.
func (t *serverTx) forget() {
	if t.state == forgotten {
		return
	}
	t.calmed()
	t.queue().remove(&t.place)
	t.settle()
	t.desist()
	t.state, t.last = forgotten, nil
	t.l.stack.servers.drop(t)
}
