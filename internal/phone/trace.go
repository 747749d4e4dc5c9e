package phone

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Message is one SIP message as the phone saw it go or come.
type Message struct {
	At       time.Time
	From, To netip.AddrPort
	CallID   string
	Line     string // its first line
	Summary  string // "INVITE (SDP)", "183 Session Progress (SDP)", "200 OK to BYE"
}

// arrived traces what comes in, before anybody acts on it.
func (p *Phone) arrived(m sip.Message) {
	if p.opt.Trace == nil {
		return
	}
	from, _ := netip.ParseAddrPort(m.Source()) // an address that sipgo took from the socket
	p.opt.Trace(describe(m, from, p.local))
}

// sent traces what goes out.
func (p *Phone) sent(m sip.Message) {
	if p.opt.Trace == nil {
		return
	}
	to, _ := netip.ParseAddrPort(m.Destination())
	p.opt.Trace(describe(m, p.local, to))
}

func describe(m sip.Message, from, to netip.AddrPort) Message {
	out := Message{At: time.Now(), From: from, To: to}
	if h := m.CallID(); h != nil {
		out.CallID = h.Value()
	}
	switch m := m.(type) {
	case *sip.Request:
		out.Line, out.Summary = m.StartLine(), string(m.Method)
	case *sip.Response:
		out.Line, out.Summary = m.StartLine(), strconv.Itoa(m.StatusCode)+" "+m.Reason
		if h := m.CSeq(); h != nil && h.MethodName != sip.INVITE {
			out.Summary += " to " + string(h.MethodName)
		}
	}
	if len(m.Body()) > 0 && token(m, "Content-Type") == contentSDP {
		out.Summary += " (SDP)"
	}
	return out
}
