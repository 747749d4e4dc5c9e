package b2bua

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// told changes the policy of the trunk that is told, and makes the caller's trusted.
func told(change func(*config.Trunk)) func(*config.Config, *Timers) {
	return func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.Trusted = true })
		edit(c, "gw1", change)
	}
}

// everything is a trunk that is told all there is.
func everything(tr *config.Trunk) {
	tr.Trusted, tr.PAI, tr.History, tr.Diversion, tr.PIDFLO, tr.Identity = true, true, true, true, true, true
}

// announced places a call with headers and returns the INVITE that gw1 got.
func (w *world) announced(body string, extra ...string) message {
	w.t.Helper()
	a := w.caller.invite(w.west, "+4312345", body, extra...)
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "486 Busy Here", "x", "")
	a.ackFailure(w.caller.next("486"))
	w.gone()
	return inv
}

// of are the values of a header, one a line.
func of(m message, name string) string { return strings.Join(m.all(name), "\n") }

func TestHeadersThatCrossAreWrittenAnewByPolicy(t *testing.T) {
	offer := sdpOf("192.0.2.10", 5000, "")
	h := func(s string) string { return strings.ReplaceAll(s, "US", "127.0.0.1") }
	for _, tt := range []struct {
		name   string
		policy func(*config.Trunk)
		send   []string
		header string
		want   string
	}{
		{"PAI, sip and tel", everything, []string{`P-Asserted-Identity: "Al, ice" <sip:+4311111@in.secret.example;user=phone>, <tel:+43-1-1111>`},
			"P-Asserted-Identity", h("\"Al, ice\" <sip:+4311111@US;user=phone>\n<tel:+4311111>")},
		{"PAI, two headers and one too many", everything, []string{"P-Asserted-Identity: <sip:+431@a.secret.example>", "P-Asserted-Identity: <tel:+431>", "P-Asserted-Identity: <sip:+432@b.secret.example>"},
			"P-Asserted-Identity", h("<sip:+431@US;user=phone>\n<tel:+431>")},
		{"PAI by default", func(*config.Trunk) {}, []string{"P-Asserted-Identity: <tel:+431>"}, "P-Asserted-Identity", ""},
		{"PAI of another scheme", everything, []string{"P-Asserted-Identity: <http://secret.example/x>, <tel:+431;phone-context=secret.example>"}, "P-Asserted-Identity", "<tel:+431>"},
		{"PAI with privacy to a trusted peer", everything, []string{"P-Asserted-Identity: <tel:+431>", "Privacy: id;critical"}, "P-Asserted-Identity", "<tel:+431>"},
		{"PAI with privacy to another", func(tr *config.Trunk) { tr.PAI = true }, []string{"P-Asserted-Identity: <tel:+431>", "Privacy: id"}, "P-Asserted-Identity", ""},
		{"the wish for one", everything, []string{"P-Preferred-Identity: <tel:+431>"}, "P-Preferred-Identity", ""},
		{"Privacy", everything, []string{"Privacy: ID ; user;unheard-of"}, "Privacy", "id;user"},
		{"Privacy that is critical, and kept", everything, []string{"Privacy: id;critical"}, "Privacy", "id;critical"},
		{"Diversion", everything, []string{"Diversion: <sip:+4377@pbx.secret.example>;reason=user-busy;counter=2;x=secret, <tel:+4388>;reason=\"odd\""},
			"Diversion", h("<sip:+4377@US;user=phone>;reason=user-busy;counter=2\n<tel:+4388>")},
		{"Diversion that asks for privacy", func(tr *config.Trunk) { tr.Diversion = true }, []string{"Diversion: \"Bob\" <sip:+4377@pbx.secret.example>;reason=no-answer;privacy=full"},
			"Diversion", `"Anonymous" <sip:anonymous@anonymous.invalid>;reason=no-answer;privacy=full`},
		{"Diversion by default", func(*config.Trunk) {}, []string{"Diversion: <tel:+4388>"}, "Diversion", ""},
		{"History-Info", everything, []string{"History-Info: <sip:+4377@pbx.secret.example;cause=302?Reason=SIP%3Bcause%3D302%3Btext%3D%22secret%22&X-Secret=1>;index=1;rc=1;x=secret, <sip:+4388@h.secret.example?Privacy=history>;index=1.1"},
			"History-Info", h("<sip:+4377@US;user=phone;cause=302?Reason=SIP%3Bcause%3D302>;index=1;rc=1\n<sip:+4388@US;user=phone?Privacy=history>;index=1.1")},
		{"History-Info that asks for privacy", func(tr *config.Trunk) { tr.History = true }, []string{"History-Info: <sip:+4388@h.secret.example?Privacy=history>;index=1.1"},
			"History-Info", `"Anonymous" <sip:anonymous@anonymous.invalid>;index=1.1`},
		{"History-Info of a message that does", func(tr *config.Trunk) { tr.History = true }, []string{"History-Info: <sip:+4388@h.secret.example>;index=1", "Privacy: history"}, "History-Info", ""},
		{"Referred-By", everything, []string{`Referred-By: "Boss" <sip:+4399@pbx.secret.example>;cid="x@secret.example"`}, "Referred-By", h(`"Boss" <sip:+4399@US;user=phone>`)},
		{"Call-Info", everything, []string{"Call-Info: <http://secret.example/a.jpg>;purpose=icon"}, "Call-Info", ""},
		{"Alert-Info", everything, []string{"Alert-Info: <http://secret.example/ring.wav>"}, "Alert-Info", ""},
		{"Organization", everything, []string{"Organization: Secret Inc."}, "Organization", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, told(tt.policy))
			if got := of(w.announced(offer, tt.send...), tt.header); got != tt.want {
				t.Errorf("%s\n got %s\nwant %s", tt.header, got, tt.want)
			}
		})
	}
}

