package peers

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	loadRate   = 50                                // calls a second
	hangUps    = 5 * time.Millisecond              // between two: 200 a second
	callFrames = 10                                // packets that each call says: 200 ms
	settled    = 45 * time.Second                  // INVITE transactions linger for 32 s (RFC 6026 section 7.1, timer L)
	goroutines = 10                                // more than before the load: connections of the scrapes
	enough     = loadCalls * callFrames * 99 / 100 // a busy machine's kernel may lose some between the programs
	spoken     = "speech.ulaw"                     // the file that sipp speaks
	speakOnce  = spoken + ",1,0,PCMU/8000"         // once, payload type 0
)

// speech is what sipp speaks as RTP: every frame differs.
func speech() []byte {
	b := make([]byte, callFrames*frame)
	for i := range b {
		b[i] = byte(i*7 + i/frame*13)
	}
	return b
}

// streaming places calls whose media is sipp's own: the caller speaks a file, the called sipp echoes it, and what comes back
// is heard by the ear that the caller's SDP names.
func streaming(t *testing.T, g *gateway, calls int) (caller, callee *sipp, back *ear) {
	t.Helper()
	need(t, "sipp", "sip-tester")
	g.uc["any_source_port"] = true // sipp speaks from other ports than the ear's
	g.open()
	back = listen(t, g.place.caller, callerSSRC)
	echo := netip.AddrPortFrom(g.place.callee, free(t, g.place.callee).Port()&^1)
	many := []string{"-m", strconv.Itoa(calls), "-trace_stat", "-stf", "stat.csv", "-fd", "1"}
	callee = play(t, plan{
		name: "callee", scenario: "callee.xml", transport: "udp", at: g.calleeAt, audio: echo,
		flags: append([]string{"-rtp_echo", "-mp", fmt.Sprint(echo.Port())}, many...),
	})
	caller = play(t, plan{
		name: "caller", scenario: "caller.xml", transport: "udp", at: g.callerAt, to: g.outerAt, audio: back.at(),
		media: `<nop><action><exec rtp_stream="` + speakOnce + `"/></action></nop>`, files: map[string][]byte{spoken: speech()},
		flags: append([]string{"-r", strconv.Itoa(loadRate), "-l", strconv.Itoa(calls)}, many...),
	})
	return caller, callee, back
}

func TestSippSpeaksSippEchoesThroughTandem(t *testing.T) {
	g := newGateway(t, somewhere(), "udp", "udp")
	caller, callee, back := streaming(t, g, 1)
	await(t, "the whole file comes back", func() bool { return len(back.all()) >= callFrames })
	var heard []byte
	for _, p := range back.all() {
		heard = append(heard, p[rtpHeader:]...)
	}
	if !bytes.Equal(heard, speech()) {
		t.Errorf("sipp spoke\n%x, its echo was\n%x", speech(), heard)
	}
	caller.prompt("INFO", caller.logged("answered", 1)[0], 2, "")
	caller.Finish()
	callee.Finish()
	g.close()
}

func TestFiveHundredConcurrentCalls(t *testing.T) {
	g := newGateway(t, somewhere(), "udp", "udp")
	g.config["log"] = object{"level": "info"} // as it is run
	caller, callee, back := streaming(t, g, loadCalls)
	before := g.sip()["go_goroutines"]
	caller.logged("answered", loadCalls)
	if s := g.sip(); s["tandem_sip_calls"] != loadCalls {
		t.Errorf("%v calls are up, want %d", s["tandem_sip_calls"], loadCalls)
	}
	await(t, "what was spoken in all calls comes back", func() bool { return len(back.all()) >= enough })
	tick := time.NewTicker(hangUps)
	defer tick.Stop()
	for line := range strings.Lines(caller.file("log")) {
		if w := strings.Fields(line); len(w) > 1 && w[0] == "answered" {
			caller.prompt("INFO", w[1], 2, "")
			<-tick.C
		}
	}
	caller.Finish()
	callee.Finish()
	for _, s := range []*sipp{caller, callee} {
		if ok, failed := s.counted("SuccessfulCall(C)"), s.counted("FailedCall(C)"); ok != loadCalls || failed != 0 {
			t.Errorf("%s: %d calls succeeded, %d failed; want %d and 0", s.Name, ok, failed, loadCalls)
		}
	}
	g.ended("uc", "gw", 200, loadCalls)
	s := g.relay()
	if drops := s.sum("tandem_relay_drops_total"); drops != 0 {
		t.Errorf("%v packets dropped: %v", drops, s.media())
	}
	if opened, closed := s["tandem_relay_sessions_opened_total"], s["tandem_relay_sessions_closed_total"]; opened != loadCalls || closed != loadCalls {
		t.Errorf("the relay opened %v sessions and closed %v, want %d of each", opened, closed, loadCalls)
	}
	t.Logf("%d calls at %d a second: %.2f s of CPU in tandem, %.0f MB resident", loadCalls, loadRate,
		g.sip()["process_cpu_seconds_total"], g.sip()["process_resident_memory_bytes"]/1e6)
	var now float64
	for end := time.Now().Add(settled); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if now = g.sip()["go_goroutines"]; now <= before+goroutines {
			break
		}
	}
	if now > before+goroutines {
		t.Errorf("%v goroutines after the last call, %v before the first", now, before)
	}
	g.close()
}

// counted reads the last value of a column of sipp's statistics.
func (s *sipp) counted(column string) int {
	s.T.Helper()
	r := csv.NewReader(strings.NewReader(s.file("stat.csv")))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = ';', -1, true
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		s.T.Fatalf("%s: statistics: %v, %d rows", s.Name, err, len(rows))
	}
	for i, name := range rows[0] {
		if name == column {
			n, err := strconv.Atoi(rows[len(rows)-1][i])
			if err != nil {
				s.T.Fatalf("%s: %s: %v", s.Name, column, err)
			}
			return n
		}
	}
	s.T.Fatalf("%s: no column %s: %q", s.Name, column, rows[0])
	return 0
}
