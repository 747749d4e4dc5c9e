package peers

import (
	"strings"
	"testing"
)

func TestNothingOfOneSideIsInTheBytesOfTheOther(t *testing.T) {
	c := connect(t, newGateway(t, somewhere(), "udp", "tcp"))
	c.hold(1, "inactive", "inactive")
	c.hold(2, "sendrecv", "sendrecv")
	c.caller.prompt("INFO", c.callerCall, 4, "")
	c.over()
	secrets := func(s *sipp, canary string, own, ours string) []string {
		said := strings.Join(s.messages("sent"), "")
		origin := canary + "user 770"
		for _, must := range []string{canary, origin, own} {
			if !strings.Contains(said, must) {
				t.Fatalf("%s never said %q: nothing is proven", s.Name, must)
			}
		}
		return []string{canary, own, ours, "770101", "770202"}
	}
	place := c.place
	outside := secrets(c.caller, "acanary", place.caller.String(), place.outer.String())
	inside := secrets(c.callee, "bcanary", place.callee.String(), place.inner.String())
	search(t, c.callee, append(outside, c.callerCall), 5) // INVITE, ACK, two of each again, and BYE
	search(t, c.caller, append(inside, c.calleeCall), 6)  // 100, 180, 200, two of those again, 200 to the BYE
}

// search asserts that none of the words is in what a peer received, of which there were so many messages at least.
func search(t *testing.T, s *sipp, words []string, least int) {
	t.Helper()
	all := s.messages("received")
	if len(all) < least {
		t.Errorf("%s received only %d messages: %q", s.Name, len(all), all)
	}
	for _, m := range all {
		for _, w := range words {
			if strings.Contains(strings.ToLower(m), strings.ToLower(w)) {
				t.Errorf("%s received %q of the other side:\n%s", s.Name, w, m)
			}
		}
	}
}
