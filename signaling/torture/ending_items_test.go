package torture

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// openTwo starts the planes as two services.
func (w *world) openTwo() (relay, sip *process) {
	w.t.Helper()
	file := w.file()
	relay = w.start("relay", "relay", "-c", file)
	relay.Says("relay ready")
	sip = w.start("sip", "sip", "-c", file)
	sip.Says("sip ready")
	sip.Says("relay connected")
	w.main, w.more = sip, append(w.more, relay)
	w.t.Cleanup(w.clean)
	return relay, sip
}

func TestT35_Ending(t *testing.T) {
	t.Parallel()
	t.Run("the relay is restarted in mid-call", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		relay, sip := w.openTwo()
		w.dirty = true
		k := w.call()
		k.hear()
		relay.Kill()
		again := w.start("relay2", "relay", "-c", filepath.Join(w.dir, "tandem.yaml"))
		again.Says("relay ready")
		sip.SaysTimes("relay connected", 2)
		// The call is put back where it was, or ended on both sides: what it may not do is stay without media.
		for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			p, q := k.ea.say(k.ra), k.eb.say(k.rb)
			for d, o := range map[*dialog]*peer{k.a: w.alice, k.b: w.bob} {
				if m := o.take("INVITE", nil); m != nil {
					own := k.ea
					if d == k.b {
						own = k.eb
					}
					d.reply(m, "200 OK", own.sdp())
				}
			}
			if bye := w.alice.take("BYE", nil); bye != nil {
				w.alice.reply(bye, "200 OK", "", "")
				k.b.reply(k.b.want("BYE"), "200 OK", "")
				break
			}
			if k.eb.has(p) && k.ea.has(q) {
				k.hangUp()
				break
			}
			if time.Now().After(end) {
				t.Fatal("the call has neither media nor an end")
			}
		}
		w.call().over()
		w.idle()
	})
	t.Run("the control socket is cut while a call is set up", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		relay, sip := w.openTwo()
		w.dirty = true
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp())
		k.invite = w.bob.next("INVITE")
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "180 Ringing", "")
		k.a.want("180")
		relay.Kill()
		sip.Says("relay lost")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.b.want("ACK")
		k.b.reply(k.b.want("BYE"), "200 OK", "")
		if res := k.a.want("final INVITE"); res.code()/100 != 5 {
			t.Errorf("%s", res.start)
		} else {
			k.a.ackFailure(res)
		}
		a := w.alice.invite("+4312345", k.ea.sdp())
		if res := a.want("final INVITE"); res.code()/100 != 5 {
			t.Errorf("without a relay: %s", res.start)
		} else {
			a.ackFailure(res)
		}
		w.start("relay2", "relay", "-c", filepath.Join(w.dir, "tandem.yaml")).Says("relay ready")
		sip.SaysTimes("relay connected", 2)
		w.call().over()
		w.idle()
	})
	t.Run("no port is left", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.config["media"].(object)["networks"].(object)["inside"].(object)["ports"] = "31000-31003"
		w.config["media"].(object)["ports"] = object{"prefer": "1s", "never": "1s"}
		w.open()
		one, two := w.call(), w.call()
		a := w.alice.invite("+4312345", w.ears().ea.sdp())
		if res := a.want("final INVITE"); res.code() != 503 {
			t.Errorf("%s", res.start)
		} else {
			a.ackFailure(res)
		}
		one.over()
		two.over()
		await(t, "the ports can be had again", func() bool { // once they have rested
			b := w.alice.invite("+4312345", w.ears().ea.sdp())
			if inv := w.bob.takeSoon("INVITE", b); inv != nil {
				w.bob.reply(inv, "486 Busy Here", "x", "")
			}
			res := b.want("final INVITE")
			b.ackFailure(res)
			return res.code() == 486
		})
		w.call().over()
	})
	t.Run("the Call-ID of another call", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.call()
		other := w.ears()
		d := w.alice.outside("+4312346")
		d.callID = k.a.callID
		d.invite(other.ea.sdp())
		inv := w.bob.next("INVITE")
		if inv.get("Call-ID") == k.invite.get("Call-ID") {
			t.Error("two calls have one Call-ID at the callee")
		}
		other.b = w.bob.called(inv, "bobtag2")
		other.b.reply(inv, "200 OK", other.eb.sdp())
		other.b.want("ACK")
		ok := w.alice.match("200 INVITE", func(m *message) bool { return tagOf(m.get("From")) == tagOf(d.local) })
		d.answered(ok)
		d.ack()
		other.a, other.ra, other.rb = d, media(t, ok.body), media(t, inv.body)
		other.hear()
		k.hear()
		d.send("BYE", "")
		w.alice.match("200 BYE", func(m *message) bool { return tagOf(m.get("From")) == tagOf(d.local) })
		other.b.reply(other.b.want("BYE"), "200 OK", "")
		k.over()
	})
	t.Run("the process stands still, and its clock jumps", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		w.config["media"].(object)["timeouts"] = object{"initial": "1s", "running": "1s"}
		w.open()
		k := w.call()
		k.hear()
		w.main.Signal(syscall.SIGSTOP)
		standing := time.After(1500 * time.Millisecond)
		for resting := true; resting; { // beyond every media timeout, with media all the time
			k.ea.say(k.ra)
			k.eb.say(k.rb)
			select {
			case <-standing:
				resting = false
			case <-time.After(20 * time.Millisecond):
			}
		}
		w.main.Signal(syscall.SIGCONT)
		k.reach()
		if n := w.alice.had("BYE") + w.bob.had("BYE"); n != 0 {
			t.Errorf("a jump of the clock ended the call: %s", strings.Join(w.alice.all(), ""))
		}
		k.over()
	})
	t.Run("the signaling plane ends", func(t *testing.T) {
		w := newWorld(t, "udp", "udp")
		_, sip := w.openTwo()
		w.dirty = true
		k := w.call()
		k.hear()
		sip.Signal(syscall.SIGTERM)
		w.alice.reply(k.a.want("BYE"), "200 OK", "", "")
		k.b.reply(k.b.want("BYE"), "200 OK", "")
		<-sip.Done()
		if c, err := net.Dial("unix", filepath.Join(w.dir, "relay.sock")); err != nil {
			t.Errorf("the relay is gone too: %v", err)
		} else {
			c.Close()
		}
		await(t, "no session is left", func() bool { return w.relay()["tandem_relay_sessions"] == 0 })
	})
}

// takeSoon waits until a call reached the peer or was refused; nil: refused.
func (p *peer) takeSoon(what string, d *dialog) (m *message) {
	p.t.Helper()
	await(p.t, "the call is taken or refused", func() bool {
		m = p.take(what, nil)
		return m != nil || d.p.had("final INVITE") > 0 && d.p.peek(d.callID, "final INVITE")
	})
	return m
}

// peek reports a message that nobody took yet.
func (p *peer) peek(callID, what string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.seen {
		if !m.taken && m.is(what) && m.get("Call-ID") == callID {
			return true
		}
	}
	return false
}
