package b2bua

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// srtp sets the SRTP policy of trunks.
func srtp(modes map[string]string) func(*config.Config, *Timers) {
	return func(c *config.Config, _ *Timers) {
		for name, mode := range modes {
			edit(c, name, func(tr *config.Trunk) {
				tr.SRTP, tr.Pin = mode, ""
				tr.Suites = []string{"AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"}
			})
		}
	}
}

func TestSrtpOnOneSideIsRtpOnTheOther(t *testing.T) {
	w := newWorld(t, srtp(map[string]string{"alice": config.SRTPRequired}))
	k := w.callWith(savp(sdpOf("192.0.2.10", 5000, ""), 7, testKey1), sdpOf("198.51.100.20", 6000, ""))
	if strings.Contains(k.invite.body, "crypto") || !strings.Contains(k.invite.body, "RTP/AVP") {
		t.Errorf("offer to the gateway:\n%s", k.invite.body)
	}
	if !strings.Contains(k.ok.body, "RTP/SAVP") || !strings.HasPrefix(line(k.ok.body, "a=crypto:"), "7 AES_CM_128_HMAC_SHA1_80 inline:") ||
		strings.Contains(k.ok.body, testKey1) {
		t.Error("the answer must be SAVP with the offered tag and a key of ours")
	}
	a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b")
	if a.RX.Key != testKey1 || !strings.Contains(k.ok.body, a.TX.Key) || a.Pin != "auth" || b.RX.Suite != "none" || b.TX.Suite != "none" || b.Pin != "exact" {
		t.Error("the relay was told other keys or pins")
	}
	k.hangUp()
}

func TestSrtpOnBothSidesHasFourKeys(t *testing.T) {
	w := newWorld(t, srtp(map[string]string{"alice": config.SRTPRequired, "gw1": config.SRTPRequired}))
	a := w.caller.invite(w.west, "1", savp(sdpOf("192.0.2.10", 5000, ""), 1, testKey1))
	inv := w.gw1.next("INVITE")
	if !strings.Contains(inv.body, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:") || !strings.Contains(inv.body, "a=crypto:2 AEAD_AES_256_GCM inline:") ||
		strings.Contains(inv.body, testKey1) {
		t.Error("the offer must have a fresh key for each suite")
	}
	w.gw1.reply(inv, "200 OK", "x", savp(sdpOf("198.51.100.20", 6000, ""), 1, testKey2))
	ok := w.caller.next("200 INVITE")
	a.answered(ok)
	a.ack()
	la, lb := w.relay.leg(t, "a"), w.relay.leg(t, "b")
	keys := map[string]bool{la.RX.Key: true, la.TX.Key: true, lb.RX.Key: true, lb.TX.Key: true}
	if len(keys) != 4 || lb.RX.Key != testKey2 || !strings.Contains(inv.body, lb.TX.Key) {
		t.Error("four directions, four keys")
	}
	(&talk{w: w, a: a}).hangUp()
}

func TestOffersAgainstTheTrunksSrtpPolicyGet488WithAWarning(t *testing.T) {
	plain := sdpOf("192.0.2.10", 5000, "")
	for _, tt := range []struct{ name, mode, offer, why string }{
		{"required, none offered", config.SRTPRequired, plain, "SRTP is required"},
		{"off, only SAVP offered", config.SRTPOff, savp(plain, 1, testKey1), "SRTP is switched off"},
		{"required, SAVP without a key", config.SRTPRequired, strings.Replace(plain, "RTP/AVP", "RTP/SAVP", 1), "a=crypto"},
		{"required, short key", config.SRTPRequired, savp(plain, 1, "c2hvcnQ="), "a=crypto"},
		{"optional, SAVP without a key", config.SRTPOptional, strings.Replace(plain, "RTP/AVP", "RTP/SAVP", 1), "a=crypto"},
		{"no audio", config.SRTPOff, strings.Replace(plain, "m=audio", "m=video", 1), "no active audio"},
		{"switched off", config.SRTPOff, strings.Replace(plain, "m=audio 5000", "m=audio 0", 1), "no active audio"},
		{"no c= line", config.SRTPOff, strings.Replace(plain, "c=IN IP4 192.0.2.10\r\n", "", 1), "c= line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, srtp(map[string]string{"alice": tt.mode}))
			a := w.caller.invite(w.west, "1", tt.offer)
			res := w.caller.next("488")
			if !strings.Contains(res.get("Warning"), tt.why) || !strings.HasPrefix(res.get("Warning"), "399 127.0.0.1 \"") {
				t.Errorf("Warning %q", res.get("Warning"))
			}
			a.ackFailure(res)
			w.gone()
		})
	}
}

