package guard

import (
	"errors"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// receive takes one framed and filtered message to its end. It is the boundary: a panic below stops here, is counted, and
// costs one message. conn is nil on UDP.
func (l *listener) receive(raw []byte, src netip.AddrPort, back link, conn *stream) {
	out := Panicked
	defer func() { l.count(out) }()
	defer l.recovered("a message", src)
	out = l.judge(raw, src, back, conn)
}

// recovered is deferred where a panic must not end the process; it never logs what was received.
func (l *listener) recovered(what string, src netip.AddrPort) {
	if p := recover(); p != nil {
		l.stack.log.Error("sip: panic while handling "+what+"; it was dropped", "listener", l.Name, "source", src, "panic", p, "stack", string(debug.Stack()))
	}
}

func (l *listener) judge(raw []byte, src netip.AddrPort, back link, conn *stream) Outcome {
	msg, err := l.stack.parser.ParseSIP(raw)
	switch m := msg.(type) {
	case *sip.Request:
		in := &Inbound{Req: m, Listener: l.Name, Transport: l.Transport, Source: src, Received: time.Now(), l: l, back: back}
		if conn != nil {
			in.TLSNames, in.Verified = conn.names, conn.verified
		}
		switch {
		case err == nil:
			if out := l.request(in); out != Unparsable {
				return out
			}
			return l.salvaged(raw, src, back) // its headers could be read, and not be written again
		case m.Via() == nil || m.CSeq() == nil || m.CallID() == nil || m.From() == nil || m.To() == nil:
			return l.salvaged(raw, src, back)
		}
		return l.unreadable(in, err)
	case *sip.Response:
		if err == nil {
			return l.response(m)
		}
	}
	return l.salvaged(raw, src, back)
}

// unreadable answers 400 to a request of a trunk that the parser gave up on, as far as there is something to answer to.
func (l *listener) unreadable(in *Inbound, err error) Outcome {
	if !l.stack.opt.Known(l.Name, in.Source.Addr()) || in.Req.IsAck() || in.Req.Via() == nil || in.Req.CSeq() == nil {
		return Unparsable
	}
	l.locate(in)
	reason := "Bad Request"
	if errors.Is(err, sip.ErrParseReadBodyIncomplete) {
		reason = "Content-Length Beyond The Body" // RFC 3261 section 18.3
	}
	return in.refuse(refusal{sip.StatusBadRequest, reason, nil})
}

func (l *listener) request(in *Inbound) Outcome {
	if in.Req.Via() == nil {
		return StrayRequest
	}
	normalise(in.Req)
	l.locate(in)
	if r, bad := l.validate(in.Req); bad {
		return in.refuse(r)
	}
	switch {
	case in.Req.IsAck():
		return l.ack(in)
	case in.Req.IsCancel():
		return l.cancel(in)
	}
	return l.begin(in)
}

// locate writes into the top Via where the request really came from (RFC 3261 section 18.2.1, RFC 3581 section 4), and
// settles where the response goes: back on the connection (see wayBack), or for UDP to the source, with the port of sent-by
// unless rport was asked for.
func (l *listener) locate(in *Inbound) {
	via, ip := in.Req.Via(), in.Source.Addr().String()
	_, rport := via.Params.Get("rport")
	via.Params.Remove("received")
	if rport {
		via.Params.Add("rport", strconv.Itoa(int(in.Source.Port())))
	}
	if rport || bareHost(via.Host) != ip {
		via.Params.Add("received", ip)
	}
	port := via.Port
	if port <= 0 || port > 65535 {
		port = sip.DefaultPort(l.proto)
	}
	switch {
	case l.udp == nil:
		in.back = l.wayBack(in, uint16(port))
	case !rport:
		in.back = l.replyTo(netip.AddrPortFrom(in.Source.Addr(), uint16(port)))
	}
}

// normalise lower-cases and trims the names of parameters (RFC 3261 section 7.3.1: they compare without case), which the
// parser leaves as they came.
func normalise(m interface{ Headers() []sip.Header }) {
	for _, h := range m.Headers() {
		switch h := h.(type) {
		case *sip.ViaHeader:
			plainParams(h.Params)
		case *sip.FromHeader:
			plainParams(h.Params)
		case *sip.ToHeader:
			plainParams(h.Params)
		case *sip.ContactHeader:
			plainParams(h.Params)
			plainParams(h.Address.UriParams)
		case *sip.RouteHeader:
			plainParams(h.Address.UriParams)
		case *sip.RecordRouteHeader:
			plainParams(h.Address.UriParams)
		}
	}
}

func plainParams(p sip.HeaderParams) {
	for i := range p {
		p[i].K = strings.ToLower(strings.TrimSpace(p[i].K))
		p[i].V = strings.TrimSpace(p[i].V)
	}
}

// response hands a response to the client transaction that it answers. There is one Via, ours: we are never a proxy.
func (l *listener) response(res *sip.Response) Outcome {
	normalise(res)
	via, cseq := res.Via(), res.CSeq()
	if via == nil || cseq == nil || res.To() == nil || res.From() == nil || res.CallID() == nil ||
		res.SipVersion != "SIP/2.0" || res.StatusCode < 100 || res.StatusCode > 699 {
		return BadResponse
	}
	key, ok := clientKeyOf(via, cseq)
	if !ok {
		return BadResponse
	}
	c := l.stack.clients.get(key)
	if c == nil || c.callID != res.CallID().Value() || hops(res) != 1 {
		return StrayResponse
	}
	return c.receive(res)
}

// hops is the number of Via of a message.
func hops(m interface{ Headers() []sip.Header }) (n int) {
	for _, h := range m.Headers() {
		if _, ok := h.(*sip.ViaHeader); ok {
			n++
		}
	}
	return n
}
