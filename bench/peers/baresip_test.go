package peers

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/internal/beside"
)

const (
	phoneName   = "phone.example" // in baresip's certificate
	gatewayName = "tandem.example"
	phoneTone   = 1000 // Hz, what baresip speaks
	farTone     = 440  // Hz, what it is told
	phoneSpeaks = 60   // seconds of its sound file: longer than any call here
	enoughAudio = 100  // packets: 2 s
	pure        = 0.95 // of the energy: PCMU adds noise 38 dB below
)

// baresip is one run of it, on 127.0.0.1: of the loopback network it takes only the interface's own address.
type baresip struct {
	*process
	dir     string
	tls     netip.AddrPort // where it listens
	control net.Conn
	events  beside.Output // what it says there
}

// baresipConfig: %[1]s its SIP address, %[2]s the control address, %[3]s its certificate and key, %[4]s the authority.
const baresipConfig = `net_interface 127.0.0.1
sip_listen %[1]s
sip_certificate %[3]s
sip_cafile %[4]s
rtp_ports 12000-18998
audio_source aufile,tone.wav
module_path %[5]s
module g711.so
module srtp.so
module aufile.so
module sndfile.so
module_tmp account.so
module_app ctrl_tcp.so
module_app menu.so
snd_path .
ctrl_tcp_listen %[2]s
`

// newBaresip starts one that speaks SIP over TLS and SRTP only, and answers whoever calls. It shows certificate both, and
// trusts the authority.
func newBaresip(t *testing.T, sipAt netip.AddrPort, both, authority string) *baresip {
	t.Helper()
	need(t, "baresip", "baresip")
	b := &baresip{dir: t.TempDir(), tls: tlsOf(sipAt)}
	control := free(t, sipAt.Addr())
	for name, content := range map[string][]byte{
		"config":   fmt.Appendf(nil, baresipConfig, sipAt, control, both, authority, modules(t)),
		"accounts": []byte("<sip:+4312345@127.0.0.1;transport=tls>;regint=0;mediaenc=srtp-mand;audio_codecs=PCMU/8000/1;answermode=auto\n"),
		"contacts": nil,
		"tone.wav": wav(tone(phoneTone, phoneSpeaks*rate)),
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.process = start(t, b.dir, "baresip", "baresip", "-f", b.dir, "-v")
	b.Says("baresip is ready")
	await(t, "baresip listens", func() bool { return bound(t, "tls", b.tls) })
	var err error
	if b.control, err = net.Dial("tcp", control.String()); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		part := make([]byte, 4096)
		for {
			n, err := b.control.Read(part)
			if err != nil {
				return
			}
			_, _ = b.events.Write(part[:n]) // it keeps everything
		}
	}()
	t.Cleanup(func() {
		b.control.Close()
		<-done
	})
	return b
}

// modules is where Debian puts them.
func modules(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib*/baresip/modules")
	if more, _ := filepath.Glob("/usr/lib/*/baresip/modules"); err == nil {
		found = append(found, more...)
	}
	if len(found) == 0 {
		t.Fatal("no modules of baresip in /usr/lib")
	}
	return found[0]
}

// tlsOf is where baresip listens with TLS: the port after that of UDP and TCP.
func tlsOf(sip netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(sip.Addr(), sip.Port()+1) }

// pair returns an address with a free port before another free one.
func pair(t *testing.T, a netip.Addr) netip.AddrPort {
	t.Helper()
	for range 100 {
		first := free(t, a)
		if l, err := net.Listen("tcp", tlsOf(first).String()); err == nil {
			l.Close()
			return first
		}
	}
	t.Fatal("no two free ports in a row")
	return netip.AddrPort{}
}

// command has it do something, as a netstring of JSON (module ctrl_tcp).
func (b *baresip) command(name, params string) {
	b.T.Helper()
	text, err := json.Marshal(map[string]string{"command": name, "params": params})
	if err != nil {
		b.T.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.control, "%d:%s,", len(text), text); err != nil {
		b.T.Fatal(err)
	}
}

// awaitEvent waits for one of its events.
func (b *baresip) awaitEvent(event string) {
	b.T.Helper()
	await(b.T, "baresip reports "+event, func() bool { return strings.Contains(b.events.String(), `"type":"`+event+`"`) })
}

// decoded is the sound that it heard, from the file that it writes until the call ends.
func (b *baresip) decoded() []int16 {
	b.T.Helper()
	found, err := filepath.Glob(filepath.Join(b.dir, "*-dec.wav"))
	if err != nil || len(found) != 1 {
		b.T.Fatalf("baresip's sound files: %q, %v", found, err)
	}
	file, err := os.ReadFile(found[0])
	if err != nil {
		b.T.Fatal(err)
	}
	samples, err := readWav(file)
	if err != nil {
		b.T.Fatal(err)
	}
	return samples
}

// sing tells a tone, a packet every 20 ms, until the returned function is called or the test ends.
func (e *ear) sing(to netip.AddrPort, hz int) (stop func()) {
	sound := companded(tone(hz, rate)) // a second, of whole waves
	return until(e.t, func(n int) {
		at := n * frame % rate
		e.send(to, n, sound[at:at+frame])
	})
}

