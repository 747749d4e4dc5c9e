package peers

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// sipp is one run of it: a scenario at an address.
type sipp struct {
	*process
	at  netip.AddrPort
	dir string
}

// transportFlags are sipp's: one socket, on which all calls share.
var transportFlags = map[string]string{"udp": "u1", "tcp": "t1"}

// plan says how sipp is run.
type plan struct {
	name      string // in the test's words
	scenario  string // file in scenarios/
	transport string
	at        netip.AddrPort // its own SIP address
	to        netip.AddrPort // tandem's; the zero value: it waits to be called
	audio     netip.AddrPort // where its SDP says that it listens
	media     string         // actions in place of the scenario's media mark
	files     map[string][]byte
	flags     []string // beside those
}

// mediaMark is the place in a scenario where a test may put media of sipp's own.
const mediaMark = "<!-- media -->"

// play starts sipp for one call; flags may make it more. A called one is waited for until it listens.
func play(t *testing.T, p plan) *sipp {
	t.Helper()
	s := &sipp{process: &process{T: t}, at: p.at, dir: t.TempDir()}
	scenario, err := os.ReadFile(filepath.Join("scenarios", p.scenario))
	if err != nil {
		t.Fatal(err)
	}
	s.write("scenario.xml", bytes.Replace(scenario, []byte(mediaMark), []byte(p.media), 1))
	for name, content := range p.files {
		s.write(name, content)
	}
	family := "4"
	if p.at.Addr().Is6() {
		family = "6"
	}
	args := []string{
		"-sf", "scenario.xml", "-i", p.at.Addr().String(), "-mi", p.at.Addr().String(), "-p", fmt.Sprint(p.at.Port()), "-t", transportFlags[p.transport], "-nostdin", "-m", "1",
		"-trace_msg", "-message_file", "messages", "-trace_err", "-error_file", "errors", "-trace_logs", "-log_file", "log",
		"-key", "family", family, "-key", "audio_ip", p.audio.Addr().String(), "-key", "audio_port", fmt.Sprint(p.audio.Port()),
	}
	args = append(args, p.flags...)
	if p.to.IsValid() {
		args = append(args, p.to.String())
	}
	s.process = start(t, s.dir, "sipp "+p.name, "sipp", args...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("sipp %s, errors:\n%s\nmessages:\n%s", p.name, s.file("errors"), s.file("messages"))
		}
	})
	if !p.to.IsValid() {
		await(t, "sipp "+p.name+" listens", func() bool {
			if s.Ended() {
				t.Fatalf("sipp %s ended: %v", p.name, s.Err())
			}
			return bound(t, p.transport, p.at)
		})
	}
	return s
}

// write puts a file where sipp runs.
func (s *sipp) write(name string, content []byte) {
	s.T.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		s.T.Fatal(err)
	}
}

// file reads one of the files it writes; one that is not there yet is empty.
func (s *sipp) file(name string) string {
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !os.IsNotExist(err) {
		s.T.Fatal(err)
	}
	return string(text)
}

// logged waits for a line that the scenario logs, and returns the words after the first.
func (s *sipp) logged(first string, nth int) []string {
	s.T.Helper()
	var words []string
	await(s.T, fmt.Sprintf("%s logs %q, %d", s.Name, first, nth), func() bool {
		n := 0
		for line := range strings.Lines(s.file("log")) {
			if w := strings.Fields(line); strings.HasSuffix(line, "\n") && len(w) > 0 && w[0] == first {
				if n++; n == nth {
					words = w[1:]
					return true
				}
			}
		}
		if s.Ended() && s.Err() != nil {
			s.T.Fatalf("%s ended (%v) before it logged %q", s.Name, s.Err(), first)
		}
		return false
	})
	return words
}

// prompt tells the scenario of a call what to do next: sipp takes any message with the call's Call-ID for the call's, so an
// INFO from nobody means "hang up", a NOTIFY "send a re-INVITE". With UDP only. seq is the CSeq number of what it is to send.
func (s *sipp) prompt(method, callID string, seq int, direction string) {
	s.T.Helper()
	conn, err := net.Dial("udp", s.at.String())
	if err != nil {
		s.T.Fatal(err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s sip:prompt SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d\r\nFrom: <sip:test>;tag=1\r\nTo: <sip:test>;tag=2\r\n"+
		"Call-ID: %s\r\nCSeq: 1 %s\r\nX-Seq: %d\r\nX-Direction: %s\r\nContent-Length: 0\r\n\r\n",
		method, conn.LocalAddr(), method, seq, callID, method, seq, direction)
	if err != nil {
		s.T.Fatal(err)
	}
}

// traced finds the messages in a trace of sipp: what was received or sent, and the bytes.
var traced = regexp.MustCompile(`(?m)^(?:UDP|TCP|TLS) message (received|sent) .*\n\n`)

// messages returns the SIP messages that sipp sent or received.
func (s *sipp) messages(which string) []string {
	s.T.Helper()
	text := s.file("messages")
	var found []string
	marks := traced.FindAllStringSubmatchIndex(text, -1)
	for i, m := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		body := text[m[1]:end]
		if j := strings.LastIndex(body, "\n-----------------------------------------------"); j >= 0 {
			body = body[:j]
		}
		if text[m[2]:m[3]] == which {
			found = append(found, body)
		}
	}
	return found
}
