package relay

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/netio/fake"
)

func TestOpeningUpdatingAndClosingAgainChangesNothing(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", nil)
	if again := h.call("one", nil); leg1(again, "a").Local != leg1(s, "a").Local {
		t.Errorf("open again leased %s instead of %s", leg1(again, "a").Local, leg1(s, "a").Local)
	}
	h.update("one", 2, control.Leg{Name: "a", Direction: "inactive"})
	if again := h.update("one", 2, control.Leg{Name: "a", Direction: "sendonly"}); leg1(again, "a").Direction != "inactive" {
		t.Error("the same generation was applied twice")
	}
	if _, err := try[control.SessionState](h, control.MethodUpdate, control.Update{ID: "one", Generation: 1}); control.CodeOf(err) != control.CodeStale {
		t.Errorf("an older generation: %v", err)
	}
	h.arrive(leg1(s, "a").Local, mallet, packet(1, 1))
	first := must[control.SessionState](h, control.MethodClose, control.Ref{ID: "one"})
	second := must[control.SessionState](h, control.MethodClose, control.Ref{ID: "one"})
	if !first.Closed || leg1(second, "a").Drops["stranger"] != 1 {
		t.Errorf("final counters: %+v", leg1(second, "a"))
	}
	if _, err := try[control.SessionState](h, control.MethodClose, control.Ref{ID: "two"}); control.CodeOf(err) != control.CodeNotFound {
		t.Errorf("closing what never was: %v", err)
	}
	if bound := h.engine.Bound(); len(bound) != 0 {
		t.Errorf("ports still bound after the close: %v", bound)
	}
}

func TestAPortThatSomebodyElseHoldsIsLeftAlone(t *testing.T) {
	h := open(t, func(o *Options) { o.Networks[0].Low, o.Networks[0].High = 10000, 10003 })
	h.engine.Hold(netio.MakeLocal(0, 10000), true)
	s := h.call("one", nil)
	if got := leg1(s, "a").Local; got != "198.18.0.1:10002" {
		t.Errorf("leased %s", got)
	}
	_, err := try[control.SessionState](h, control.MethodOpen, control.Open{ID: "two", Streams: []control.Stream{{
		Name: "audio", Legs: []control.Leg{{Name: "a", Network: "uc"}, {Name: "b", Network: "uc"}}}}})
	if control.CodeOf(err) != control.CodeNoPorts {
		t.Errorf("with all ports gone: %v", err)
	}
	if bound := h.engine.Bound(); len(bound) != 4 {
		t.Errorf("a refused open left ports bound: %v", bound)
	}
}

