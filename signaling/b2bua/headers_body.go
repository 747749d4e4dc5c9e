package b2bua

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"strings"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// Bodies of several parts (RFC 5621). We read SDP and a caller's place; whatever else is in one stays here: ISUP and QSIG
// (RFC 3204) describe a call that is not the one we make.
const (
	contentPlace  = "application/pidf+xml" // RFC 4119, carried as RFC 6442 says
	maxParts      = 8
	maxContentID  = 256 // bytes
	maxPlace      = 32 << 10
	headerPlace   = "Geolocation"
	headerPlaceTo = "Geolocation-Routing"
)

// errPart is a part that must be understood and is not.
var errPart = errors.New("a part of the body must be understood (handling=required) and is neither SDP nor a place")

// carried is what an INVITE brought beside its SDP.
type carried struct {
	place     []byte // PIDF-LO, byte for byte; nil: none
	contentID string // "<...>", as it came
	reference string // the value of Geolocation that names it
	routing   string // Geolocation-Routing: yes, no, or ""
}

// editable is a request or a response.
type editable interface {
	sip.Message
	RemoveHeader(name string) bool
}

// unpack makes a message of several parts one with SDP alone, or with nothing, and returns what else it brought. A message
// of one part stays as it is.
func unpack(m editable) (carried, error) {
	ct := first(m, "Content-Type")
	if ct == nil || len(m.Body()) == 0 {
		return carried{}, nil
	}
	kind, params, err := mime.ParseMediaType(ct.Value())
	if err != nil || !strings.HasPrefix(kind, "multipart/") || params["boundary"] == "" {
		return carried{}, nil // what it is otherwise is judged by who needs it
	}
	var found carried
	var body []byte
	r := multipart.NewReader(bytes.NewReader(m.Body()), params["boundary"])
	for range maxParts {
		p, err := r.NextRawPart()
		if err != nil {
			break
		}
		content, err := io.ReadAll(p)
		if err != nil {
			break
		}
		switch kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); {
		case kind == contentSDP && body == nil:
			body = content
		case kind == contentPlace && found.place == nil && len(content) <= maxPlace:
			found.take(m, p.Header, content)
		case mustBeUnderstood(p.Header):
			return carried{}, errPart
		}
	}
	m.SetBody(body)
	m.RemoveHeader("Content-Type")
	if body != nil {
		m.AppendHeader(&typeSDP)
	}
	return found, nil
}

// take keeps a place that the message refers to; one that it does not refer to says nothing (RFC 6442 section 4.1).
func (f *carried) take(m sip.Message, head textproto.MIMEHeader, content []byte) {
	id := strings.TrimSpace(head.Get("Content-ID"))
	inner := strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">")
	if inner == "" || len(id) > maxContentID || !isWire(id) || len(inner) != len(id)-2 || strings.ContainsAny(inner, `<>" `) {
		return
	}
	for _, h := range headers(m, headerPlace) {
		for _, v := range splitValues(h.Value()) {
			if uri, _, _ := strings.Cut(v, ";"); strings.EqualFold(unescape(uri), "<cid:"+inner+">") {
				f.place, f.contentID, f.reference = content, id, strings.TrimSpace(uri)
			}
		}
	}
	if h := first(m, headerPlaceTo); h != nil && f.place != nil {
		if v := strings.ToLower(strings.TrimSpace(h.Value())); v == "yes" || v == "no" {
			f.routing = v
		}
	}
}

// mustBeUnderstood reports a part that says so itself. RFC 5621 section 3.2 takes it for said where nothing is; gateways leave
// it out, and mean the opposite.
func mustBeUnderstood(head textproto.MIMEHeader) bool {
	_, params, err := mime.ParseMediaType(head.Get("Content-Disposition"))
	return err == nil && strings.EqualFold(params["handling"], "required")
}

// addPlace puts the caller's place beside the SDP of an INVITE, where its trunk is told of it.
func (c *call) addPlace(p *config.Trunk, out *sip.Request) {
	f := &c.brought
	if !p.PIDFLO || f.place == nil {
		return
	}
	boundary := c.b.token()
	var b bytes.Buffer
	part := func(content []byte, lines ...string) {
		b.WriteString("--" + boundary + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n")
		b.Write(content)
		b.WriteString("\r\n")
	}
	if body := out.Body(); len(body) > 0 {
		part(body, "Content-Type: "+contentSDP)
	}
	part(f.place, "Content-Type: "+contentPlace, "Content-ID: "+f.contentID)
	b.WriteString("--" + boundary + "--\r\n")
	out.RemoveHeader("Content-Type")
	ct := sip.ContentTypeHeader("multipart/mixed;boundary=" + boundary)
	out.AppendHeader(&ct)
	out.SetBody(b.Bytes())
	out.AppendHeader(sip.NewHeader(headerPlace, f.reference))
	if f.routing != "" {
		out.AppendHeader(sip.NewHeader(headerPlaceTo, f.routing))
	}
}