func TestFaultsOfOursTellThePeerNothingOfOurInside(t *testing.T) {
	offer := sdpOf("192.0.2.10", 5000, "")
	t.Run("a name that our resolver does not know", func(t *testing.T) {
		w := newWorld(t)
		a := w.caller.invite(w.west, "1", strings.Replace(offer, "c=IN IP4 192.0.2.10", "c=IN IP4 nowhere.example", 1))
		res := w.caller.next("488")
		if got := res.get("Warning"); got != `399 127.0.0.1 "c= address \"nowhere.example\" cannot be resolved"` {
			t.Errorf("Warning %s", got)
		}
		a.ackFailure(res)
		if r := w.record(); !strings.Contains(r.Why, errUnknownName) {
			t.Errorf("the record does not say why: %q", r.Why)
		}
		w.gone()
	})
	t.Run("a relay that does not answer a re-INVITE", func(t *testing.T) {
		w := newWorld(t)
		k := w.call()
		w.relay.failing(func(method, _ string) error {
			if method == "update" {
				return errTest
			}
			return nil
		})
		k.a.invite(sdpOf("192.0.2.10", 5020, ""))
		res := w.caller.next("500")
		if got := res.get("Warning"); got != "" {
			t.Errorf("Warning %s", got)
		}
		k.a.ackFailure(res)
		w.relay.failing(nil)
		k.hangUp()
	})
}

func TestOptionalSrtpIsOfferedAndThenRtp(t *testing.T) {
	w := newWorld(t, srtp(map[string]string{"gw1": config.SRTPOptional}))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	first := w.gw1.next("INVITE")
	if !strings.Contains(first.body, "RTP/SAVP") {
		t.Errorf("first offer:\n%s", first.body)
	}
	w.gw1.reply(first, "488 Not Acceptable Here", "x", "")
	w.gw1.next("ACK")
	second := w.gw1.next("INVITE")
	if !strings.Contains(second.body, "RTP/AVP") || strings.Contains(second.body, "crypto") || second.get("Call-ID") == first.get("Call-ID") {
		t.Errorf("second offer:\n%s", second.raw)
	}
	w.gw1.reply(second, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	ok := w.caller.next("200 INVITE")
	a.answered(ok)
	a.ack()
	(&talk{w: w, a: a}).hangUp()
}

func TestOptionalSrtpAcceptsAPlainAnswerAndRequiredDoesNot(t *testing.T) {
	w := newWorld(t, srtp(map[string]string{"gw1": config.SRTPOptional}))
	k := w.callWith(sdpOf("192.0.2.10", 5000, ""), sdpOf("198.51.100.20", 6000, ""))
	if b := w.relay.leg(t, "b"); b.RX.Suite != "none" || b.Pin != "exact" {
		t.Errorf("leg b: %s, pin %s", b.RX.Suite, b.Pin)
	}
	k.hangUp()

	w = newWorld(t, srtp(map[string]string{"gw1": config.SRTPRequired}))
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "x", sdpOf("198.51.100.20", 6000, ""))
	w.gw1.reply(w.gw1.next("BYE"), "200 OK", "", "")
	a.ackFailure(w.caller.next("488"))
	w.gone()
}

func TestRtcpMuxIsAcceptedWhenOfferedAndOfferedByPolicy(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.RTCPMux = true })
	})
	k := w.callWith(sdpOf("192.0.2.10", 5000, "a=rtcp-mux\r\n"), sdpOf("198.51.100.20", 6000, "a=rtcp:6009\r\n"))
	if !strings.Contains(k.invite.body, "a=rtcp-mux") || !strings.Contains(k.ok.body, "a=rtcp-mux") {
		t.Errorf("offer:\n%s\nanswer:\n%s", k.invite.body, k.ok.body)
	}
	a, b := w.relay.leg(t, "a"), w.relay.leg(t, "b")
	if !*a.RTCPMux || *b.RTCPMux || b.RemoteRTCP != "198.51.100.20:6009" {
		t.Errorf("relay: a mux %v, b mux %v, rtcp %s", *a.RTCPMux, *b.RTCPMux, b.RemoteRTCP)
	}
	k.hangUp()
}

func TestVideoIsAnsweredWithPortZero(t *testing.T) {
	w := newWorld(t)
	k := w.callWith("v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=video 5002 RTP/AVP 96\r\nm=audio 5000 RTP/AVP 0\r\n",
		sdpOf("198.51.100.20", 6000, "", "0"))
	if line(k.ok.body, "m=video ") != "0 RTP/AVP 96" || strings.Index(k.ok.body, "m=video") > strings.Index(k.ok.body, "m=audio") {
		t.Errorf("answer:\n%s", k.ok.body)
	}
	if strings.Contains(k.invite.body, "video") {
		t.Errorf("offer:\n%s", k.invite.body)
	}
	k.hangUp()
}

