package pin

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"tandem/relay/verdict"
)

// The cast of the tests.
var (
	signalled = addr("192.0.2.10:4000")   // what SDP says
	natted    = addr("192.0.2.10:61000")  // the same peer as it looks from outside its NAT
	neighbour = addr("192.0.2.10:62000")  // somebody else behind that NAT
	moved     = addr("192.0.2.10:4002")   // what a re-offer says
	elsewhere = addr("198.51.100.7:5000") // a stranger, or the peer after it roamed
	proxy     = addr("203.0.113.5:30000") // an address of the signalling peer
	media     = addr("203.0.113.77:7000") // an address in the trunk's prefix
	six       = addr("[2001:db8::7]:5000")
)

const (
	packetTime = int64(20 * time.Millisecond)
	start      = int64(time.Hour) // of the fake clock
	seed       = 0x5eed
)

func addr(s string) Addr {
	a := netip.MustParseAddrPort(s)
	return Addr{IP: a.Addr().As16(), Port: a.Port()}
}

// policy is what signalling says in most tests.
func policy(mode Mode) Policy {
	p := Policy{Signalled: signalled, Mode: mode}
	if mode == Learn {
		p.Peer = proxy.IP
		if err := p.AddPrefix(netip.MustParsePrefix("203.0.113.64/26")); err != nil {
			panic(err)
		}
	}
	return p
}

// leg is a state and all that its worker knows, with a clock that tests move.
type leg struct {
	t   *testing.T
	s   whole
	p   Policy
	now int64
	seq map[Addr]uint16
}

// newLeg returns a leg that was armed with the mode's policy.
func newLeg(t *testing.T, mode Mode) *leg {
	return newLegWith(t, policy(mode))
}

func newLegWith(t *testing.T, p Policy) *leg {
	l := &leg{t: t, p: p, now: start, seq: make(map[Addr]uint16)}
	if !l.s.Arm(l.now, &l.p) {
		t.Fatal("the first policy did not arm the leg")
	}
	return l
}

// packet sends one good packet from src, 20 ms after the one before: in order for its source, with a tag in auth.
func (l *leg) packet(src Addr, ssrc uint32) verdict.Verdict {
	l.now += packetTime
	l.seq[src]++
	v, _ := l.judge(src, Evidence{Seq: l.seq[src], SSRC: ssrc, KnownPT: true, Authenticated: l.p.Mode == Auth, Fresh: true})
	return v
}

// judge lets a packet with that evidence pass both looks, now.
func (l *leg) judge(src Addr, e Evidence) (verdict.Verdict, bool) {
	if v := l.s.Glance(l.now, &l.p, src, seed); v != verdict.Forward {
		return v, false
	}
	before, _ := l.s.SendTo(&l.p)
	pinned, v := l.s.Judge(l.now, &l.p, src, e)
	if after, _ := l.s.SendTo(&l.p); pinned != (after != before) {
		l.t.Errorf("Judge says pinned %t, and we sent to %v before and to %v after", pinned, before, after)
	}
	return v, pinned
}

// packets sends n good packets from src and expects one verdict of all.
func (l *leg) packets(n int, src Addr, ssrc uint32, want verdict.Verdict) {
	l.t.Helper()
	for i := range n {
		if got := l.packet(src, ssrc); got != want {
			l.t.Fatalf("packet %d of %d from %v: %s, want %s", i+1, n, src, got, want)
		}
	}
}

func (l *leg) silence(d time.Duration) { l.now += int64(d) }

// rearm changes the policy and expects that it counts as a change.
func (l *leg) rearm(change func(*Policy)) {
	l.t.Helper()
	change(&l.p)
	if !l.s.Arm(l.now, &l.p) {
		l.t.Fatal("a changed policy did not re-arm the leg")
	}
}

// sendsTo expects where the leg sends.
func (l *leg) sendsTo(want Addr) {
	l.t.Helper()
	if got, ok := l.s.SendTo(&l.p); !ok || got != want {
		l.t.Fatalf("sends to %v (%t), want %v", got, ok, want)
	}
}

