package soak

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"tandem/internal/phone"
)

// shown is how many reasons of failed calls are kept.
const shown = 10

// churn begins calls at their pace and adds up what became of them.
type churn struct {
	s    *stage
	o    *Options
	over sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]chan *phone.Call // who called which number learns of the far end here
	now     int
	setups  []float64 // ms
	r       Result
}

func newChurn(s *stage, o *Options) *churn {
	c := &churn{s: s, o: o, waiting: map[string]chan *phone.Call{}}
	s.gateway.OnCall(c.answer)
	return c
}

// answer takes the gateway's calls.
func (c *churn) answer(in *phone.Incoming) {
	c.mu.Lock()
	answered := c.waiting[in.Number]
	c.mu.Unlock()
	if answered == nil {
		in.Reject(404) // its error would be the caller's, who hears 404 or nothing
		return
	}
	if in.Ring() != nil {
		return // the caller gave up
	}
	if call, err := in.Answer(); err == nil {
		answered <- call
	}
}

// run begins calls until time is over, and returns when the last has ended. The schedule is absolute: a pause of the machine
// is made up for, not forgotten.
func (c *churn) run(ctx context.Context) {
	began := time.Now()
	due := time.NewTimer(0)
	defer due.Stop()
	for i := 0; ; i++ {
		at := time.Duration(float64(i) / c.o.Churn * float64(time.Second))
		if at >= c.o.For {
			break
		}
		due.Reset(time.Until(began.Add(at)))
		select {
		case <-due.C:
		case <-ctx.Done():
			c.over.Wait()
			return
		}
		c.over.Go(func() { c.live(ctx, i) })
	}
	c.over.Wait()
}

// live is one call from beginning to end.
func (c *churn) live(ctx context.Context, i int) {
	l := &life{churn: c, number: fmt.Sprintf("+1555%08d", i), nature: i}
	answered := c.expect(l.number)
	defer c.forget(l.number)
	c.mu.Lock()
	c.now++
	c.r.Calls, c.r.Most = c.r.Calls+1, max(c.r.Most, c.now)
	c.mu.Unlock()
	err := l.live(ctx, answered)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	c.note(l, err)
}

// expect says that somebody is about to call a number: the far end that answers comes by the channel.
func (c *churn) expect(number string) <-chan *phone.Call {
	answered := make(chan *phone.Call, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[number] = answered
	return answered
}

func (c *churn) forget(number string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, number)
}

// note adds a call up. It is called with the lock held.
func (c *churn) note(l *life, err error) {
	r := &c.r
	r.Held, r.Renewed, r.Glares = r.Held+l.held, r.Renewed+l.renewed, r.Glares+l.glares
	if r.Moved[0] += l.done; l.moves() > 0 {
		r.Moved[1]++
	}
	if l.setup > 0 {
		c.setups = append(c.setups, l.setup.Seconds()*1000)
	}
	var sent, received uint64
	for _, end := range []*phone.Call{l.near, l.far, l.left} {
		if end == nil {
			continue
		}
		e := end.Report()
		sent, received = sent+e.Sent, received+e.Received
		r.Packets.Corrupt, r.Packets.Duplicates = r.Packets.Corrupt+e.Corrupt, r.Packets.Duplicates+e.Duplicates
	}
	r.Packets.Sent, r.Packets.Received = r.Packets.Sent+sent, r.Packets.Received+received
	if err != nil {
		if r.Failed++; r.Failed <= shown {
			r.Problems = append(r.Problems, err.Error())
		}
	}
}

// up is how many calls there are now.
func (c *churn) up() (calls, begun, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, c.r.Calls, c.r.Failed
}

// result is what the calls tell.
func (c *churn) result(o *Options, took time.Duration) *Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.r
	r.Engine, r.Seconds, r.CallsPerS = c.s.engine, took.Seconds(), float64(r.Calls)/o.For.Seconds()
	slices.Sort(c.setups)
	if n := len(c.setups); n > 0 {
		r.SetupMS = [2]float64{c.setups[n/2], c.setups[n*99/100]}
	}
	r.Packets.PerS = float64(r.Packets.Sent) / took.Seconds()
	r.Packets.Missing = r.Packets.Sent - min(r.Packets.Sent, r.Packets.Received)
	return &r
}
