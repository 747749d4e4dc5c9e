package topology

import (
	"fmt"
	"testing"

	"tandem/signaling/b2bua"
)

// least is how many packets each side of a brief call says at least. It would be 30, but sipp on a busy machine begins late.
const least = 5

// peer is who may be called: its part, and how many packets all calls together were sent.
type peer struct {
	*sipp
	sent uint64
}

// carries has a host call a number by one of the node's listeners, and asserts what becomes of it: at both ends, on the wire
// and in the record.
func (n *node) carries(from *host, d dial, callee *peer, want story) {
	n.T.Helper()
	heard := from.heard()
	if !d.to.IsValid() {
		d.to = n.sip(sipPort)
	}
	caller := from.call(d)
	caller.Finish()
	want.called = d.called
	if want.to == "" {
		refused := caller.logs(fmt.Sprint("refused ", want.code), 1)
		n.tells(refused[0], want)
		return
	}
	r := n.tells(caller.logs("hung-up", 1)[0], want)
	if n.T.Failed() {
		return
	}
	callee.logs("released "+r.CallIDB, 1)
	callee.sent += r.Media[1].Sent
	if got := from.heard() - heard; got < r.Media[0].Sent {
		n.T.Errorf("%s was sent %d packets of media, and %d packets reached it", from.name, r.Media[0].Sent, got)
	}
}

// secure is the suite of every phone.
const secure = "AES_CM_128_HMAC_SHA1_80"

// carriesToPhone has a host call a number by the node's first listener; a phone is called, answers and hangs up.
func (n *node) carriesToPhone(from *host, d dial, callee *handset, want story) {
	n.T.Helper()
	d.to, d.hold = n.sip(sipPort), forever
	caller := from.call(d)
	callee.do(order{Do: "talk", MS: brief, Other: true, Count: 1})
	callee.do(order{Do: "hangup", Count: 1})
	caller.Finish()
	want.called, want.by, want.cause = d.called, "callee", 0
	r := n.tells(caller.logs("released", 1)[0], want)
	if suite := r.Media[1].RXSuite; suite != secure {
		n.T.Errorf("the phone's media came with %s, want %s", suite, secure)
	}
}

// carriesFromPhone has a phone call a number by the node's TLS listener.
func (n *node) carriesFromPhone(from *handset, called string, callee *peer, want story) {
	n.T.Helper()
	want.called = called
	dialled := from.do(order{Do: "dial", Called: called, To: n.sip(tlsPort)})
	if want.to == "" {
		if dialled.Code != want.code {
			n.T.Errorf("%s was refused with %d, want %d", from.Name, dialled.Code, want.code)
		}
		r := n.find("of the refusal", func(r *b2bua.CallRecord) bool { return r.From == want.from && r.Called == called })
		n.agrees(&r, want)
		return
	}
	want.cause = 0 // the phone tells none
	from.do(order{Do: "talk", MS: brief, Other: true})
	from.do(order{Do: "hangup"})
	r := n.tells(dialled.IDs[0], want)
	callee.logs("released "+r.CallIDB, 1)
	callee.sent += r.Media[1].Sent
	if suite := r.Media[0].RXSuite; suite != secure {
		n.T.Errorf("the phone's media came with %s, want %s", suite, secure)
	}
}

// balanced ends the peers that were called: each has echoed what the nodes say that they sent it.
func balanced(t *testing.T, peers ...*peer) {
	t.Helper()
	for _, p := range peers {
		if echoed := p.stop(); echoed != p.sent {
			t.Errorf("%s echoed %d packets, and was sent %d", p.Name, echoed, p.sent)
		}
	}
}

// through is the story of a call that the first trunk takes and the caller ends.
func through(from, to string) story {
	return story{
		from: from, to: to, code: 200, cause: 16, by: "caller", why: "BYE",
		tried: []try{{trunk: to, code: 200}}, talked: least,
	}
}

// refused is that of one that no route lets pass.
func refused(from string, code, cause int, why string) story {
	return story{from: from, code: code, cause: cause, by: "tandem", why: why}
}