func TestAssertionOfAPeerThatIsNotTrustedIsNobodys(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) { edit(c, "gw1", everything) })
	if got := of(w.announced(sdpOf("192.0.2.10", 5000, ""), "P-Asserted-Identity: <tel:+431>"), "P-Asserted-Identity"); got != "" {
		t.Error(got)
	}
}

func TestCallerWhoAsksToStayHiddenIsShownToTrustedPeersOnly(t *testing.T) {
	for _, tt := range []struct {
		privacy string
		trusted bool
		hidden  bool
	}{{"id", false, true}, {"user", false, true}, {"id", true, false}, {"none", false, false}, {"session", false, false}} {
		w := newWorld(t, told(func(tr *config.Trunk) { tr.Trusted = tt.trusted }))
		from := w.announced(sdpOf("192.0.2.10", 5000, ""), "Privacy: "+tt.privacy).get("From")
		if hidden := strings.HasPrefix(from, `"Anonymous" <sip:anonymous@anonymous.invalid>;tag=`); hidden != tt.hidden {
			t.Errorf("%+v: From: %s", tt, from)
		}
	}
}

func TestHeadersAreBounded(t *testing.T) {
	w := newWorld(t, told(everything))
	var many, long []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("Diversion: <tel:+43%d>", i))
		long = append(long, fmt.Sprintf("History-Info: <sip:+43%d@%s.example>;index=1", i, strings.Repeat("x", 1100)))
	}
	inv := w.announced(sdpOf("192.0.2.10", 5000, ""), append(many, long...)...)
	if n := len(inv.all("Diversion")); n != maxParties {
		t.Errorf("%d Diversion headers", n)
	}
	if n := len(inv.all("History-Info")); n != 0 {
		t.Errorf("%d History-Info headers beyond the length of one", n)
	}
	if n := w.b.Stats().Drops[DropHeader]; n != 2 {
		t.Errorf("%d counted", n)
	}
}

// passport is an Identity as it is seen in the wild, its three parts in base64.
const passport = "eyJhbGciOiJFUzI1NiJ9.eyJvcmlnIjp7InRuIjoiNDMxIn19.c2lnbmF0dXJl;info=<https://cert.example/a.pem>;alg=ES256;ppt=\"shaken\""