// hearsTone asserts that what an ear heard is one unbroken PCMU stream of a tone.
func (e *ear) hearsTone(hz int) {
	e.t.Helper()
	heard := e.all()
	var sound []byte
	for i, p := range heard {
		if len(p) != rtpHeader+frame || p[0] != 2<<6 || p[1]&0x7f != payloadPCMU {
			e.t.Fatalf("packet %d is no 20 ms of PCMU: % x", i, p[:min(len(p), rtpHeader)])
		}
		if i > 0 {
			before := heard[i-1]
			seq := binary.BigEndian.Uint16(p[2:]) - binary.BigEndian.Uint16(before[2:])
			ts := binary.BigEndian.Uint32(p[4:]) - binary.BigEndian.Uint32(before[4:])
			if seq != 1 || ts != frame || string(p[8:12]) != string(before[8:12]) {
				e.t.Errorf("packet %d does not follow the one before: % x after % x", i, p[:rtpHeader], before[:rtpHeader])
			}
		}
		sound = append(sound, p[rtpHeader:]...)
	}
	if got := purity(linear(sound), hz); got < pure {
		e.t.Errorf("%d Hz is only %.3f of what the far end heard", hz, got)
	}
}

// heardTone asserts the same of baresip, whose file has silence at its ends.
func (b *baresip) heardTone(hz int) {
	b.T.Helper()
	sound := b.decoded()
	loud := func(x int16) bool { return x > 1000 || x < -1000 }
	for len(sound) > 0 && !loud(sound[0]) {
		sound = sound[1:]
	}
	for len(sound) > 0 && !loud(sound[len(sound)-1]) {
		sound = sound[:len(sound)-1]
	}
	if len(sound) < enoughAudio*frame/2 {
		b.T.Fatalf("baresip heard only %d samples", len(sound))
	}
	if got := purity(sound, hz); got < pure {
		b.T.Errorf("%d Hz is only %.3f of what baresip heard", hz, got)
	}
}

// secure makes one side of a gateway TLS with SRTP, towards a phone whose certificate says phoneName.
func secure(t *testing.T, g *gateway, listener string, trunk object, ours netip.Addr, phone netip.AddrPort) (both, authority string) {
	t.Helper()
	a := newTrust(t)
	certificate, key, _ := a.issue(gatewayName, ours)
	_, _, both = a.issue(phoneName, phone.Addr())
	g.config["sip"].(object)["listeners"].(object)[listener].(object)["tls"] = object{"certificate": certificate, "key": key, "ca": a.file}
	trunk["peer"], trunk["tls_names"], trunk["srtp"] = phone.String(), []string{phoneName}, "required"
	return both, a.file
}

// conversation lets both ends sing, and checks what each heard of the other until then; end ends the call.
func conversation(t *testing.T, g *gateway, phone *baresip, far *ear, relay netip.AddrPort, end func()) {
	t.Helper()
	stop := far.sing(relay, farTone)
	await(t, "the far end hears baresip", func() bool { return len(far.all()) >= enoughAudio })
	stop()
	s := g.addsUp()
	// Two kinds are as they must be: media that outran the answer with its key is a stranger's, and baresip opens NATs with
	// one RTCP APP of 16 bytes in clear before it seals anything.
	if n := s.sum("tandem_relay_drops_total") - s.drops("stranger") - min(1, s.drops("too_short")); n != 0 {
		t.Errorf("%v packets dropped: %v", n, s.media())
	}
	end()
	phone.awaitEvent("CALL_CLOSED")
	far.hearsTone(phoneTone)
	phone.Terminate()
	phone.heardTone(farTone)
	for _, word := range []string{"decrypt", "unauth", "replay"} {
		if strings.Contains(strings.ToLower(phone.Said()), word) {
			t.Errorf("baresip speaks of %q", word)
		}
	}
}

func TestEncryptedPhoneCallsPlainGateway(t *testing.T) {
	need(t, "sipp", "sip-tester")
	g := newGateway(t, somewhere(), "tls", "udp")
	at := pair(t, netip.MustParseAddr("127.0.0.1"))
	both, authority := secure(t, g, "outer", g.uc, g.place.outer, tlsOf(at))
	g.open()
	far := listen(t, g.place.callee, calleeSSRC)
	callee := play(t, plan{name: "callee", scenario: "callee.xml", transport: "udp", at: g.calleeAt, audio: far.at()})
	phone := newBaresip(t, at, both, authority)
	phone.command("dial", fmt.Sprintf("sip:+4312345@%s;transport=tls", g.outerAt))
	id, relay := described(t, callee.logged("called", 1))
	phone.awaitEvent("CALL_ESTABLISHED")
	conversation(t, g, phone, far, relay, func() { callee.prompt("INFO", id, 2, "") })
	callee.Finish()
	g.ended("uc", "gw", 200, 1)
	g.close()
}

func TestPlainGatewayCallsEncryptedPhone(t *testing.T) {
	need(t, "sipp", "sip-tester")
	g := newGateway(t, somewhere(), "udp", "tls")
	at := pair(t, netip.MustParseAddr("127.0.0.1"))
	both, authority := secure(t, g, "inner", g.gw, g.place.inner, tlsOf(at))
	g.open()
	phone := newBaresip(t, at, both, authority)
	far := listen(t, g.place.caller, callerSSRC)
	caller := play(t, plan{name: "caller", scenario: "caller.xml", transport: "udp", at: g.callerAt, to: g.outerAt, audio: far.at()})
	_, relay := described(t, caller.logged("answered", 1))
	phone.awaitEvent("CALL_ESTABLISHED")
	conversation(t, g, phone, far, relay, func() { phone.command("hangup", "") })
	caller.logged("released", 1)
	caller.Finish()
	g.ended("uc", "gw", 200, 1)
	g.close()
}
