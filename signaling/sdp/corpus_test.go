package sdp

import (
	"encoding/base64"
	"strings"
	"testing"
)

// body joins lines as peers should.
func body(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

// inline is a key of n bytes that begins with seed, as a=crypto carries it.
func inline(n int, seed byte) string { return base64.StdEncoding.EncodeToString(secret(n, seed)) }

func secret(n int, seed byte) []byte {
	key := make([]byte, n)
	for i := range key {
		key[i] = seed + byte(i)*7
	}
	return key
}

// corpus holds bodies in the manner of real peers, with documentation addresses (RFC 5737, RFC 3849) and made-up keys.
// pion tells whether pion/sdp parses them as well: it wants the lines in order and knows no m=image.
var corpus = map[string]struct {
	body string
	pion bool
}{
	// Attributes and order as Microsoft Teams Direct Routing sends them without media bypass.
	"teams": {pion: true, body: body(
		"v=0",
		"o=- 168060 0 IN IP4 192.0.2.77",
		"s=session",
		"c=IN IP4 192.0.2.77",
		"b=CT:10000000",
		"t=0 0",
		"m=audio 50252 RTP/SAVP 104 9 103 111 18 0 8 97 101 13 118",
		"c=IN IP4 192.0.2.77",
		"a=rtcp:50253",
		"a=ice-ufrag:fEAN",
		"a=ice-pwd:2ZZLvLGyJKZCAwjvmDMLwlLm",
		"a=rtcp-mux",
		"a=candidate:1 1 UDP 2130706431 192.0.2.77 50252 typ srflx raddr 10.0.32.230 rport 50252",
		"a=candidate:1 2 UDP 2130705918 192.0.2.77 50253 typ srflx raddr 10.0.32.230 rport 50253",
		"a=label:main-audio",
		"a=mid:1",
		"a=ssrc:1229342093 cname:canary",
		"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:"+inline(30, 1)+"|2^31|1:1",
		"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"+inline(30, 2)+"|2^31",
		"a=sendrecv",
		"a=rtpmap:104 SILK/16000",
		"a=rtpmap:9 G722/8000",
		"a=rtpmap:103 SILK/8000",
		"a=rtpmap:111 SIREN/16000",
		"a=fmtp:111 bitrate=16000",
		"a=rtpmap:18 G729/8000",
		"a=fmtp:18 annexb=no",
		"a=rtpmap:0 PCMU/8000",
		"a=rtpmap:8 PCMA/8000",
		"a=rtpmap:97 RED/8000",
		"a=rtpmap:101 telephone-event/8000",
		"a=fmtp:101 0-16",
		"a=rtpmap:13 CN/8000",
		"a=rtpmap:118 CN/16000",
		"a=ptime:20",
	)},
	// Attributes as documented in [MS-SDPEXT]; cryptoscale carries a key too.
	"lync": {pion: true, body: body(
		"v=0",
		"o=- 0 0 IN IP4 198.51.100.7",
		"s=session",
		"c=IN IP4 198.51.100.7",
		"b=CT:99980",
		"t=0 0",
		"m=audio 49152 RTP/SAVP 8 0 97 101",
		"a=x-ssrc-range:3162475137-3162475137",
		"a=x-mediabw:main-audio send=65;recv=65",
		"a=rtcp-fb:* x-message app send:dsh recv:dsh",
		"a=rtcp-rsize",
		"a=label:main-audio",
		"a=x-source:main-audio",
		"a=ice-ufrag:oZMx",
		"a=ice-pwd:zGBRKIEgP2iOSEWrd9AH2nBZ",
		"a=candidate:1 1 UDP 2130706431 198.51.100.7 49152 typ host",
		"a=cryptoscale:1 client AES_CM_128_HMAC_SHA1_80 inline:"+inline(30, 3)+"|2^31|1:1",
		"a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:"+inline(30, 4)+"|2^31|1:1",
		"a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"+inline(30, 5)+"|2^31",
		"a=maxptime:200",
		"a=rtcp:49153",
		"a=rtpmap:8 PCMA/8000",
		"a=rtpmap:0 PCMU/8000",
		"a=rtpmap:97 RED/8000",
		"a=rtpmap:101 telephone-event/8000",
		"a=fmtp:101 0-16",
		"a=ptime:20",
		"m=video 0 RTP/SAVP 121 34",
	)},
	"asterisk": {pion: true, body: body(
		"v=0",
		"o=- 1337 1337 IN IP4 203.0.113.10",
		"s=Asterisk",
		"c=IN IP4 203.0.113.10",
		"t=0 0",
		"m=audio 11000 RTP/AVP 8 0 101",
		"a=rtpmap:8 PCMA/8000",
		"a=rtpmap:0 PCMU/8000",
		"a=rtpmap:101 telephone-event/8000",
		"a=fmtp:101 0-16",
		"a=ptime:20",
		"a=maxptime:150",
		"a=sendrecv",
	)},
	"freeswitch": {pion: true, body: body(
		"v=0",
		"o=FreeSWITCH 1727000000 1727000001 IN IP4 203.0.113.20",
		"s=FreeSWITCH",
		"c=IN IP4 203.0.113.20",
		"t=0 0",
		"m=audio 24576 RTP/SAVP 102 9 0 8 103 101",
		"a=rtpmap:102 opus/48000/2",
		"a=fmtp:102 useinbandfec=1; maxaveragebitrate=30000; maxplaybackrate=48000; ptime=20; minptime=10; maxptime=40",
		"a=rtpmap:9 G722/8000",
		"a=rtpmap:0 PCMU/8000",
		"a=rtpmap:8 PCMA/8000",
		"a=rtpmap:103 telephone-event/48000",
		"a=fmtp:103 0-16",
		"a=rtpmap:101 telephone-event/8000",
		"a=fmtp:101 0-16",
		"a=crypto:1 AEAD_AES_256_GCM inline:"+inline(44, 6),
		"a=crypto:2 AEAD_AES_128_GCM_8 inline:"+inline(28, 7),
		"a=crypto:3 AES_256_CM_HMAC_SHA1_80 inline:"+inline(46, 8),
		"a=crypto:4 NULL_AUTH inline:"+inline(30, 9),
		"a=ptime:20",
		"m=audio 24576 RTP/AVP 102 9 0 8 103 101",
		"a=rtpmap:102 opus/48000/2",
		"a=ptime:20",
	)},
	"cisco": {pion: true, body: body(
		"v=0",
		"o=CiscoSystemsSIP-GW-UserAgent 2172 8346 IN IP4 198.51.100.30",
		"s=SIP Call",
		"c=IN IP4 198.51.100.30",
		"t=0 0",
		"m=audio 18770 RTP/AVP 18 0 101 19",
		"c=IN IP4 198.51.100.31",
		"a=rtpmap:18 G729/8000",
		"a=fmtp:18 annexb=no",
		"a=rtpmap:0 PCMU/8000",
		"a=rtpmap:101 telephone-event/8000",
		"a=fmtp:101 0-16",
		"a=rtpmap:19 CN/8000",
		"a=ptime:20",
		"a=X-sqn:0",
		"a=X-cap: 1 image udptl t38",
		"a=silenceSupp:off - - - -",
	)},
	// The offer of RFC 3264 section 10.1.
	"rfc3264": {pion: true, body: body(
		"v=0",
		"o=alice 2890844526 2890844526 IN IP4 host.anywhere.com",
		"s=",
		"c=IN IP4 host.anywhere.com",
		"t=0 0",
		"m=audio 49170 RTP/AVP 0",
		"a=rtpmap:0 PCMU/8000",
		"m=video 51372 RTP/AVP 31",
		"a=rtpmap:31 H261/90000",
		"m=video 53000 RTP/AVP 32",
		"a=rtpmap:32 MPV/90000",
	)},
	"browser": {pion: true, body: body(
		"v=0",
		"o=- 4611731400430051336 2 IN IP4 127.0.0.1",
		"s=-",
		"t=0 0",
		"a=group:BUNDLE 0",
		"a=msid-semantic: WMS canary",
		"m=audio 9 UDP/TLS/RTP/SAVPF 111",
		"c=IN IP4 0.0.0.0",
		"a=fingerprint:sha-256 00:11:22:33",
		"a=setup:actpass",
		"a=rtpmap:111 opus/48000/2",
	)},
	"ipv6": {pion: true, body: body(
		"v=0",
		"o=- 1 1 IN IP6 2001:db8::77",
		"s=-",
		"c=IN IP6 2001:db8::77",
		"t=0 0",
		"a=recvonly",
		"m=audio 40000/2 RTP/AVPF 0 96",
		"b=AS:80",
		"b=X-canary:1",
		"a=rtcp:50000 IN IP6 2001:db8::78",
		"a=rtpmap:96 AMR-WB/16000/1",
		"a=fmtp:96 mode-set=0,2; octet-align=1",
		"a=rtcp-fb:* trr-int 100",
	)},
	"hold by address": {pion: true, body: body(
		"v=0", "o=- 1 2 IN IP4 192.0.2.77", "s=-", "c=IN IP4 0.0.0.0", "t=0 0", "m=audio 5004 RTP/AVP 0",
	)},
	"fax and data": {body: body(
		"v=0", "o=- 1 2 IN IP4 192.0.2.77", "s=-", "c=IN IP4 192.0.2.77", "t=0 0",
		"m=image 5006 udptl t38", "a=T38FaxVersion:0",
		"m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000",
		"m=audio 5004 RTP/AVP 0 8",
	)},
	"linefeeds only, no end":  {body: "v=0\no=- 1 1 IN IP4 192.0.2.77\ns=-\nc=IN IP4 192.0.2.77\nt=0 0\nm=audio 5004 RTP/AVP 0"},
	"mixed ends":              {body: "v=0\no=- 1 1 IN IP4 192.0.2.77\r\ns=-\rc=IN IP4 192.0.2.77\r\r\nt=0 0\n\nm=audio 5004 RTP/AVP 0\r\n\r\n"},
	"blanks around":           {body: "\r\n v=0 \r\no=- 1 1 IN IP4 192.0.2.77\t\r\ns= \r\nc=IN  IP4 192.0.2.77 \r\nt=0 0\r\nm=audio 5004  RTP/AVP 0 \r\na=sendonly  \r\na=rtpmap: 0  PCMU/8000\r\n"},
	"no origin, name or time": {body: "v=0\r\nc=IN IP4 192.0.2.77\r\nm=audio 5004 RTP/AVP 0\r\n"},
	"odd case":                {body: "v=0\r\nm=Audio 5004 rtp/avp 0\r\nc=in ip4 192.0.2.77\r\na=RTPMAP:0 pcmu/8000\r\na=SendOnly\r\n"},
	"lines out of order":      {body: "v=0\r\nt=0 0\r\ns=-\r\no=- 1 1 IN IP4 192.0.2.77\r\nm=audio 5004 RTP/AVP 0\r\na=ptime:20\r\nb=XY:1\r\nb=AS:64\r\nc=IN IP4 192.0.2.77\r\ny=unheard of\r\n"},
	"payload types twice":     {body: "v=0\r\nc=IN IP4 192.0.2.77\r\nm=audio 5004 RTP/AVP 0 8 0 101 200 x 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=fmtp:101 0-16\r\na=rtpmap:99 orphan/8000\r\n"},
	"no media":                {body: "v=0\r\no=- 1 1 IN IP4 192.0.2.77\r\ns=-\r\nt=0 0\r\n"},
}

func mustRead(t testing.TB, text string) *Session {
	t.Helper()
	s, err := Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustReadNamed(t testing.TB, name string) *Session {
	t.Helper()
	entry, ok := corpus[name]
	if !ok {
		t.Fatalf("no body named %q", name)
	}
	return mustRead(t, entry.body)
}
