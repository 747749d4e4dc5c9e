package b2bua

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/internal/config"
	"tandem/signaling/guard"
)

// invites lists where INVITEs went, in their order; a "-" says that it was cancelled.
func (s *paperStack) invites() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, tx := range s.sent {
		if !tx.req.IsInvite() {
			continue
		}
		to := tx.to.Dest.Addr().String()
		if tx.cancelled.Load() {
			to += "-"
		}
		list = append(list, to)
	}
	return strings.Join(list, " ")
}

// wantInvites compares them once everything came to rest.
func (p *paper) wantInvites(t *testing.T, when, want string) {
	t.Helper()
	synctest.Wait()
	if got := p.stack.invites(); got != want {
		t.Errorf("%s INVITEs went to %q, want %q", when, got, want)
	}
}

const (
	b1 = "192.0.2.20"
	b2 = "192.0.2.30"
)

func TestSilentTrunkIsLeftAfterTenSecondsAndNotBefore(t *testing.T) {
	for name, said := range map[string]int{"nothing": 0, "a bare 100": 100} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaper(t)
				p.invite(0)
				synctest.Wait()
				if said != 0 {
					p.answer(0, said, "", false)
				}
				time.Sleep(defaultFailover - time.Nanosecond)
				p.wantInvites(t, "before ten seconds", b1)
				time.Sleep(time.Nanosecond)
				p.wantInvites(t, "after ten seconds", b1+"- "+b2)
				p.over(t)
				if r := <-p.records; len(r.Tried) != 2 || r.Tried[0].Code != 504 || r.Tried[0].Why != "no 18x within 10s" ||
					r.Tried[0].End.Sub(r.Tried[0].Start) != defaultFailover {
					t.Errorf("tried %+v", r.Tried)
				}
			})
		})
	}
}

func TestEveryKindOf18xStopsTheTenSeconds(t *testing.T) {
	for _, code := range []int{180, 181, 182, 183, 199} {
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(t)
			p.invite(0)
			synctest.Wait()
			p.answer(0, code, "callee", false)
			time.Sleep(time.Minute)
			p.wantInvites(t, fmt.Sprintf("a minute after a %d", code), b1)
			p.over(t)
		})
	}
}

// pooled gives trunk b1 so many addresses, 192.0.2.101 and on.
func pooled(n int) func(*config.Config) {
	return func(c *config.Config) {
		edit(c, "b1", func(tr *config.Trunk) { tr.Peer = fmt.Sprintf(poolName, n) })
	}
}

// tried are the addresses of b1 that were tried, in their order, and of all trunks when.
func (p *paper) tried(r *CallRecord) (list []string) {
	for _, t := range r.Tried {
		list = append(list, fmt.Sprintf("%s at %s", t.Trunk, t.Start.Sub(r.Start)))
	}
	return list
}

func TestSilentAddressesShareTheTimeOfTheirTrunk(t *testing.T) {
	for n, want := range map[int]string{
		2: "b1 at 0s, b1 at 5s, b2 at 10s",
		4: "b1 at 0s, b1 at 2.5s, b1 at 5s, b1 at 7.5s, b2 at 10s",
		9: "b1 at 0s, b1 at 2.5s, b1 at 5s, b1 at 7.5s, b2 at 10s", // maxAddresses of them
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPaper(t, pooled(n))
			p.invite(0)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			p.over(t)
			r := <-p.records
			if got := strings.Join(p.tried(&r), ", "); got != want {
				t.Errorf("%d addresses: %s, want %s", n, got, want)
			}
			seen := map[string]bool{}
			for _, x := range r.Tried {
				if seen[x.Address] {
					t.Errorf("%s was tried twice", x.Address)
				}
				seen[x.Address] = true
			}
		})
	}
}

func TestAddressThatSaid100KeepsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, pooled(2))
		p.invite(0)
		synctest.Wait()
		p.answer(0, 100, "", false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		p.over(t)
		r := <-p.records
		if got := strings.Join(p.tried(&r), ", "); got != "b1 at 0s, b2 at 10s" {
			t.Errorf("%s", got)
		}
	})
}

