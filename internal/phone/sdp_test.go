package phone

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

const (
	oneKey = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk" // 30 bytes: ABC...Zabcd
	head   = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
)

func TestScanReadsWhatWriteWrote(t *testing.T) {
	tests := []description{
		{id: 7, version: 3, rtp: netip.MustParseAddrPort("192.0.2.1:4000"), rtcp: netip.MustParseAddrPort("192.0.2.1:4001"), flow: sendrecv, event: 101},
		{
			id: 7, rtp: netip.MustParseAddrPort("[2001:db8::1]:4000"), rtcp: netip.MustParseAddrPort("[2001:db8::1]:4001"),
			flow: sendonly, event: -1, secure: true, keys: []key{{"1", "AES_CM_128_HMAC_SHA1_80", oneKey}},
		},
		{
			rtp: netip.MustParseAddrPort("192.0.2.1:4000"), rtcp: netip.MustParseAddrPort("192.0.2.1:4009"), flow: inactive, event: 96,
			others: []string{"m=video 0 RTP/AVP 31", "m=image 0 udptl t38"}, place: 1,
		},
	}
	for _, want := range tests {
		have, err := scan(want.write())
		if err != nil {
			t.Errorf("%v\n%s", err, want.write())
		}
		have.id, have.version = want.id, want.version // nobody reads the peer's
		if !reflect.DeepEqual(have, want) {
			t.Errorf("want %+v\nhave %+v", want, have)
		}
	}
}

func TestScanUnderstandsOthersSDP(t *testing.T) {
	tests := []struct {
		name, body string
		check      func(description) bool
	}{
		{"the session's direction and the media's address", head + "a=sendonly\r\nm=audio 4000 RTP/AVP 8 0\r\nc=IN IP4 192.0.2.9\r\n",
			func(d description) bool {
				return d.flow == sendonly && d.rtp == netip.MustParseAddrPort("192.0.2.9:4000") && d.rtcp.Port() == 4001 && d.event == -1
			}},
		{"hold by address", strings.Replace(head, "c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0", 1) + "m=audio 4000 RTP/AVP 0\r\n",
			func(d description) bool { return d.flow == sendonly }},
		{"lines that end in LF alone", strings.ReplaceAll(head, "\r", "") + "m=audio 4000 RTP/AVP 0\n",
			func(d description) bool { return d.flow == sendrecv }},
		{"lifetimes, but neither MKI nor parameters", head + "m=audio 4000 RTP/SAVP 0\r\na=crypto:1 A inline:" + oneKey + "|2^31|1:4\r\n" +
			"a=crypto:2 B inline:" + oneKey + "|2^31\r\na=crypto:3 C inline:" + oneKey + " KDR=1\r\n",
			func(d description) bool { return d.secure && reflect.DeepEqual(d.keys, []key{{"2", "B", oneKey}}) }},
		{"attributes of another medium are not the audio's", head + "m=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 31\r\na=inactive\r\n",
			func(d description) bool {
				return d.flow == sendrecv && d.others[0] == "m=video 0 RTP/AVP 31" && d.place == 0
			}},
	}
	for _, tt := range tests {
		d, err := scan([]byte(tt.body))
		if err != nil || !tt.check(d) {
			t.Errorf("%s: %v, %+v", tt.name, err, d)
		}
	}
}

func TestScanRefusesWhatNoPhoneCanTalkTo(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":         "",
		"no audio":        head + "m=video 4000 RTP/AVP 31\r\n",
		"refused audio":   head + "m=audio 0 RTP/AVP 0\r\n",
		"no PCMU":         head + "m=audio 4000 RTP/AVP 8\r\n",
		"no address":      "v=0\r\nm=audio 4000 RTP/AVP 0\r\n",
		"a name":          strings.ReplaceAll(head, "192.0.2.1", "host.example") + "m=audio 4000 RTP/AVP 0\r\n",
		"port out of 16":  head + "m=audio 70000 RTP/AVP 0\r\n",
		"m= cut off":      head + "m=audio 4000\r\n",
		"another profile": head + "m=audio 4000 UDP/TLS/RTP/SAVP 0\r\n",
	} {
		if d, err := scan([]byte(body)); err == nil {
			t.Errorf("%s: taken as %+v", name, d)
		}
	}
}

func TestAnswersToDirections(t *testing.T) {
	for _, tt := range []struct{ ours, theirs, want flow }{
		{sendrecv, sendrecv, sendrecv}, {sendrecv, sendonly, recvonly}, {sendrecv, recvonly, sendonly}, {sendrecv, inactive, inactive},
		{sendonly, sendonly, inactive}, {sendonly, sendrecv, sendonly},
	} {
		if have := tt.ours.answer(tt.theirs); have != tt.want {
			t.Errorf("%s to %s: want %s, have %s", tt.ours, tt.theirs, tt.want, have)
		}
	}
}

func FuzzScan(f *testing.F) {
	d := description{rtp: netip.MustParseAddrPort("192.0.2.1:4000"), secure: true, flow: sendrecv, event: 101, keys: []key{{"1", "A", oneKey}}}
	f.Add(d.write())
	f.Add([]byte(head + "m=video 1 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\nm=image 9 udptl t38\r\n"))
	f.Add([]byte("m=audio 65535 RTP/AVP 0\nc=IN IP6 ::\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := scan(body)
		if err != nil {
			return
		}
		if d.place > len(d.others) {
			t.Fatalf("the audio is at %d of %d", d.place, len(d.others))
		}
		again, err := scan(d.write())
		if err != nil || again.rtp != d.rtp || again.event != d.event || len(again.keys) != len(d.keys) || len(again.others) != len(d.others) {
			t.Fatalf("%v\n%+v\n%+v", err, d, again)
		}
	})
}
