package topology

import "testing"

func TestOneNodeOneGateway(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "pbx", "gw1", "gw2")
	n := w.hosts["node-a"].tandem(config(t, "one-to-one"))
	gw, pbx := &peer{sipp: w.hosts["gw1"].gateway(part{})}, &peer{sipp: w.hosts["pbx"].gateway(part{})}
	for _, c := range []struct {
		by, called string
		callee     *peer
		want       story
	}{
		{"pbx", "+4312345", gw, through("pbx", "gw1")},
		{"gw1", "+43155501", pbx, through("gw1", "pbx")},
		{"pbx", "12345", nil, refused("pbx", 404, 3, "no route of trunk pbx fits")},
		{"gw1", "+4912345", nil, refused("gw1", 404, 3, "no route of trunk gw1 fits")},
		{"gw2", "+4312345", nil, refused("gw2", 403, 21, "trunk gw2 has no usages")},
	} {
		n.carries(w.hosts[c.by], dial{called: c.called}, c.callee, c.want)
	}
	n.close()
	balanced(t, gw, pbx)
}

func TestOneNodeBetweenThreePeersOfThreeTransports(t *testing.T) {
	t.Parallel()
	w := newWire(t, "node-a", "pbx", "gw1", "sbc")
	trust := newTrust(t)
	trust.equip(w.hosts["node-a"])
	n := w.hosts["node-a"].tandem(config(t, "one-to-three"))
	gw := &peer{sipp: w.hosts["gw1"].gateway(part{transport: "tcp"})}
	pbx := &peer{sipp: w.hosts["pbx"].gateway(part{})}
	sbc := w.hosts["sbc"].phone(trust, tlsPort, 486) // busy at first
	for _, c := range []struct {
		by, transport, called string
		callee                *peer
		want                  story
	}{
		{"pbx", "udp", "+4312345", gw, through("pbx", "gw1")},
		{"gw1", "tcp", "+43155501", pbx, through("gw1", "pbx")},
		{"pbx", "udp", "12345", nil, refused("pbx", 404, 3, "no route of trunk pbx fits")},
		{"gw1", "tcp", "+4912345", nil, refused("gw1", 404, 3, "no route of trunk gw1 fits")},
		{"pbx", "udp", "+4912345", nil, story{
			from: "pbx", code: 486, by: "callee", why: "Busy Here", tried: []try{{trunk: "sbc", code: 486, why: "Busy Here"}},
		}},
	} {
		n.carries(w.hosts[c.by], dial{called: c.called, transport: c.transport}, c.callee, c.want)
	}
	n.carriesToPhone(w.hosts["pbx"], dial{called: "+4912345"}, sbc, through("pbx", "sbc"))
	n.carriesFromPhone(sbc, "+43155502", pbx, through("sbc", "pbx"))
	n.carriesFromPhone(sbc, "+4312345", nil, refused("sbc", 404, 3, "no route of trunk sbc fits"))
	n.close()
	balanced(t, gw, pbx)
}
