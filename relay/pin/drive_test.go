package pin

import (
	"fmt"
	"net/netip"
	"time"

	"tandem/relay/verdict"
)

// machine is what the harness drives: the real state machine, or a naive twin.
type machine interface {
	Arm(now int64, p *Policy) bool
	Glance(now int64, p *Policy, src Addr, seed uint64) verdict.Verdict
	Judge(now int64, p *Policy, src Addr, e Evidence) (bool, verdict.Verdict)
	GlanceRTCP(now int64, p *Policy, src Addr, seed uint64) verdict.Verdict
	JudgeRTCP(now int64, p *Policy, src Addr) verdict.Verdict
	SendTo(p *Policy) (Addr, bool)
	SendRTCPTo(p *Policy) (Addr, bool)
	Pinned() (Addr, bool)
	memory() any // all that evidence may change: the state without its budgets
}

type realPin struct{ whole }

func (r *realPin) memory() any { return r.whole.memory() }

// naivePin does what careless relays do: it sends to whoever sent last, and checks everything.
type naivePin struct {
	at, reports Addr
	set         bool
}

func (n *naivePin) Arm(int64, *Policy) bool { return true }
func (n *naivePin) Glance(_ int64, _ *Policy, src Addr, _ uint64) verdict.Verdict {
	n.at, n.set = src, true
	return verdict.Forward
}
func (n *naivePin) Judge(int64, *Policy, Addr, Evidence) (bool, verdict.Verdict) {
	return false, verdict.Forward
}
func (n *naivePin) GlanceRTCP(now int64, p *Policy, src Addr, seed uint64) verdict.Verdict {
	n.reports = src
	return n.Glance(now, p, src, seed)
}
func (n *naivePin) JudgeRTCP(int64, *Policy, Addr) verdict.Verdict { return verdict.Forward }
func (n *naivePin) SendTo(p *Policy) (Addr, bool) {
	if n.set {
		return n.at, true
	}
	return p.Signalled, p.Signalled.usable()
}
func (n *naivePin) SendRTCPTo(*Policy) (Addr, bool) { return n.reports, n.reports.usable() }
func (n *naivePin) Pinned() (Addr, bool)            { return n.at, n.set }
func (n *naivePin) memory() any                     { return *n }

// The invariants.
const (
	sendsWithEvidence   = "the send address is the signalled one or one with sufficient evidence"
	failedChangesNone   = "an unauthenticated event leaves an SRTP leg's state unchanged"
	replayMovesNothing  = "a replay leaves the pin unchanged"
	livePinIsConstant   = "a live pin is constant while signalling is silent"
	liveSSRCIsConstant  = "plain RTP of a live pin keeps its SSRC"
	checksWithinBudget  = "stranger checks never exceed the budget"
	rtcpMovesNothing    = "RTCP leaves the pin unchanged"
	sameSignallingNone  = "an identical policy changes nothing"
	acceptsWithEvidence = "only sources that the mode names are accepted"
	reportsStayClose    = "RTCP goes where signalling said or where media goes"
)

// invariants are those that the design names, and what else the harness watches.
var invariants = []string{sendsWithEvidence, failedChangesNone, replayMovesNothing, livePinIsConstant, liveSSRCIsConstant,
	checksWithinBudget, rtcpMovesNothing, sameSignallingNone, acceptsWithEvidence, reportsStayClose}

// Events are four bytes: what, who, how, and how much later. This is "what", modulo eventKinds; the small numbers are packets.
const (
	evRTCP = iota + 4
	evArm
	evTick
	evBurst
	eventKinds
)

// How a packet is, as bits of the third byte.
const (
	badTag = 1 << iota
	replayed
	late
	otherSSRC
	unknownPT
	jumped
)

// cast is who sends. Every mode has its candidates and its strangers among them.
var cast = [...]Addr{signalled, natted, neighbour, moved, elsewhere, proxy, media, six, signalledRTCP}

// record is what the harness itself knows of one source since signalling changed. It is the oracle: it knows all packets
// that the machine could count, and nothing of how it counts.
type record struct {
	sent     uint16 // sequence number of its last packet
	runs     [2]run // packets that could pin in learn: under the common SSRC, and under its own
	fresh    int    // fresh authenticated packets since another source sent one
	proved   bool   // a packet passed all checks, at any time: no stranger any more
	accepted bool   // one went on, at any time
	heard    bool   // one went on since signalling changed, the last one at
	at       int64
	ssrc     uint32  // of that one
	checks   []int64 // times of the last second at which the source, not being pinned, passed Glance
}

// run is packets in order under one SSRC.
type run struct {
	length int
	last   uint16
}

// world drives one machine through an event string, and collects what it does wrong.
type world struct {
	m        machine
	p        Policy
	now      int64
	sources  [len(cast)]record
	sentTo   Addr              // where the machine sent after the event before
	former   Addr              // where it was pinned before signalling changed
	violated map[string]string // the first instance of each
}

