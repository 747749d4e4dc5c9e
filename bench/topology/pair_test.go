package topology

import "testing"

// pair starts both nodes of a pool from one file.
func pair(t *testing.T, w *wire, file string) (a, b *node) {
	t.Helper()
	return w.hosts["node-a"].tandem(config(t, file), "--node", "node-a"), w.hosts["node-b"].tandem(config(t, file), "--node", "node-b")
}

func TestTwoNodesOneGateway(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "node-b", "pbx", "gw1", "gw2")
	a, b := pair(t, w, "two-to-one")
	gw, pbx := &peer{sipp: w.hosts["gw1"].gateway(part{})}, &peer{sipp: w.hosts["pbx"].gateway(part{})}
	for _, c := range []struct {
		node       *node
		by, called string
		callee     *peer
		want       story
	}{
		{a, "pbx", "+4312345", gw, through("pbx-a", "gw1-a")},
		{b, "pbx", "+4312345", gw, through("pbx-b", "gw1-b")},
		{a, "gw1", "+43155501", pbx, through("gw1-a", "pbx-a")},
		{b, "gw1", "+43155501", pbx, through("gw1-b", "pbx-b")},
		{a, "pbx", "12345", nil, refused("pbx-a", 404, 3, "no route of trunk pbx-a fits")},
		{b, "gw1", "+4912345", nil, refused("gw1-b", 404, 3, "no route of trunk gw1-b fits")},
	} {
		c.node.carries(w.hosts[c.by], dial{called: c.called}, c.callee, c.want)
	}
	stranger := w.hosts["gw2"].call(dial{called: "+4312345", to: a.sip(sipPort)})
	stranger.logs("refused 403", 1)
	stranger.Finish()
	if got, want := len(a.records())+len(b.records()), 6; got != want {
		t.Errorf("%d records of both nodes, want %d: one a call, and none of a stranger", got, want)
	}
	a.close()
	b.close()
	balanced(t, gw, pbx)
}

func TestTwoNodesBetweenThreePeers(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "node-b", "pbx", "gw1", "sbc")
	trust := newTrust(t)
	trust.equip(w.hosts["node-a"])
	trust.equip(w.hosts["node-b"])
	a, b := pair(t, w, "two-to-three")
	gw := &peer{sipp: w.hosts["gw1"].gateway(part{transport: "tcp"})}
	pbx := &peer{sipp: w.hosts["pbx"].gateway(part{})}
	sbc := w.hosts["sbc"].phone(trust, tlsPort)
	for _, c := range []struct {
		node                  *node
		by, transport, called string
		callee                *peer
		want                  story
	}{
		{a, "pbx", "udp", "+4312345", gw, through("pbx-a", "gw1-a")},
		{b, "pbx", "udp", "+4312345", gw, through("pbx-b", "gw1-b")},
		{a, "gw1", "tcp", "+43155501", pbx, through("gw1-a", "pbx-a")},
		{b, "gw1", "tcp", "+43155501", pbx, through("gw1-b", "pbx-b")},
		{a, "gw1", "tcp", "+4912345", nil, refused("gw1-a", 404, 3, "no route of trunk gw1-a fits")},
		{b, "pbx", "udp", "911", nil, refused("pbx-b", 404, 3, "no route of trunk pbx-b fits")},
	} {
		c.node.carries(w.hosts[c.by], dial{called: c.called, transport: c.transport}, c.callee, c.want)
	}
	for n, s := range map[*node]string{a: "-a", b: "-b"} {
		n.carriesToPhone(w.hosts["pbx"], dial{called: "+4912345"}, sbc, through("pbx"+s, "sbc"+s))
		n.carriesFromPhone(sbc, "+43155502", pbx, through("sbc"+s, "pbx"+s))
		n.carriesFromPhone(sbc, "+4312345", nil, refused("sbc"+s, 404, 3, "no route of trunk sbc"+s+" fits"))
	}
	balanced(t, gw, pbx)

	// Without the gateway the city is reached by the SBC.
	for n, s := range map[*node]string{a: "-a", b: "-b"} {
		want := through("pbx"+s, "sbc"+s)
		want.tried = []try{{trunk: "gw1" + s, code: 503, why: failed}, {trunk: "sbc" + s, code: 200}}
		n.carriesToPhone(w.hosts["pbx"], dial{called: "+4312349"}, sbc, want)
	}
	a.close()
	b.close()
}

func TestNodeThatDiesTakesNoCallOfTheOtherWithIt(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "node-b", "pbx", "gw1")
	a, b := pair(t, w, "two-to-one")
	gw := &peer{sipp: w.hosts["gw1"].gateway(part{})}
	long := dial{called: "+4312345", hold: forever}
	long.to = a.sip(sipPort)
	lost := w.hosts["pbx"].call(long)
	lost.logs("answered", 1)
	long.to, long.hold = b.sip(sipPort), 8*brief
	kept := w.hosts["pbx"].call(long)
	kept.logs("answered", 1)
	a.heardBoth(least)
	b.heardBoth(least)
	a.Kill()
	lost.Kill() // nobody will ever hang up on it
	if calls := b.calls(); len(calls) != 1 || calls[0].Phase != "answered" {
		t.Fatalf("the other node's calls are %+v, want the one that was up", calls)
	}
	b.carries(w.hosts["pbx"], dial{called: "+4312346"}, gw, through("pbx-b", "gw1-b"))
	kept.Finish()
	want := through("pbx-b", "gw1-b")
	want.called = "+4312345"
	r := b.tells(kept.logs("hung-up", 1)[0], want)
	gw.sent += r.Media[1].Sent
	if records := a.records(); len(records) != 0 {
		t.Errorf("the node that died wrote %+v; its only call had not ended", records)
	}

	again := w.hosts["node-a"].tandem(config(t, "two-to-one"), "--node", "node-a")
	again.carries(w.hosts["pbx"], dial{called: "+4312347"}, gw, through("pbx-a", "gw1-a"))
	again.close()
	b.close()
}
