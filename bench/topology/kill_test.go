package topology

import "testing"

// failed is how the story of an INVITE begins whose connection could not be made, or was lost.
const failed = "request INVITE: the transport failed: "

// street is a node between a PBX and two gateways, of which the first is about to die.
type street struct {
	*wire
	*node
	first, second *sipp
}

// newStreet starts them; words are of the first gateway.
func newStreet(t *testing.T, transport string, words map[string]string) *street {
	t.Helper()
	w := newWire(t, "node-a", "pbx", "gw1", "gw2")
	return &street{
		wire: w, node: w.hosts["node-a"].tandem(config(t, "failover")),
		first: w.hosts["gw1"].gateway(part{transport: transport, words: words}), second: w.hosts["gw2"].gateway(part{}),
	}
}

// dials has the PBX call.
func (s *street) dials(d dial) *sipp {
	s.node.T.Helper()
	d.to = s.sip(sipPort)
	return s.hosts["pbx"].call(d)
}

func TestPeerThatDiedBeforeTheCallIsPassedOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, transport, called string
		die                     func(*street)
		first                   try
	}{
		{"its process on UDP", "udp", "+4312345", func(s *street) { s.first.Kill() }, try{trunk: "gw1", code: 503, why: failed + "the network says that nobody is there (ICMP)"}},
		{"its process on TCP", "tcp", "+4912345", func(s *street) { s.first.Kill() }, try{trunk: "gw1-tcp", code: 503, why: failed + "dial tcp 198.18.0.21:5060: "}},
		{"its wire", "udp", "+4312345", func(s *street) { s.hosts["gw1"].cut() }, try{trunk: "gw1", code: 504, why: "no 18x within 2s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, c.transport, nil)
			c.die(s)
			caller := s.dials(dial{called: c.called})
			caller.Finish()
			want := through("pbx", "gw2")
			want.called, want.tried = c.called, []try{c.first, {trunk: "gw2", code: 200}}
			s.tells(caller.logs("hung-up", 1)[0], want)
			s.settled()
		})
	}
}

func TestPeerThatDiesWhileItRings(t *testing.T) {
	t.Parallel()
	rings := map[string]string{"ring": "3600000"}
	t.Run("on TCP is passed over", func(t *testing.T) {
		t.Parallel()
		s := newStreet(t, "tcp", rings)
		caller := s.dials(dial{called: "+4912345"})
		caller.logs("ringing", 1)
		s.first.Kill()
		caller.Finish()
		want := through("pbx", "gw2")
		want.called, want.tried = "+4912345", []try{{trunk: "gw1-tcp", code: 503, why: failed}, {trunk: "gw2", code: 200}}
		s.tells(caller.logs("hung-up", 1)[0], want)
		s.settled()
	})
	t.Run("on UDP is waited for until the ring timeout", func(t *testing.T) {
		t.Parallel()
		s := newStreet(t, "udp", rings)
		caller := s.dials(dial{called: "+4312345"})
		caller.logs("ringing", 1)
		s.first.Kill()
		caller.Finish()
		s.tells(caller.logs("refused 408", 1)[0], story{
			from: "pbx", called: "+4312345", code: 408, cause: 19, by: "tandem", why: "ring timeout", rang: true,
			tried: []try{{trunk: "gw1", code: 487, why: "ring timeout"}},
		})
		s.settled()
	})
}

func TestPeerThatDiesWhileItTalksIsMissed(t *testing.T) {
	t.Parallel()
	for name, die := range map[string]func(*street){
		"its process": func(s *street) { s.first.Kill() },
		"its wire":    func(s *street) { s.hosts["gw1"].cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, "udp", nil)
			caller := s.dials(dial{called: "+4312345", hold: forever})
			id := caller.logs("answered", 1)[0]
			s.heardBoth(least)
			die(s)
			caller.logs("released "+id, 1)
			caller.Finish()
			want := through("pbx", "gw1")
			want.called, want.cause, want.by, want.why = "+4312345", 0, "tandem", "media timeout: nothing heard from leg b (trunk gw1)"
			want.talked = 0 // the caller went on
			r := s.tells(id, want)
			if len(r.Media) != 2 || r.Media[0].Packets <= r.Media[1].Packets || r.Media[1].Packets < least {
				t.Errorf("media of the record: %+v; want some of the gateway's, and more of the caller's", r.Media)
			}
			s.settled()
		})
	}
}

func TestCallerThatDies(t *testing.T) {
	t.Parallel()
	t.Run("while it talks is missed", func(t *testing.T) {
		t.Parallel()
		s := newStreet(t, "udp", nil)
		caller := s.dials(dial{called: "+4312345", hold: forever})
		id := caller.logs("answered", 1)[0]
		s.heardBoth(least)
		caller.Kill()
		want := through("pbx", "gw1")
		want.called, want.cause, want.by, want.why = "+4312345", 0, "tandem", "media timeout: nothing heard from leg "
		r := s.tells(id, want)
		s.first.logs("released "+r.CallIDB, 1)
		s.settled()
	})
	t.Run("on UDP while it rings is missed after the answer", func(t *testing.T) {
		t.Parallel()
		s := newStreet(t, "udp", map[string]string{"ring": "2000"})
		caller := s.dials(dial{called: "+4312345"})
		id := caller.logs("ringing", 1)[0]
		caller.Kill()
		want := through("pbx", "gw1")
		want.called, want.cause, want.by, want.why, want.talked = "+4312345", 0, "tandem", "media timeout: nothing heard from leg ", 0
		r := s.tells(id, want)
		s.first.logs("released "+r.CallIDB, 1)
		s.settled()
	})
	t.Run("on TCP while it rings is missed after the answer", func(t *testing.T) {
		t.Parallel()
		s := newStreet(t, "udp", map[string]string{"ring": "2000"})
		caller := s.dials(dial{called: "+4312345", transport: "tcp"})
		id := caller.logs("ringing", 1)[0]
		caller.Kill()
		want := through("pbx-tcp", "gw1")
		want.called, want.cause, want.by, want.why, want.talked = "+4312345", 0, "tandem", "media timeout: nothing heard from leg ", 0
		r := s.tells(id, want)
		s.first.logs("released "+r.CallIDB, 1)
		s.settled()
	})
}