func TestNothingOfOneSideReachesTheOther(t *testing.T) {
	w := newWorld(t)
	k := w.callWith(sdpOf("192.0.2.10", 5000, "a=candidate:1 1 UDP 1 192.0.2.10 5000 typ host\r\na=x-secret:alice.secret.example\r\n"),
		sdpOf("198.51.100.20", 6000, ""))
	k.a.invite(sdpOf("192.0.2.10", 5000, "a=sendonly\r\n"))
	w.gw1.reply(w.gw1.next("INVITE"), "200 OK", "", sdpOf("198.51.100.20", 6000, "a=recvonly\r\n"))
	w.gw1.next("ACK")
	w.caller.next("200 INVITE")
	k.a.ack()
	k.a.bye(`Reason: SIP;cause=200;text="alice.secret.example"`)
	w.caller.next("200 BYE")
	bye := w.gw1.next("BYE")
	w.gw1.reply(bye, "200 OK", "", "")
	w.gone()
	w.caller.had("")
	w.gw1.had("")
	canaries := func(p *peer, seen []message, words ...string) {
		for _, m := range seen {
			for _, word := range words {
				if strings.Contains(m.raw, word) {
					t.Errorf("%s was told %q:\n%s", p.name, word, m.raw)
				}
			}
		}
	}
	_, alicePort, _ := strings.Cut(w.caller.addr.String(), ":")
	_, gwPort, _ := strings.Cut(w.gw1.addr.String(), ":")
	_, west, _ := strings.Cut(w.west.String(), ":")
	_, east, _ := strings.Cut(w.east.String(), ":")
	canaries(w.gw1, w.gw1.seen, "secret", "192.0.2.10", ":"+alicePort, k.a.callID, "alice", ":"+west, "secretuser", "candidate")
	canaries(w.caller, w.caller.seen[1:], "gw1", "198.51.100.20", ":"+gwPort, k.invite.get("Call-ID"), ":"+east, "gwtag")
	for _, m := range w.gw1.seen {
		if m.code() == 0 && len(m.all("Via")) != 1 {
			t.Errorf("%d Via headers left towards the gateway", len(m.all("Via")))
		}
	}
}

func TestNumbersAndNamesAreReencoded(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "gw1", func(tr *config.Trunk) { tr.Domain = "carrier.example" })
	})
	a := &dialog{p: w.caller, to: w.west, callID: "enc", local: `"A \"quoted\" <name>" <sip:%2b43%31@x.secret.example;user=phone>;tag=1;epid=ab`,
		remote: "<sip:z@y>", target: "sip:+43%7B123%23;phone-context=secret.example@tandem;user=phone"}
	a.invite(sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	if !strings.HasPrefix(inv.start, "INVITE sip:+43%7B123%23@carrier.example;user=phone SIP/2.0") {
		t.Errorf("%q", inv.start)
	}
	if from := inv.get("From"); !strings.HasPrefix(from, `"A \"quoted\" <name>" <sip:+431@carrier.example;user=phone>;tag=node1.`) || strings.Contains(from, "epid") {
		t.Errorf("From %s", from)
	}
	if to := inv.get("To"); to != "<sip:+43%7B123%23@carrier.example>" {
		t.Errorf("To %s", to)
	}
	w.gw1.reply(inv, "486 Busy Here", "x", "")
	a.ackFailure(w.caller.next("486"))
	w.gone()
}