func TestIdentityCrossesByteForByteOrNotAtAll(t *testing.T) {
	for _, tt := range []struct {
		name    string
		policy  func(*config.Trunk)
		send    []string
		crosses bool
	}{
		{"as it was", everything, []string{"Identity: " + passport}, true},
		{"not by policy", func(*config.Trunk) {}, []string{"Identity: " + passport}, false},
		{"the caller was translated", func(tr *config.Trunk) {
			everything(tr)
			tr.Calling = rules(`^\+43(.*)$`, "0$1")
		}, []string{"Identity: " + passport}, false},
		{"the callee was translated", func(tr *config.Trunk) {
			everything(tr)
			tr.Called = rules(`^\+43(.*)$`, "0$1")
		}, []string{"Identity: " + passport}, false},
		{"only the plus was cut off", func(tr *config.Trunk) { everything(tr); tr.RemovePlus = true }, []string{"Identity: " + passport}, true},
		{"the caller is hidden", func(tr *config.Trunk) { tr.Identity = true }, []string{"Identity: " + passport, "Privacy: id"}, false},
		{"it signs keys", everything, []string{"Identity: eyJ9.eyJta3kiOltdfQ.c2ln;info=<https://cert.example/a.pem>"}, false},
		{"too many", everything, []string{"Identity: " + passport, "Identity: " + passport, "Identity: " + passport, "Identity: " + passport, "Identity: " + passport}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, told(tt.policy))
			inv := w.announced(sdpOf("192.0.2.10", 5000, ""), append(tt.send, "Date: Mon, 23 Nov 2026 05:31:38 GMT")...)
			got := inv.get("Identity")
			if tt.crosses && (got != passport || inv.get("Date") != "Mon, 23 Nov 2026 05:31:38 GMT") || !tt.crosses && (got != "" || inv.get("Date") != "") {
				t.Errorf("Identity: %s\nDate: %s", got, inv.get("Date"))
			}
			dropped := w.b.Stats().Drops[DropIdentity]
			if wanted := !tt.crosses && tt.name != "not by policy"; (dropped == 1) != wanted {
				t.Errorf("%d counted", dropped)
			}
		})
	}
}

const placeXML = "<?xml version=\"1.0\"?>\n<presence entity=\"pres:x\">\r\n  <gml:pos>48.2 16.37</gml:pos>\n</presence>"

// mixed is an INVITE's body with SDP, a place and ISUP.
func mixed(sdp, disposition string) (body, contentType string) {
	return "preamble\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n" + sdp +
		"\r\n--b1\r\nContent-Type: application/pidf+xml\r\nContent-ID: <loc@secret.example>\r\n\r\n" + placeXML +
		"\r\n--b1\r\nContent-Type: application/ISUP;version=itu-t92+\r\n" + disposition + "\r\n\x01\x00\xff\r\n--b1--\r\n", "Content-Type: multipart/mixed;boundary=b1"
}

func TestPlaceOfTheCallerCrossesByteForByteByPolicy(t *testing.T) {
	offer := sdpOf("192.0.2.10", 5000, "")
	body, ct := mixed(offer, "Content-Disposition: signal;handling=optional\r\n")
	send := []string{ct, "Geolocation: <sips:server@secret.example>, <cid:loc@secret.example>", "Geolocation-Routing: yes"}
	t.Run("told", func(t *testing.T) {
		w := newWorld(t, told(everything))
		inv := w.announced(body, send...)
		if !strings.HasPrefix(inv.get("Content-Type"), "multipart/mixed;boundary=") || !strings.Contains(inv.body, "Content-Type: application/sdp\r\n\r\nv=0\r\n") ||
			!strings.Contains(inv.body, "Content-ID: <loc@secret.example>\r\n\r\n"+placeXML+"\r\n--") || strings.Contains(inv.body, "ISUP") ||
			strings.Contains(inv.body, "192.0.2.10") {
			t.Errorf("%s", inv.raw)
		}
		if of(inv, "Geolocation") != "<cid:loc@secret.example>" || inv.get("Geolocation-Routing") != "yes" {
			t.Errorf("%s", inv.raw)
		}
	})
	t.Run("not told", func(t *testing.T) {
		w := newWorld(t, told(func(tr *config.Trunk) { everything(tr); tr.PIDFLO = false }))
		inv := w.announced(body, send...)
		if inv.get("Content-Type") != "application/sdp" || strings.Contains(inv.raw, "48.2") || inv.get("Geolocation")+inv.get("Geolocation-Routing") != "" {
			t.Errorf("%s", inv.raw)
		}
	})
	t.Run("a part that must be understood", func(t *testing.T) {
		w := newWorld(t, told(everything))
		body, ct := mixed(offer, "Content-Disposition: signal;handling=required\r\n")
		a := w.caller.invite(w.west, "1", body, ct)
		a.ackFailure(w.caller.next("415"))
		w.gone()
	})
}

