package soak

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"tandem/internal/phone"
)

// moves counts the calls that are transferred: the number of this one among them, from 1; 0: it is not.
func (l *life) moves() int {
	share := l.churn.o.Moved
	n := int(float64(l.nature+1) * share)
	if n == int(float64(l.nature)*share) {
		return 0
	}
	return n
}

// target is whom a transferred call is sent to: another party of the gateway's.
func (l *life) target() string { return fmt.Sprintf("+1666%08d", l.nature) }

// transfer lets one end, in turn the caller's and the called one's, send the other to somebody new: a blind REFER, of which
// Tandem makes a call of its own. It is done when the new party has answered, who stays has agreed to other media, who
// asked has heard of the success and was hung up.
func (l *life) transfer(ctx context.Context, n int) error {
	by, stays, proxy := l.near, l.far, l.churn.s.proxy
	if n%2 == 0 {
		by, stays, proxy = l.far, l.near, l.churn.s.back
	}
	answered := l.churn.expect(l.target())
	defer l.churn.forget(l.target())
	if err := l.ask(ctx, func(ctx context.Context) error { return by.Transfer(ctx, l.target(), proxy) }); err != nil {
		return err
	}
	if err := l.moved(ctx, by, stays, answered, proxy); err != nil {
		return fmt.Errorf("transfer to %s: %w", l.target(), err)
	}
	return nil
}

// moved waits until a transfer is complete at all three parties, and goes on with those who are left.
func (l *life) moved(ctx context.Context, by, stays *phone.Call, answered <-chan *phone.Call, proxy netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, wordWithin)
	defer cancel()
	var third *phone.Call
	select {
	case third = <-answered:
	case <-ctx.Done():
		return errors.New("the new party never had the ACK")
	}
	// From here on the new party is this call's to hang up, whatever happens.
	said := stays.Report()
	l.left, l.near, l.far, l.said, l.heard = by, stays, third, said.Sent, said.Received
	if err := stays.Changed(ctx, 1); err != nil {
		return fmt.Errorf("who stays was told of no other media: %w", err)
	}
	select {
	case <-by.Done():
	case <-ctx.Done():
		return fmt.Errorf("who asked at %s was not hung up", proxy)
	}
	stays.Meet(l.target(), true)
	l.done++
	return nil
}
