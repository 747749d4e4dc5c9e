package config

import "testing"

func TestWhatIsDemandedOfAPeerAndItsFax(t *testing.T) {
	gw := mustParse(t, broken).Trunks["gw"]
	if gw.Fax != FaxRefuse || !gw.RTCPActive || gw.RTCPHeld {
		t.Errorf("defaults: fax %s, rtcp_active %t, rtcp_held %t", gw.Fax, gw.RTCPActive, gw.RTCPHeld)
	}
	c := mustParse(t, broken+"    site: s\n    rtcp_held: false\npolicy: {fax: passthrough, rtcp_active: false, rtcp_held: true}\nsites: {s: {policy: {rtcp_active: true, fax: passthrough_clear}}}\n")
	for name, want := range map[string]struct {
		fax          string
		active, held bool
	}{
		"uc": {FaxPassthrough, false, true},
		"gw": {FaxClear, true, false},
	} {
		if tr := c.Trunks[name]; tr.Fax != want.fax || tr.RTCPActive != want.active || tr.RTCPHeld != want.held {
			t.Errorf("%s: fax %s, rtcp_active %t, rtcp_held %t", name, tr.Fax, tr.RTCPActive, tr.RTCPHeld)
		}
	}
	errorCase{"another word for a fax", broken + "    fax: t38\n",
		"16:10: trunks.gw.fax: t38: is none of the words known here; write refuse, passthrough or passthrough_clear"}.run(t)
}
