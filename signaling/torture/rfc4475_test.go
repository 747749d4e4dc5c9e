package torture

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// demand is what a section of RFC 4475 wants of whoever gets its message.
type demand struct {
	section string
	file    string
	udp     []int // one of these final answers; 0 is silence. Empty: the same as tcp
	tcp     []int
	why     string // where the section leaves a choice, or our role makes one
}

// We are no registrar: every well-formed REGISTER is answered 405 with Allow, whatever its body of rules would be (RFC 3261
// section 8.2.1 comes before all of them). Only one number is routed, so a call that is understood is answered 404.
var demands = []demand{
	{"3.1.1.1", "valid/wsinv", nil, []int{481}, "it is inside a dialog that we do not have"},
	{"3.1.1.2", "valid/intmeth", nil, []int{501, 0}, "a NUL inside quotes is legal there, and dropped here as every NUL is: it ends strings in half the world's parsers"},
	{"3.1.1.3", "valid/esc01", nil, []int{404}, ""},
	{"3.1.1.4", "valid/escnull", nil, []int{405}, "REGISTER"},
	{"3.1.1.5", "valid/esc02", nil, []int{501}, "RE%47IST%45R is not REGISTER"},
	{"3.1.1.6", "valid/lwsdisp", nil, []int{200}, ""},
	{"3.1.1.7", "valid/longreq", nil, []int{404}, ""},
	{"3.1.1.8", "valid/dblreq", []int{405}, []int{405}, "REGISTER; what follows in the datagram is ignored"},
	{"3.1.1.9", "valid/semiuri", nil, []int{200}, ""},
	{"3.1.1.10", "valid/transports", nil, []int{200}, ""},
	{"3.1.1.11", "valid/mpart01", nil, []int{405}, "MESSAGE"},
	{"3.1.1.12", "valid/unreason", nil, []int{0}, "a response to nothing"},
	{"3.1.1.13", "valid/noreason", nil, []int{0}, "a response to nothing"},
	{"3.1.2.1", "invalid/badinv01", nil, []int{400}, ""},
	{"3.1.2.2", "invalid/clerr", []int{400}, []int{0}, "on a stream the rest of the body is still to come"},
	{"3.1.2.3", "invalid/ncl", []int{400, 0}, []int{400, 0}, "the framing is lost: dropped before it is read, on a stream with the connection"},
	{"3.1.2.4", "invalid/scalar02", nil, []int{400}, ""},
	{"3.1.2.5", "invalid/scalarlg", nil, []int{0}, "a response"},
	{"3.1.2.6", "invalid/quotbal", nil, []int{400}, ""},
	{"3.1.2.7", "invalid/ltgtruri", nil, []int{400}, ""},
	{"3.1.2.8", "invalid/lwsruri", nil, []int{400, 0}, "its first line is none"},
	{"3.1.2.9", "invalid/lwsstart", nil, []int{400, 0}, "its first line is none"},
	{"3.1.2.10", "invalid/trws", nil, []int{400, 0}, "its first line is none"},
	{"3.1.2.11", "invalid/escruri", nil, []int{400, 404}, "embedded headers are ignored"},
	{"3.1.2.12", "invalid/baddate", nil, []int{400, 404}, "Date is not looked at"},
	{"3.1.2.13", "invalid/regbadct", nil, []int{400, 405}, "REGISTER"},
	{"3.1.2.14", "invalid/badaspec", nil, []int{400}, ""},
	{"3.1.2.15", "invalid/baddn", nil, []int{400, 200, 0}, "the section allows to infer the quotes; the file lacks its empty line, without which nothing is whole"},
	{"3.1.2.16", "invalid/badvers", nil, []int{505}, ""},
	{"3.1.2.17", "invalid/mismatch01", nil, []int{400}, ""},
	{"3.1.2.18", "invalid/mismatch02", nil, []int{400, 501}, ""},
	{"3.1.2.19", "invalid/bigcode", nil, []int{0}, "a response"},
	{"3.2.1", "invalid/badbranch", nil, []int{200, 400}, ""},
	{"3.3.1", "invalid/insuf", nil, []int{400}, ""},
	{"3.3.2", "invalid/unkscm", nil, []int{416}, ""},
	{"3.3.3", "invalid/novelsc", nil, []int{416}, ""},
	{"3.3.4", "invalid/unksm2", nil, []int{400, 405}, "REGISTER"},
	{"3.3.5", "invalid/bext01", nil, []int{420}, ""},
	{"3.3.6", "invalid/invut", nil, []int{415}, ""},
	{"3.3.7", "invalid/regaut01", nil, []int{405}, "REGISTER"},
	{"3.3.8", "invalid/multi01", nil, []int{400}, ""},
	{"3.3.9", "invalid/mcl01", []int{400, 0}, []int{400, 0}, "the framing is lost: dropped before it is read, on a stream with the connection"},
	{"3.3.10", "invalid/bcast", nil, []int{0}, "a response"},
	{"3.3.11", "invalid/zeromf", nil, []int{483, 200}, "OPTIONS is answered by whoever the hops run out at (RFC 3261 section 11)"},
	{"3.3.12", "invalid/cparam01", nil, []int{405}, "REGISTER"},
	{"3.3.13", "invalid/cparam02", nil, []int{405}, "REGISTER"},
	{"3.3.14", "invalid/regescrt", nil, []int{405}, "REGISTER"},
	{"3.3.15", "invalid/sdp01", nil, []int{406, 404}, "the section allows either; nobody would read our SDP"},
	{"3.4.1", "invalid/inv2543", []int{400, 404}, []int{400, 404, 0}, "without a tag of From there is no dialog; without Content-Length a stream has no end of it"},
	{"draft", "invalid/test", nil, []int{400, 0}, "its first line has no version"},
}

