package b2bua

import (
	"encoding/json"
	"strings"
	"testing"

	"tandem/internal/config"
	"tandem/internal/control"
)

// streams makes the gateways speak TCP.
func newStreamWorld(t *testing.T) *world {
	gw1, gw2 := newStreamPeer(t, "gw1"), newStreamPeer(t, "gw2")
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		l := c.SIP.Listeners["east"]
		l.Transport = "tcp"
		c.SIP.Listeners["east"] = l
		edit(c, "gw1", func(tr *config.Trunk) { tr.Peer = gw1.addr.String() })
		edit(c, "gw2", func(tr *config.Trunk) { tr.Peer = gw2.addr.String() })
	})
	w.gw1, w.gw2 = gw1, gw2
	return w
}

// wantStory compares what the record says of each trunk.
func wantStory(t *testing.T, r CallRecord, tried ...TrunkTry) {
	t.Helper()
	if len(r.Tried) != len(tried) {
		t.Fatalf("tried %+v", r.Tried)
	}
	for i, want := range tried {
		got := r.Tried[i]
		if got.Trunk != want.Trunk || got.Code != want.Code || !strings.Contains(got.Why, want.Why) || got.Address == "" ||
			got.Route != "out" || got.Start.Before(r.Start) || got.End.Before(got.Start) {
			t.Errorf("attempt %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestRecordOfACallWhosePeerWasDeadBefore(t *testing.T) {
	w := newStreamWorld(t)
	w.gw1.stream.die()
	w.answerOn2(w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, "")))
	r := w.record()
	wantStory(t, r, TrunkTry{Trunk: "gw1", Code: 503, Why: "connection refused"}, TrunkTry{Trunk: "gw2", Code: 200})
	if r.To != "gw2" || r.Code != 200 || r.By != byCaller || r.Why != "BYE" || r.Answer.IsZero() || !r.Ring.IsZero() {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestRecordOfACallWhosePeerDiesWhileItRings(t *testing.T) {
	w := newStreamWorld(t)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "180 Ringing", "x", "")
	w.caller.next("180")
	w.gw1.stream.die()
	w.answerOn2(a)
	r := w.record()
	wantStory(t, r, TrunkTry{Trunk: "gw1", Code: 503, Why: "the transport failed"}, TrunkTry{Trunk: "gw2", Code: 200})
	if r.To != "gw2" || r.Ring.IsZero() || r.Answer.Before(r.Ring) {
		t.Errorf("record %+v", r)
	}
	w.gone()
}

func TestRecordOfACallWhosePeerDiesInItsMiddle(t *testing.T) {
	for _, tt := range []struct {
		name, by, why string
		then          func(w *world, a *dialog)
	}{
		{"its media stops", byUs, "media timeout: nothing heard from leg b (trunk gw1) for 60000 ms", func(w *world, a *dialog) {
			w.b.MediaEvent(control.EventTimeout, control.Event{Session: w.relay.opened(0).ID, Leg: "b", SilentMS: 60000})
			w.caller.reply(w.caller.next("BYE"), "200 OK", "", "")
		}},
		{"the caller holds", byUs, "re-INVITE not answered: leg b (trunk gw1): ", func(w *world, a *dialog) {
			a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
			a.ackFailure(w.caller.next("408"))
			bye := w.caller.next("BYE")
			if strings.Contains(bye.raw, "gw1") {
				w.t.Errorf("the caller learns of the trunk:\n%s", bye.raw)
			}
			w.caller.reply(bye, "200 OK", "", "")
		}},
		{"the caller hangs up", byCaller, "BYE", func(w *world, a *dialog) {
			a.bye("Reason: Q.850;cause=16")
			w.caller.next("200 BYE")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newStreamWorld(t)
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
			w.gw1.next("ACK")
			a.answered(w.caller.next("200 INVITE"))
			a.ack()
			w.gw1.stream.die()
			tt.then(w, a)
			r := w.record()
			wantStory(t, r, TrunkTry{Trunk: "gw1", Code: 200})
			if r.To != "gw1" || r.Code != 200 || r.By != tt.by || !strings.HasPrefix(r.Why, tt.why) || len(r.Media) != 2 ||
				tt.by == byCaller && r.Cause != 16 {
				t.Errorf("record %+v", r)
			}
			w.gone()
		})
	}
}

func TestRecordOfACallThatNobodyTook(t *testing.T) {
	w := newWorld(t, quick(4*testT1))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	a.ackFailure(w.caller.next("504"))
	r := w.record()
	wantStory(t, r, TrunkTry{Trunk: "gw1", Code: 504, Why: "no 18x within"}, TrunkTry{Trunk: "gw2", Code: 504, Why: "no 18x within"})
	if r.To != "" || r.Code != 504 || r.Cause != causeExpired || r.By != byUs || r.Why != "no trunk took the call" || !r.Answer.IsZero() {
		t.Errorf("record %+v", r)
	}
}

func TestRecordHasTheMediaOfBothLegsAsOneJsonLine(t *testing.T) {
	w := newWorld(t)
	w.call().hangUp()
	line, err := json.Marshal(w.record())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Node, From, To, Called, By string
		Code                       int
		Media                      []struct {
			Leg     string
			Packets int
			MOS     float64
			RXSuite string `json:"rx_suite"`
		}
	}
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	if got.Node != "node1" || got.From != "alice" || got.To != "gw1" || got.Called != "+4312345" || got.Code != 200 || got.By != byCaller ||
		len(got.Media) != 2 || got.Media[0].Leg != "a" || got.Media[1].Leg != "b" || got.Media[0].Packets != 100 || got.Media[0].RXSuite != "none" || got.Media[1].MOS != 4.4 {
		t.Errorf("%s", line)
	}
	if strings.ContainsAny(string(line), "\n") {
		t.Error("more than one line")
	}
}

func TestOperatorHangsUpAnsweredAndRingingCalls(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	list := w.b.Calls()
	if len(list) != 1 || !w.b.Hangup(list[0].ID) {
		t.Fatalf("calls %+v", list)
	}
	i := list[0]
	if i.CalledSent != "+4312345" || i.Route != "out" || i.Address != w.gw1.addr.String() || len(i.Tried) != 1 || i.Tried[0].Code != 200 ||
		i.SuiteA != "none" || i.SuiteB != "none" || i.Age < i.Talk || i.Ring.IsZero() {
		t.Errorf("%+v", i)
	}
	for _, p := range []*peer{w.caller, w.gw1} {
		bye := p.next("BYE")
		if !strings.Contains(bye.get("Reason"), "hung up by the operator") {
			t.Errorf("Reason %q", bye.get("Reason"))
		}
		p.reply(bye, "200 OK", "", "")
	}
	w.gone()
	if r := w.record(); r.By != byUs || r.Call != i.ID || w.b.Hangup(i.ID) || w.b.Hangup("nobody") {
		t.Errorf("record %+v", r)
	}
	k.a = w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "x", "")
	w.caller.next("180")
	if !w.b.Hangup(w.b.Calls()[0].ID) {
		t.Error("a ringing call was not found")
	}
	k.a.ackFailure(w.caller.next("480"))
	w.gw1.reply(w.gw1.next("CANCEL"), "200 OK", "x", "")
	w.gw1.reply(inv, "487 Request Terminated", "x", "")
	w.gone()
}