func TestWrongParametersAreNamed(t *testing.T) {
	h := open(t, nil)
	h.call("one", nil)
	two := func(a control.Leg) control.Open {
		a.Name = "a"
		return control.Open{ID: "two", Streams: []control.Stream{{Name: "audio", Legs: []control.Leg{a, {Name: "b", Network: "pstn"}}}}}
	}
	negative := 64
	for _, c := range []struct {
		name   string
		method string
		params any
		want   string
	}{
		{"another owner's id", control.MethodOpen, control.Open{ID: "one", Owner: "x", Streams: two(control.Leg{}).Streams}, "is open"},
		{"unknown network", control.MethodOpen, two(control.Leg{Network: "dmz"}), `network "dmz" is unknown; known: uc, pstn`},
		{"one leg", control.MethodOpen, control.Open{ID: "two", Streams: []control.Stream{{Name: "x", Legs: []control.Leg{{Name: "a"}}}}}, "exactly 2"},
		{"unknown kind", control.MethodOpen, control.Open{ID: "two", Streams: []control.Stream{{Name: "x", Kind: "video"}}}, `kind "video" is unknown`},
		{"unknown kind in an update", control.MethodUpdate, control.Update{ID: "one", Generation: 2, Streams: []control.Stream{{Name: "audio", Kind: "udptl"}}}, `kind "udptl" is unknown`},
		{"no address", control.MethodOpen, two(control.Leg{Network: "uc", Remote: "nowhere"}), "remote: "},
		{"hold by address", control.MethodOpen, two(control.Leg{Network: "uc", Remote: "0.0.0.0:1"}), "use direction"},
		{"other family", control.MethodOpen, two(control.Leg{Network: "uc", Remote: "[2001:db8::1]:1"}), "family"},
		{"unknown suite", control.MethodOpen, two(control.Leg{Network: "uc", RX: &control.Crypto{Suite: "NULL"}}), "rx.suite"},
		{"short key", control.MethodOpen, two(control.Leg{Network: "uc", RX: &control.Crypto{Suite: suite80, Key: "AAAA"}}), "rx.key"},
		{"learn with keys", control.MethodOpen, two(control.Leg{Network: "uc", Pin: "learn", RX: crypto(1)}), "auth"},
		{"wrong direction", control.MethodOpen, two(control.Leg{Network: "uc", Direction: "both"}), "direction"},
		{"wrong dscp", control.MethodOpen, two(control.Leg{Network: "uc", DSCP: &negative}), "dscp"},
		{"long opaque", control.MethodOpen, control.Open{ID: "two", Opaque: strings.Repeat("x", control.MaxOpaque+1), Streams: two(control.Leg{}).Streams}, "opaque"},
		{"unknown leg", control.MethodUpdate, control.Update{ID: "one", Generation: 2, Streams: []control.Stream{{Name: "audio", Legs: []control.Leg{{Name: "c"}}}}}, `no leg "c"`},
		{"unknown stream", control.MethodUpdate, control.Update{ID: "one", Generation: 2, Streams: []control.Stream{{Name: "video"}}}, `no stream "video"`},
		{"network in an update", control.MethodUpdate, control.Update{ID: "one", Generation: 2, Streams: []control.Stream{{Name: "audio", Legs: []control.Leg{{Name: "a", Network: "uc"}}}}}, "session.open"},
		{"unknown session", control.MethodUpdate, control.Update{ID: "none", Generation: 2}, "not open"},
		{"unknown method", "session.opne", struct{}{}, "session.open"},
		{"unknown field", control.MethodGet, map[string]any{"id": "one", "generations": 1}, "generation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := try[control.SessionState](h, c.method, c.params)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want it to contain %q", err, c.want)
			}
		})
	}
	stats := must[control.Stats](h, control.MethodStats, struct{}{})
	if stats.Sessions != 1 || len(h.engine.Bound()) != 4 {
		t.Errorf("refused calls left %d sessions and %d ports", stats.Sessions, len(h.engine.Bound()))
	}
}

func TestFinalStatesAreForgottenThoughNoSessionIsClosedAfterThem(t *testing.T) {
	h := open(t, nil)
	h.listen("test")
	h.call("one", nil)
	must[control.SessionState](h, control.MethodClose, control.Ref{ID: "one"})
	h.relay.forgetOld(time.Now().Add(finalKept / 2))
	if again := must[control.SessionState](h, control.MethodGet, control.Ref{ID: "one"}); !again.Closed {
		t.Error("the final state is not what was closed")
	}
	h.relay.forgetOld(time.Now().Add(finalKept + time.Second))
	if len(h.relay.closed) != 0 || len(h.relay.order) != 0 {
		t.Errorf("%d, %d are kept", len(h.relay.closed), len(h.relay.order))
	}
}

func TestALostControllerEndsNoSessionUntilItIsAnOrphan(t *testing.T) {
	h := open(t, func(o *Options) { o.Orphan = time.Hour })
	client, _ := h.listen("test")
	h.call("one", nil)
	hour := netio.Now() + int64(2*time.Hour)
	h.relay.closeOrphans(hour)
	if n := h.relay.Stats().Sessions; n != 1 {
		t.Fatal("a session was closed though its controller is connected")
	}
	client.Close()
	for h.attendedBy("test") {
		runtime.Gosched()
	}
	h.relay.closeOrphans(netio.Now())
	if n := h.relay.Stats().Sessions; n != 1 {
		t.Fatal("a lost controller ended a session")
	}
	h.relay.closeOrphans(hour)
	if n := h.relay.Stats().Sessions; n != 0 {
		t.Fatal("an orphan lives on")
	}
}

func (h *house) attendedBy(owner string) bool {
	h.relay.mu.Lock()
	defer h.relay.mu.Unlock()
	return h.relay.attended(owner)
}

func TestListPagesInOrderAndByOwner(t *testing.T) {
	h := open(t, nil)
	for _, id := range []string{"c", "a", "b", "d"} {
		h.call(id, nil)
	}
	page := must[control.ListResult](h, control.MethodList, control.List{Owner: "test", Limit: 3})
	if len(page.Sessions) != 3 || page.Sessions[0].ID != "a" || page.Next != "c" {
		t.Fatalf("%d sessions, next %q", len(page.Sessions), page.Next)
	}
	if rest := must[control.ListResult](h, control.MethodList, control.List{After: page.Next}); len(rest.Sessions) != 1 || rest.Next != "" {
		t.Fatalf("%d sessions, next %q", len(rest.Sessions), rest.Next)
	}
	if none := must[control.ListResult](h, control.MethodList, control.List{Owner: "x"}); len(none.Sessions) != 0 {
		t.Fatalf("%d sessions of nobody", len(none.Sessions))
	}
}

