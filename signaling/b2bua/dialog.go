package b2bua

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Header values of ours.
const (
	contentSDP  = "application/sdp"
	maxForwards = 70 // RFC 3261 section 8.1.1.6
	maxRoutes   = 32 // of a dialog's route set: beyond it somebody is looping
)

// dialogUAS starts the dialog of a request that created it here (RFC 3261 section 12.1.1). The route set is the
// Record-Route as it stands.
func dialogUAS(req *sip.Request, tag string) (Dialog, error) {
	d := Dialog{UAS: true, LocalTag: tag, CallID: callID(req), RemoteTag: fromTag(req), RemoteSeq: cseq(req)}
	from, to := req.From(), req.To()
	if from == nil || to == nil || d.CallID == "" || d.RemoteTag == "" {
		return d, errors.New("the request lacks From with a tag, To or Call-ID")
	}
	d.Local = nameAddr(displayName(to.DisplayName), plainURI(&to.Address))
	d.Remote = nameAddr(displayName(from.DisplayName), plainURI(&from.Address))
	if d.Routes = recordRoute(req); len(d.Routes) > maxRoutes {
		return d, fmt.Errorf("%d Record-Route entries, at most %d are followed", len(d.Routes), maxRoutes)
	}
	if !d.retarget(req) {
		return d, errors.New("the request lacks a Contact with a SIP URI")
	}
	return d, nil
}

// established completes the UAC's dialog from the response that created it (RFC 3261 section 12.1.2): the route set is the
// Record-Route in reverse.
func (d *Dialog) established(res *sip.Response) {
	d.RemoteTag = toTag(res)
	d.Routes = recordRoute(res)
	slices.Reverse(d.Routes)
	d.Routes = d.Routes[:min(len(d.Routes), maxRoutes)]
	d.retarget(res) // without a Contact the address we called stays the target
}

// retarget takes the remote target from a message's Contact (RFC 3261 section 12.2). False: it has none of use.
func (d *Dialog) retarget(m interface{ Contact() *sip.ContactHeader }) bool {
	c := m.Contact()
	if c == nil || c.Address.Wildcard || c.Address.Host == "" {
		return false
	}
	if s := strings.ToLower(c.Address.Scheme); s != "" && s != "sip" && s != "sips" {
		return false
	}
	d.Target = plainURI(&c.Address)
	return true
}

// plainURI is a URI as a dialog keeps it: without the headers that a request made from it would carry, and without parameters
// that no URI may have. The parser takes all that follows a quoted value for one name, so that such a URI would be many times
// as long whenever it is written and read again (TestQuotedParametersOfAURIDoNotGrow).
func plainURI(u *sip.Uri) string {
	c := *u
	c.Headers = nil
	if bad := func(p sip.HeaderKV) bool { return !inURI(p.K) || !inURI(p.V) }; slices.ContainsFunc(c.UriParams, bad) {
		c.UriParams = slices.DeleteFunc(slices.Clone(c.UriParams), bad)
	}
	return c.String()
}

// inURI reports a text without what ends a parameter or cannot stand in a URI (RFC 3261 section 25.1, uri-parameter).
func inURI(s string) bool { return !strings.ContainsAny(s, "\"<>;,? \t") }

// recordRoute lists the Record-Route URIs of a message in the order of the message.
func recordRoute(m sip.Message) []string {
	var routes []string
	for _, h := range headers(m, "Record-Route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			routes = append(routes, plainURI(&rr.Address))
		}
	}
	return routes
}

// owns reports whether a request inside a dialog is of this one: the local tag found it, Call-ID and the peer's tag must
// fit as well (RFC 3261 section 12.2.2).
func (d *Dialog) owns(req *sip.Request) bool {
	return callID(req) == d.CallID && fromTag(req) == d.RemoteTag
}

// request builds a request inside the dialog (RFC 3261 section 12.2.1.1). seq is the CSeq number. The Via is the stack's.
func (d *Dialog) request(method sip.RequestMethod, seq uint32) (*sip.Request, error) {
	var target sip.Uri
	if err := sip.ParseUri(d.Target, &target); err != nil {
		return nil, fmt.Errorf("target %q: %w", d.Target, err)
	}
	routes, err := parseRoutes(d.Routes)
	if err != nil {
		return nil, err
	}
	if len(routes) > 0 && !loose(&routes[0]) { // a strict router wants itself in the Request-URI and the target at the end
		last := target
		target, routes = routes[0], append(routes[1:], last)
		target.Headers = nil
	}
	req := sip.NewRequest(method, target)
	for i := range routes {
		req.AppendHeader(&sip.RouteHeader{Address: routes[i]})
	}
	forwards := sip.MaxForwardsHeader(maxForwards)
	req.AppendHeader(&forwards)
	return req, d.identify(req, seq)
}

// identify adds From, To, Call-ID and CSeq.
func (d *Dialog) identify(req *sip.Request, seq uint32) error {
	from, to := &sip.FromHeader{}, &sip.ToHeader{}
	var err error
	if from.DisplayName, err = sip.ParseAddressValue(d.Local, &from.Address, nil); err != nil {
		return fmt.Errorf("local address %q: %w", d.Local, err)
	}
	if to.DisplayName, err = sip.ParseAddressValue(d.Remote, &to.Address, nil); err != nil {
		return fmt.Errorf("remote address %q: %w", d.Remote, err)
	}
	from.Params.Add("tag", d.LocalTag)
	if d.RemoteTag != "" {
		to.Params.Add("tag", d.RemoteTag)
	}
	id := sip.CallIDHeader(d.CallID)
	req.AppendHeader(from)
	req.AppendHeader(to)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: req.Method})
	return nil
}

// next takes the next CSeq number of ours.
func (d *Dialog) next() uint32 {
	d.LocalSeq++
	return d.LocalSeq
}

// hop is the host and port that a request inside the dialog goes to first: the first route, else the target. Port 0 means
// the transport's default.
func (d *Dialog) hop() (host string, port uint16) {
	uri := d.Target
	if len(d.Routes) > 0 {
		uri = d.Routes[0]
	}
	var u sip.Uri
	if err := sip.ParseUri(uri, &u); err != nil {
		return "", 0
	}
	host = u.Host
	if maddr, ok := param(u.UriParams, "maddr"); ok && maddr != "" {
		host = maddr
	}
	if u.Port < 0 || u.Port > 65535 {
		return "", 0
	}
	return strings.Trim(host, "[]"), uint16(u.Port)
}

func parseRoutes(list []string) ([]sip.Uri, error) {
	uris := make([]sip.Uri, len(list), len(list)+1)
	for i, r := range list {
		if err := sip.ParseUri(r, &uris[i]); err != nil {
			return nil, fmt.Errorf("route %q: %w", r, err)
		}
	}
	return uris, nil
}

// loose reports a loose router (RFC 3261 section 16.4: the lr parameter).
func loose(u *sip.Uri) bool {
	_, ok := param(u.UriParams, "lr")
	return ok
}

// literal is a host that is an address.
func literal(host string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(host)
	return a.Unmap(), err == nil
}
