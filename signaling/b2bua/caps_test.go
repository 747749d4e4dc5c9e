package b2bua

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem/internal/config"
	"tandem/signaling/trunk"
)

func (p *paper) trunk(name string) *trunk.Trunk {
	tr, ok := p.b.seen.Load().trunks.ByName(name)
	if !ok {
		panic("no trunk " + name)
	}
	return tr
}

// emergency puts a route for 112 before the others.
func emergency(c *config.Config) {
	c.Routes = append([]config.Route{{Name: "help", From: []string{"a"}, To: []string{"b1"}, Emergency: true}}, c.Routes...)
}

func TestCapsOfALeavingTrunkAreExactToTheCall(t *testing.T) {
	for name, cap := range map[string]func(*config.Policy){
		"calls":          func(p *config.Policy) { p.MaxCalls = 2 },
		"calls a second": func(p *config.Policy) { p.MaxCPS = 2 },
		"bandwidth":      func(p *config.Policy) { p.MaxBandwidth = 2 * 80 }, // G.711 in 20 ms over IPv4
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPaper(t, func(c *config.Config) { edit(c, "b1", func(tr *config.Trunk) { cap(&tr.Policy) }) })
				for n := range 3 {
					p.invite(n)
					synctest.Wait()
				}
				p.wantInvites(t, "of three calls", b1+" "+b1+" "+b2)
				p.over(t)
			})
		})
	}
}

func TestCallBeyondTheRateOfItsEnteringTrunkIsRefusedAndTheNextSecondTakesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, func(c *config.Config) { edit(c, "a", func(tr *config.Trunk) { tr.MaxCPS = 2 }) })
		for n := range 3 {
			p.invite(n)
			synctest.Wait()
		}
		r := <-p.records
		if r.Code != 503 || r.Cause != causeNoPlace || !strings.HasPrefix(r.Why, "trunk a takes no more: 2 calls began within a second") {
			t.Errorf("the third: %+v", r)
		}
		time.Sleep(time.Second)
		p.invite(3)
		p.wantInvites(t, "after a second", b1+" "+b1+" "+b1)
		p.over(t)
	})
}

func TestEmergencyCallIsHeldBackByNoCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := func(c *config.Config) {
			c.SIP.Limits.Calls = 1
			for _, name := range []string{"a", "b1"} {
				edit(c, name, func(tr *config.Trunk) { tr.MaxCalls, tr.MaxCPS, tr.MaxBandwidth = 1, 1, 80 })
			}
		}
		p := newPaper(t, full, emergency)
		for n := range 3 {
			p.invite(n)
			synctest.Wait()
		}
		p.wantInvites(t, "of three emergency calls", b1+" "+b1+" "+b1)
		if n := p.trunk("b1").Active(); n != 3 {
			t.Errorf("%d places are counted, want 3: they hold others back", n)
		}
		for n := range 3 {
			p.answer(n, 200, "callee", true)
		}
		p.over(t)
		for range 3 {
			if r := <-p.records; !r.Emergency || r.Code != 200 {
				t.Errorf("%+v", r)
			}
		}
		if a, b := p.trunk("a").Active(), p.trunk("b1").Active(); a+b != 0 {
			t.Errorf("%d and %d places left taken", a, b)
		}
	})
}

func TestOtherCallsStopAtTheLimitOfTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, func(c *config.Config) { c.SIP.Limits.Calls = 1 })
		p.invite(0)
		p.invite(1)
		p.wantInvites(t, "of two calls", b1)
		r := <-p.records
		if r.Code != 503 || r.Why != "limits.calls is reached" || p.b.Stats().Drops[DropLimit] != 1 {
			t.Errorf("%+v, %+v", r, p.b.Stats())
		}
		p.over(t)
	})
}

func TestDrainingNodeTakesNotEvenAnEmergencyCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPaper(t, emergency)
		p.b.Drain(true)
		p.invite(0)
		p.wantInvites(t, "while draining", "")
		p.over(t)
	})
}

func TestBandwidthOfACall(t *testing.T) {
	body := func(formats, lines string) string {
		return "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP " + formats + "\r\n" + lines
	}
	session := "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nb=AS:50\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n"
	for _, tt := range []struct {
		name, body, suite string
		v6                bool
		want              int
	}{
		{"G.711", body("0 101", "a=rtpmap:101 telephone-event/8000\r\n"), "", false, 80},
		{"G.711 over IPv6", body("8", ""), "", true, 88},
		{"G.711 with SRTP", body("0", ""), "AES_CM_128_HMAC_SHA1_80", false, 84},
		{"G.711 with short tags", body("0", ""), "AES_CM_128_HMAC_SHA1_32", false, 82},
		{"G.711 with GCM", body("0", ""), "AEAD_AES_256_GCM", false, 87},
		{"G.711 in 30 ms", body("0", "a=ptime:30\r\n"), "", false, 75},
		{"G.729", body("18 0", ""), "", false, 24},
		{"comfort noise is no codec", body("13 9", ""), "", false, 80},
		{"Opus", body("111 0", "a=rtpmap:111 opus/48000/2\r\n"), "", false, 56},
		{"unknown codec", body("97", "a=rtpmap:97 x-future/8000\r\n"), "", false, 80},
		{"events alone", body("101", "a=rtpmap:101 telephone-event/8000\r\n"), "", false, 80},
		{"capped by AS", body("0", "b=AS:64\r\n"), "", false, 64},
		{"capped by TIAS", body("0", "b=TIAS:32000\r\n"), "", false, 48},
		{"capped by the session", session, "", false, 50},
		{"the media's own cap goes before the session's", session + "b=AS:70\r\n", "", false, 70},
		{"a cap above it", body("0", "b=AS:500\r\n"), "", false, 80},
		{"a cap of another line", body("0", "") + "m=video 0 RTP/AVP 96\r\nb=AS:10\r\n", "", false, 80},
		{"no number", body("0", "b=AS:x\r\nb=CT:5\r\n"), "", false, 80},
		{"not readable", "v=1", "", false, 80},
	} {
		if got := bandwidth(&Media{Received: tt.body}, tt.suite, tt.v6); got != tt.want {
			t.Errorf("%s: %d kbit/s, want %d", tt.name, got, tt.want)
		}
	}
}

// FuzzBandwidth holds that whatever a peer writes, its call asks for something, and for no more than a packet a millisecond.
func FuzzBandwidth(f *testing.F) {
	f.Add(sdpOf("192.0.2.10", 5000, "b=AS:64\r\n"), "AES_CM_128_HMAC_SHA1_80", true)
	f.Add(sdpOf("192.0.2.10", 5000, "b=TIAS:1\r\na=ptime:1\r\n"), "", false)
	f.Add("m=audio 1 RTP/AVP 0\r\nb=AS:4294967295\r\n", "AEAD_AES_256_GCM", false)
	f.Add("b=AS:1\nm=\n\x00", "x", true)
	const most = (256_000 + (headIP6+headUDP+headRTP+tagGCM)*8*1000) / 1000
	f.Fuzz(func(t *testing.T, body, suite string, v6 bool) {
		if n := bandwidth(&Media{Received: body}, suite, v6); n < 1 || n > most {
			t.Errorf("%d kbit/s", n)
		}
	})
}
