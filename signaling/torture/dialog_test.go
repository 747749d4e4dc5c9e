package torture

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

var serial atomic.Int64

func branch() string { return fmt.Sprintf("z9hG4bKt%d", serial.Add(1)) }

// dialog is a peer's view of one dialog: enough to write its requests.
type dialog struct {
	p      *peer
	callID string
	local  string // From value of our requests
	remote string // To value
	target string // Request-URI inside the dialog
	routes []string
	seq    int

	branch    string // of the last INVITE
	inviteSeq int
	uri       string // Request-URI of that INVITE
}

// outside is a dialog that has not begun: the caller's of a call to a number.
func (p *peer) outside(number string) *dialog {
	n := serial.Add(1)
	return &dialog{p: p, callID: fmt.Sprintf("cid%d@%s.secret.example", n, p.name),
		local:  fmt.Sprintf(`"Caller" <sip:+4311111@%s.secret.example>;tag=%s%d`, p.name, p.name, n),
		remote: "<sip:" + number + "@dialled.secret.example>", target: "sip:" + number + "@" + p.tandem.String()}
}

// invite begins a call.
func (p *peer) invite(number, body string, extra ...string) *dialog {
	p.t.Helper()
	d := p.outside(number)
	d.invite(body, extra...)
	return d
}

// invite sends an INVITE, first or not.
func (d *dialog) invite(body string, extra ...string) {
	d.p.t.Helper()
	d.seq++
	d.inviteSeq, d.branch, d.uri = d.seq, branch(), d.target
	d.p.raw(d.text("INVITE", d.seq, d.branch, d.uri, body, extra...))
}

// text writes a request of the dialog. A header line in extra replaces ours of the same name; one without a value removes it.
func (d *dialog) text(method string, seq int, branch, uri, body string, extra ...string) string {
	lines := []string{
		fmt.Sprintf("Via: SIP/2.0/%s %s;rport;branch=%s", strings.ToUpper(d.p.wire), d.p.at, branch),
		"Max-Forwards: 70", "From: " + d.local, "To: " + d.remote, "Call-ID: " + d.callID, fmt.Sprintf("CSeq: %d %s", seq, method),
	}
	for _, r := range d.routes {
		lines = append(lines, "Route: "+r)
	}
	if method != "CANCEL" && method != "ACK" && method != "BYE" {
		lines = append(lines, "Contact: "+d.p.contact(), "User-Agent: "+d.p.name+"-secret")
	}
	for _, e := range extra {
		name, value, _ := strings.Cut(e, ":")
		lines = slices.DeleteFunc(lines, func(l string) bool {
			n, _, _ := strings.Cut(l, ":")
			return strings.EqualFold(n, name) && !strings.EqualFold(n, "Route")
		})
		if strings.TrimSpace(value) != "" {
			lines = append(lines, e)
		}
	}
	return text(method+" "+uri+" SIP/2.0", lines, body)
}

// answered takes tag, target and route set from a response that made or changed the dialog.
func (d *dialog) answered(res *message) *message {
	d.remote = res.get("To")
	if c := uriOf(res.get("Contact")); c != "" {
		d.target = c
	}
	return res
}

func (d *dialog) ack(body ...string) {
	d.p.t.Helper()
	d.p.raw(d.text("ACK", d.inviteSeq, branch(), d.target, strings.Join(body, "")))
}

// ackFailure acknowledges a failure: the same branch and Request-URI (RFC 3261 section 17.1.1.3).
func (d *dialog) ackFailure(res *message) *message {
	d.p.t.Helper()
	remote := d.remote
	d.remote = res.get("To")
	d.p.raw(d.text("ACK", d.inviteSeq, d.branch, d.uri, ""))
	d.remote = remote
	return res
}

func (d *dialog) cancel(extra ...string) {
	d.p.t.Helper()
	remote := d.remote
	d.remote, _, _ = strings.Cut(d.remote, ";tag=")
	if d.seq > 1 {
		d.remote = remote // inside a dialog
	}
	d.p.raw(d.text("CANCEL", d.inviteSeq, d.branch, d.uri, "", extra...))
	d.remote = remote
}

// send sends any other request inside the dialog.
func (d *dialog) send(method, body string, extra ...string) {
	d.p.t.Helper()
	d.seq++
	d.p.raw(d.text(method, d.seq, branch(), d.target, body, extra...))
}

// want waits for a message of this dialog.
func (d *dialog) want(what string) *message { d.p.t.Helper(); return d.p.of(d.callID, what) }

