package b2bua

import (
	"strings"
	"testing"
)

func TestCancelOfARefreshThatWasJustAnsweredLeavesTheOldAddress(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	k.a.other("OPTIONS", "")
	w.caller.next("200 OPTIONS") // so the ACK before it was read
	busy := make(chan bool)
	w.b.all()[0].postOwn(func() { <-busy })
	k.b.invite(sdpOf("198.51.100.99", 6900, ""))
	eventually(t, "the re-INVITE to wait", func() bool { return w.b.all()[0].box.len() == 1 })
	k.b.cancel()
	k.b.ackFailure(w.gw1.next("487"))
	eventually(t, "the CANCEL to wait", func() bool { return w.b.all()[0].box.len() == 2 })
	close(busy)
	w.caller.reply(w.caller.next("INVITE"), "200 OK", "", sdpOf("192.0.2.10", 5000, ""))
	w.caller.next("ACK")
	eventually(t, "the relay to send where the peer is", func() bool { return w.relay.leg(t, "b").Remote == "198.51.100.20:6000" })
	k.hangUp()
}

// TestCancelOfAReinviteThatTheOtherSideJustTookPutsItBack has the stack answer the CANCEL with its 487 while the call is still busy
// with the other side's 200: one side would have a fax then, the other one audio.
func TestCancelOfAReinviteThatTheOtherSideJustTookPutsItBack(t *testing.T) {
	for name, body := range map[string]string{"a fax": faxOf("198.51.100.20", 6002), "hold": sdpOf("198.51.100.20", 6000, "a=sendonly\r\n")} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, passing)
			k := w.call()
			k.b.invite(body)
			inv := w.caller.next("INVITE")
			busy := make(chan bool)
			w.b.all()[0].postOwn(func() { <-busy })
			answer := sdpOf("192.0.2.10", 5000, "a=recvonly\r\n")
			if name == "a fax" {
				answer = faxOf("192.0.2.10", 5002)
			}
			w.caller.reply(inv, "200 OK", "", answer)
			eventually(t, "the 200 to wait", func() bool { return w.b.all()[0].box.len() == 1 })
			k.b.cancel()
			k.b.ackFailure(w.gw1.next("487"))
			eventually(t, "the CANCEL to wait", func() bool { return w.b.all()[0].box.len() == 2 })
			close(busy)
			w.caller.next("ACK")
			back := w.caller.next("INVITE")
			if f := strings.Fields(line(back.body, "m=audio ")); len(f) < 3 || f[0] != "40000" || strings.Contains(back.body, "a=sendonly") {
				t.Errorf("put back:\n%s", back.body)
			}
			w.caller.reply(back, "200 OK", "", sdpOf("192.0.2.10", 5000, ""))
			w.caller.next("ACK")
			eventually(t, "the relay to carry audio", func() bool {
				b := w.relay.leg(t, "b")
				return w.relay.kind() != "opaque" && b.Remote == "198.51.100.20:6000" && b.Direction == "sendrecv"
			})
			k.hangUp()
		})
	}
}
