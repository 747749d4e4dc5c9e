package b2bua

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/sdp"
)

func TestStateSurvivesJson(t *testing.T) {
	w := newWorld(t, srtp(map[string]string{"alice": config.SRTPRequired, "gw1": config.SRTPRequired}))
	k := w.callWith(savp(sdpOf("192.0.2.10", 5000, "a=rtcp:5005\r\n"), 1, testKey1), savp(sdpOf("198.51.100.20", 6000, ""), 1, testKey2))
	got := make(chan *State, 1)
	w.b.all()[0].postOwn(func() { got <- w.b.all()[0].snapshot() })
	s := <-got
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back State
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*s, back) {
		t.Errorf("after a round trip\n%+v\nwas\n%+v", back, *s)
	}
	if s.Phase != Answered || s.Session == "" || s.A.Media.RX.Key == nil || s.B.RemoteTag != "gwtag" || !s.A.UAS || s.B.UAS {
		t.Errorf("incomplete: %+v", s)
	}
	if o := s.Opaque(); strings.Contains(o, testKey1) || strings.Contains(o, "crypto") || len(o) > control.MaxOpaque {
		t.Errorf("opaque of %d bytes: %s", len(o), o)
	}
	k.hangUp()
}

func TestKeysAreNeverPrinted(t *testing.T) {
	c := Crypto{Tag: 1, Suite: "X", Key: Key("top secret")}
	s := State{A: Dialog{Media: Media{TX: c, Offered: []Crypto{c}}}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", c.Key, "state", s)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %x %q %d", s, c, c.Key, c.Key, c.Key), log.String()} {
		if strings.Contains(text, "top secret") || strings.Contains(text, fmt.Sprintf("%x", "top secret")) || strings.Contains(text, "116 111 112") {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestOpaqueIsWhatEncodingJsonWouldWrite(t *testing.T) {
	type leg struct {
		Trunk  string `json:"trunk"`
		CallID string `json:"call_id"`
		Local  string `json:"local_tag"`
		Remote string `json:"remote_tag"`
	}
	type public struct {
		ID     string `json:"id"`
		Phase  string `json:"phase"`
		Called string `json:"called"`
		Caller string `json:"caller"`
		A      leg    `json:"a"`
		B      leg    `json:"b"`
	}
	for _, text := range []string{"", "plain-1@192.0.2.1", `q"b\s`, "<&>", "ä\u2028", "\x00\t\x7f", "\xff", strings.Repeat("x", 300)} {
		short := clip(text, opaqueText)
		want, err := json.Marshal(public{"7", "answered", short, short, leg{"t", short, "l", short}, leg{"u", short, text, short}})
		if err != nil {
			t.Fatal(err)
		}
		s := State{ID: "7", Phase: Answered, Called: text, Caller: text,
			A: Dialog{Trunk: "t", CallID: text, LocalTag: "l", RemoteTag: text},
			B: Dialog{Trunk: "u", CallID: text, LocalTag: text, RemoteTag: text}}
		if got := s.Opaque(); got != string(want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

func TestOpaqueStaysSmallWhateverPeersSend(t *testing.T) {
	long := strings.Repeat("\x01", 5000)
	s := State{ID: "x", Called: long, Caller: long, A: Dialog{CallID: long, RemoteTag: long}, B: Dialog{CallID: long, RemoteTag: long}}
	if n := len(s.Opaque()); n > control.MaxOpaque {
		t.Errorf("%d bytes", n)
	}
}

func TestStrictRouterGetsItselfInTheRequestUri(t *testing.T) {
	d := Dialog{Local: "<sip:a@x>", Remote: "<sip:b@y>", CallID: "c", Target: "sip:target@192.0.2.1",
		Routes: []string{"sip:strict@192.0.2.2:5070;x=y", "sip:192.0.2.3;lr"}}
	req, err := d.request(sip.BYE, 2)
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, h := range req.GetHeaders("Route") {
		routes = append(routes, h.Value())
	}
	if got := req.Recipient.String(); got != "sip:strict@192.0.2.2:5070;x=y" || strings.Join(routes, " ") != "<sip:192.0.2.3;lr> <sip:target@192.0.2.1>" {
		t.Errorf("%s, Route %v", got, routes)
	}
	if host, port := d.hop(); host != "192.0.2.2" || port != 5070 {
		t.Errorf("hop %s %d", host, port)
	}
	d.Routes = nil
	d.Target = "sip:x@host.example;maddr=192.0.2.9"
	if host, port := d.hop(); host != "192.0.2.9" || port != 0 {
		t.Errorf("hop %s %d", host, port)
	}
}

func TestReasonsAreReadFromEveryWriting(t *testing.T) {
	res := sip.NewResponse(486, "")
	res.AppendHeader(sip.NewHeader("Reason", `q.850;cause=17;text="a,b;cause=3", SIP ; cause = 486 ,FOO;cause=1,Q.850;cause=x`))
	res.AppendHeader(sip.NewHeader("Reason", "SIP;cause=99999"))
	got := reasons(res)
	if len(got) < 2 || got[0].protocol != "Q.850" || q850(res) == 0 {
		t.Errorf("%+v", got)
	}
	for _, r := range got {
		if strings.ContainsAny(r.header().Value(), "\r\n\"") {
			t.Errorf("%q", r.header().Value())
		}
	}
}

func TestLegsThatDidNotChangeAreNotSent(t *testing.T) {
	yes := true
	was := control.Leg{Name: "a", Remote: "192.0.2.1:1", RTCPMux: &yes, Pin: "auth", Direction: "sendrecv",
		RX: &control.Crypto{Suite: "X", Key: "k"}, TX: &control.Crypto{Suite: "X", Key: "l"}}
	if d, changed := difference(was, was); changed {
		t.Errorf("%+v", d)
	}
	moved := was
	moved.Remote = "192.0.2.2:1"
	if d, changed := difference(was, moved); !changed || d.RX != nil || d.TX != nil || d.Pin != "" || d.Remote != moved.Remote {
		t.Errorf("%+v", d)
	}
}

func TestFamilyOfThePeerIsLeased(t *testing.T) {
	b := &B2BUA{o: Options{Config: &config.Config{Media: config.Media{Networks: map[string]config.Network{
		"both": {Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}},
		"four": {Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
	}}}}}
	v4, v6 := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::9")
	if b.family("both", v4) != "ip4" || b.family("both", v6) != "ip6" || b.family("four", v6) != "" || b.family("none", v4) != "" {
		t.Error("the family of the peer must be asked for where the network has it, and no other")
	}
}

func TestPinModeFollowsTheKeys(t *testing.T) {
	for _, tt := range []struct {
		policy string
		secure bool
		want   string
	}{
		{"", false, "exact"}, {"", true, "auth"}, {"learn", false, "learn"}, {"learn", true, "auth"},
		{"auth", false, "exact"}, {"auth", true, "auth"}, {"exact", true, "exact"},
	} {
		if got := pinMode(&config.Trunk{Policy: config.Policy{Pin: tt.policy}}, tt.secure); got != tt.want {
			t.Errorf("pin %q, secure %v: %s, want %s", tt.policy, tt.secure, got, tt.want)
		}
	}
}

func TestVersionRisesOnlyWithAnotherBody(t *testing.T) {
	m := Media{Origin: sdp.Origin{ID: 1, Version: 1}}
	write := func(text string) func() []byte {
		return func() []byte { return fmt.Appendf(nil, "%d %s", m.Origin.Version, text) }
	}
	for _, want := range []string{"1 x", "1 x", "2 y", "2 y", "3 x"} {
		if got := string(m.tell(write(want[2:]))); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzUser(f *testing.F) {
	for _, s := range []string{"+4312345", "a%23b", "%", "%4", "%zz", "a;b=c", `x"y\`, "\xff\x00", "ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := unescape(escapeUser(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
		var u sip.Uri
		if err := sip.ParseUri(sipURI("x"+s, "host.example"), &u); err != nil || u.Host != "host.example" {
			t.Errorf("%q: %v, host %q", s, err, u.Host)
		}
		if d := displayName(s); strings.ContainsAny(d, "\r\n\x00") {
			t.Errorf("display name %q", d)
		}
	})
}