func TestADrainingRelayTakesNoNewSessionsAndKeepsTheOld(t *testing.T) {
	h := open(t, nil)
	h.call("one", nil)
	if r := must[control.DrainResult](h, control.MethodDrain, control.Drain{On: true}); r.Sessions != 1 {
		t.Fatalf("%+v", r)
	}
	if _, err := try[control.SessionState](h, control.MethodOpen, control.Open{ID: "two", Streams: []control.Stream{{
		Name: "audio", Legs: []control.Leg{{Name: "a", Network: "uc"}, {Name: "b", Network: "uc"}}}}}); control.CodeOf(err) != control.CodeDraining {
		t.Fatal(err)
	}
	h.update("one", 2, control.Leg{Name: "a", Direction: "inactive"})
}

func TestNobodyIsCalledSilentWhileEitherEndIsHeld(t *testing.T) {
	h := open(t, func(o *Options) { o.Initial, o.Running = 100*time.Millisecond, 100*time.Millisecond })
	_, l := h.listen("test")
	h.call("held", func(_, b *control.Leg) { b.Direction = "inactive" })
	h.call("silent", nil)
	for reports := 0; reports < 2; { // between two of them every other leg was looked at
		e := l.await(t, control.EventTimeout)
		if e.Session == "held" {
			t.Fatalf("leg %s was reported, though the other end is held", e.Leg)
		}
		if e.Leg == "a" {
			reports++
		}
	}
}

func TestAHeldCallOutlivesARestartOfItsController(t *testing.T) {
	// Half of what the clock shows, so that a session can be made older than that.
	h := open(t, func(o *Options) { o.Orphan = time.Duration(netio.Now() / 2) })
	client, _ := h.listen("test")
	h.call("one", func(a, b *control.Leg) { a.Direction, b.Direction = "inactive", "inactive" })
	s := h.relay.sessions["one"]
	s.worker.do(func(int64) {
		for _, e := range s.streams[0].legs {
			s.worker.cold[e.index].opened = 1
		}
	})
	h.relay.closeOrphans(netio.Now())
	client.Close()
	for h.attendedBy("test") {
		runtime.Gosched()
	}
	h.relay.closeOrphans(netio.Now())
	if h.relay.Stats().Sessions != 1 {
		t.Error("a call that was silent under its controller was closed the moment the controller went")
	}
	h.relay.closeOrphans(2 * netio.Now())
	if h.relay.Stats().Sessions != 0 {
		t.Error("an orphan lives on")
	}
}

func TestALeaseThatCannotBeMarkedGivesItsPortsBack(t *testing.T) {
	h := open(t, nil)
	h.relay.network("pstn").DSCP = 64 // no code point: the engine refuses it
	if _, err := try[control.SessionState](h, control.MethodOpen, control.Open{ID: "one", Streams: []control.Stream{audio(
		control.Leg{Name: "a", Network: "uc"}, control.Leg{Name: "b", Network: "pstn"})}}); err == nil {
		t.Fatal("a leg that could not be marked was opened")
	}
	if bound := h.engine.Bound(); len(bound) != 0 {
		t.Errorf("the refused open left %d ports bound", len(bound))
	}
}

func TestAnUpdateThatNamesOneThingTwiceIsRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		streams []control.Stream
	}{
		{"stream", []control.Stream{audio(control.Leg{Name: "a", Direction: "inactive"}), audio(control.Leg{Name: "a", TX: crypto(12)})}},
		{"leg", []control.Stream{audio(control.Leg{Name: "a", Direction: "inactive"}, control.Leg{Name: "a", TX: crypto(12)})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, nil)
			h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
			_, err := try[control.SessionState](h, control.MethodUpdate, control.Update{ID: "one", Generation: 2, Streams: c.streams})
			if control.CodeOf(err) != control.CodeParams {
				t.Errorf("half of it was applied without a word: %v", err)
			}
		})
	}
}

