package torture

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// sdp is the body of an ordinary endpoint.
func (e *ear) sdp() string { return body(e, "RTP/AVP", "0 8 101") }

// body writes one with a profile and formats. The names in it are the endpoint's own business.
func body(e *ear, profile, formats string, extra ...string) string {
	family := "IP4"
	if e.at().Addr().Is6() {
		family = "IP6"
	}
	a := e.at().Addr()
	s := fmt.Sprintf("v=0\r\no=secretuser 42 1 IN %s %s\r\ns=secret session\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d %s %s\r\n"+
		"a=rtpmap:0 PCMU/8000\r\n", family, a, family, a, e.port(), profile, formats)
	if strings.Contains(" "+formats+" ", " 101 ") {
		s += "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
	}
	return s + strings.Join(extra, "")
}

// line is the first line of a body with this prefix, without it.
func line(body, prefix string) string {
	if all := lines(body, prefix); len(all) > 0 {
		return all[0]
	}
	return ""
}

// lines are all of them.
func lines(body, prefix string) (all []string) {
	for l := range strings.SplitSeq(body, "\r\n") {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			all = append(all, rest)
		}
	}
	return all
}

// media is where a body wants audio: that of its first m=audio that has a port, with the c= of the media if it has one.
func media(t *testing.T, body string) string {
	t.Helper()
	_, audio, ok := strings.Cut(body, "m=audio ")
	for ok && strings.HasPrefix(audio, "0 ") && strings.Contains(audio, "m=audio ") { // refused: another one holds
		_, audio, ok = strings.Cut(audio, "m=audio ")
	}
	if !ok {
		t.Fatalf("no audio in\n%s", body)
	}
	port, _, _ := strings.Cut(audio, " ")
	if n, err := strconv.Atoi(port); err != nil || n == 0 {
		t.Fatalf("audio is at port %q in\n%s", port, body)
	}
	section, _, _ := strings.Cut(audio, "\r\nm=")
	c := line(section, "c=IN ")
	if c == "" {
		c = line(body, "c=IN ")
	}
	fields := strings.Fields(c)
	if len(fields) != 2 {
		t.Fatalf("no c= line in\n%s", body)
	}
	return net.JoinHostPort(fields[1], port)
}

// version is the session version of o=, session its id.
func version(body string) int {
	if f := strings.Fields(line(body, "o=")); len(f) > 2 {
		n, _ := strconv.Atoi(f[2])
		return n
	}
	return -1
}

// direction is the direction of the audio.
func direction(body string) string {
	for _, d := range []string{"sendonly", "recvonly", "inactive"} {
		if strings.Contains(body, "a="+d+"\r\n") {
			return d
		}
	}
	return "sendrecv"
}

func itoa(n int) string { return strconv.Itoa(n) }