// failed waits for a failure of the INVITE and acknowledges it.
func (d *dialog) failed(code int) *message {
	d.p.t.Helper()
	res := d.want("final INVITE")
	d.ackFailure(res)
	if res.code() != code {
		d.p.t.Errorf("%s: %s, want %d", d.p.name, res.start, code)
	}
	return res
}

// established waits for the 200 and acknowledges it.
func (d *dialog) established(body ...string) *message {
	d.p.t.Helper()
	res := d.want("final INVITE")
	if res.code() != 200 {
		d.ackFailure(res)
		d.p.t.Fatalf("%s: %s, want 200", d.p.name, res.start)
	}
	d.answered(res)
	d.ack(body...)
	return res
}

// called is the dialog of somebody who was called, from the INVITE and the tag that the answers carry.
func (p *peer) called(invite *message, tag string) *dialog {
	d := &dialog{p: p, callID: invite.get("Call-ID"), local: invite.get("To") + ";tag=" + tag,
		remote: invite.get("From"), target: uriOf(invite.get("Contact")), seq: 100}
	return d
}

// reply answers a request.
func (d *dialog) reply(req *message, status, body string, extra ...string) {
	d.p.t.Helper()
	d.p.reply(req, status, tagOf(d.local), body, extra...)
}

// talk is an answered call between two peers, with their media.
type talk struct {
	w      *world
	a, b   *dialog
	invite *message // as the callee got it
	ok     *message // 200 as the caller got it
	ack    *message // as the callee got it
	ea, eb *ear     // media of the caller and of the callee
	ra, rb string   // where tandem wants their media: address and port
	told   string   // tandem's key towards alice
}

// call places a plain call that bob answers.
func (w *world) call() *talk {
	w.t.Helper()
	return w.callWith(nil, nil)
}

// callWith places a call whose offer and answer a test may change.
func (w *world) callWith(offer, answer func(string) string, extra ...string) *talk {
	w.t.Helper()
	k := w.ears()
	change := func(f func(string) string, body string) string {
		if f != nil {
			return f(body)
		}
		return body
	}
	k.a = w.alice.invite("+4312345", change(offer, k.ea.sdp()), extra...)
	k.invite = w.bob.next("INVITE")
	k.b = w.bob.called(k.invite, "bobtag"+strconv.FormatInt(serial.Add(1), 10))
	k.b.reply(k.invite, "180 Ringing", "")
	k.a.want("180")
	k.b.reply(k.invite, "200 OK", change(answer, k.eb.sdp()))
	k.joined()
	return k
}

// ears opens the media of a call of alice's to bob.
func (w *world) ears() *talk {
	w.t.Helper()
	return &talk{w: w, ea: listen(w.t, w.alice.at.Addr(), 0xaaaa0001), eb: listen(w.t, w.bob.at.Addr(), 0xbbbb0001)}
}

// joined waits until both sides have what makes a call of the answer that bob gave.
func (k *talk) joined() {
	k.w.t.Helper()
	k.ack = k.b.want("ACK")
	k.ok = k.a.established()
	k.ra, k.rb = media(k.w.t, k.ok.body), media(k.w.t, k.invite.body)
}

// hear asserts that media flows both ways.
func (k *talk) hear() {
	k.w.t.Helper()
	k.ea.tell(k.ra, k.eb)
	k.eb.tell(k.rb, k.ea)
}

// reach waits until media flows both ways.
func (k *talk) reach() {
	k.w.t.Helper()
	k.ea.reach(k.ra, k.eb)
	k.eb.reach(k.rb, k.ea)
}

// hangUp ends the call from the caller's side.
func (k *talk) hangUp() {
	k.w.t.Helper()
	k.a.send("BYE", "")
	k.a.want("200 BYE")
	k.b.reply(k.b.want("BYE"), "200 OK", "")
}

// over asserts that the call can be heard and ends well.
func (k *talk) over() {
	k.w.t.Helper()
	k.hear()
	k.hangUp()
}

// modify sends a re-INVITE of one side, lets the other answer it, and returns what the other was offered and what the one got.
func (k *talk) modify(from *dialog, offer, answer string) (offered, got *message) {
	k.w.t.Helper()
	to := k.b
	if from == k.b {
		to = k.a
	}
	from.invite(offer)
	offered = to.want("INVITE")
	to.reply(offered, "200 OK", answer)
	to.want("ACK")
	got = from.established()
	return offered, got
}
