package sdp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// ours is a side of ours with an address that no body of the corpus has.
func ours(secure bool) Side {
	side := Side{Origin: Origin{ID: 42, Version: 3}, Addr: netip.MustParseAddr("233.252.0.1"), Port: 40000, RTCPPort: 40001}
	if secure {
		side.Secure = true
		side.Crypto = []Crypto{{Tag: 1, Suite: "AES_CM_128_HMAC_SHA1_80", Key: secret(30, 77)}}
	}
	return side
}

var ourLine = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + inline(30, 77)

// head is the session's part of every body that ours writes.
var head = []string{"v=0", "o=- 42 3 IN IP4 233.252.0.1", "s=-", "c=IN IP4 233.252.0.1", "t=0 0"}

func assertBody(t *testing.T, got []byte, media ...string) {
	t.Helper()
	if want := body(append(head[:len(head):len(head)], media...)...); string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	compareWithPion(t, pionable(got))
}

// pionable renames what pion/sdp refuses though peers send it: fax lines (RFC 3362) and profiles in small letters.
func pionable(b []byte) []byte {
	return []byte(strings.NewReplacer("m=image", "m=application", "udptl", "UDP", "rtp/avp", "RTP/AVP").Replace(string(b)))
}

func TestOfferKeepsTheAudioAndShowsOurSide(t *testing.T) {
	for _, c := range []struct {
		name, from string
		side       func(*Side)
		secure     bool
		want       []string
	}{
		{"teams to a gateway", "teams", func(*Side) {}, false, []string{
			"m=audio 40000 RTP/AVP 104 9 103 111 18 0 8 97 101 13 118",
			"a=rtpmap:104 SILK/16000", "a=rtpmap:9 G722/8000", "a=rtpmap:103 SILK/8000", "a=rtpmap:111 SIREN/16000",
			"a=fmtp:111 bitrate=16000", "a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no", "a=rtpmap:0 PCMU/8000",
			"a=rtpmap:8 PCMA/8000", "a=rtpmap:97 RED/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16",
			"a=rtpmap:13 CN/8000", "a=rtpmap:118 CN/16000", "a=ptime:20", "a=sendrecv",
		}},
		{"lync to a gateway", "lync", func(*Side) {}, false, []string{
			"m=audio 40000 RTP/AVP 8 0 97 101", "a=rtcp-fb:* x-message app send:dsh recv:dsh", "a=rtcp-rsize", "a=maxptime:200",
			"a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:97 RED/8000", "a=rtpmap:101 telephone-event/8000",
			"a=fmtp:101 0-16", "a=ptime:20", "a=sendrecv",
		}},
		{"asterisk to teams", "asterisk", func(s *Side) { s.Mux, s.RTCPPort = true, 40000 }, true, []string{
			"m=audio 40000 RTP/SAVP 8 0 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000",
			"a=fmtp:101 0-16", "a=ptime:20", "a=maxptime:150", "a=rtcp-mux", ourLine, "a=sendrecv",
		}},
		{"cisco, opportunistic, RTCP elsewhere", "cisco", func(s *Side) { s.Secure, s.RTCPPort, s.Direction = false, 40101, Sendonly }, true, []string{
			"m=audio 40000 RTP/AVP 18 0 101 19", "a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no", "a=rtpmap:0 PCMU/8000",
			"a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=rtpmap:19 CN/8000", "a=ptime:20", "a=silenceSupp:off - - - -",
			"a=rtcp:40101", ourLine, "a=sendonly",
		}},
		{"feedback stays", "ipv6", func(*Side) {}, true, []string{
			"m=audio 40000 RTP/SAVPF 0 96", "b=AS:80", "a=rtpmap:96 AMR-WB/16000/1", "a=fmtp:96 mode-set=0,2; octet-align=1",
			"a=rtcp-fb:* trr-int 100", ourLine, "a=sendrecv",
		}},
		{"video stays behind", "rfc3264", func(*Side) {}, false, []string{"m=audio 40000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=sendrecv"}},
		{"payload types once", "payload types twice", func(*Side) {}, false, []string{
			"m=audio 40000 RTP/AVP 0 8 101", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", "a=sendrecv",
		}},
		{"blanks", "blanks around", func(*Side) {}, false, []string{"m=audio 40000 RTP/AVP 0", "a=rtpmap: 0  PCMU/8000", "a=sendrecv"}},
		{"order repaired", "lines out of order", func(*Side) {}, false, []string{"m=audio 40000 RTP/AVP 0", "b=AS:64", "a=ptime:20", "a=sendrecv"}},
		{"switched off", "asterisk", func(s *Side) { s.Port = 0 }, true, []string{"m=audio 0 RTP/SAVP 8 0 101"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := mustReadNamed(t, c.from)
			audio, ok := from.Audio()
			if !ok {
				t.Fatal("no audio")
			}
			side := ours(c.secure)
			c.side(&side)
			assertBody(t, Offer(from, audio, side), c.want...)
		})
	}
}

