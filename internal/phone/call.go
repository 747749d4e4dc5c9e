package phone

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Call is a call that was answered. Its methods may be used by several goroutines.
type Call struct {
	Number string // as dialled

	p        *Phone
	d        *dialog
	m        *media
	began    time.Time // INVITE sent or received
	answered time.Time // 2xx received, or its ACK

	offers sync.Mutex // one INVITE at a time; guards sdp, theirs, held
	sdp    description
	theirs key
	held   bool

	changing sync.Mutex
	changes  uint64        // re-INVITEs of the far end that were agreed about
	changed  chan struct{} // closed by the next one

	acks  sync.Mutex
	acked chan struct{} // closed by the ACK to number wait; nil: none is expected
	await uint32

	once sync.Once
	done chan struct{}
}

// Report is what became of a call's media at this phone.
type Report struct {
	Sent       uint64 // RTP packets
	Received   uint64 // RTP packets with exactly the payload that the far phone said at that time, each once
	Corrupt    uint64 // of RTP or RTCP: not authentic, not readable, or not what the far phone said
	Lost       uint64 // by their sequence numbers; those missing at the end of a stream are not known to be
	Duplicates uint64
	Reports    uint64 // RTCP sender reports received

	JitterMS   float64       // RFC 3550 section 6.4.1, at the end of the stream
	MOS        float64       // ITU-T G.107, from loss and jitter; 0: nothing heard
	Suite      string        // of SRTP; "" is plain RTP
	SetupTime  time.Duration // from INVITE to its answer
	FirstAudio time.Duration // from the answer to the first packet received; 0: none
}

// ID is the Call-ID.
func (c *Call) ID() string { return c.d.id.callID }

// Done is closed when the call is over, whoever ended it.
func (c *Call) Done() <-chan struct{} { return c.done }

// Talk says this phone's tone for d in frames of 20 ms, and returns when the last one is over; with d 0 it talks until
// ctx ends. A phone that is on hold, or holds the other, stays silent meanwhile. ErrEnded: the call is over.
func (c *Call) Talk(ctx context.Context, d time.Duration) error { return c.m.talk(ctx, d, c.done) }

// Heard waits until n packets were received unharmed. ErrEnded: the call was over before.
func (c *Call) Heard(ctx context.Context, n uint64) error {
	reached := c.m.await(n)
	select {
	case <-reached:
		return nil
	default:
	}
	select {
	case <-reached:
		return nil
	case <-c.done:
		return ErrEnded
	case <-ctx.Done():
		return fmt.Errorf("phone: waiting for %d packets: %w", n, ctx.Err())
	}
}

// Changed waits until the far end has changed the call n times, each with a re-INVITE that was agreed about and
// acknowledged. ErrEnded: the call was over before.
func (c *Call) Changed(ctx context.Context, n uint64) error {
	for {
		c.changing.Lock()
		enough, next := c.changes >= n, c.changed
		c.changing.Unlock()
		if enough {
			return nil
		}
		select {
		case <-next:
		case <-c.done:
			return ErrEnded
		case <-ctx.Done():
			return fmt.Errorf("phone: waiting for change %d of the call: %w", n, ctx.Err())
		}
	}
}

// change notes a re-INVITE of the far end.
func (c *Call) change() {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.changes++
	close(c.changed)
	c.changed = make(chan struct{})
}

// Meet says with whom this end talks from now on: both voices become those of a call to number, in which this end is the
// caller or the called one. After a transfer the far phone is another one, and each must know what the other says.
func (c *Call) Meet(number string, caller bool) {
	ours, theirs := c.p.voices.of(number)
	if !caller {
		ours, theirs = theirs, ours
	}
	c.m.mu.Lock()
	c.m.voice = ours
	c.m.mu.Unlock()
	c.m.hearing.Lock()
	c.m.ear.voice = theirs
	c.m.hearing.Unlock()
}

// Report tells how the call goes, or went.
func (c *Call) Report() Report {
	r := Report{SetupTime: c.answered.Sub(c.began)}
	c.m.mu.Lock()
	r.Sent = c.m.said
	c.m.mu.Unlock()
	if c.m.suite != nil {
		r.Suite = c.m.suite.name
	}
	c.m.hearing.Lock()
	defer c.m.hearing.Unlock()
	e := &c.m.ear
	r.Received, r.Corrupt, r.Lost, r.Duplicates, r.Reports = e.received, e.corrupt, e.lost(), e.duplicates, e.reports
	r.JitterMS = e.jitterMS()
	r.MOS = MOS(r.Received, r.Lost, r.JitterMS)
	if !e.first.IsZero() {
		r.FirstAudio = e.first.Sub(c.answered)
	}
	return r
}

// Hold puts the far end on hold by a re-INVITE (a=sendonly) and falls silent. A *Refused with code 491 means that the far
// end was changing the call itself at that moment: try again.
func (c *Call) Hold(ctx context.Context) error { return c.reinvite(ctx, true) }

// Resume takes the far end from hold.
func (c *Call) Resume(ctx context.Context) error { return c.reinvite(ctx, false) }

func (c *Call) reinvite(ctx context.Context, hold bool) error {
	if !c.offers.TryLock() {
		return errors.New("phone: re-INVITE: another one is in progress")
	}
	defer c.offers.Unlock()
	before := c.sdp
	c.sdp.version++
	c.sdp.flow, c.sdp.others, c.sdp.place = sendrecv, nil, 0
	if hold {
		c.sdp.flow = sendonly
	}
	req := c.p.request(c.d, sip.INVITE, 0)
	c.p.addSDP(req, c.sdp.write())
	res, err := c.p.invite(ctx, req)
	if err != nil {
		c.sdp = before
		return fmt.Errorf("phone: re-%w", err)
	}
	c.d.refresh(res.Contact())
	c.held = hold
	err = c.p.acknowledge(c.d, req.CSeq().SeqNo)
	if err == nil {
		err = c.agree(res.Body())
	}
	if err != nil {
		return fmt.Errorf("phone: re-INVITE: %w", err)
	}
	return nil
}

// Hangup ends the call with a BYE and waits for its answer. A call that is over already is none of the errors.
func (c *Call) Hangup(ctx context.Context) error {
	select {
	case <-c.done:
		return nil
	default:
	}
	req := c.p.request(c.d, sip.BYE, 0)
	_, err := c.p.do(ctx, req)
	c.end()
	if r, refused := errors.AsType[*Refused](err); refused && r.Code == 481 {
		return nil // both hung up at once
	}
	if err != nil {
		return fmt.Errorf("phone: %w", err)
	}
	return nil
}

// end closes the media and forgets the call. What was counted stays.
func (c *Call) end() {
	c.once.Do(func() {
		close(c.done)
		c.p.leave(c)
		c.m.close()
	})
}
