package guard

import (
	"net"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// What sipgo's messages look like on the wire, appended to one buffer. sipgo writes the same bytes (FuzzAppend proves it) through
// strings of their own for URIs and hosts: seven allocations a message instead of one.

func appendRequestLine(b []byte, req *sip.Request) []byte {
	b = append(append(b, req.Method...), ' ')
	b = append(appendURI(b, &req.Recipient), ' ')
	return append(append(b, req.SipVersion...), "\r\n"...)
}

func appendStatusLine(b []byte, res *sip.Response) []byte {
	b = append(append(b, res.SipVersion...), ' ')
	b = append(strconv.AppendInt(b, int64(res.StatusCode), 10), ' ')
	return append(append(b, res.Reason...), "\r\n"...)
}

func appendHeaders(b []byte, headers []sip.Header) []byte {
	for _, h := range headers {
		b = appendHeader(b, h)
	}
	return b
}

func appendHeader(b []byte, h sip.Header) []byte {
	b = append(append(b, h.Name()...), ": "...)
	return append(appendValue(b, h), "\r\n"...)
}

// appendValue writes what the headers of a call have; the value of any other is text already, or rare.
func appendValue(b []byte, h sip.Header) []byte {
	switch h := h.(type) {
	case *sip.ViaHeader:
		return appendVia(b, h)
	case *sip.FromHeader:
		return appendNameAddr(b, h.DisplayName, &h.Address, h.Params)
	case *sip.ToHeader:
		return appendNameAddr(b, h.DisplayName, &h.Address, h.Params)
	case *sip.ContactHeader:
		if h.Address.Wildcard {
			return append(b, '*')
		}
		return appendNameAddr(b, h.DisplayName, &h.Address, h.Params)
	case *sip.RouteHeader:
		return appendNameAddr(b, "", &h.Address, nil)
	case *sip.RecordRouteHeader:
		return appendNameAddr(b, "", &h.Address, nil)
	case *sip.CSeqHeader:
		return append(append(strconv.AppendUint(b, uint64(h.SeqNo), 10), ' '), h.MethodName...)
	case *sip.MaxForwardsHeader:
		return strconv.AppendUint(b, uint64(*h), 10)
	case *sip.ContentLengthHeader:
		return strconv.AppendUint(b, uint64(*h), 10)
	}
	return append(b, h.Value()...)
}

// appendVia is one via-parm (RFC 3261 section 25.1).
func appendVia(b []byte, h *sip.ViaHeader) []byte {
	b = append(append(b, h.ProtocolName...), '/')
	b = append(append(b, h.ProtocolVersion...), '/')
	b = append(append(b, h.Transport...), ' ')
	b = appendHost(b, h.Host, h.Port)
	return appendParams(b, ';', ';', h.Params)
}

// appendNameAddr is a name-addr with the parameters of its header (RFC 3261 section 25.1); the name stands as it was escaped.
func appendNameAddr(b []byte, name string, uri *sip.Uri, params sip.HeaderParams) []byte {
	if name != "" {
		b = append(append(append(b, '"'), name...), `" `...)
	}
	b = append(appendURI(append(b, '<'), uri), '>')
	return appendParams(b, ';', ';', params)
}

func appendURI(b []byte, uri *sip.Uri) []byte {
	scheme := uri.Scheme
	if scheme == "" {
		scheme = "sip"
	}
	b = append(append(b, scheme...), ':')
	if raw := uri.Raw(); raw != "" { // tel, urn: what follows the scheme was not read
		return append(b, raw...)
	}
	if uri.HierarhicalSlashes {
		b = append(b, "//"...)
	}
	if uri.User != "" {
		b = append(b, uri.User...)
		if uri.Password != "" {
			b = append(append(b, ':'), uri.Password...)
		}
		b = append(b, '@')
	}
	b = appendHost(b, uri.Host, uri.Port)
	b = appendParams(b, ';', ';', uri.UriParams)
	return appendParams(b, '?', '&', uri.Headers)
}

// appendHost puts an IPv6 address between brackets, unless it came with them.
func appendHost(b []byte, host string, port int) []byte {
	if strings.IndexByte(host, ':') >= 0 && isIPv6(host) {
		b = append(append(append(b, '['), host...), ']')
	} else {
		b = append(b, host...)
	}
	if port > 0 {
		b = strconv.AppendInt(append(b, ':'), int64(port), 10)
	}
	return b
}

func isIPv6(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.To4() == nil
}

// appendParams writes first before the first parameter and next before each further one. A value with a blank is quoted.
func appendParams(b []byte, first, next byte, params sip.HeaderParams) []byte {
	mark := first
	for _, p := range params {
		b = append(append(b, mark), p.K...)
		mark = next
		switch {
		case p.V == "":
		case strings.IndexByte(p.V, ' ') >= 0 || strings.IndexByte(p.V, '\t') >= 0:
			b = append(append(append(b, `="`...), p.V...), '"')
		default:
			b = append(append(b, '='), p.V...)
		}
	}
	return b
}
