package pin

import (
	"testing"
	"time"

	"tandem/relay/verdict"
)

var (
	signalledRTCP = addr("192.0.2.10:4001")
	nattedRTCP    = addr("192.0.2.10:61001")
)

// rtcp lets a good RTCP packet pass both looks, and checks that it moves neither the pin nor where media goes.
func (l *leg) rtcp(src Addr, want verdict.Verdict) {
	l.t.Helper()
	l.now += packetTime
	at, pinned := l.s.Pinned()
	to, sends := l.s.SendTo(&l.p)
	last := l.s.last
	got := l.s.GlanceRTCP(l.now, &l.p, src, seed)
	if got == verdict.Forward {
		got = l.s.JudgeRTCP(l.now, &l.p, src)
	}
	if got != want {
		l.t.Fatalf("RTCP from %v: %s, want %s", src, got, want)
	}
	if after, ok := l.s.Pinned(); after != at || ok != pinned {
		l.t.Fatalf("RTCP from %v moved the pin from %v to %v", src, at, after)
	}
	if after, ok := l.s.SendTo(&l.p); after != to || ok != sends {
		l.t.Fatalf("RTCP from %v moved media from %v to %v", src, to, after)
	}
	if l.s.last != last {
		l.t.Fatalf("RTCP from %v kept the pin alive", src)
	}
}

// reportsTo expects where the leg sends RTCP.
func (l *leg) reportsTo(want Addr) {
	l.t.Helper()
	if got, ok := l.s.SendRTCPTo(&l.p); !ok || got != want {
		l.t.Fatalf("sends RTCP to %v (%t), want %v", got, ok, want)
	}
}

func TestRTCPWithMuxIsHeardFromThePinAlone(t *testing.T) {
	for _, mode := range []Mode{Learn, Auth} {
		p := policy(mode)
		p.Mux = true
		l := newLegWith(t, p)
		l.rtcp(signalled, verdict.Forward) // before the pin
		l.rtcp(natted, verdict.Stranger)
		l.packets(4, natted, 1, verdict.Forward)
		l.rtcp(natted, verdict.Forward)
		l.rtcp(signalled, verdict.Stranger)
		l.rtcp(neighbour, verdict.Stranger)
		l.rtcp(elsewhere, verdict.Stranger)
		l.reportsTo(natted)
	}
}

func TestRTCPWithoutMuxIsHeardFromTheSignalledTupleAndThePinnedIP(t *testing.T) {
	for _, mode := range []Mode{Learn, Auth} {
		l := newLeg(t, mode)
		l.rtcp(signalledRTCP, verdict.Forward) // the next port: SDP names none
		l.rtcp(nattedRTCP, verdict.Stranger)   // no RTP was accepted from there yet
		l.rtcp(elsewhere, verdict.Stranger)
		l.packets(4, natted, 1, verdict.Forward)
		l.rtcp(nattedRTCP, verdict.Forward)
		l.rtcp(signalledRTCP, verdict.Forward)
		l.rtcp(elsewhere, verdict.Stranger)
	}
}

func TestExactHearsRTCPFromItsTupleAlone(t *testing.T) {
	p := policy(Exact)
	p.SignalledRTCP = proxy // a=rtcp may name another host
	l := newLegWith(t, p)
	l.rtcp(proxy, verdict.Forward)
	for _, src := range []Addr{signalledRTCP, signalled, nattedRTCP, elsewhere} {
		l.rtcp(src, verdict.Stranger)
	}
	l.reportsTo(proxy)
	l.rearm(func(p *Policy) { p.Mux = true })
	l.rtcp(signalled, verdict.Forward)
	l.rtcp(proxy, verdict.Stranger)
	l.reportsTo(signalled)
}

func TestExactWithAnyPortHearsRTCPFromItsIP(t *testing.T) {
	p := policy(Exact)
	p.AnyPort, p.SignalledRTCP = true, proxy
	l := newLegWith(t, p)
	l.rtcp(nattedRTCP, verdict.Forward)
	l.rtcp(proxy, verdict.Forward)
	l.rtcp(elsewhere, verdict.Stranger)
	l.reportsTo(proxy) // the send address stays the signalled one
	l.rearm(func(p *Policy) { p.Mux = true })
	l.rtcp(nattedRTCP, verdict.Forward)
	l.rtcp(proxy, verdict.Stranger)
}

func TestReportsGoToThePortThatRTCPCameFromOnceRTPIsPinnedElsewhere(t *testing.T) {
	for _, mode := range []Mode{Learn, Auth} {
		l := newLeg(t, mode)
		l.reportsTo(signalledRTCP)
		l.packets(4, natted, 1, verdict.Forward)
		l.reportsTo(signalledRTCP) // nothing came yet from there
		l.rtcp(nattedRTCP, verdict.Forward)
		l.reportsTo(nattedRTCP)
		l.rearm(func(p *Policy) { p.Epoch++ })
		l.reportsTo(signalledRTCP)
	}
}

func TestReportsOfAPinAtTheSignalledTupleGoWhereSDPSays(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, signalled, 1, verdict.Forward)
	l.rtcp(nattedRTCP, verdict.Forward)
	l.reportsTo(signalledRTCP)
}

func TestNeighbourCannotTakeTheReportsOfALivePeer(t *testing.T) {
	l := newLeg(t, Learn)
	l.packets(4, natted, 1, verdict.Forward)
	l.rtcp(nattedRTCP, verdict.Forward)
	for range 4 {
		l.silence(5 * time.Second)
		l.rtcp(neighbour, verdict.Forward)
		l.reportsTo(nattedRTCP)
		l.rtcp(nattedRTCP, verdict.Forward)
	}
	l.silence(rtcpSilence)
	l.rtcp(neighbour, verdict.Forward) // the peer's NAT gave it another port
	l.reportsTo(neighbour)
}

func TestReportsLeaveAnOldPinWithItsMedia(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(3, natted, 1, verdict.Forward)
	l.rtcp(nattedRTCP, verdict.Forward)
	l.silence(time.Second)
	l.packets(3, elsewhere, 1, verdict.Forward)
	l.reportsTo(signalledRTCP)
	l.rtcp(nattedRTCP, verdict.Stranger)
}

func TestFloodOfRTCPIsBudgetedToo(t *testing.T) {
	l := newLeg(t, Auth)
	l.packets(3, natted, 1, verdict.Forward)
	checks := 0
	for i := range 1000 {
		src := natted
		src.Port = 10000 + uint16(i)
		if l.s.GlanceRTCP(l.now, &l.p, src, seed) == verdict.Forward {
			checks++
		}
	}
	if checks > strangerRate {
		t.Fatalf("%d tags checked at once for ports of the pinned address, %d are allowed", checks, strangerRate)
	}
}

func TestRTCPOfThePinNeedsNoBudget(t *testing.T) {
	for name, mux := range map[string]bool{"on the pinned port": true, "on the port that reports come from": false} {
		p := policy(Auth)
		p.Mux = mux
		l := newLegWith(t, p)
		l.packets(3, natted, 1, verdict.Forward)
		src := natted
		if !mux {
			src = nattedRTCP
		}
		l.rtcp(src, verdict.Forward)
		for range 100 {
			if v := l.s.GlanceRTCP(l.now, &l.p, src, seed); v != verdict.Forward {
				t.Fatalf("%s: %s, want forward", name, v)
			}
		}
	}
}
