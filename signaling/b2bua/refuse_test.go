package b2bua

import (
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

func TestAnOfferOfAFamilyThatWeHaveNotIsNotOurFailure(t *testing.T) {
	w := newWorld(t)
	offer := strings.ReplaceAll(sdpOf("192.0.2.10", 5000, ""), "IN IP4 192.0.2.10", "IN IP6 2001:db8::10")
	d := w.caller.invite(w.west, "+4312345", offer)
	res := w.caller.next("488 INVITE")
	d.ackFailure(res)
	if res.get("Retry-After") != "" || w.gw1.had("INVITE") != 0 {
		t.Errorf("%s", res.raw)
	}
	w.gone()
}

func TestRetryAfterIsReadWhateverItsSize(t *testing.T) {
	for value, want := range map[string]int{
		"5": 5, "120 (I'm in a meeting)": 120, "18000;duration=3600": 18000, "2147483647": 1<<31 - 1,
		"2147483648": 1<<31 - 1, "99999999999999999999999": 1<<31 - 1, "": -1, "-1": -1, "soon": -1, "0x10": -1,
	} {
		res := sip.NewResponse(503, "")
		res.AppendHeader(sip.NewHeader("Retry-After", value))
		n, ok := seconds(res)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%q: %d, want %d", value, n, want)
		}
	}
}
