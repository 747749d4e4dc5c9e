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

func TestTrunksThatFailedAreInTheHistoryOfTheOneThatTakesTheCall(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		send   []string
		fail   string
		header []string // of that failure
		want   string
	}{
		{"the same number", func(c *config.Config) { edit(c, "gw2", everything) }, nil, "503 Service Unavailable", nil,
			"<sip:+4312345@US;user=phone>;index=1\n<sip:+4312345@US;user=phone?Reason=SIP%3Bcause%3D503>;index=1.1;np=1\n<sip:+4312345@US;user=phone>;index=1.2;np=1"},
		{"with a cause", func(c *config.Config) { edit(c, "gw2", everything) }, nil, "503 Service Unavailable", []string{"Reason: Q.850;cause=34;text=\"secret\""},
			"<sip:+4312345@US;user=phone>;index=1\n<sip:+4312345@US;user=phone?Reason=SIP%3Bcause%3D503&Reason=Q.850%3Bcause%3D34>;index=1.1;np=1\n<sip:+4312345@US;user=phone>;index=1.2;np=1"},
		{"somebody else, behind another", func(c *config.Config) { edit(c, "gw1", elsewhere); edit(c, "gw2", everything) },
			[]string{"History-Info: <sip:+4377@a.example>;index=1, <sip:+4312345@a.example>;index=1.1;mp=1"}, "408 Request Timeout", nil,
			"<sip:+4377@US;user=phone>;index=1\n<sip:+4312345@US;user=phone>;index=1.1;mp=1\n<sip:+49777@US;user=phone?Reason=SIP%3Bcause%3D408>;index=1.1.1;mp=1.1\n<sip:+4312345@US;user=phone>;index=1.1.2;np=1.1"},
		{"once for a trunk that was asked twice", func(c *config.Config) {
			edit(c, "gw1", func(tr *config.Trunk) { tr.SRTP = config.SRTPOptional })
			edit(c, "gw2", everything)
		}, nil, "488 Not Acceptable Here", nil,
			"<sip:+4312345@US;user=phone>;index=1\n<sip:+4312345@US;user=phone?Reason=SIP%3Bcause%3D503>;index=1.1;np=1\n<sip:+4312345@US;user=phone>;index=1.2;np=1"},
		{"not by policy", func(c *config.Config) { edit(c, "gw2", func(tr *config.Trunk) { everything(tr); tr.History = false }) }, nil,
			"503 Service Unavailable", nil, ""},
		{"to a peer that must not know", func(c *config.Config) { edit(c, "gw2", func(tr *config.Trunk) { everything(tr); tr.Trusted = false }) },
			[]string{"Privacy: history"}, "503 Service Unavailable", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(c *config.Config, _ *Timers) {
				edit(c, "alice", func(tr *config.Trunk) { tr.Trusted = true })
				tt.change(c)
			})
			a := w.caller.invite(w.west, "+4312345", sdpOf("192.0.2.10", 5000, ""), tt.send...)
			w.gw1.reply(w.gw1.next("INVITE"), tt.fail, "x", "", tt.header...)
			if strings.HasPrefix(tt.fail, "488") {
				w.gw1.reply(w.gw1.next("INVITE"), "503 Service Unavailable", "y", "")
			}
			inv := w.gw2.next("INVITE")
			if got := of(inv, "History-Info"); got != strings.ReplaceAll(tt.want, "US", "127.0.0.1") {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			w.gw2.reply(inv, "486 Busy Here", "x", "")
			a.ackFailure(w.caller.next("486"))
			w.gone()
		})
	}
}

func TestTrunkThatSaidNothingIsInTheHistoryAs408(t *testing.T) {
	f := failure{code: 504}
	if got := f.reasons(); got != "Reason=SIP%3Bcause%3D408" {
		t.Error(got)
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
