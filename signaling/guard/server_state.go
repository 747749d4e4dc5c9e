package guard

import (
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// The server transaction of RFC 3261 section 17.2, with the Accepted state of RFC 6026 section 7.1, as one state and one timer.
// It keeps the bytes of the last response and, of an INVITE without a final one, the 487 for a CANCEL; nothing else lives for
// the 32 s.

// serverState is how far a request of a peer has come.
type serverState uint8

const (
	trying    serverState = iota // without a final response
	agreed                       // Accepted: an INVITE got its 2xx, which the call repeats
	refused                      // Completed: the final response is repeated, to an INVITE by itself
	confirmed                    // the ACK of a failure came
	forgotten
)

// transmit sends a response that may be sent, and takes the transaction one further. t.mu is held.
func (t *serverTx) transmit(code int, raw []byte) error {
	repeated := t.state == agreed
	switch {
	case repeated:
	case code < 200:
		t.last = raw
	case !t.invite:
		t.state, t.last = refused, raw
		t.keep(sip.Timer_J)
	case success(code):
		t.state, t.last = agreed, nil // RFC 6026: a repeated INVITE is absorbed
		t.keep(sip.Timer_L)
	default:
		t.state, t.last = refused, raw
		if t.l.udp != nil {
			t.interval = sip.T1 // timer G
			t.again = time.Now().Add(t.interval)
		}
		t.keep(sip.Timer_H)
	}
	if code >= 200 {
		t.final, t.in, t.ending = code, nil, nil
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

// keep sets the end of the transaction, and the timer. t.mu is held.
func (t *serverTx) keep(d time.Duration) {
	now := time.Now()
	t.until = now.Add(d)
	if !t.again.IsZero() {
		d = min(d, t.again.Sub(now))
	}
	if t.timer == nil {
		t.timer = time.AfterFunc(d, t.tick)
		return
	}
	t.timer.Reset(d)
}

// tick is the timer: the end, or a repetition of a failure that has no ACK.
func (t *serverTx) tick() {
	defer t.l.recovered("a response's timer", t.l.local)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case t.state == forgotten:
	case !now.Before(t.until):
		t.forget()
	case t.again.IsZero() || now.Before(t.again): // set anew while it fired
		t.keep(t.until.Sub(now))
	default:
		t.interval = min(2*t.interval, sip.T2)
		t.again = now.Add(t.interval)
		t.keep(t.until.Sub(now))
		if t.back.send(t.last) != nil {
			t.forget()
		}
	}
}

// repeat absorbs a retransmission, and sends the last response again unless that is a 2xx to an INVITE.
func (t *serverTx) repeat() Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != nil {
		t.back.send(t.last) //nolint:errcheck // whoever asks again will do so once more
	}
	return Absorbed
}

// confirm is the ACK of a failure: nothing is repeated any more. t.mu is held.
func (t *serverTx) confirm() {
	if t.state != refused {
		return
	}
	t.state, t.last, t.again = confirmed, nil, time.Time{}
	if t.l.udp == nil { // timer I is nothing on a stream
		t.forget()
		return
	}
	t.keep(sip.Timer_I)
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
	t.state, t.last, t.in, t.ending = forgotten, nil, nil, nil
	if t.timer != nil {
		t.timer.Stop()
	}
	t.l.stack.servers.drop(t)
}