// drive runs the events: the first byte chooses the mode, the second the first policy.
func drive(m machine, events []byte) map[string]string {
	w := &world{m: m, now: start, violated: make(map[string]string)}
	if len(events) < 2 {
		return w.violated
	}
	w.p = w.variant(Mode(events[0]%3), events[1])
	w.m.Arm(w.now, &w.p)
	w.check("arm")
	for events = events[2:]; len(events) >= 4; events = events[4:] {
		what, who, how, later := events[0]%eventKinds, int(events[1])%len(cast), events[2], events[3]
		w.now += int64(later) * int64(4*time.Millisecond)
		switch what {
		case evRTCP:
			w.rtcp(who, how)
		case evArm:
			w.arm(how, events[1])
		case evTick:
			w.now += int64(how) * int64(100*time.Millisecond)
		case evBurst:
			for range 60 {
				w.now += int64(time.Millisecond)
				w.packet(who, how)
			}
		default:
			w.packet(who, how)
		}
	}
	return w.violated
}

// variant is one of the policies that signalling may choose.
func (w *world) variant(mode Mode, choice byte) Policy {
	p := Policy{Mode: mode, Signalled: signalled, Peer: proxy.IP, Epoch: uint32(choice >> 4), Mux: choice&4 != 0, AnyPort: choice&8 != 0}
	switch choice & 3 {
	case 1:
		p.Signalled = moved
	case 2:
		p.Signalled = Addr{}
	case 3:
		if err := p.AddPrefix(netip.MustParsePrefix("203.0.113.64/26")); err != nil {
			panic(err)
		}
	}
	return p
}

func (w *world) violate(invariant, format string, args ...any) {
	if w.violated[invariant] == "" {
		w.violated[invariant] = fmt.Sprintf("%s mode, %s in: ", w.p.Mode, time.Duration(w.now-start)) + fmt.Sprintf(format, args...)
	}
}

// arm tells the machine the same policy again, or another one.
func (w *world) arm(how, choice byte) {
	next := w.p
	if how%2 == 1 {
		next = w.variant(w.p.Mode, choice)
	}
	before, same := w.m.memory(), next == w.p
	former, _ := w.m.Pinned()
	w.p = next
	changed := w.m.Arm(w.now, &w.p)
	if same {
		if changed || w.m.memory() != before {
			w.violate(sameSignallingNone, "armed with the same policy")
		}
		return
	}
	for i := range w.sources {
		r := &w.sources[i]
		r.runs, r.fresh, r.heard, r.checks = [2]run{}, 0, false, nil
	}
	w.sentTo, w.former = Addr{}, former
	w.check("arm")
}

// packet is one RTP or SRTP packet on its way through both looks and the crypto between them.
func (w *world) packet(who int, how byte) {
	src, r := cast[who], &w.sources[who]
	before, live := w.m.memory(), w.livePin()
	at, _ := w.m.Pinned()
	sentTo, _ := w.m.SendTo(&w.p)
	r.sent++
	if how&jumped != 0 {
		r.sent += 5000
	}
	e := Evidence{Seq: r.sent, SSRC: 1, KnownPT: how&unknownPT == 0, Authenticated: w.p.Mode == Auth, Fresh: how&late == 0}
	if how&otherSSRC != 0 {
		e.SSRC = uint32(2 + who)
	}
	fate := w.m.Glance(w.now, &w.p, src, seed)
	if fate == verdict.Forward && (at != src || !r.accepted) {
		w.countCheck(who)
	}
	if w.p.Mode == Auth && how&(badTag|replayed) != 0 { // the crypto drops it
		invariant := failedChangesNone
		if how&badTag == 0 {
			invariant = replayMovesNothing
		}
		if w.m.memory() != before {
			w.violate(invariant, "a packet from %v that failed changed the state", src)
		}
		w.check("failed packet")
		return
	}
	if fate != verdict.Forward {
		w.check("dropped packet")
		return
	}
	w.note(who, e)
	moved, fate := w.m.Judge(w.now, &w.p, src, e)
	to, _ := w.m.SendTo(&w.p)
	if moved != (to != sentTo) {
		w.violate(sendsWithEvidence, "Judge says moved %t: sent to %v before, to %v after", moved, sentTo, to)
	}
	if w.p.Mode == Auth && !e.Fresh && to != sentTo {
		w.violate(replayMovesNothing, "a late packet moved the send address to %v", to)
	}
	if at, _ := w.m.Pinned(); live != (Addr{}) && at != live && !(w.p.Mode == Learn && src == w.p.Signalled) {
		w.violate(livePinIsConstant, "a packet from %v moved the pin from %v to %v", src, live, at)
	}
	if fate == verdict.Forward {
		if !w.named(src) {
			w.violate(acceptsWithEvidence, "a packet from %v went on", src)
		}
		if src == live && w.p.Mode != Auth && e.SSRC != r.ssrc {
			w.violate(liveSSRCIsConstant, "SSRC %d went on, %d is alive", e.SSRC, r.ssrc)
		}
		r.accepted, r.heard, r.at, r.ssrc = true, true, w.now, e.SSRC
	}
	w.check("packet")
}

func (w *world) rtcp(who int, how byte) {
	src := cast[who]
	at, pinned := w.m.Pinned()
	before := w.m.memory()
	fate := w.m.GlanceRTCP(w.now, &w.p, src, seed)
	if w.p.Mode == Auth && how&(badTag|replayed) != 0 {
		if w.m.memory() != before {
			w.violate(failedChangesNone, "RTCP from %v that failed changed the state", src)
		}
	} else if fate == verdict.Forward {
		w.m.JudgeRTCP(w.now, &w.p, src)
	}
	if after, ok := w.m.Pinned(); after != at || ok != pinned {
		w.violate(rtcpMovesNothing, "RTCP from %v moved the pin from %v to %v", src, at, after)
	}
	w.check("RTCP")
}