func TestT06AnswerHasTheOffersLinesInOrder(t *testing.T) {
	gateway := mustRead(t, body("v=0", "o=- 9 9 IN IP4 203.0.113.9", "s=-", "c=IN IP4 203.0.113.9", "t=0 0", "m=audio 6000 RTP/AVP 8 96",
		"a=rtpmap:8 PCMA/8000", "a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-15", "a=ptime:30"))
	audio := []string{"a=rtpmap:8 PCMA/8000", "a=rtpmap:96 telephone-event/8000", "a=fmtp:96 0-15", "a=ptime:30"}
	refusing := mustRead(t, body("v=0", "s=-", "m=audio 0 RTP/AVP 8"))
	for _, c := range []struct {
		name, offer string
		offered     int
		answer      *Session
		side        Side
		want        []string
	}{
		{"audio and video", "rfc3264", 0, gateway, ours(false),
			append(append([]string{"m=audio 40000 RTP/AVP 8 96"}, audio...), "a=sendrecv", "m=video 0 RTP/AVP 31", "m=video 0 RTP/AVP 32")},
		{"fax and data first", "fax and data", 2, gateway, ours(false),
			append(append([]string{"m=image 0 udptl t38", "m=application 0 UDP/DTLS/SCTP webrtc-datachannel", "m=audio 40000 RTP/AVP 8 96"}, audio...), "a=sendrecv")},
		{"the secure one of two", "freeswitch", 0, gateway, ours(true),
			append(append([]string{"m=audio 40000 RTP/SAVP 8 96"}, audio...), ourLine, "a=sendrecv", "m=audio 0 RTP/AVP 102 9 0 8 103 101")},
		{"the plain one of two", "freeswitch", 1, gateway, ours(false),
			append(append([]string{"m=audio 0 RTP/SAVP 102 9 0 8 103 101", "m=audio 40000 RTP/AVP 8 96"}, audio...), "a=sendrecv")},
		{"opportunistic: the profile of the offer, with a key", "asterisk", 0, gateway, ours(true),
			append(append([]string{"m=audio 40000 RTP/AVP 8 96"}, audio...), ourLine, "a=sendrecv")},
		{"refused by the far side", "teams", 0, refusing, ours(true), []string{"m=audio 0 RTP/SAVP 104 9 103 111 18 0 8 97 101 13 118"}},
		{"no answer", "asterisk", 0, nil, ours(false), []string{"m=audio 0 RTP/AVP 8 0 101"}},
		{"no port", "asterisk", 0, gateway, Side{Origin: Origin{42, 3}, Addr: netip.MustParseAddr("233.252.0.1")}, []string{"m=audio 0 RTP/AVP 8 0 101"}},
		{"switched off in the offer", "lync", 1, gateway, ours(true), []string{"m=audio 0 RTP/SAVP 8 0 97 101", "m=video 0 RTP/SAVP 121 34"}},
		{"no media", "no media", 0, gateway, ours(false), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			assertBody(t, Answer(mustReadNamed(t, c.offer), c.offered, c.answer, 0, c.side), c.want...)
		})
	}
	bare := mustRead(t, body("v=0", "m=audio 0 RTP/AVP", "m=audio 2 RTP/AVP 0"))
	assertBody(t, Answer(bare, 1, gateway, 7, ours(false)), "m=audio 0 RTP/AVP 0", "m=audio 0 RTP/AVP 0")
}

