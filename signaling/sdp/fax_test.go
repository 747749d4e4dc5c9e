package sdp

import (
	"strings"
	"testing"
)

// faxBody is the re-INVITE of a gateway that switches to T.38, with what it should not tell anybody.
var faxBody = body(
	"v=0", "o=canary 1 2 IN IP4 192.0.2.77", "s=canary", "c=IN IP4 192.0.2.77", "t=0 0",
	"m=audio 0 RTP/AVP 8",
	"m=image 5006 udptl t38",
	"c=IN IP4 192.0.2.78", "b=AS:64", "b=X-canary:1",
	"a=T38FaxVersion:0", "a=T38MaxBitRate:14400", "a=T38FaxFillBitRemoval", "a=T38FaxTranscodingMMR:0", "a=T38FaxTranscodingJBIG:0",
	"a=T38FaxRateManagement:transferredTCF", "a=T38FaxMaxBuffer:260", "a=T38FaxMaxDatagram:238", "a=T38FaxUdpEC:t38UDPRedundancy",
	"a=T38VendorInfo:0 0 37", "a=T38ModemType:t38G3FaxOnly", "a=T38FaxUdpECDepth:3 5",
	"a=T38FaxMaxIFP:192.0.2.77", "a=T38FaxUdpFECMaxSpan:canary.example.net", "a=T38Canary:1", "a=canary:1", "a=sendrecv",
	"a=T38VendorInfo:canarycanarycanarycanary1",
)

var faxLines = []string{
	"m=image 40000 udptl t38", "b=AS:64",
	"a=T38FaxVersion:0", "a=T38MaxBitRate:14400", "a=T38FaxFillBitRemoval", "a=T38FaxTranscodingMMR:0", "a=T38FaxTranscodingJBIG:0",
	"a=T38FaxRateManagement:transferredTCF", "a=T38FaxMaxBuffer:260", "a=T38FaxMaxDatagram:238", "a=T38FaxUdpEC:t38UDPRedundancy",
	"a=T38VendorInfo:0 0 37", "a=T38ModemType:t38G3FaxOnly", "a=T38FaxUdpECDepth:3 5",
}

func TestAFaxCrossesWithItsAttributesAndNothingElseOfItsAuthor(t *testing.T) {
	fax, audio, plain := mustRead(t, faxBody), mustReadNamed(t, "asterisk"), mustRead(t, body("v=0", "m=image 9 udptl t38"))
	i, ok := fax.Fax()
	if _, voice := fax.Audio(); !ok || i != 1 || voice {
		t.Fatalf("fax at %d, %t; audio %t", i, ok, voice)
	}
	off := ours(true)
	off.Port = 0
	held := ours(false)
	held.Direction = Inactive
	for _, c := range []struct {
		name string
		got  []byte
		want []string
	}{
		{"offered", Offer(fax, i, ours(true)), faxLines}, // of an SRTP leg as well there is no key in it
		{"in the place of the audio", Update(fax, i, ours(false), audio, 0), faxLines},
		{"beside the audio", Update(fax, i, ours(false), fax, 1), append([]string{"m=audio 0 RTP/AVP 8"}, faxLines...)},
		{"answered", Answer(fax, 1, plain, 0, ours(false)), []string{"m=audio 0 RTP/AVP 8", "m=image 40000 udptl t38"}},
		{"held", Offer(plain, 0, held), []string{"m=image 40000 udptl t38", "a=inactive"}},
		{"switched off", Offer(fax, i, off), []string{"m=image 0 udptl t38"}},
		{"refused by the answer", Answer(fax, 1, mustRead(t, body("v=0", "m=image 0 udptl t38")), 0, ours(false)), []string{"m=audio 0 RTP/AVP 8", "m=image 0 udptl t38"}},
		{"answered with audio", Answer(fax, 1, audio, 0, ours(false)), []string{"m=audio 0 RTP/AVP 8", "m=image 0 udptl t38"}},
		{"audio answered with a fax", Answer(audio, 0, fax, 1, ours(false)), []string{"m=audio 0 RTP/AVP 8 0 101"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, canary := range canaries {
				if strings.Contains(strings.ToLower(string(c.got)), canary) {
					t.Errorf("%q leaks", canary)
				}
			}
			assertBody(t, c.got, c.want...)
		})
	}
}

func TestWhatIsAFax(t *testing.T) {
	for text, want := range map[string]bool{
		"image 2 udptl t38": true, "IMAGE 2 UDPTL T38": true, "image 2 udptl x t38": true, "image 0 udptl t38": true,
		"image 2 TCP t38": false, "image 2 UDP/TLS/UDPTL t38": false, "image 2 udptl": false, "audio 2 udptl t38": false, "image 2 RTP/AVP 0": false,
	} {
		s := mustRead(t, body("v=0", "m="+text))
		if got := s.Media()[0].Fax(); got != want {
			t.Errorf("m=%s: %t", text, got)
		}
		if _, active := s.Fax(); active != (want && !s.Media()[0].Rejected()) {
			t.Errorf("m=%s is active: %t", text, active)
		}
	}
}

func TestTheLineThatChangesItsKindIsTheOneInUseUnlessOneFits(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		fax   bool
		slot  int
		want  int
	}{
		{"the first fax", []string{"m=audio 2 RTP/AVP 0"}, true, 0, 0},
		{"back to audio in the same line", []string{"m=image 2 udptl t38"}, false, 0, 0},
		{"the second fax, of who has lines for both", []string{"m=audio 2 RTP/AVP 0", "m=image 0 udptl t38"}, true, 0, 1},
		{"back to audio, of who has lines for both", []string{"m=audio 0 RTP/AVP 0", "m=image 2 udptl t38"}, false, 1, 0},
		{"nothing changes", []string{"m=audio 2 RTP/AVP 0", "m=audio 2 RTP/AVP 8"}, false, 1, 1},
		{"no audio before", []string{"m=video 0 RTP/AVP 31"}, false, -1, -1},
	} {
		if got := mustRead(t, body(append([]string{"v=0"}, c.lines...)...)).Place(c.fax, c.slot); got != c.want {
			t.Errorf("%s: line %d, want %d", c.name, got, c.want)
		}
	}
}
