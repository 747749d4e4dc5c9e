package b2bua

import (
	"strings"
	"testing"

	"tandem/internal/config"
)

// elsewhere is a trunk that is told everything and sends the called number to another.
func elsewhere(tr *config.Trunk) {
	everything(tr)
	tr.Called = rules(`^\+4312345$`, "+49777")
}

func TestRouteThatCallsSomebodyElseSaysSoInTheHistory(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy func(*config.Trunk)
		send   []string
		want   string
	}{
		{"the first to tell", elsewhere, nil, "<sip:+4312345@US;user=phone>;index=1\n<sip:+49777@US;user=phone>;index=1.1;mp=1"},
		{"behind another", elsewhere, []string{"History-Info: <sip:+4377@a.example>;index=1, <sip:+43-12345@b.example>;index=1.1;mp=1"},
			"<sip:+4377@US;user=phone>;index=1\n<sip:+4312345@US;user=phone>;index=1.1;mp=1\n<sip:+49777@US;user=phone>;index=1.1.1;mp=1.1"},
		{"behind one that left a gap", elsewhere, []string{"History-Info: <sip:+4377@a.example>;index=1.2"},
			"<sip:+4377@US;user=phone>;index=1.2\n<sip:+4312345@US;user=phone>;index=1.2.0\n<sip:+49777@US;user=phone>;index=1.2.0.1;mp=1.2.0"},
		{"behind one without an index", elsewhere, []string{"History-Info: <sip:+4377@a.example>"}, "<sip:+4377@US;user=phone>"},
		{"the same number written another way", func(tr *config.Trunk) { everything(tr); tr.Called = rules(`^\+43(.*)$`, "0$1") }, nil, ""},
		{"not by policy", func(tr *config.Trunk) { elsewhere(tr); tr.History = false }, nil, ""},
		{"to a peer that must not know", func(tr *config.Trunk) { elsewhere(tr); tr.Trusted = false }, []string{"Privacy: history"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, told(tt.policy))
			inv := w.announced(sdpOf("192.0.2.10", 5000, ""), tt.send...)
			if got := of(inv, "History-Info"); got != strings.ReplaceAll(tt.want, "US", "127.0.0.1") {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestNumberWrittenAnotherWayIsTheSamePerson(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		moved    bool
	}{
		{"+4312345", "+4312345", false},
		{"+4312345", "4312345", false},
		{"+4312345", "004312345", false},
		{"012345", "+4312345", false},
		{"45", "+4312345", false},
		{"9+4312345", "+4312345", false},
		{"+4312345", "+4312346", true},
		{"112", "+4359133", true},
		{"", "+431", false},
		{"alice", "bob", true},
	} {
		if got := (retargeting{tt.from, tt.to}).moved(); got != tt.moved {
			t.Errorf("%s to %s: %v", tt.from, tt.to, got)
		}
	}
}

func TestCriticalPrivacyThatIsUnknownEndsTheCall(t *testing.T) {
	for _, tt := range []struct{ privacy, reason string }{
		{"id;critical;Unheard-Of", "500 Critical Privacy Not Supported: Unheard-Of"},
		{"critical; <odd>", "500 Critical Privacy Not Supported"},
	} {
		w := newWorld(t)
		a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), "Privacy: "+tt.privacy)
		res := w.caller.next("500")
		if !strings.HasSuffix(strings.TrimSpace(res.start), tt.reason) {
			t.Errorf("%s: %s", tt.privacy, res.start)
		}
		a.ackFailure(res)
		if n := w.gw1.had("INVITE"); n != 0 {
			t.Errorf("%s: %d INVITEs left all the same", tt.privacy, n)
		}
		w.gone()
	}
}
