package b2bua

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// Session timers (RFC 4028).
const (
	leastInterval = 90 * time.Second // Min-SE: no shorter one is accepted (section 4)
	ownInterval   = 30 * time.Minute // asked for where session_timer is on (Lync: EnableSessionTimer)
	longest       = 24 * time.Hour   // of what a peer asks for: beyond it nothing would be noticed
	expiryMargin  = 32 * time.Second // a call without a refresh is ended so much before the end, or a third (section 10)
)

// sessionTimer is what was agreed with one peer about proving that the session lives.
type sessionTimer struct {
	every time.Duration // 0: nothing
	ours  bool          // we refresh
	least time.Duration // the peer's Min-SE, if it told one

	next, end *deadline
}

// interval reads Session-Expires; false without a valid one.
func interval(m sip.Message) (d time.Duration, refresher string, ok bool) {
	list := named(m, "Session-Expires")
	if len(list) == 0 {
		return 0, "", false
	}
	first, rest, _ := strings.Cut(list[0], ";")
	n, err := strconv.ParseUint(strings.TrimSpace(first), 10, 31)
	if err != nil || n == 0 {
		return 0, "", false
	}
	for p := range strings.SplitSeq(rest, ";") {
		if k, v, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(k), "refresher") {
			refresher = strings.ToLower(strings.TrimSpace(v))
		}
		if refresher != "uac" && refresher != "uas" { // it is written back: what is no word of RFC 4028 is none at all
			refresher = ""
		}
	}
	return min(time.Duration(n)*time.Second, longest), refresher, true
}

// leastOf reads Min-SE; 0 without one.
func leastOf(m sip.Message) time.Duration {
	for _, v := range values(m, "Min-SE") {
		v, _, _ = strings.Cut(v, ";")
		if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31); err == nil {
			return min(time.Duration(n)*time.Second, longest)
		}
	}
	return 0
}

func writeInterval(m sip.Message, d time.Duration, refresher string) {
	v := strconv.Itoa(int(d / time.Second))
	if refresher != "" {
		v += ";refresher=" + refresher
	}
	m.AppendHeader(sip.NewHeader("Session-Expires", v))
}

// wantsTimer reports a trunk on which we start session timers.
func wantsTimer(p *config.Trunk) bool { return p.SessionTimer == config.TimerOn }

// begin asks for a timer in the INVITE that begins a dialog.
func (t *sessionTimer) begin(req *sip.Request, policy *config.Trunk) {
	if wantsTimer(policy) || t.least > 0 {
		writeInterval(req, max(ownInterval, t.least), "")
	}
	if t.least > 0 {
		req.AppendHeader(sip.NewHeader("Min-SE", strconv.Itoa(int(t.least/time.Second))))
	}
}

// ask repeats what was agreed in a request inside the dialog: each one is a refresh.
func (t *sessionTimer) ask(req *sip.Request) {
	if t.every == 0 {
		return
	}
	refresher := "uas"
	if t.ours {
		refresher = "uac"
	}
	writeInterval(req, t.every, refresher)
	if t.least > 0 {
		req.AppendHeader(sip.NewHeader("Min-SE", strconv.Itoa(int(t.least/time.Second))))
	}
}

// raise takes the Min-SE of a 422. False: it asks for nothing that we did not offer already.
func (t *sessionTimer) raise(res *sip.Response) bool {
	least := leastOf(res)
	if least <= t.least {
		return false
	}
	t.least = least
	if t.every > 0 {
		t.every = max(t.every, least)
	}
	return true
}

// timerAllows refuses a request whose session interval is too short (section 9).
func (c *call) timerAllows(l *leg, s *served) bool {
	every, _, ok := interval(s.in.Req)
	if !ok || every >= leastInterval || !l.can.timer {
		return true
	}
	c.rejectServed(l, s, 422, "session interval of "+every.String(), func(res *sip.Response) {
		res.AppendHeader(sip.NewHeader("Min-SE", strconv.Itoa(int(leastInterval/time.Second))))
	})
	return false
}

