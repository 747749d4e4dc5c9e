package topology

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// What peers have and say.
const (
	sipPort  = 5060
	echoPort = 6000     // of media, on peers that are called
	forever  = 3600_000 // ms: longer than any test
	brief    = 600      // ms of talking: 30 packets each way
	ringing  = 50       // ms from the 180 to the answer

	frame  = 160 // bytes of 20 ms
	spoken = "speech.ulaw"
)

// speech is what callers speak, again and again: frames that differ.
func speech() []byte {
	b := make([]byte, 50*frame)
	for i := range b {
		b[i] = byte(i*7 + i/frame*13)
	}
	return b
}

// part is how sipp is run.
type part struct {
	name      string            // in the test's words; default: the scenario's
	scenario  string            // file in scenarios/, without .xml
	transport string            // default udp
	port      uint16            // its SIP port
	to        netip.AddrPort    // whom it calls; the zero value: it waits to be called
	words     map[string]string // what takes the place of {{word}} in the scenario
	keys      map[string]string // and of [key]
	flags     []string          // beside those
}

// sipp is one run of it.
type sipp struct {
	*process
	h   *host
	at  netip.AddrPort
	dir string
}

// callers counts those that call: each has ports of its own.
var callers atomic.Uint32

// sipp starts sipp on the host. One that waits to be called is waited for until it listens.
func (h *host) sipp(p part) *sipp {
	h.t.Helper()
	if _, err := exec.LookPath("sipp"); err != nil {
		h.t.Fatal("sipp is not installed: apt-get install sip-tester")
	}
	if p.name == "" {
		p.name = p.scenario
	}
	if p.transport == "" {
		p.transport = "udp"
	}
	socket := map[string]string{"udp": "u1", "tcp": "t1"}[p.transport] // one socket, which all calls share
	dir, err := os.MkdirTemp(h.run, "sipp-")
	if err != nil {
		h.t.Fatal(err)
	}
	s := &sipp{h: h, at: netip.AddrPortFrom(h.addr, p.port), dir: dir}
	s.write(h.t, "scenario.xml", []byte(scenario(h.t, p.scenario, p.words)))
	s.write(h.t, spoken, speech())
	args := []string{
		"-sf", "scenario.xml", "-i", h.addr.String(), "-mi", h.addr.String(), "-p", fmt.Sprint(p.port), "-t", socket, "-nostdin",
		"-trace_msg", "-message_file", "messages", "-trace_err", "-error_file", "errors", "-trace_logs", "-log_file", "log",
		"-trace_screen", "-screen_file", "screen",
	}
	for key, value := range p.keys {
		args = append(args, "-key", key, value)
	}
	args = append(args, p.flags...)
	if p.to.IsValid() {
		args = append(args, p.to.String())
	}
	s.process = h.start(dir, p.name, nil, "sipp", args...)
	h.t.Cleanup(func() {
		if h.t.Failed() {
			h.t.Logf("%s, errors:\n%s\nlog:\n%s", s.Name, s.file("errors"), s.file("log"))
		}
	})
	if !p.to.IsValid() {
		await(h.t, s.Name+" listens", func() bool {
			if s.Ended() {
				h.t.Fatalf("%s ended: %v", s.Name, s.Err())
			}
			return h.bound(p.transport, p.port)
		})
	}
	return s
}

// word is a place in a scenario that a test fills.
var word = regexp.MustCompile(`\{\{[a-z]+\}\}`)

// scenario reads a scenario and fills its places; one that nobody fills is empty.
func scenario(t *testing.T, name string, words map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("scenarios", name+".xml"))
	if err != nil {
		t.Fatal(err)
	}
	return word.ReplaceAllStringFunc(string(text), func(w string) string { return words[strings.Trim(w, "{}")] })
}

func (s *sipp) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// file reads one of the files that it writes; one that is not there yet is empty.
func (s *sipp) file(name string) string {
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !os.IsNotExist(err) {
		s.T.Fatal(err)
	}
	return string(text)
}

// logged are the lines that begin with some words, without these.
func (s *sipp) logged(words string) (lines []string) {
	for line := range strings.Lines(s.file("log")) {
		line, whole := strings.CutSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line+" ", words+" "); ok && whole {
			lines = append(lines, strings.TrimSpace(rest))
		}
	}
	return lines
}

