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
	callEvery   = 20 * time.Millisecond // 50 calls a second
	setupWithin = 10 * time.Second      // for a call to be answered
	lastPackets = time.Second           // for what is on its way when both stop talking
	hangUpsMost = 16                    // BYEs at once
	halfFrame   = 10 * time.Millisecond // talking ends between two packets, not at one
)

// demoCall is one call, seen from both ends.
type demoCall struct {
	number string
	near   *phone.Call // at the phone on the UC side
	far    *phone.Call // at the gateway
	err    error       // why there is no call, or no good end of it
}

// converse places calls at their pace, lets both ends of each talk from its answer until d after the last one was answered,
// waits for the last packets, and hangs up. It returns when every call is over.
func (s *stage) converse(ctx context.Context, calls int, d time.Duration) []*demoCall {
	answers := s.answer(calls)
	talk, hush := context.WithCancel(ctx)
	defer hush()
	var up, talked sync.WaitGroup
	all := make([]*demoCall, calls)
	pace := time.NewTicker(callEvery)
	defer pace.Stop()
	for i := range all {
		c := &demoCall{number: demoNumber(i)}
		all[i] = c
		up.Add(1)
		talked.Go(func() {
			c.err = s.place(ctx, c, answers[c.number])
			up.Done()
			if c.err == nil {
				c.err = c.talk(talk)
			}
		})
		if i+1 < calls {
			<-pace.C
		}
	}
	up.Wait()
	time.AfterFunc(d-halfFrame, hush)
	talked.Wait()
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

// talk lets both ends talk until ctx ends.
func (c *demoCall) talk(ctx context.Context) error {
	farSaid := make(chan error, 1)
	go func() { farSaid <- c.far.Talk(ctx, 0) }()
	if err := errors.Join(c.near.Talk(ctx, 0), <-farSaid); err != nil {
		return fmt.Errorf("call %s: %w", c.number, err)
	}
	return nil
}

// hangUp waits for the packets that are still on their way, then ends every call from the phone's side.
func hangUp(ctx context.Context, all []*demoCall) {
	late, cancel := context.WithTimeout(ctx, lastPackets)
	defer cancel()
	for _, c := range all {
		if c.near != nil && c.far != nil {
			c.near.Heard(late, c.far.Report().Sent) // what was lost is in the report
			c.far.Heard(late, c.near.Report().Sent)
		}
	}
	ctx, cancel = context.WithTimeout(ctx, setupWithin)
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
