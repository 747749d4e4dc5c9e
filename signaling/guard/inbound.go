package guard

import (
	"crypto/rand"
	"encoding/hex"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Inbound is one valid request and where it came from. It belongs to the Handler that receives it, but for what a response
// repeats: Via, From, To, Call-ID, CSeq and Record-Route of Req must not be changed, because responses share them.
type Inbound struct {
	Req       *sip.Request
	Tx        ServerTx // nil for ACK, and for a CANCEL that met its INVITE (guard has answered both)
	Listener  string
	Transport string // udp, tcp, tls
	Source    netip.AddrPort
	TLSNames  []string // names of the peer's certificate: DNS SANs, or the CN if there is no SAN; nil without a certificate
	Verified  bool     // the certificate chain was verified
	Received  time.Time

	// Invite is set on a CANCEL that met its INVITE. Guard has answered the CANCEL with 200 and the INVITE with 487, unless
	// the INVITE had a final response already: then the CANCEL is not delivered (RFC 3261 section 9.2).
	Invite *Inbound

	l    *listener
	back link
	tx   *serverTx

	// Of an INVITE, while it has no final response; under the lock of tx.
	born      time.Duration // when it came, since the stack was opened
	repeats   []sip.Header  // what a response repeats, which the Handler leaves as it is
	timestamp string        // which a 100 repeats
	merge     mergeKey      // outside a dialog
	onCancel  []sip.FnTxCancel
}

// SetLocalTag chooses the tag that every response to this request carries in To (RFC 3261 section 8.2.6.2), those that
// guard sends by itself among them. The first call counts, and none after a response with a tag; a request inside a
// dialog has its tag already. Without it guard invents one. Call it before the Handler returns.
func (in *Inbound) SetLocalTag(tag string) {
	if in.tx == nil {
		return
	}
	in.tx.mu.Lock()
	defer in.tx.mu.Unlock()
	if in.tx.tag != "" || in.tx.inDialog {
		return
	}
	in.tx.tag = tag
	in.Req.To().Params.Add("tag", tag)
}

// Respond sends a response in the request's transaction, To tag and Server header added. A second final response is
// ErrAnswered, except that a 2xx to an INVITE may be repeated until its ACK comes (RFC 6026 section 7.1). res must not be
// changed afterwards. An error that does not wrap ErrAnswered or ErrTransport means that res itself is unfit and nothing
// was sent.
func (in *Inbound) Respond(res *sip.Response) error {
	if in.tx == nil {
		return ErrAnswered
	}
	return in.tx.Respond(res)
}

// Response begins a response without a body: what RFC 3261 section 8.2.6.2 repeats of the request, and its Record-Route where
// the response may open a dialog (section 12.1.1). The headers are the request's own, not copies; add others, change none.
func (in *Inbound) Response(code int, reason string) *sip.Response {
	var room [repeatedRoom]sip.Header
	list := repeated(room[:0], in.Req)
	if code == sip.StatusTrying {
		for _, h := range in.Req.Headers() {
			if strings.EqualFold(h.Name(), "Timestamp") {
				list = append(list, h)
			}
		}
	}
	return respond(list, in.Req.Method, in.Req.SipVersion, code, reason)
}

const repeatedRoom = 12 // headers that an ordinary response repeats; more cost an allocation

// repeated appends the headers of a request that its responses repeat, Record-Route first. They are the request's own.
func repeated(list []sip.Header, req *sip.Request) []sip.Header {
	for _, h := range req.Headers() {
		if _, ok := h.(*sip.RecordRouteHeader); ok {
			list = append(list, h)
		}
	}
	for _, h := range req.Headers() {
		if _, ok := h.(*sip.ViaHeader); ok {
			list = append(list, h)
		}
	}
	if from := req.From(); from != nil {
		list = append(list, from)
	}
	if to := req.To(); to != nil {
		list = append(list, to)
	}
	if id := req.CallID(); id != nil {
		list = append(list, id)
	}
	if cseq := req.CSeq(); cseq != nil {
		list = append(list, cseq)
	}
	return list
}

// respond begins a response without a body from what it repeats of its request.
func respond(list []sip.Header, method sip.RequestMethod, version string, code int, reason string) *sip.Response {
	opens := method != sip.REGISTER && (code/100 == 2 || code >= 180 && code < 190 || method == sip.INVITE && code > 100 && code < 200)
	res := sip.NewResponse(code, reason)
	res.SipVersion = version
	for _, h := range list {
		switch m := h.(type) {
		case *sip.RecordRouteHeader:
			if !opens {
				continue
			}
		case *sip.ToHeader:
			if !m.Params.Has("tag") {
				h = sip.HeaderClone(m) // it will get one
			}
		}
		res.AppendHeader(h)
	}
	length := sip.ContentLengthHeader(0)
	res.AppendHeader(&length)
	return res
}

// Reply builds and sends a response without a body.
func (in *Inbound) Reply(code int, reason string, extra ...sip.Header) error {
	res := in.Response(code, reason)
	for _, h := range extra {
		res.AppendHeader(h)
	}
	return in.Respond(res)
}

// refuse answers by itself and keeps no state: a retransmission gets the same answer with the same tag (RFC 3261 section
// 8.2.7). An ACK is never answered.
func (in *Inbound) refuse(r refusal) Outcome {
	if in.Req.IsAck() {
		return StrayRequest
	}
	res := in.Response(r.code, r.reason)
	if to := res.To(); to != nil && (in.Req.To() == nil || !in.Req.To().Params.Has("tag")) {
		to.Params.Add("tag", in.statelessTag())
	}
	for _, h := range r.extra {
		res.AppendHeader(h)
	}
	in.l.dress(res)
	raw, err := encodeResponse(res)
	if err != nil || in.back.send(raw) != nil {
		return Unparsable
	}
	in.l.countStatus(r.code)
	return Answered
}

// statelessTag is the same for each retransmission and says nothing to anybody else.
func (in *Inbound) statelessTag() string {
	var h maphash.Hash
	h.SetSeed(in.l.stack.seed)
	h.WriteString(in.Source.Addr().String())
	if v := in.Req.Via(); v != nil {
		h.WriteString(v.Params.GetOr("branch", ""))
	}
	if id := in.Req.CallID(); id != nil {
		h.WriteString(id.Value())
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// dress adds the Server header.
func (l *listener) dress(res *sip.Response) {
	if server := l.stack.server; server != nil && !has(res, "Server") {
		res.AppendHeader(server)
	}
}

// ServerTx is the transaction of a request; it is answered by Inbound.Respond.
type ServerTx interface {
	// OnCancel registers f for a CANCEL that ends this INVITE; false if it has come already. f runs on the reader: it must
	// not block.
	OnCancel(f sip.FnTxCancel) bool
}

// serverTx is a server transaction (server_state.go) with what is wanted of it: one tag, one final response, nothing unfit on
// the wire.
type serverTx struct {
	l        *listener
	back     link
	key      string // see keyOf
	invite   bool
	inDialog bool // the request had a To tag

	// Under mu, but for the place, which is the queue's.
	canceled bool
	waits    bool // for the Handler to say something, in the queue of those who do
	state    serverState
	final    int16 // status code of the final response, 0 before
	mu       sync.Mutex
	in       *Inbound    // what the Handler got; nil after the final response
	failure  *repetition // of a failure of an INVITE; nil: nothing is repeated
	last     []byte      // the response that a retransmission gets; nil: none
	tag      string
	place    place[serverTx]
}

// Respond is Inbound.Respond.
func (t *serverTx) Respond(res *sip.Response) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.respond(res)
}

// respond needs t.mu.
func (t *serverTx) respond(res *sip.Response) error {
	if t.state == forgotten || t.final != 0 && !(t.invite && success(int(t.final)) && success(res.StatusCode)) {
		return ErrAnswered
	}
	if to := res.To(); !t.inDialog && res.StatusCode != 100 && to != nil && to.Params.GetOr("tag", "") != t.localTag() {
		to.Params.Add("tag", t.localTag())
	}
	t.l.dress(res)
	raw, err := encodeResponse(res)
	if err != nil {
		return err
	}
	return t.transmit(res.StatusCode, raw)
}

func success(code int) bool { return code >= 200 && code < 300 }

// localTag needs t.mu.
func (t *serverTx) localTag() string {
	if t.tag == "" {
		var b [8]byte
		rand.Read(b[:]) // crypto/rand does not fail
		t.tag = hex.EncodeToString(b[:])
	}
	return t.tag
}

// OnCancel is described at ServerTx.
func (t *serverTx) OnCancel(f sip.FnTxCancel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.canceled {
		return false
	}
	if t.in != nil { // else no CANCEL ends it any more
		t.in.onCancel = append(t.in.onCancel, f)
	}
	return true
}
