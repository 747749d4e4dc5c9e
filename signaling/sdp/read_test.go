package sdp

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	pion "github.com/pion/sdp/v3"
)

func TestT13EveryRealBodyIsReadAndKeepsItsLines(t *testing.T) {
	for name, c := range corpus {
		t.Run(name, func(t *testing.T) {
			s := mustRead(t, c.body)
			again := mustRead(t, string(s.Bytes()))
			if !Equal(s, again, false) {
				t.Errorf("read, written and read again it differs:\n%q\n%q", s.Bytes(), again.Bytes())
			}
			if c.pion && string(s.Bytes()) != c.body {
				t.Errorf("a well-formed body changed:\n%q\n%q", c.body, s.Bytes())
			}
		})
	}
}

func TestPionReadsTheSame(t *testing.T) {
	for name, c := range corpus {
		if !c.pion {
			continue
		}
		t.Run(name, func(t *testing.T) { compareWithPion(t, []byte(c.body)) })
	}
}

// compareWithPion fails unless pion/sdp reads b, and reads what we read.
func compareWithPion(t *testing.T, b []byte) {
	t.Helper()
	var oracle pion.SessionDescription
	if err := oracle.Unmarshal(b); err != nil {
		t.Fatalf("pion refuses it: %v\n%s", err, b)
	}
	s := mustRead(t, string(b))
	if len(oracle.MediaDescriptions) != len(s.Media()) {
		t.Fatalf("pion reads %d media, we %d", len(oracle.MediaDescriptions), len(s.Media()))
	}
	for i, m := range s.Media() {
		o := oracle.MediaDescriptions[i]
		ours := fmt.Sprint(m.Type, m.Port, m.Proto, m.Formats)
		theirs := fmt.Sprint(o.MediaName.Media, o.MediaName.Port.Value, strings.Join(o.MediaName.Protos, "/"), o.MediaName.Formats)
		if ours != theirs {
			t.Errorf("m-line %d: pion reads %s, we %s", i, theirs, ours)
		}
		addr := ""
		if c := oracle.ConnectionInformation; c != nil {
			addr = c.Address.Address
		}
		if c := o.ConnectionInformation; c != nil {
			addr = c.Address.Address
		}
		if m.Addr != addr {
			t.Errorf("m-line %d: pion reads address %q, we %q", i, addr, m.Addr)
		}
		n := 0
		for _, l := range s.blocks[i] {
			if l.kind != 'a' {
				continue
			}
			if n >= len(o.Attributes) {
				t.Fatalf("m-line %d: pion reads only %d attributes", i, n)
			}
			key, value := l.attribute()
			if a := o.Attributes[n]; a.Key != key || strings.TrimSpace(a.Value) != value {
				t.Errorf("m-line %d: pion reads attribute %q, we %q %q", i, a, key, value)
			}
			n++
		}
	}
}