func TestAnUpdateWithOneWrongLegChangesNothing(t *testing.T) {
	h := open(t, nil)
	h.call("one", nil)
	_, err := try[control.SessionState](h, control.MethodUpdate, control.Update{ID: "one", Generation: 2, Streams: []control.Stream{
		audio(control.Leg{Name: "a", Direction: "inactive"}, control.Leg{Name: "b", Remote: "0.0.0.0:9"})}})
	if err == nil || !strings.Contains(err.Error(), `leg "b"`) {
		t.Fatal(err)
	}
	state := must[control.SessionState](h, control.MethodGet, control.Ref{ID: "one"})
	if state.Generation != 1 || leg1(state, "a").Direction != "sendrecv" {
		t.Errorf("generation %d, leg a is %s", state.Generation, leg1(state, "a").Direction)
	}
}

func TestFinalCountersMissNoPacket(t *testing.T) {
	h := open(t, nil)
	var counted uint64
	for i := range 20 { // a packet may always arrive while its session is being closed
		s := h.call(fmt.Sprint(i), nil)
		before := h.relay.Stats().Forwarded
		h.engine.Replay(0, []fake.Datagram{{Local: local(leg1(s, "a").Local), Peer: netio.AddrFrom(alice), Data: packet(7, 1)}})
		for h.relay.Stats().Forwarded == before {
			runtime.Gosched()
		}
		final := must[control.SessionState](h, control.MethodClose, control.Ref{ID: s.ID})
		h.engine.Replay(0, nil)
		counted += leg1(final, "b").Out.Packets
	}
	if got := h.relay.Stats().Forwarded; got != counted {
		t.Errorf("the closed sessions count %d packets sent, the relay forwarded %d", counted, got)
	}
}

func TestTheLimitCountsSessionsAndNotTheirStreams(t *testing.T) {
	h := open(t, func(o *Options) { o.Sessions = 2 })
	two := func(id string) control.Open {
		m := control.Open{ID: id}
		for _, name := range []string{"audio", "more"} {
			m.Streams = append(m.Streams, control.Stream{Name: name, Legs: []control.Leg{{Name: "a", Network: "uc"}, {Name: "b", Network: "pstn"}}})
		}
		return m
	}
	for _, id := range []string{"one", "two"} {
		if _, err := try[control.SessionState](h, control.MethodOpen, two(id)); err != nil {
			t.Fatalf("session %s of 2: %v", id, err)
		}
	}
	if _, err := try[control.SessionState](h, control.MethodOpen, two("three")); control.CodeOf(err) != control.CodeFull {
		t.Errorf("session 3 of 2: %v", err)
	}
}

// TestCloseMayComeAtAnyTime is for the race detector: calls of many controllers, packets, and the end in the middle of it.
func TestCloseMayComeAtAnyTime(t *testing.T) {
	engine := fake.New(2)
	h := open(t, func(o *Options) {
		o.Workers = 2
		o.Open = func(netio.Options) (netio.Engine, error) { return engine, nil }
	})
	var callers sync.WaitGroup
	begun := make(chan struct{}, 4)
	for n := range 4 {
		callers.Go(func() {
			for i := range 40 {
				if i == 10 {
					begun <- struct{}{}
				}
				id := fmt.Sprint(n, "/", i)
				if s, err := try[control.SessionState](h, control.MethodOpen, control.Open{ID: id, Streams: []control.Stream{audio(
					control.Leg{Name: "a", Network: "uc", Remote: alice.String(), RX: crypto(1), TX: crypto(2)},
					control.Leg{Name: "b", Network: "pstn", Remote: bob.String()})}}); err == nil {
					at := local(leg1(s, "b").Local)
					if queue, ok := engine.Receiver(at); ok {
						engine.Inject(queue, at, netio.AddrFrom(bob), packet(8, 1))
					}
				}
				try[control.SessionState](h, control.MethodUpdate, control.Update{ID: id, Generation: 2, Streams: []control.Stream{
					audio(control.Leg{Name: "a", TX: crypto(12)})}})
				h.relay.Stats()
				try[control.ListResult](h, control.MethodList, control.List{Limit: 3})
				h.relay.closeOrphans(netio.Now())
				if i%2 == 0 {
					try[control.SessionState](h, control.MethodClose, control.Ref{ID: id})
				}
			}
		})
	}
	for range 4 {
		<-begun
	}
	if err := h.relay.Close(); err != nil {
		t.Error(err)
	}
	callers.Wait()
	if n, bound := h.relay.Stats().Sessions, engine.Bound(); n != 0 || len(bound) != 0 {
		t.Errorf("%d sessions and %d ports outlived the relay", n, len(bound))
	}
	if held := h.relay.registry.Names(); len(held) != 0 {
		t.Errorf("descriptors still held: %v", held)
	}
}
