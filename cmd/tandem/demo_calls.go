package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tandem/internal/phone"
)

// Pace and patience of the demo's calls.
const (
	callEvery   = 20 * time.Millisecond  // 50 calls a second
	frame       = 20 * time.Millisecond  // of audio
	greeting    = 100 * time.Millisecond // said at once where a call waits for others to come up
	setupWithin = 10 * time.Second       // for a call to be answered
	lastPackets = time.Second            // without a further packet: what is still missing is lost
	lookEvery   = 20 * time.Millisecond  // at what has arrived meanwhile
	hangUpsMost = 16                     // BYEs at once
)

// demoCall is one call, seen from both ends.
type demoCall struct {
	number string
	near   *phone.Call // at the phone on the UC side
	far    *phone.Call // at the gateway
	err    error       // why there is no call, or no good end of it
}

// converse places calls at their pace. Both ends of each greet; when the last call is up they all talk for d; then the
// last packets are waited for, and the calls hung up. It returns when every call is over.
func (s *stage) converse(ctx context.Context, calls int, d time.Duration) []*demoCall {
	answers := s.answer(calls)
	var up, talked sync.WaitGroup
	up.Add(calls)
	all := make([]*demoCall, calls)
	pace := time.NewTicker(callEvery)
	defer pace.Stop()
	for i := range all {
		c := &demoCall{number: demoNumber(i)}
		all[i] = c
		talked.Go(func() {
			c.err = s.place(ctx, c, answers[c.number])
			if c.err == nil && calls > 1 {
				c.err = c.talk(ctx, greeting)
			}
			up.Done()
			up.Wait()
			if c.err == nil {
				<-time.After(frame * time.Duration(i) / time.Duration(calls)) // not everybody in one breath
				c.err = c.talk(ctx, d)
			}
		})
		if i+1 < calls {
			select {
			case <-pace.C:
			case <-ctx.Done(): // the others fail at once
			}
		}
	}
	talked.Wait()
	hearOut(ctx, all)
	hangUp(ctx, all)
	return all
}

func demoNumber(i int) string { return fmt.Sprintf("+1555%06d", i) }

// answer makes the gateway take the calls; who called which number learns of the far end by the number's channel.
func (s *stage) answer(calls int) map[string]chan *phone.Call {
	answers := make(map[string]chan *phone.Call, calls)
	for i := range calls {
		answers[demoNumber(i)] = make(chan *phone.Call, 1)
	}
	s.gateway.OnCall(func(in *phone.Incoming) {
		answered, ok := answers[in.Number]
		if !ok {
			in.Reject(404) // its error would be the caller's, who hears 404 or nothing
			return
		}
		if in.Ring() != nil {
			return // the caller gave up
		}
		if c, err := in.Answer(); err == nil {
			answered <- c
		}
	})
	return answers
}

// place dials and waits until the gateway has its end of the call.
func (s *stage) place(ctx context.Context, c *demoCall, answered <-chan *phone.Call) error {
	ctx, cancel := context.WithTimeout(ctx, setupWithin)
	defer cancel()
	var err error
	if c.near, err = s.uc.Call(ctx, c.number, s.proxy); err != nil {
		return err
	}
	select {
	case c.far = <-answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("call %s: the gateway never had the ACK: %w", c.number, ctx.Err())
	}
}

// talk lets both ends talk at once.
func (c *demoCall) talk(ctx context.Context, d time.Duration) error {
	farSaid := make(chan error, 1)
	go func() { farSaid <- c.far.Talk(ctx, d) }()
	if err := errors.Join(c.near.Talk(ctx, d), <-farSaid); err != nil {
		return fmt.Errorf("call %s: %w", c.number, err)
	}
	return nil
}

// hearOut waits for the packets that are still on their way when everybody has stopped talking.
func hearOut(ctx context.Context, all []*demoCall) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var before uint64
	for last := time.Now(); time.Since(last) < lastPackets; {
		sent, received := uint64(0), uint64(0)
		for _, c := range all {
			if c.near == nil || c.far == nil {
				continue
			}
			near, far := c.near.Report(), c.far.Report()
			sent, received = sent+near.Sent+far.Sent, received+near.Received+far.Received
		}
		if received == sent {
			return
		}
		if received != before {
			before, last = received, time.Now()
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// hangUp ends every call from the phone's side.
func hangUp(ctx context.Context, all []*demoCall) {
	ctx, cancel := context.WithTimeout(ctx, setupWithin)
	defer cancel()
	places := make(chan struct{}, hangUpsMost)
	var over sync.WaitGroup
	for _, c := range all {
		if c.near == nil {
			continue
		}
		places <- struct{}{}
		over.Go(func() {
			defer func() { <-places }()
			if err := c.end(ctx); c.err == nil {
				c.err = err
			}
		})
	}
	over.Wait()
}

// end hangs up at the phone and waits until the gateway has heard of it.
func (c *demoCall) end(ctx context.Context) error {
	if err := c.near.Hangup(ctx); err != nil {
		return fmt.Errorf("call %s: %w", c.number, err)
	}
	if c.far == nil {
		return nil
	}
	select {
	case <-c.far.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("call %s: the gateway never had a BYE: %w", c.number, ctx.Err())
	}
}