func TestMediaSaysWhatTheRelayNeeds(t *testing.T) {
	s := mustReadNamed(t, "ipv6")
	want := Media{
		Type: "audio", Port: 40000, Proto: "RTP/AVPF", Formats: []string{"0", "96"}, Addr: "2001:db8::77", Direction: Recvonly,
		RTCPAddr: "2001:db8::78", RTCPPort: 50000, AS: 80,
		Payloads: []Payload{
			{Type: 0, Name: "PCMU", Clock: 8000, Channels: 1},
			{Type: 96, Name: "AMR-WB", Clock: 16000, Channels: 1, FMTP: "mode-set=0,2; octet-align=1"},
		},
	}
	if got := s.Media()[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	teams := mustReadNamed(t, "teams").Media()[0]
	if !teams.Mux || teams.PTime != 20 || !teams.Secure() || teams.Rejected() || len(teams.Crypto) != 2 {
		t.Errorf("teams: %+v", teams)
	}
	opus := mustReadNamed(t, "freeswitch").Media()[0].Payloads[0]
	if opus.Channels != 2 || opus.Clock != 48000 || !strings.HasSuffix(opus.FMTP, "maxptime=40") {
		t.Errorf("opus: %+v", opus)
	}
	if m := mustReadNamed(t, "lync").Media()[1]; !m.Rejected() {
		t.Errorf("port 0 is not rejected: %+v", m)
	}
	if a := mustReadNamed(t, "cisco").Media()[0].Addr; a != "198.51.100.31" {
		t.Errorf("the media's own c= does not count: %s", a)
	}
	twice := mustReadNamed(t, "payload types twice").Media()[0]
	if got := fmt.Sprint(twice.Payloads); got != "[{0 PCMU 8000 1 } {8 PCMA 8000 1 } {101 telephone-event 8000 1 0-15}]" {
		t.Errorf("payloads: %s", got)
	}
	if m := mustReadNamed(t, "odd case").Media()[0]; m.Direction != Sendonly || m.Payloads[0].Name != "pcmu" {
		t.Errorf("odd case: %+v", m)
	}
	static := mustRead(t, "v=0\nm=audio 1 RTP/AVP 10 9 77\na=rtpmap:9\na=ptime:x\na=rtcp:x\n").Media()[0]
	if got := fmt.Sprint(static.Payloads, static.PTime, static.RTCPPort); got != "[{10 L16 44100 2 } {9 G722 8000 1 } {77  0 1 }] 0 0" {
		t.Errorf("static payloads: %s", got)
	}
}

func TestT09HoldByDirectionAndByAddress(t *testing.T) {
	head := "v=0\r\nc=IN IP4 192.0.2.77\r\n"
	for _, c := range []struct {
		name, body string
		hold       bool
		direction  Direction
		flow       Direction
	}{
		{"none", head + "m=audio 1 RTP/AVP 0\r\n", false, Sendrecv, Sendrecv},
		{"of the session", head + "a=sendonly\r\nm=audio 1 RTP/AVP 0\r\n", false, Sendonly, Sendonly},
		{"of the media", head + "a=sendonly\r\nm=audio 1 RTP/AVP 0\r\na=inactive\r\n", false, Inactive, Inactive},
		{"resumed in the media", head + "a=sendonly\r\nm=audio 1 RTP/AVP 0\r\na=sendrecv\r\n", false, Sendrecv, Sendrecv},
		{"of another media", head + "m=audio 1 RTP/AVP 0\r\nm=video 1 RTP/AVP 31\r\na=inactive\r\n", false, Sendrecv, Sendrecv},
		{"address in the session", "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 1 RTP/AVP 0\r\n", true, Sendrecv, Sendonly},
		{"address in the media", head + "m=audio 1 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n", true, Sendrecv, Sendonly},
		{"address, IPv6", head + "m=audio 1 RTP/AVP 0\r\nc=IN IP6 ::\r\na=recvonly\r\n", true, Recvonly, Inactive},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := mustRead(t, c.body).Media()[0]
			if m.Hold != c.hold || m.Direction != c.direction || m.Flow() != c.flow {
				t.Errorf("hold %v, direction %v, flow %v; want %v, %v, %v", m.Hold, m.Direction, m.Flow(), c.hold, c.direction, c.flow)
			}
		})
	}
}

