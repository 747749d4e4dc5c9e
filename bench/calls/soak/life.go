package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem/internal/phone"
)

const (
	frame       = 20 * time.Millisecond // of audio
	setupWithin = 10 * time.Second
	wordWithin  = 10 * time.Second // for an answer inside a call
	hearWithin  = 5 * time.Second  // for the last packets to arrive
	glareTries  = 5
	glarePause  = 300 * time.Millisecond
)

// life is what one call does: talk, be changed, talk again, end.
type life struct {
	churn     *churn
	number    string
	nature    int           // which kind of call it is
	near, far *phone.Call   // who talk: after a transfer who stayed, and who is new
	left      *phone.Call   // who transferred the other; nil: nobody
	setup     time.Duration // of the call

	said, heard           uint64 // packets of near's from before the transfer
	held, renewed, glares int
	done                  int // transfers that came about
}

// live runs through it. Nothing is said while the call is changed, so that every packet has somewhere to go.
func (l *life) live(ctx context.Context, answered <-chan *phone.Call) error {
	began := time.Now()
	if err := l.place(ctx, answered); err != nil {
		return err
	}
	o := l.churn.o
	for _, do := range []func(context.Context) error{
		func(ctx context.Context) error { return l.talk(ctx, o.Talk/2) },
		l.hear,
		l.change,
		func(ctx context.Context) error { return l.until(ctx, began.Add(o.life()-o.Talk/2)) },
		func(ctx context.Context) error { return l.talk(ctx, o.Talk/2) },
		l.hear,
	} {
		if err := do(ctx); err != nil {
			return errors.Join(fmt.Errorf("call %s, %s after its INVITE: %w", l.number, time.Since(began).Round(time.Millisecond), err), l.end())
		}
	}
	return l.end()
}

// place dials and waits until the gateway has its end of the call.
func (l *life) place(ctx context.Context, answered <-chan *phone.Call) (err error) {
	ctx, cancel := context.WithTimeout(ctx, setupWithin)
	defer cancel()
	if l.near, err = l.churn.s.uc.Call(ctx, l.number, l.churn.s.proxy); err != nil {
		return err
	}
	l.setup = l.near.Report().SetupTime
	select {
	case l.far = <-answered:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("call %s: the gateway never had the ACK: %w", l.number, ctx.Err()), l.end())
	}
}

// talk lets both ends talk at once.
func (l *life) talk(ctx context.Context, d time.Duration) error {
	said := make(chan error, 1)
	go func() { said <- l.far.Talk(ctx, d) }()
	return errors.Join(l.near.Talk(ctx, d), <-said)
}

// hear waits until both ends have heard all that the other said.
func (l *life) hear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hearWithin)
	defer cancel()
	err := errors.Join(l.near.Heard(ctx, l.heard+l.far.Report().Sent), l.far.Heard(ctx, l.near.Report().Sent-l.said))
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		near, far := l.near.Report(), l.far.Report()
		return fmt.Errorf("%d of %d packets were heard by the caller, %d of %d by the called",
			near.Received-l.heard, far.Sent, far.Received, near.Sent-l.said)
	}
	return err
}

// change is a transfer or a hold by either side, a re-INVITE by either side that changes nothing, or nothing.
func (l *life) change(ctx context.Context) error {
	if n := l.moves(); n > 0 {
		return l.transfer(ctx, n)
	}
	switch l.nature % 5 {
	case 0:
		return l.hold(ctx, l.near)
	case 1:
		return l.hold(ctx, l.far)
	case 2:
		l.renewed++
		return l.ask(ctx, l.near.Resume)
	case 3:
		l.renewed++
		return l.ask(ctx, l.far.Resume)
	}
	return nil
}

func (l *life) hold(ctx context.Context, by *phone.Call) error {
	if err := l.ask(ctx, by.Hold); err != nil {
		return err
	}
	l.held++
	return l.ask(ctx, by.Resume)
}

// ask does a re-INVITE, again after a 491 (RFC 3261 section 14.1).
func (l *life) ask(ctx context.Context, do func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, wordWithin)
	defer cancel()
	for range glareTries {
		var refused *phone.Refused
		if err = do(ctx); !errors.As(err, &refused) || refused.Code != 491 {
			return err
		}
		l.glares++
		select {
		case <-time.After(glarePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// until waits for a moment; a call that ends before is an error.
func (l *life) until(ctx context.Context, at time.Time) error {
	wait := time.NewTimer(time.Until(at))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-l.near.Done():
		return errors.New("the caller's end was hung up by Tandem")
	case <-l.far.Done():
		return errors.New("the called end was hung up by Tandem")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end hangs up, some calls from the far end, and waits until the other has heard of it. A context that ended leaves
// no time for that: the planes hang up what is left.
func (l *life) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), wordWithin)
	defer cancel()
	by, other := l.near, l.far
	if l.far != nil && l.nature/4%2 == 1 { // as often for each kind of call
		by, other = l.far, l.near
	}
	if err := by.Hangup(ctx); err != nil {
		return fmt.Errorf("call %s: hang up: %w", l.number, err)
	}
	if other == nil {
		return nil
	}
	select {
	case <-other.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("call %s: the other end never heard of the BYE", l.number)
	}
}