func TestRFC4475_EveryMessageGetsWhatItsSectionDemands(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/emiago/sipgo").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "sip", "testdata", "torture")
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.dat"))
	if err != nil || len(files) != len(demands) {
		t.Fatalf("%d messages in %s, %d demands (%v)", len(files), dir, len(demands), err)
	}
	for _, wire := range []string{"udp", "tcp"} {
		w := newWorld(t, wire, "udp")
		w.config["routes"].([]any)[0].(object)["match"] = `^\+4312345$`
		w.open()
		box := newPostbox(t, w.alice)
		for _, d := range demands {
			raw, err := os.ReadFile(filepath.Join(dir, d.file+".dat"))
			if err != nil {
				t.Fatal(err)
			}
			want := d.tcp
			if wire == "udp" && d.udp != nil {
				want = d.udp
			}
			t.Run(d.section+" "+filepath.Base(d.file)+" over "+wire, func(t *testing.T) {
				got := box.answer(t, w, raw)
				if !slices.Contains(want, got) {
					t.Errorf("answered %d, want one of %v; %s", got, want, d.why)
				}
			})
		}
		w.call().over()
		if n := w.bob.had("INVITE"); n != 1 {
			t.Errorf("%d INVITEs left for the callee, want that of the ordinary call", n)
		}
	}
}

// postbox takes answers wherever the Via of a message sends them on UDP, and has a fresh connection for each on TCP.
type postbox struct {
	p    *peer
	open map[int]bool
	got  chan string
}

func newPostbox(t *testing.T, p *peer) *postbox {
	t.Helper()
	return &postbox{p: p, open: map[int]bool{int(p.at.Port()): true}, got: make(chan string, 64)}
}

var viaPort = regexp.MustCompile(`(?im)^(?:via|v)[ \t]*:[^,;]*?:(\d+)[ \t]*;`)

// answer sends a message and returns the code of the final answer; 0: a question of ours that came after it was answered, and it
// was not.
func (b *postbox) answer(t *testing.T, w *world, raw []byte) int {
	t.Helper()
	after := b.p.outside("after")
	if b.p.wire == "udp" {
		if m := viaPort.FindSubmatch(raw); m != nil {
			b.listen(t, string(m[1]))
		}
		b.p.raw(string(raw))
		for range 3 { // each Call-ID has a worker: what is not answered when these are will not be
			after.send("OPTIONS", "")
			after.want("200 OPTIONS")
		}
		code := 0
		for end := time.Now().Add(settle); code == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
			code = b.find()
		}
		return code
	}
	c, err := net.DialTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(b.p.at.Addr(), 0)), net.TCPAddrFromAddrPort(b.p.tandem))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(raw); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(settle))
	text, buf := "", make([]byte, 65536)
	for {
		n, err := c.Read(buf)
		text += string(buf[:n])
		if code := finalIn(text); code != 0 || err != nil {
			return code
		}
	}
}

// settle is when a message that got no answer is taken for ignored. The answer to any other comes within milliseconds.
const settle = 300 * time.Millisecond

var status = regexp.MustCompile(`(?m)^SIP/2\.0 ([2-6]\d\d) `)

func finalIn(text string) int {
	m := status.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// find looks for an answer that nobody took yet.
func (b *postbox) find() int {
	select {
	case text := <-b.got:
		return finalIn(text)
	default:
	}
	m := b.p.take("final", func(m *message) bool {
		return !strings.HasPrefix(m.get("Call-ID"), "cid") // ours
	})
	if m == nil {
		return 0
	}
	return m.code()
}

// listen opens a port to which a Via sends answers.
func (b *postbox) listen(t *testing.T, port string) {
	n, _ := strconv.Atoi(port)
	if b.open[n] || n == 0 || n > 65535 {
		return
	}
	b.open[n] = true
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.p.at.Addr(), uint16(n))))
	if err != nil {
		t.Fatal(err)
	}
	b.p.t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 65536)
		for {
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if text := string(buf[:n]); finalIn(text) != 0 {
				b.got <- text
			}
		}
	}()
}