func TestAddressThatCannotBeReachedIsFollowedByTheNextAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, pooled(2))
		p.invite(0)
		synctest.Wait()
		for n := range 2 {
			p.stack.at(n).final = true
			p.stack.at(n).on(nil, guard.ErrTransport)
			synctest.Wait()
		}
		p.answer(2, 200, "callee", true)
		synctest.Wait()
		dead := p.stack.at(0).to.Dest
		addrs, _, err := p.trunk("b1").Targets(t.Context())
		if err != nil || len(addrs) != 2 || addrs[0] == dead && addrs[1] != p.stack.at(1).to.Dest {
			t.Errorf("targets %v, %v", addrs, err)
		}
		status := p.trunk("b1").Snapshot(time.Now())
		if status.Counters.Attempts != 2 || status.Counters.Failed != 2 || status.Counters.Classes[0] != 2 || !status.Addresses[0].Failed || !status.Addresses[1].Failed {
			t.Errorf("counters %+v, addresses %+v", status.Counters, status.Addresses)
		}
		if c := p.trunk("b2").Snapshot(time.Now()).Counters; c.Attempts != 1 || c.Connected != 1 || c.Failed != 0 {
			t.Errorf("counters of the trunk that answered %+v", c)
		}
		if a, b := p.trunk("b1").Active(), p.trunk("b2").Active(); a != 0 || b != 1 {
			t.Errorf("places taken: %d of the trunk that failed, %d of the one that answered", a, b)
		}
		p.over(t)
		r := <-p.records
		if got := strings.Join(p.tried(&r), ", "); got != "b1 at 0s, b1 at 0s, b2 at 0s" {
			t.Errorf("%s", got)
		}
	})
}

func TestServerOfAPoolThatAnswers503IsFollowedByTheNextAndTheTrunkStaysUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, pooled(2))
		p.invite(0)
		synctest.Wait()
		p.answer(0, 503, "x", false)
		synctest.Wait()
		if state := p.trunk("b1").State(time.Now()).String(); state != "up" {
			t.Errorf("one server of two is overloaded, and the trunk is %s", state)
		}
		p.answer(1, 503, "x", false)
		synctest.Wait()
		if state := p.trunk("b1").State(time.Now()).String(); state != "demoted" {
			t.Errorf("both are overloaded, and the trunk is %s", state)
		}
		p.answer(2, 200, "callee", true)
		synctest.Wait()
		p.over(t)
		r := <-p.records
		if got := strings.Join(p.tried(&r), ", "); got != "b1 at 0s, b1 at 0s, b2 at 0s" {
			t.Errorf("%s", got)
		}
	})
}

func TestPeerThatDiesWhileItRingsIsFollowedByTheNextAddressWithATimeOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, pooled(2))
		p.invite(0)
		synctest.Wait()
		p.answer(0, 180, "callee", false)
		time.Sleep(time.Minute)
		p.stack.at(0).final = true
		p.stack.at(0).on(nil, guard.ErrTransport)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		p.over(t)
		r := <-p.records
		if got := strings.Join(p.tried(&r), ", "); got != "b1 at 0s, b1 at 1m0s, b2 at 1m10s" {
			t.Errorf("%s", got)
		}
		if first := r.Tried[0]; first.Code != 503 || !strings.Contains(first.Why, guard.ErrTransport.Error()) || r.Ring.IsZero() {
			t.Errorf("%+v", first)
		}
	})
}

func TestTrunksAreTriedByTheirHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t)
		p.trunk("b1").Answered(503, time.Now())
		p.invite(0)
		p.wantInvites(t, "with b1 demoted", b2)
		p.over(t)
	})
}

func TestDialogStaysWithTheAddressItBeganWith(t *testing.T) {
	list := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:5060"), netip.MustParseAddrPort("192.0.2.2:5070")}
	for _, tt := range []struct {
		began string
		port  uint16
		want  string
	}{
		{"192.0.2.2", 0, "192.0.2.2:5070"}, {"192.0.2.2", 5080, "192.0.2.2:5080"}, {"::ffff:192.0.2.2", 0, "192.0.2.2:5070"},
		{"192.0.2.9", 0, "192.0.2.1:5060"}, {"192.0.2.9", 5080, "192.0.2.1:5080"},
	} {
		if got := nearest(list, netip.MustParseAddr(tt.began), tt.port).String(); got != tt.want {
			t.Errorf("began with %s, port %d: %s, want %s", tt.began, tt.port, got, tt.want)
		}
	}
}
