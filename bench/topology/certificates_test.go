package topology

import (
	"slices"
	"testing"
)

func TestCertificateIsRenewedUnderFiftyCalls(t *testing.T) {
	t.Parallel()
	const (
		calls = 50
		said  = 2 * brief / 20 // packets: they talk before and after, in frames of 20 ms
	)
	w := newWire(t, "node-a", "pbx", "gw1", "gw2", "sbc")
	trust := newTrust(t)
	old := trust.equip(w.hosts["node-a"])
	n := w.hosts["node-a"].tandem(config(t, "certificates"))
	caller, callee := w.hosts["sbc"].phone(trust, tlsPort), w.hosts["gw1"].phone(trust, tlsPort)
	dialled := caller.do(order{Do: "dial", Called: "+4312345", To: n.sip(tlsPort), Count: calls})
	if len(dialled.IDs) != calls {
		t.Fatalf("%d calls are up, want %d; the next was refused with %d", len(dialled.IDs), calls, dialled.Code)
	}
	converse(t, caller, callee, calls)

	renewed := trust.equip(w.hosts["node-a"]) // and nobody tells the node
	n.Says(`msg="tls: a changed file is in use" file=/run/tandem/` + certFile)
	converse(t, caller, callee, calls)
	next, beyond := w.hosts["pbx"].phone(trust, tlsPort), w.hosts["gw2"].phone(trust, tlsPort)
	if r := next.do(order{Do: "dial", Called: "+4312345", To: n.sip(tlsPort)}); len(r.IDs) != 1 {
		t.Fatalf("a new call was refused with %d", r.Code)
	}
	converse(t, next, beyond, 1)
	for _, c := range []struct {
		phone *handset
		shown string
		when  string
	}{
		{caller, old, "called before"}, {callee, old, "was called before"},
		{next, renewed, "called after"}, {beyond, renewed, "was called after"},
	} {
		shown := c.phone.do(order{Do: "who"}).Shown
		if len(shown) == 0 || slices.ContainsFunc(shown, func(s string) bool { return s != c.shown }) {
			t.Errorf("%s, which %s the change, was shown %v, want %s (old %s, new %s)", c.phone.Name, c.when, shown, c.shown, old, renewed)
		}
	}
	next.do(order{Do: "hangup"})
	if up := caller.do(order{Do: "hangup"}).Calls; up != calls {
		t.Errorf("%d calls were up at the end, want %d", up, calls)
	}
	for _, id := range dialled.IDs {
		want := through("sbc", "gw1")
		want.called, want.cause, want.talked = "+4312345", 0, said
		n.tells(id, want)
	}
	n.close()
}
