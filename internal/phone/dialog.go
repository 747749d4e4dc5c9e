package phone

import (
	"crypto/rand"
	"net/netip"
	"strconv"
	"sync"

	"github.com/emiago/sipgo/sip"
)

const (
	contentSDP = "application/sdp"
	methods    = "INVITE, ACK, CANCEL, BYE, OPTIONS, REFER, NOTIFY"
	hops       = 70 // Max-Forwards (RFC 3261 section 8.1.1.6)
)

// dialogID names a dialog as its owner sees it. The peer's tag is left out: this phone has no forks.
type dialogID struct{ callID, tag string }

// dialog is what requests of a call have in common (RFC 3261 section 12).
type dialog struct {
	id     dialogID
	local  sip.FromHeader // ours, with our tag
	remote sip.ToHeader   // the peer's, with its tag once it is known

	mu     sync.Mutex
	seq    uint32  // of our last request
	target sip.Uri // the peer's Contact
	dest   string  // ip:port of it
}

// dialled begins the dialog of a call to a number by way of a proxy.
func (p *Phone) dialled(number string, proxy netip.AddrPort) *dialog {
	us := p.contact()
	us.Port, us.UriParams = 0, nil
	to := sip.Uri{Scheme: "sip", User: number, Host: proxy.Addr().String(), Port: int(proxy.Port())}
	d := &dialog{
		id:    dialogID{rand.Text(), rand.Text()},
		local: sip.FromHeader{Address: us}, remote: sip.ToHeader{Address: to},
		target: to, dest: proxy.String(),
	}
	d.local.Params.Add("tag", d.id.tag)
	return d
}

// called begins the dialog of a call that came in.
func called(req *sip.Request) *dialog {
	d := &dialog{
		id:    dialogID{req.CallID().Value(), rand.Text()},
		local: req.To().AsFrom(), remote: req.From().AsTo(),
		target: req.From().Address, dest: req.Source(),
	}
	d.local.Params.Add("tag", d.id.tag)
	d.refresh(req.Contact())
	return d
}

// refresh takes the peer's Contact (RFC 3261 section 12.2: target refresh). A name is left to whoever brought us here.
func (d *dialog) refresh(h *sip.ContactHeader) {
	if h == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.target = *h.Address.Clone()
	addr, err := netip.ParseAddr(h.Address.Host)
	if err != nil {
		return
	}
	port := h.Address.Port
	if port == 0 {
		transport, _ := h.Address.UriParams.Get("transport")
		port = sip.DefaultPort(transport)
	}
	d.dest = netip.AddrPortFrom(addr, uint16(port)).String()
}

// request builds the next request of the dialog; ACK and CANCEL have the number of their INVITE.
func (p *Phone) request(d *dialog, method sip.RequestMethod, seq uint32) *sip.Request {
	d.mu.Lock()
	if seq == 0 {
		d.seq++
		seq = d.seq
	}
	req := sip.NewRequest(method, d.target)
	dest := d.dest
	d.mu.Unlock()
	via := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: sip.NetworkToUpper(p.opt.Transport),
		Host: p.local.Addr().String(), Port: int(p.local.Port()),
		Params: sip.HeaderParams{{K: "branch", V: sip.RFC3261BranchMagicCookie + rand.Text()}, {K: "rport"}},
	}
	callID, forwards := sip.CallIDHeader(d.id.callID), sip.MaxForwardsHeader(hops)
	from, to := d.local, d.remote
	req.AppendHeader(via)
	req.AppendHeader(&forwards)
	req.AppendHeader(&from)
	req.AppendHeader(&to)
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	req.SetBody(nil)
	p.route(req, dest)
	return req
}

// route says by which socket and where to a request goes. Only UDP names its own socket: on streams sipgo would take a
// stranger's connection for it.
func (p *Phone) route(req *sip.Request, dest string) {
	req.SetTransport(sip.NetworkToUpper(p.opt.Transport))
	req.SetDestination(dest)
	if p.opt.Transport == "udp" {
		req.Laddr = sip.Addr{IP: p.local.Addr().AsSlice(), Port: int(p.local.Port())}
	}
}

// cancelOf builds the CANCEL of an INVITE: the same Request-URI, Via, From, To, Call-ID and number (RFC 3261 section 9.1).
func (p *Phone) cancelOf(invite *sip.Request) *sip.Request {
	req := sip.NewRequest(sip.CANCEL, invite.Recipient)
	forwards := sip.MaxForwardsHeader(hops)
	for _, h := range []sip.Header{invite.Via(), invite.From(), invite.To(), invite.CallID()} {
		req.AppendHeader(sip.HeaderClone(h))
	}
	req.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.AppendHeader(&forwards)
	req.SetBody(nil)
	p.route(req, invite.Destination())
	return req
}

// addSDP gives an INVITE or its answer a body, and the Contact where the dialog continues.
func (p *Phone) addSDP(m sip.Message, body []byte) {
	m.AppendHeader(&sip.ContactHeader{Address: p.contact()})
	m.AppendHeader(sip.NewHeader("Allow", methods))
	if body != nil {
		m.AppendHeader(sip.NewHeader("Content-Type", contentSDP))
		m.SetBody(body)
	}
}

// respond answers a request, under our tag where the request has none.
func (p *Phone) respond(tx *sip.ServerTx, req *sip.Request, code int, tag string) error {
	res := p.response(req, code, tag)
	p.sent(res)
	return tx.Respond(res)
}

func (p *Phone) response(req *sip.Request, code int, tag string) *sip.Response {
	res := sip.NewResponseFromRequest(req, code, reason(code), nil)
	if tag != "" && code != 100 {
		res.To().Params.Add("tag", tag)
	}
	return res
}

// reason is the phrase of a status (RFC 3261 section 21).
func reason(code int) string {
	switch code {
	case 100:
		return "Trying"
	case 180:
		return "Ringing"
	case 200:
		return "OK"
	case 202:
		return "Accepted"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 486:
		return "Busy Here"
	case 487:
		return "Request Terminated"
	case 488:
		return "Not Acceptable Here"
	case 491:
		return "Request Pending"
	case 503:
		return "Service Unavailable"
	case 603:
		return "Decline"
	}
	return "Status " + strconv.Itoa(code)
}
