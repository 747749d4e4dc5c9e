package guard

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// salvaged answers a request of a trunk of which the parser made nothing: 416 for a URI of another scheme, 400 for the rest
// (RFC 4475 section 3.1.2). It reads what a response repeats, line by line, and nothing else; where there is no Via that can be
// read there is nobody to answer to. A stranger gets no answer to what is no SIP.
func (l *listener) salvaged(raw []byte, src netip.AddrPort, back link) Outcome {
	method, uri, ok := requestLine(raw)
	if !ok || method == "ACK" || !l.stack.opt.Known(l.Name, src.Addr()) {
		return Unparsable
	}
	var via []string
	repeated := map[string]string{} // by header: its first value
	for _, h := range headLines(raw) {
		switch classifyRepeated(h.name) {
		case "Via":
			via = append(via, h.value)
		case "":
		default:
			if name := classifyRepeated(h.name); repeated[name] == "" {
				repeated[name] = h.value
			}
		}
	}
	msg, err := l.stack.parser.ParseSIP([]byte(method + " sip:salvaged SIP/2.0\r\nVia: " + strings.Join(via, "\r\nVia: ") + "\r\nContent-Length: 0\r\n\r\n"))
	req, ok := msg.(*sip.Request)
	if err != nil || !ok || len(via) == 0 || req.Via() == nil {
		return Unparsable
	}
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		if value, fine := Clean(repeated[name]); fine {
			req.AppendHeader(sip.NewHeader(name, value))
		}
	}
	tagless := !strings.Contains(strings.ToLower(repeated["To"]), "tag=")
	in := &Inbound{Req: req, Listener: l.Name, Transport: l.Transport, Source: src, Received: time.Now(), l: l, back: back}
	normalise(req)
	l.locate(in)
	if to := req.GetHeader("To"); to != nil && tagless {
		req.ReplaceHeader(sip.NewHeader("To", to.Value()+";tag="+in.statelessTag()))
	}
	if scheme, _, found := strings.Cut(uri, ":"); found && isToken([]byte(scheme)) && !slices.Contains([]string{"sip", "sips", "tel"}, strings.ToLower(scheme)) {
		return in.refuseAsItIs(unsupportedScheme, "Unsupported URI Scheme")
	}
	return in.refuseAsItIs(sip.StatusBadRequest, "Bad Request")
}

// refuseAsItIs is refuse for a request whose headers are text: they are repeated as they stand.
func (in *Inbound) refuseAsItIs(code int, reason string) Outcome {
	res := sip.NewResponse(code, reason)
	for _, h := range in.Req.Headers() {
		switch h.(type) {
		case *sip.ContentLengthHeader:
		default:
			res.AppendHeader(h)
		}
	}
	res.SetBody(nil)
	in.l.dress(res)
	raw, err := encodeResponse(res)
	if err != nil || in.back.send(raw) != nil {
		return Unparsable
	}
	in.l.countStatus(code)
	return Answered
}

// requestLine splits the first line of what may be a request. The URI is what stands between the first blank and the last.
func requestLine(raw []byte) (method, uri string, ok bool) {
	line, _, ok := cutLine(raw)
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if !ok || first < 1 || last <= first || !isToken(line[:first]) || isVersion(line[:first]) {
		return "", "", false
	}
	return string(line[:first]), string(line[first+1 : last]), true
}

// headLine is one header with its continuations.
type headLine struct{ name, value string }

func headLines(raw []byte) (list []headLine) {
	_, rest, ok := cutLine(raw)
	for ok {
		var line []byte
		if line, rest, ok = cutLine(rest); !ok || len(line) == 0 {
			break
		}
		if (line[0] == ' ' || line[0] == '\t') && len(list) > 0 {
			list[len(list)-1].value += " " + string(bytes.Trim(line, " \t"))
			continue
		}
		if name, value, found := bytes.Cut(line, []byte{':'}); found {
			list = append(list, headLine{strings.ToLower(string(bytes.TrimRight(name, " \t"))), string(bytes.Trim(value, " \t"))})
		}
	}
	return list
}

// classifyRepeated is the long name of a header that a response repeats (RFC 3261 section 8.2.6.2), "" for any other.
func classifyRepeated(name string) string {
	switch name {
	case "via", "v":
		return "Via"
	case "from", "f":
		return "From"
	case "to", "t":
		return "To"
	case "call-id", "i":
		return "Call-ID"
	case "cseq":
		return "CSeq"
	}
	return ""
}