func TestT07UpdateNeverLosesAnMLine(t *testing.T) {
	far := mustReadNamed(t, "asterisk")
	audio := []string{"m=audio 40000 RTP/AVP 8 0 101", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000",
		"a=fmtp:101 0-16", "a=ptime:20", "a=maxptime:150", "a=sendrecv"}
	for _, c := range []struct {
		name, before string
		slot         int
		want         []string
	}{
		{"audio first", "rfc3264", 0, append(audio[:len(audio):len(audio)], "m=video 0 RTP/AVP 31", "m=video 0 RTP/AVP 32")},
		{"audio last", "fax and data", 2, append([]string{"m=image 0 udptl t38", "m=application 0 UDP/DTLS/SCTP webrtc-datachannel"}, audio...)},
		{"no audio before", "no media", -1, audio},
		{"a new line for the audio", "browser", -1, append([]string{"m=audio 0 UDP/TLS/RTP/SAVPF 111"}, audio...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := mustReadNamed(t, c.before)
			got := Update(far, 0, ours(false), before, c.slot)
			assertBody(t, got, c.want...)
			slot := c.slot
			if slot < 0 {
				slot = len(before.Media())
			}
			if again := Update(far, 0, ours(false), mustRead(t, string(got)), slot); string(again) != string(got) {
				t.Errorf("a second update differs:\n%s", again)
			}
		})
	}
	if Offer(far, 1, ours(false)) != nil || Offer(far, -1, ours(false)) != nil || Offer(nil, 0, ours(false)) != nil {
		t.Error("an offer was made from an m-line that is not there")
	}
}

func TestAddressesOfBothFamilies(t *testing.T) {
	from := mustReadNamed(t, "asterisk")
	for addr, want := range map[string]string{
		"2001:db8::1":        "IN IP6 2001:db8::1",
		"fe80::1%eth0":       "IN IP6 fe80::1",
		"::ffff:233.252.0.1": "IN IP4 233.252.0.1",
		"":                   "IN IP4 0.0.0.0",
	} {
		side := ours(false)
		side.Addr, _ = netip.ParseAddr(addr)
		b := Offer(from, 0, side)
		for _, line := range []string{"o=- 42 3 " + want, "c=" + want} {
			if !strings.Contains(string(b), line+"\r\n") {
				t.Errorf("%q: no %q in\n%s", addr, line, b)
			}
		}
		compareWithPion(t, b)
	}
}

func TestT11RTCPPortIsWrittenOnlyWhereItIsNotClear(t *testing.T) {
	from := mustReadNamed(t, "asterisk")
	for _, c := range []struct {
		port, rtcp uint16
		mux        bool
		want       string
	}{
		{40000, 40001, false, ""}, {40000, 0, false, ""}, {40000, 40000, true, "a=rtcp-mux"}, {40000, 40005, true, "a=rtcp-mux"},
		{40000, 40005, false, "a=rtcp:40005"}, {65535, 1, false, "a=rtcp:1"},
	} {
		side := ours(false)
		side.Port, side.RTCPPort, side.Mux = c.port, c.rtcp, c.mux
		var got []string
		for _, l := range strings.Split(string(Offer(from, 0, side)), "\r\n") {
			if strings.HasPrefix(l, "a=rtcp") {
				got = append(got, l)
			}
		}
		if fmt.Sprint(got) != "["+c.want+"]" {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestEveryBodyWeWriteIsReadByUsAndByPion(t *testing.T) {
	for name, c := range corpus {
		s := mustRead(t, c.body)
		audio, ok := s.Audio()
		if !ok {
			continue // there is nothing in it that we relay
		}
		t.Run(name, func(t *testing.T) {
			for _, secure := range []bool{false, true} {
				side := ours(secure)
				for _, b := range [][]byte{Offer(s, audio, side), Answer(s, audio, s, audio, side), Update(s, audio, side, s, audio)} {
					compareWithPion(t, pionable(b))
					written := mustRead(t, string(b))
					i, ok := written.Audio()
					if !ok || written.Media()[i].Port != side.Port || written.Media()[i].Addr != "233.252.0.1" {
						t.Errorf("our audio is not in\n%s", b)
					}
					got, want := written.Media()[i].Payloads, s.Media()[audio].Payloads
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("payloads %v became %v", want, got)
					}
				}
			}
		})
	}
}