// logs waits until it has logged n lines that begin with some words, and returns what follows these.
func (s *sipp) logs(words string, n int) (lines []string) {
	s.T.Helper()
	await(s.T, fmt.Sprintf("%s logs %q, %d times", s.Name, words, n), func() bool {
		if lines = s.logged(words); len(lines) >= n {
			return true
		}
		if s.Ended() {
			if lines = s.logged(words); len(lines) >= n { // its last words
				return true
			}
			s.T.Fatalf("%s ended (%v) after it logged %q %d times, not %d", s.Name, s.Err(), words, len(lines), n)
		}
		return false
	})
	return lines
}

// prompt has sipp hang up a call of its own on UDP, or go on with what the header says: it takes any message with the call's
// Call-ID for the call's.
func (s *sipp) prompt(callID, header string) {
	s.T.Helper()
	s.h.must("prompt "+s.Name, func() error {
		conn, err := net.Dial("udp", s.at.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "INFO sip:prompt SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKprompt\r\nFrom: <sip:test>;tag=1\r\n"+
			"To: <sip:test>;tag=2\r\nCall-ID: %s\r\nCSeq: 1 INFO\r\n%s\r\nContent-Length: 0\r\n\r\n", conn.LocalAddr(), callID, header)
		return err
	})
}

// hangup has it hang up.
func (s *sipp) hangup(callID string) {
	s.T.Helper()
	s.prompt(callID, "Reason: Q.850;cause=16")
}

// echoLine is where sipp's screen says how many packets it echoed.
var echoLine = regexp.MustCompile(`(?m)^\s*(\d+) Total echo RTP pckts 1st stream`)

// stop ends a peer that is called, once its calls are over, and returns how many packets it says it has echoed.
func (s *sipp) stop() (echoed uint64) {
	s.T.Helper()
	s.Signal(syscall.SIGUSR2) // it writes its screen: at its end the counter is gone
	s.Signal(syscall.SIGUSR1)
	s.Finish()
	found := echoLine.FindAllStringSubmatch(s.file("screen"), -1)
	if len(found) == 0 {
		s.T.Fatalf("%s: its screen tells of no echo: %s", s.Name, s.file("screen"))
	}
	echoed, err := strconv.ParseUint(found[len(found)-1][1], 10, 64)
	if err != nil {
		s.T.Fatalf("%s: %v", s.Name, err)
	}
	return echoed
}

// gateway starts a peer that answers calls; part may say how it differs from one.
func (h *host) gateway(p part) *sipp {
	h.t.Helper()
	words := map[string]string{"ring": fmt.Sprint(ringing)}
	maps.Copy(words, p.words)
	p.words = words
	if p.scenario == "" {
		p.scenario = "gateway"
	}
	if p.port == 0 {
		p.port = sipPort
	}
	p.flags = append(p.flags, "-rtp_echo", "-mp", fmt.Sprint(echoPort))
	return h.sipp(p)
}

// dial is what a caller does.
type dial struct {
	called    string
	caller    string // default +4366012345
	to        netip.AddrPort
	transport string   // default udp
	hold      int      // ms of talking until it hangs up; default brief
	challenge string   // fragment that proves who calls; default: none
	flags     []string // -m and -r, for more than one call
}

// call starts a peer that calls.
func (h *host) call(d dial) *sipp {
	h.t.Helper()
	if d.caller == "" {
		d.caller = "+4366012345"
	}
	if d.hold == 0 {
		d.hold = brief
	}
	if len(d.flags) == 0 {
		d.flags = []string{"-m", "1"}
	}
	n := callers.Add(1) % 1000
	challenge := ""
	if d.challenge != "" {
		challenge = scenario(h.t, d.challenge, nil)
	}
	return h.sipp(part{
		name: "caller", scenario: "caller", transport: d.transport, port: uint16(10000 + n), to: d.to,
		words: map[string]string{"hold": fmt.Sprint(d.hold), "challenge": challenge},
		keys:  map[string]string{"called": d.called, "caller": d.caller},
		flags: append(d.flags, "-mp", fmt.Sprint(20000+4*n)),
	})
}