func TestLegBeforeSignallingAcceptsNobodyAndSendsNowhere(t *testing.T) {
	for _, mode := range []Mode{Exact, Learn, Auth} {
		var s whole
		p := policy(mode)
		if v := s.Glance(start, &p, signalled, seed); v != verdict.Stranger {
			t.Errorf("%s: %s, want stranger", mode, v)
		}
		if _, v := s.Judge(start, &p, signalled, Evidence{KnownPT: true, Authenticated: true, Fresh: true}); v != verdict.Stranger {
			t.Errorf("%s: judged %s, want stranger", mode, v)
		}
		if v := s.GlanceRTCP(start, &p, signalled, seed); v != verdict.Stranger {
			t.Errorf("%s: RTCP %s, want stranger", mode, v)
		}
		if to, ok := s.SendTo(&p); ok {
			t.Errorf("%s: sends to %v", mode, to)
		}
		if to, ok := s.SendRTCPTo(&p); ok {
			t.Errorf("%s: sends RTCP to %v", mode, to)
		}
		if s != (whole{}) {
			t.Errorf("%s: the state changed", mode)
		}
	}
}

func TestLegWithoutAnAddressSendsNowhere(t *testing.T) {
	for name, a := range map[string]Addr{
		"no address":           {},
		"IPv4 hold, c=0.0.0.0": addr("0.0.0.0:4000"),
		"IPv6 hold, c=::":      addr("[::]:4000"),
		"port 0":               addr("192.0.2.10:0"),
	} {
		for _, mode := range []Mode{Exact, Learn, Auth} {
			l := newLegWith(t, Policy{Mode: mode, Signalled: a, AnyPort: true})
			if to, ok := l.s.SendTo(&l.p); ok {
				t.Errorf("%s, %s: sends to %v", name, mode, to)
			}
			if v := l.s.Glance(l.now, &l.p, a, seed); v != verdict.Stranger {
				t.Errorf("%s, %s: a packet from it is %s", name, mode, v)
			}
			if _, pinned := l.s.Pinned(); pinned {
				t.Errorf("%s, %s: pinned", name, mode)
			}
		}
	}
}

func TestExactIsPinnedAtTheAnswerAndHearsOnlyTheTuple(t *testing.T) {
	l := newLeg(t, Exact)
	if at, ok := l.s.Pinned(); !ok || at != signalled {
		t.Fatalf("pinned at %v (%t), want the signalled address at once", at, ok)
	}
	l.packets(3, signalled, 1, verdict.Forward)
	for _, src := range []Addr{natted, neighbour, elsewhere, proxy, media, six} {
		l.packets(10, src, 1, verdict.Stranger)
		l.silence(time.Second)
		l.packets(10, src, 1, verdict.Stranger) // never, also when the peer is silent
	}
	l.sendsTo(signalled)
}

func TestExactWithAnyPortHearsOtherPortsAndStillSendsToTheSignalledOne(t *testing.T) {
	p := policy(Exact)
	p.AnyPort = true
	l := newLegWith(t, p)
	l.packets(300, natted, 1, verdict.Forward)
	l.packets(3, elsewhere, 1, verdict.Stranger)
	l.sendsTo(signalled)
}

func TestAnotherSSRCIsDroppedUntilTheOldOneFallsSilent(t *testing.T) {
	for _, mode := range []Mode{Exact, Learn} {
		l := newLeg(t, mode)
		l.packets(5, signalled, 1, verdict.Forward)
		l.packets(9, signalled, 2, verdict.WrongSSRC) // 180 ms
		l.packets(2, signalled, 2, verdict.Forward)   // the old one said nothing for 200 ms
		l.packets(1, signalled, 1, verdict.WrongSSRC)
	}
}

func TestAnotherSSRCIsAcceptedAfterSignallingReArmed(t *testing.T) {
	for _, mode := range []Mode{Exact, Learn} {
		l := newLeg(t, mode)
		l.packets(5, signalled, 1, verdict.Forward)
		l.rearm(func(p *Policy) { p.Epoch++ })
		l.packets(5, signalled, 2, verdict.Forward)
	}
}

func TestSSRCOfAnAuthenticatedPacketIsFree(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(2, signalled, 1, verdict.Forward)
	l.packets(2, signalled, 2, verdict.Forward)
}

func TestIdenticalPolicyChangesNothing(t *testing.T) {
	for _, mode := range []Mode{Exact, Learn, Auth} {
		l := newLeg(t, mode)
		l.packets(4, signalled, 1, verdict.Forward)
		before := l.s
		again := policy(mode)
		if l.s.Arm(l.now, &again) || l.s != before {
			t.Errorf("%s: an identical policy re-armed the leg", mode)
		}
	}
}