func TestHeadersThatCrossNameNoHostOfTheOtherSide(t *testing.T) {
	w := newWorld(t, told(everything))
	inv := w.announced(sdpOf("192.0.2.10", 5000, ""),
		`P-Asserted-Identity: "x" <sip:+431@10.0.0.7:5060;transport=tcp;maddr=secret.example>`,
		"History-Info: <sip:+432@10.0.0.7;x=secret?Route=%3Csip:secret.example%3E&Reason=Q.850%3Bcause%3D16%3Btext%3D%22secret%22>;index=1.1;mp=1",
		"Diversion: <sip:+433@secret.example>;reason=deflection;ext=secret", "Referred-By: <sip:+434@secret.example>;x=secret",
		"Call-Info: <http://secret.example>", "Subject: secret", "X-Secret: 1", "P-Charging-Vector: icid-value=secret")
	for _, word := range []string{"secret", "10.0.0.7"} {
		if strings.Contains(inv.raw, word) {
			t.Errorf("%q crossed:\n%s", word, inv.raw)
		}
	}
	for _, name := range []string{"P-Asserted-Identity", "History-Info", "Diversion", "Referred-By"} {
		if inv.get(name) == "" {
			t.Errorf("no %s in\n%s", name, inv.raw)
		}
	}
}

func TestWhoAnswersIsToldToTheCallerByPolicy(t *testing.T) {
	w := newWorld(t, func(c *config.Config, _ *Timers) {
		edit(c, "alice", func(tr *config.Trunk) { tr.PAI = true })
		edit(c, "gw1", func(tr *config.Trunk) { tr.Trusted = true })
	})
	a := w.caller.invite(w.west, "1", sdpOf("192.0.2.10", 5000, ""))
	inv := w.gw1.next("INVITE")
	w.gw1.reply(inv, "180 Ringing", "gwtag", "", "P-Asserted-Identity: <tel:+4377>")
	if got := of(w.caller.next("180"), "P-Asserted-Identity"); got != "<tel:+4377>" {
		t.Errorf("180: %s", got)
	}
	w.gw1.reply(inv, "200 OK", "gwtag", sdpOf("198.51.100.20", 6000, ""), `P-Asserted-Identity: "Desk" <sip:+4378@gw.secret.example>`)
	ok := w.caller.next("200 INVITE")
	if got := of(ok, "P-Asserted-Identity"); got != `"Desk" <sip:+4378@127.0.0.1;user=phone>` {
		t.Errorf("200: %s", got)
	}
	a.answered(ok)
	a.ack()
	(&talk{w: w, a: a}).hangUp()
}

// FuzzHeaders reads arbitrary headers and bodies: it never panics, and what is written can be read as one line of ASCII and
// UTF-8 with the bounds kept.
func FuzzHeaders(f *testing.F) {
	body, _ := mixed("v=0\r\n", "\r\n")
	for _, s := range []string{`"a" <sip:+431@h;x?Reason=SIP%3Bcause%3D302>;index=1`, "<tel:+43-1>,<sip:x@[::1]>", `"\"<,>" <sip:a%2c@h>`, "<sip:", ",,,", "sip:a@b;tag=1", "<sip:@h>", "<tel:>"} {
		f.Add(s, body, "multipart/mixed;boundary=b1")
	}
	f.Fuzz(func(t *testing.T, value, body, contentType string) {
		c := &call{b: &B2BUA{}, log: discard, called: "+49777", rec: CallRecord{Called: "+4312345"},
			unable: []failure{{turn: &turn{}, number: "+4312345", code: 503, cause: 34}}}
		in := sip.NewRequest(sip.INVITE, sip.Uri{})
		for _, name := range []string{headerPAI, headerHistory, headerDiversion, headerPrivacy, headerPlace} {
			in.AppendHeader(sip.NewHeader(name, value))
		}
		out := sip.NewRequest(sip.INVITE, sip.Uri{})
		p := &config.Trunk{}
		w := teller{c: c, p: p, host: "us.example", privacy: privacyOf(in)}
		w.assert(in, out)
		w.history(nil, in, out)
		w.diversion(in, out)
		if n := len(out.Headers()); n > 2+2*maxParties+2+len(c.unable) {
			t.Fatalf("%d headers", n)
		}
		for _, h := range out.Headers() {
			if strings.ContainsAny(h.Value(), "\r\n\x00") || len(h.Value()) > 4*maxPartyText {
				t.Fatalf("%q", h.Value())
			}
		}
		ct := sip.ContentTypeHeader(contentType)
		in.AppendHeader(&ct)
		in.SetBody([]byte(body))
		if found, err := unpack(in); err == nil && found.place != nil && !strings.Contains(body, string(found.place)) {
			t.Fatal("a place that was not there")
		}
	})
}

var discard = slog.New(slog.DiscardHandler)

// rules are one rule.
func rules(match, to string) []config.NumberRule {
	return []config.NumberRule{{Match: regexp.MustCompile(match), To: to}}
}
