package peers

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// silenceTimeout is media.timeouts.running of these tests; a hold must outlast it.
const silenceTimeout = time.Second

// chatter sends from both ends until the returned function is called or the test ends.
func (c *call) chatter() (stop func()) {
	return until(c.t, func(int) {
		c.callerEar.say(c.callerRelay)
		c.calleeEar.say(c.calleeRelay)
	})
}

// flows waits until some more packets have come through to an ear.
func flows(t *testing.T, e *ear) {
	t.Helper()
	before := len(e.all())
	await(t, "media flows", func() bool { return len(e.all()) > before+5 })
}

// hold has the caller send its nth re-INVITE, with CSeq number n+1, and waits until both ends agree.
func (c *call) hold(nth int, direction, agreed string) {
	c.t.Helper()
	c.caller.prompt("NOTIFY", c.callerCall, nth+1, direction)
	if got := c.caller.logged("agreed", nth); got[0] != agreed {
		c.t.Errorf("re-INVITE with %s was answered with %s, want %s", direction, got[0], agreed)
	}
	if got := c.callee.logged("offered", nth); got[0] != direction {
		c.t.Errorf("re-INVITE with %s reached the far side with %s", direction, got[0])
	}
}

func TestHeldCallIsSilentOutlastsTheMediaTimeoutAndResumes(t *testing.T) {
	g := newGateway(t, somewhere(), "udp", "udp")
	g.config["media"].(object)["timeouts"] = object{"running": silenceTimeout.String()}
	c := connect(t, g)
	stop := c.chatter()
	flows(t, c.callerEar)
	flows(t, c.calleeEar)

	c.hold(1, "sendonly", "recvonly") // music on hold: the one way goes on
	quiet := len(c.callerEar.all())
	flows(t, c.calleeEar)
	if got := len(c.callerEar.all()); got > quiet+1 { // one may have been on its way
		t.Errorf("%d packets reached the caller while it was only sending", got-quiet)
	}

	c.hold(2, "inactive", "inactive")
	held := c.relay().drops("held")
	long := 2 * int(2*silenceTimeout/frameTime) // packets of both sides in twice the timeout
	await(t, "the relay counts held packets for longer than the media timeout", func() bool {
		return c.relay().drops("held") >= held+float64(long)
	})

	c.hold(3, "sendrecv", "sendrecv")
	flows(t, c.callerEar)
	flows(t, c.calleeEar)
	stop()
	c.settles()
	gaps(t, "caller to callee", c.calleeEar.all(), len(c.callerEar.sent), long/2)
	gaps(t, "callee to caller", c.callerEar.all(), len(c.calleeEar.sent), long/2)
	c.caller.prompt("INFO", c.callerCall, 5, "")
	c.ended("uc", "gw", 200, 1)
	c.over()
}

// settles waits until the relay has counted all that was sent, and asserts that what did not arrive was held.
func (c *call) settles() {
	c.t.Helper()
	sent := float64(len(c.callerEar.sent) + len(c.calleeEar.sent))
	await(c.t, "all packets are counted", func() bool { return c.relay()[`tandem_relay_packets_total{direction="in"}`] == sent })
	s := c.addsUp()
	await(c.t, "all forwarded packets have arrived", func() bool {
		return float64(len(c.callerEar.all())+len(c.calleeEar.all())) == s[`tandem_relay_packets_total{direction="out"}`]
	})
	if other := s.sum("tandem_relay_drops_total") - s.drops("held"); other != 0 {
		c.t.Errorf("%v packets were dropped for another reason than the hold: %v", other, s.media())
	}
}

// gaps asserts that what one end sent arrived in order with exactly one gap, as long as the hold at least, and to the last.
func gaps(t *testing.T, way string, heard [][]byte, sent, least int) {
	t.Helper()
	count, next, first := 0, uint16(0), uint16(0)
	for i, p := range heard {
		seq := binary.BigEndian.Uint16(p[2:])
		if i == 0 {
			first, next = seq, seq
		}
		if missing := int(seq - next); missing != 0 {
			if count++; missing < least {
				t.Errorf("%s: a gap of %d packets, the hold was at least %d", way, missing, least)
			}
		}
		next = seq + 1
	}
	if count != 1 {
		t.Errorf("%s: %d gaps, want 1", way, count)
	}
	if got := int(next - first); got != sent {
		t.Errorf("%s: the last packets did not arrive: %d of %d", way, got, sent)
	}
}

func TestSilenceThatNobodyAskedForEndsTheCallOnBothSides(t *testing.T) {
	g := newGateway(t, somewhere(), "udp", "udp")
	g.config["media"].(object)["timeouts"] = object{"running": silenceTimeout.String()}
	c := connect(t, g)
	c.talk(10)
	c.caller.logged("released", 1)
	c.callee.logged("released", 1)
	for _, s := range []*sipp{c.caller, c.callee} {
		if all := s.messages("received"); !strings.HasPrefix(all[len(all)-1], "BYE ") {
			t.Errorf("%s: the last message is no BYE:\n%s", s.Name, all[len(all)-1])
		}
	}
	c.ended("uc", "gw", 200, 1)
	c.over()
}