func TestEveryChangeOfThePolicyReArms(t *testing.T) {
	for name, change := range map[string]func(*Policy){
		"address":      func(p *Policy) { p.Signalled.IP[15]++ },
		"port":         func(p *Policy) { p.Signalled.Port++ },
		"RTCP address": func(p *Policy) { p.SignalledRTCP = elsewhere },
		"peer":         func(p *Policy) { p.Peer[15]++ },
		"mode":         func(p *Policy) { p.Mode = Exact },
		"any port":     func(p *Policy) { p.AnyPort = true },
		"mux":          func(p *Policy) { p.Mux = true },
		"key":          func(p *Policy) { p.Epoch++ },
		"prefix":       func(p *Policy) { p.Prefixes[0].Bits++ },
		"prefix more": func(p *Policy) {
			if err := p.AddPrefix(netip.MustParsePrefix("10.0.0.0/8")); err != nil {
				panic(err)
			}
		},
	} {
		l := newLeg(t, Learn)
		l.packets(4, natted, 1, verdict.Forward)
		l.sendsTo(natted)
		l.rearm(change)
		if to, _ := l.s.SendTo(&l.p); to != l.p.Signalled {
			t.Errorf("%s: sends to %v after it changed", name, to)
		}
	}
}

func TestStateAndRestAreSmallAndHoldNoPointer(t *testing.T) {
	for _, c := range []struct {
		kind reflect.Type
		most uintptr // bytes
	}{
		{reflect.TypeFor[State](), 40}, // a cache line has room for this much beside the first words of a leg
		{reflect.TypeFor[Rest](), 384},
	} {
		kind := c.kind
		if n := kind.Size(); n > c.most {
			t.Errorf("%s is %d bytes, %d are allowed", kind, n, c.most)
		}
		if path := pointerIn(kind, kind.Name()); path != "" {
			t.Errorf("%s holds a pointer", path)
		}
	}
}

// pointerIn returns the path of a field with a pointer in it, or "".
func pointerIn(kind reflect.Type, path string) string {
	switch kind.Kind() {
	case reflect.Struct:
		for i := range kind.NumField() {
			f := kind.Field(i)
			if found := pointerIn(f.Type, path+"."+f.Name); found != "" {
				return found
			}
		}
		return ""
	case reflect.Array:
		return pointerIn(kind.Elem(), path+"[]")
	case reflect.Bool, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Int64:
		return ""
	}
	return path
}

func TestNoLookAllocates(t *testing.T) {
	for _, mode := range []Mode{Exact, Learn, Auth} {
		l := newLeg(t, mode)
		sources := []Addr{signalled, natted, neighbour, elsewhere, proxy, media, six, {}}
		i := 0
		if n := testing.AllocsPerRun(1000, func() {
			i++
			l.now += int64(time.Duration(i%7) * 50 * time.Millisecond)
			src := sources[i%len(sources)]
			l.s.Glance(l.now, &l.p, src, seed)
			l.s.Judge(l.now, &l.p, src, Evidence{Seq: uint16(i), SSRC: uint32(i % 2), KnownPT: true, Authenticated: i%3 > 0, Fresh: true})
			l.s.GlanceRTCP(l.now, &l.p, src, seed)
			l.s.JudgeRTCP(l.now, &l.p, src)
			l.s.SendTo(&l.p)
			l.s.SendRTCPTo(&l.p)
			l.s.Arm(l.now, &l.p)
			if i%100 == 0 {
				l.p.Epoch++
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", mode, n)
		}
	}
}

func BenchmarkPinnedSource(b *testing.B) {
	p := policy(Exact)
	var s whole
	s.Arm(start, &p)
	now, e := start, Evidence{SSRC: 1, KnownPT: true}
	b.ReportAllocs()
	for b.Loop() {
		now += packetTime
		if s.Glance(now, &p, signalled, seed) == verdict.Forward {
			e.Seq++
			s.Judge(now, &p, signalled, e)
		}
	}
}

func BenchmarkStrangerOverBudget(b *testing.B) {
	p := policy(Auth)
	var s whole
	s.Arm(start, &p)
	b.ReportAllocs()
	for b.Loop() {
		s.Glance(start, &p, elsewhere, seed)
	}
}