// agreeTimer answers what a request of a peer says about the timer, in its 2xx (section 9). A peer that asks for nothing gets
// nothing, unless the trunk has timers of ours.
func (c *call) agreeTimer(l *leg, req *sip.Request, res *sip.Response) {
	every, refresher, asked := interval(req)
	t := &l.timer
	switch {
	case asked:
		every = max(every, leastInterval)
	case wantsTimer(&l.trunk.Policy):
		every = max(ownInterval, leastOf(req))
	default:
		c.stopTimer(l)
		return
	}
	switch {
	case !l.can.timer:
		refresher = "uas" // it would not know what to do
	case refresher == "":
		refresher = "uac"
	}
	t.every, t.ours = every, refresher == "uas"
	if m := leastOf(req); m > t.least {
		t.least = m
	}
	writeInterval(res, every, refresher)
	if !t.ours {
		res.AppendHeader(sip.NewHeader("Require", optionTimer))
	}
	c.startTimer(l)
}

// timerAgreed reads the 2xx to a request of ours (section 7.2). Without a word of the peer we go on alone with what we
// asked for: it costs a message and finds a peer that is gone.
func (c *call) timerAgreed(l *leg, res *sip.Response) {
	t := &l.timer
	every, refresher, ok := interval(res)
	switch {
	case ok:
		t.every, t.ours = max(every, leastInterval), refresher != "uas"
	case t.every > 0:
		t.ours = true
	case wantsTimer(&l.trunk.Policy):
		t.every, t.ours = max(ownInterval, t.least), true
	default:
		return
	}
	c.startTimer(l)
}

// startTimer counts anew: half of the interval to a refresh of ours, the whole less a margin to the end of the call.
func (c *call) startTimer(l *leg) {
	t := &l.timer
	c.timers.stop(t.next)
	c.timers.stop(t.end)
	if t.ours {
		t.next = c.timers.after(t.every/2, func() { c.refresh(l) })
	}
	t.end = c.timers.after(t.every-min(expiryMargin, t.every/3), func() { c.expired(l) })
}

func (c *call) stopTimer(l *leg) {
	c.timers.stop(l.timer.next)
	c.timers.stop(l.timer.end)
	l.timer = sessionTimer{}
}

// refresh proves the session to a peer: by an UPDATE without SDP if it knows that, else by a re-INVITE that changes nothing. A
// leg that is busy with an offer is refreshed by that.
func (c *call) refresh(l *leg) {
	t := &l.timer
	if c.phase != Answered || l.ended || t.every == 0 {
		return
	}
	t.next = c.timers.after(t.every/8, func() { c.refresh(l) }) // until an answer starts it anew
	if c.busy(l) {
		return
	}
	if !l.can.update {
		o := c.other(l)
		c.passOn(&asked{to: l, from: o, offer: o.d.Media, method: sip.INVITE})
		return
	}
	req, err := l.d.request(sip.UPDATE, l.d.next())
	if err != nil {
		c.log.Warn("UPDATE not sent", "leg", l.name, "error", err)
		return
	}
	c.addOurs(req, l.trunk, l.trunk.Policy.Listener)
	t.ask(req)
	c.send(l, c.way(l), req, func(res *sip.Response, err error) { c.refreshed(l, res, err) })
}

// refreshed takes the answer to an UPDATE that refreshes. Whoever is gone ends the call, any other failure may pass until the
// interval is over.
func (c *call) refreshed(l *leg, res *sip.Response, err error) {
	switch {
	case c.phase != Answered || l.ended:
	case err != nil:
		c.hangUp(408, "session refresh not answered", l.String()+": "+err.Error())
	case res.StatusCode < 200:
	case res.StatusCode < 300:
		if l.d.retarget(res) {
			l.egress = nil
		}
		l.learn(res)
		c.timerAgreed(l, res)
	case res.StatusCode == 408, res.StatusCode == 481:
		c.hangUp(res.StatusCode, "dialog lost", l.String())
	case res.StatusCode == 405, res.StatusCode == 501:
		l.can.update = false
		c.refresh(l)
	case res.StatusCode == 422 && l.timer.raise(res):
		c.refresh(l)
	}
}

// expired ends a call that its peer did not refresh in time (section 10).
func (c *call) expired(l *leg) {
	if c.phase == Answered && !l.ended {
		c.hangUp(408, "session timer", fmt.Sprintf("%s did not refresh within %s", l, l.timer.every))
	}
}
