package b2bua

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// Bodies of INFO that cross: one key of the telephone in a body of its own, as gateways without RFC 4733 send it (RFC 6086
// section 5.1 calls it legacy usage). Nothing else crosses: a body that we cannot read cannot be written anew.
const (
	contentRelay = "application/dtmf-relay" // Signal=5 and Duration=160, a line each
	contentDTMF  = "application/dtmf"       // the key alone
	digits       = "0123456789*#ABCD!"      // ! is a hook flash
	infosMost    = 8                        // INFO on the way to one leg at once: nobody presses keys faster
	longestKey   = 60_000                   // ms
)

// informed is an INFO. A key is pressed on the other side as well, and the answer from there is the answer.
func (c *call) informed(l *leg, in *guard.Inbound) {
	o := c.opposite(l)
	if c.phase == Over || l.ended {
		c.decide(in, 481, nil)
		return
	}
	if len(in.Req.Body()) == 0 { // it asks whether we live
		c.decide(in, 200, nil)
		return
	}
	content, body, ok := key(in.Req)
	if !ok {
		c.decide(in, 415, func(res *sip.Response) {
			res.AppendHeader(sip.NewHeader("Accept", contentRelay+", "+contentDTMF))
		})
		return
	}
	if o == nil || o.d.RemoteTag == "" || o.ended || o.infos >= infosMost {
		c.decide(in, 500, retryAfter(c.b.soon()))
		return
	}
	req, err := o.d.request(sip.INFO, o.d.next())
	if err != nil {
		c.decide(in, 500, nil)
		return
	}
	ct := sip.ContentTypeHeader(content)
	req.AppendHeader(&ct)
	req.SetBody([]byte(body))
	o.infos++
	c.send(o, c.way(o), req, func(res *sip.Response, err error) {
		if err == nil && res.StatusCode < 200 {
			return
		}
		o.infos--
		c.decide(in, infoCode(res, err), nil)
		if err == nil && res.StatusCode == 481 && c.phase == Answered && !o.ended {
			c.hangUp(481, "dialog lost", o.String())
		}
	})
}

// infoCode is the answer to an INFO for the one that its copy got. Who does not know INFO says so of a body as well: the
// peer knows it, and that must stay true.
func infoCode(res *sip.Response, err error) int {
	switch {
	case err != nil:
		return 408
	case res.StatusCode < 300:
		return 200
	case res.StatusCode == 405, res.StatusCode == 501:
		return 415
	case res.StatusCode == 481:
		return 480
	}
	return passedCode(res.StatusCode)
}

// key reads the key of an INFO and writes it anew. False: the body is of no kind that crosses.
func key(req *sip.Request) (content, body string, ok bool) {
	ct := req.ContentType()
	if ct == nil {
		return "", "", false
	}
	kind, _, _ := strings.Cut(ct.Value(), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch text := string(req.Body()); kind {
	case contentDTMF:
		if d, ok := digit(text); ok {
			return kind, d, true
		}
	case contentRelay:
		signal, duration := "", 0
		for l := range strings.Lines(text) {
			name, value, _ := strings.Cut(l, "=")
			value = strings.TrimSpace(value)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "signal":
				signal, _ = digit(value)
			case "duration":
				duration, _ = strconv.Atoi(value)
			}
		}
		if signal == "" {
			return "", "", false
		}
		body := "Signal=" + signal + "\r\n"
		if duration > 0 && duration <= longestKey {
			body += fmt.Sprintf("Duration=%d\r\n", duration)
		}
		return kind, body, true
	}
	return "", "", false
}

// digit reads one key; 10 and 11 are * and #, 12 to 15 the letters, 16 a hook flash (RFC 4733 section 3.2).
func digit(s string) (string, bool) {
	s = strings.ToUpper(strings.TrimSpace(s))
	if len(s) == 1 && strings.Contains(digits, s) {
		return s, true
	}
	if n := slices.Index([]string{"10", "11", "12", "13", "14", "15", "16"}, s); n >= 0 {
		return digits[10+n : 11+n], true
	}
	return "", false
}