func TestReadSaysWhichLineIsWrong(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"nothing", "", "sdp: empty body"},
		{"blank lines", "\r\n \r\n", "sdp: empty body"},
		{"no SDP", "<xml/>", "sdp: line 1: want one letter, =, value"},
		{"another version", "v=1\r\n", "sdp: line 1: a body starts with v=0"},
		{"no version", "\ns=-\r\n", "sdp: line 2: a body starts with v=0"},
		{"no type", "v=0\r\ns=-\r\n=x\r\n", "sdp: line 3: want one letter, =, value"},
		{"folded line", "v=0\r\na=crypto:1 X\r\n inline:key\r\n", "sdp: line 3: want one letter, =, value"},
		{"NUL", "v=0\r\ns=a\x00b\r\n", "sdp: line 2: control character 0x00 in s="},
		{"m= without a port", "v=0\nm=audio\n", "sdp: line 2: want m=type port protocol formats"},
		{"m= with a bad port", "v=0\nm=audio 65536 RTP/AVP 0\n", "sdp: line 2: the port of the m= line is not a number from 0 to 65535"},
		{"m= with a negative port", "v=0\nm=audio -1 RTP/AVP 0\n", "sdp: line 2: the port of the m= line is not a number from 0 to 65535"},
		{"c= without an address", "v=0\nc=IN IP4\n", "sdp: line 2: want c=IN IP4 address or c=IN IP6 address"},
		{"c= of a media without an address", "v=0\nm=audio 1 RTP/AVP 0\nc=192.0.2.77", "sdp: line 3: want c=IN IP4 address or c=IN IP6 address"},
		{"too large", "v=0\r\ns=" + strings.Repeat("a", MaxBytes), "sdp: body of 65543 bytes: at most 65536 are read"},
		{"too many lines", "v=0\n" + strings.Repeat("a=x\n", MaxLines), "sdp: line 2001: at most 2000 lines are read"},
		{"too many empty lines", "v=0\n" + strings.Repeat("\n", MaxLines), "sdp: line 2001: at most 2000 lines are read"},
		{"too many media", "v=0\n" + strings.Repeat("m=audio 1 RTP/AVP 0\n", MaxMedia+1), "sdp: line 34: at most 32 m= lines are read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Read([]byte(c.body))
			if err == nil || err.Error() != c.want || s != nil {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	for _, whole := range []string{
		"v=0\ns=" + strings.Repeat("a", MaxBytes-6),
		"v=0\n" + strings.Repeat("a=x\n", MaxLines-1),
		"v=0\n" + strings.Repeat("m=audio 1 RTP/AVP 0\n", MaxMedia),
	} {
		if _, err := Read([]byte(whole)); err != nil {
			t.Errorf("the bound itself is refused: %v", err)
		}
	}
}

func TestT13EqualLooksAtTheLinesNotAtTheVersion(t *testing.T) {
	base := "v=0\r\no=- 7 1 IN IP4 192.0.2.77\r\ns=-\r\nm=audio 5004 RTP/AVP 0\r\n"
	for _, c := range []struct {
		name, other     string
		same, unchanged bool
	}{
		{"the same", base, true, true},
		{"other line ends", strings.ReplaceAll(base, "\r\n", " \n"), true, true},
		{"version raised, body as before", strings.Replace(base, "7 1", "7 2", 1), false, true},
		{"version kept, body changed", strings.Replace(base, "5004", "5006", 1), false, false},
		{"another session id", strings.Replace(base, "7 1", "8 1", 1), false, false},
		{"another address in o=", strings.Replace(base, ".77", ".78", 1), false, false},
		{"one line more", base + "a=sendonly\r\n", false, false},
		{"another kind of line", strings.Replace(base, "s=-", "i=-", 1), false, false},
		{"o= cut short", strings.Replace(base, " 1 IN IP4 192.0.2.77", "", 1), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := mustRead(t, base), mustRead(t, c.other)
			if Equal(a, b, false) != c.same || Equal(b, a, false) != c.same {
				t.Errorf("with the version: want %v", c.same)
			}
			if Equal(a, b, true) != c.unchanged || Equal(b, a, true) != c.unchanged {
				t.Errorf("without the version: want %v", c.unchanged)
			}
		})
	}
}

func TestReadDoesNotKeepTheCallersBytes(t *testing.T) {
	b := []byte(corpus["asterisk"].body)
	s, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Bytes()
	clear(b)
	if !bytes.Equal(before, s.Bytes()) {
		t.Error("the session changed with the buffer that it was read from")
	}
}
