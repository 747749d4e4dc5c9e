package sdp

import (
	"strings"
	"testing"
)

// Whatever names the author's network in the tests has one of these in it.
var canaries = []string{"canary", "192.0.2.", "2001:db8:", "10.0.0."}

// leaky has a canary on every line but the audio's own.
var leaky = body(
	"v=0",
	"o=canary-user 1 1 IN IP4 canary.example.net",
	"s=canary call",
	"i=canary",
	"u=http://canary.example.net/",
	"e=canary@example.net",
	"p=+1 192.0.2.77",
	"c=IN IP4 192.0.2.77",
	"b=X-canary:1",
	"t=0 0",
	"k=clear:canary",
	"a=tool:canary 1.0",
	"a=source-filter: incl IN IP4 * 192.0.2.77",
	"a=group:BUNDLE canary",
	"m=audio 5004 RTP/SAVP 8 101",
	"i=canary",
	"c=IN IP6 2001:db8::77",
	"b=canary:1",
	"b=AS:canary",
	"k=clear:canary",
	"a=rtcp:5005 IN IP4 192.0.2.77",
	"a=rtpmap:8 PCMA/8000",
	"a=candidate:1 1 UDP 2130706431 10.0.0.5 5004 typ host",
	"a=CANDIDATE:1 1 UDP 2130706431 canary.local 5004 typ host",
	"a=remote-candidates:1 10.0.0.5 5004",
	"a=ice-ufrag:canary",
	"a=ice-pwd:canarycanarycanarycana",
	"a=ice-options:canary",
	"a=fingerprint:sha-256 canary",
	"a=setup:canary",
	"a=ssrc:1 cname:canary@192.0.2.77",
	"a=ssrc:1 msid:canary canary",
	"a=msid:canary",
	"a=mid:canary",
	"a=label:canary",
	"a=identity:canary",
	"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+strings.Repeat("canary00", 5),
	"a=key-mgmt:mikey canary",
	"a=altc:1 IP6 2001:db8::77 5004",
	"a=alt:1 1 : canary canary 10.0.0.5 5004",
	"a=x-canary",
	"a=X-nat:canary",
	"a=x-candidate-ipv6:1 1 UDP 2130706431 2001:db8::77 5004",
	"a=oldmediaip:192.0.2.77",
	"a=oldoip:192.0.2.77",
	"a=unheard:canary-host",
	"a=unheard:canary.example.net:5060",
	"a=unheard:sip;canary@host",
	"a=unheard:canary01",
	"a=unheard:http//canary.example.net",
	"a=canary.example.net:1",
	"a=extmap:1 http://canary.example.net/abs",
	"a=fmtp:101 0-16;relay=192.0.2.77",
	"a=fmtp:8 peer=2001:db8::77",
	"a=rtpmap:101 telephone-event/8000",
	"a=tcap:1 canary",
	"a=ts-refclk:ntp=canary.example.net",
	"z=canary",
)

func TestNothingOfOneSideReachesTheOther(t *testing.T) {
	s := mustRead(t, leaky)
	clean := mustReadNamed(t, "rfc3264")
	want := []string{"m=audio 40000 RTP/AVP 8 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000", "a=sendrecv"}
	for name, b := range map[string][]byte{
		"offer":  Offer(s, 0, ours(false)),
		"update": Update(s, 0, ours(false), clean, 0),
		"answer": Answer(clean, 0, s, 0, ours(false)),
	} {
		for _, canary := range canaries {
			if strings.Contains(strings.ToLower(string(b)), canary) {
				t.Errorf("%s: %q leaks:\n%s", name, canary, b)
			}
		}
		lines := append(head[:len(head):len(head)], want...)
		if name != "offer" {
			lines = append(lines, "m=video 0 RTP/AVP 31", "m=video 0 RTP/AVP 32")
		}
		if got := string(b); got != body(lines...) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, body(lines...))
		}
	}
}

func TestAttributesThatCross(t *testing.T) {
	for _, value := range []string{
		"rtpmap:8 PCMA/8000", "fmtp:8 br=5.9-24.4; bw=nb-swb", "fmtp:8 config=//8AAQ==", "ptime:20", "maxptime:40", "minptime:10",
		"rtcp-fb:* nack", "rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup", "rtcp-rsize", "silenceSupp:off - - - -",
		"extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level", "extmap:2/sendonly urn:ietf:params:rtp-hdrext:sdes:x", "gpmd:8 vbd=yes", "lang:de-AT",
		"curr:qos e2e none", "des:qos mandatory local sendrecv",
		"unheard", "un-heard:", "unheard:1", "unheard:0.5", "unheard:on", "unheard:mode=fast,3; level/2 -", "T38FaxVersion:0",
	} {
		if got := crossing(t, value); got != "a="+value {
			t.Errorf("a=%s became %q", value, got)
		}
	}
}

func TestAttributesThatStay(t *testing.T) {
	for _, value := range []string{
		"sendonly", "inactive", "RTCP-MUX", "rtcp:1", "rtcp : 1", "nortpproxy:yes", "connection:new", "X-sqn:0", "x-anything", "ice-lite",
		"unheard:10.0.0.5", "unheard:1.2.3", "unheard:host.example", "unheard:pbx1", "unheard:a-b", "unheard:fe80::1", "unheard:3232235777",
		"unheard:user@host", "unheard:+4312345", "unheard:Zm9vYmFyYmF6cXV4cXV1eGNvcmdl", "unheard:caf\u00e9", "un_heard", "un.heard", ":", "",
		"extmap:1", "extmap:1 http://www.example.net/x", "extmap:1 urn:x:10.0.0.5", "fmtp:8 a=10.0.0.5", "fmtp:8 [2001:db8::1]",
		"rtpmap:9 G722/8000", "fmtp:9 x", "rtpmap:x", "rtcp-fb:9 nack", "ptime:10.0.0.5",
	} {
		if got := crossing(t, value); got != "" {
			t.Errorf("a=%s crosses as %q", value, got)
		}
	}
	for text, want := range map[string]bool{
		"AS:64": true, "TIAS:64000": true, "RR:0": true, "X-AS:64": false, "AS:64 host": false, "AS": false, "AS:-1": false,
	} {
		if bandwidthCrosses(text) != want {
			t.Errorf("b=%s: want %v", text, want)
		}
	}
}

// crossing returns what becomes of one attribute in an offer for payload type 8; empty: dropped.
func crossing(t *testing.T, attribute string) string {
	t.Helper()
	s := mustRead(t, body("v=0", "m=audio 1 RTP/AVP 8", "a="+attribute))
	b := string(Offer(s, 0, ours(false)))
	b = strings.TrimPrefix(b, body(append(head[:len(head):len(head)], "m=audio 40000 RTP/AVP 8")...))
	return strings.TrimSuffix(strings.TrimSuffix(b, "a=sendrecv\r\n"), "\r\n")
}