func TestSeparatorsDoNotHideANumber(t *testing.T) {
	for in, want := range map[string]string{
		"sip:+43-900-1234@x": "+439001234", "sip:+43%20900%201234@x": "+439001234", "sip:1-1-2@x": "112", "sip:(01)555.12@x": "0155512",
		"tel:+43-900-1234": "+439001234", "sip:anne-marie.b@x": "anne-marie.b", "sip:-@x": "-", "sip:*21*5%23@x": "*21*5#",
	} {
		var u sip.Uri
		if err := sip.ParseUri(in, &u); err != nil {
			t.Fatal(err)
		}
		if got := number(&u); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestTelUriAndAnonymousCallerAreUnderstood(t *testing.T) {
	w := newWorld(t)
	a := &dialog{p: w.caller, to: w.west, callID: "tel", local: `"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1`,
		remote: "<tel:+43-1-234>", target: "tel:+43-1-234;phone-context=secret.example"}
	a.invite(sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	if !strings.HasPrefix(inv.start, "INVITE sip:+431234@127.0.0.1:") || !strings.Contains(inv.get("From"), "<sip:anonymous@anonymous.invalid>") {
		t.Errorf("%s\nFrom: %s", inv.start, inv.get("From"))
	}
	w.gw1.reply(inv, "486 Busy Here", "x", "")
	a.ackFailure(w.caller.next("486"))
	w.gone()
}

func TestWhoMayNotCallIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, code string
		change     func(*config.Config, *Timers)
	}{
		{"a stranger", "403", func(c *config.Config, _ *Timers) {
			edit(c, "alice", func(tr *config.Trunk) { tr.Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} })
		}},
		{"a trunk that no route names and that has no usages", "403", func(c *config.Config, _ *Timers) { c.Routes[0].From = []string{"gw2"} }},
		{"a number that no route fits", "404", func(c *config.Config, _ *Timers) { c.Routes[0].Match = regexp.MustCompile(`^9`) }},
		{"beyond the limit of calls", "503", func(c *config.Config, _ *Timers) { c.SIP.Limits.Calls = -1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.change)
			if tt.code == "503" {
				w.b.active.Store(int64(w.b.limit()))
				defer w.b.active.Store(0)
			}
			a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
			res := w.caller.next(tt.code)
			if tt.code == "503" && res.get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			a.ackFailure(res)
			w.gone()
			if w.gw1.had("INVITE")+w.gw2.had("INVITE") != 0 {
				t.Error("a gateway was called")
			}
		})
	}
}

func TestDrainingRefusesNewCallsAndKeepsTheOld(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	w.b.Drain(true)
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	a.ackFailure(w.caller.next("503"))
	w.caller.invite(w.west, "1", "").other("OPTIONS", "")
	w.caller.next("503 OPTIONS")
	w.b.Drain(false)
	k.hangUp()
}

func TestFullTrunkTakesNoFurtherCallsIn(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) { edit(c, "alice", func(tr *config.Trunk) { tr.MaxCalls = 1 }) })
	k := w.call()
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	a.ackFailure(w.caller.next("503"))
	k.hangUp()
	w.call().hangUp()
}

func TestRecordRoutesAreFollowedInBothRoles(t *testing.T) {
	w := newWorld(t)
	proxyA, proxyB := newPeer(t, "proxya"), newPeer(t, "proxyb")
	rr := []string{"Record-Route: <sip:" + proxyA.addr.String() + ";lr>, <sip:far-a.example;lr>"}
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""), rr...)
	inv := w.gw1.next("INVITE")
	if inv.get("Record-Route") != "" {
		t.Error("the caller's route reached the gateway")
	}
	w.gw1.reply(inv, "200 OK", "x", sdpOf("198.51.100.20", 6000, ""),
		"Record-Route: <sip:far-b.example;lr>", "Record-Route: <sip:"+proxyB.addr.String()+";LR>")
	ack := proxyB.next("ACK")
	if got := strings.Join(ack.all("Route"), " "); !strings.HasPrefix(got, "<sip:"+proxyB.addr.String()) || !strings.HasSuffix(got, "<sip:far-b.example;lr>") {
		t.Errorf("Route of a UAC: %s", got)
	}
	if !strings.HasPrefix(ack.start, "ACK sip:gw1@") {
		t.Errorf("%q", ack.start)
	}
	ok := w.caller.next("200 INVITE")
	if got := strings.Join(ok.all("Record-Route"), ", "); !strings.Contains(got, "<sip:"+proxyA.addr.String()+";lr>, <sip:far-a.example;lr>") {
		t.Errorf("Record-Route of the response: %s", got)
	}
	a.answered(ok)
	a.ack()
	for _, c := range w.b.all() {
		c.postOwn(func() { c.hangUp(503, "test", "") })
	}
	bye := proxyA.next("BYE")
	if got := strings.Join(bye.all("Route"), " "); got != "<sip:"+proxyA.addr.String()+";lr> <sip:far-a.example;lr>" {
		t.Errorf("Route of a UAS: %s", got)
	}
	proxyA.reply(bye, "200 OK", "", "")
	proxyB.reply(proxyB.next("BYE"), "200 OK", "", "")
	w.gone()
}

func TestCallerWithTheWholeTableOfPayloadsIsServed(t *testing.T) {
	w := newWorld(t)
	var formats []string
	for i := 96; i < 128; i++ {
		formats = append(formats, strconv.Itoa(i))
	}
	k := w.callWith(sdpOf("192.0.2.10", 5000, "", append([]string{"0", "8"}, formats...)...), sdpOf("198.51.100.20", 6000, "", "0"))
	if a := w.relay.leg(t, "a"); len(*a.Payloads) > 32 || (*a.Payloads)[0].Type != 0 {
		t.Errorf("payloads %v", *a.Payloads)
	}
	k.hangUp()
}
