package torture

import "testing"

// TestT34_DeadGatewayIsLeftAtOnce is a gateway whose host is up and whose program is not: ICMP says so, and the call goes on by the next
// trunk long before its failover timer.
func TestT34_DeadGatewayIsLeftAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp")
	w.config["routes"].([]any)[0].(object)["to"] = []any{"gw", "spare"}
	w.gw["failover"] = object{"timeout": "60s"}
	w.open()
	w.bob.udp.Close()
	e, own := listen(t, w.carol.at.Addr(), 0xcccc0041), listen(t, w.alice.at.Addr(), 0xaaaa0041)
	a := w.alice.invite("+4312345", own.sdp())
	inv := w.carol.next("INVITE")
	c := w.carol.called(inv, "caroltag")
	c.reply(inv, "200 OK", e.sdp())
	c.want("ACK")
	ok := a.established()
	k := &talk{w: w, a: a, b: c, ea: own, eb: e, ra: media(t, ok.body), rb: media(t, inv.body)}
	k.over()
}
