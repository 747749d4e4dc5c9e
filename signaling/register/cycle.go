package register

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/digest"
	"tandem/signaling/guard"
)

// Bounds of one cycle.
const (
	addressesMost = 4 // of the registrar, tried one after the other; each may take 32 s to say nothing
	sendsMost     = 6 // requests to one address: the first, each of two challenges with one stale nonce, one 423
	answersMost   = 2 // to each kind of challenge: one, and one more if only the nonce was too old
)

// home is an address of the registrar.
type home struct {
	addr   netip.AddrPort
	server string // the name that its certificate must carry
}

// cycle tries to be registered, at one address of the registrar after the other. The one that has the binding comes first:
// the nodes behind a name need not know of one another's.
func (b *binding) cycle(ctx context.Context) outcome {
	tr := b.trunk()
	addrs, server, err := tr.Targets(ctx)
	if err != nil {
		return outcome{err: err}
	}
	if i := slices.Index(addrs, b.home.addr); i > 0 {
		addrs = slices.Insert(slices.Delete(addrs, i, i+1), 0, b.home.addr)
	}
	var out outcome
	for _, addr := range addrs[:min(len(addrs), addressesMost)] {
		at := home{addr, server}
		out = b.talk(ctx, at, b.asks)
		if out.err == nil {
			tr.AddressWorked(addr)
			b.home = at
			return out
		}
		out.err = fmt.Errorf("%s: %w", addr, out.err)
		if ctx.Err() != nil || !movesOn(out.err) {
			return out
		}
		tr.AddressFailed(addr, b.o.Now())
	}
	return out
}

// refusal is a final answer other than 2xx.
type refusal struct{ code int }

func (r refusal) Error() string { return fmt.Sprintf("the registrar answers %d", r.code) }

// movesOn tells whether another address of the same registrar may do better: this one does not answer, or says that it
// cannot (RFC 3263 section 4.3).
func movesOn(err error) bool {
	var r refusal
	return !errors.As(err, &r) && (errors.Is(err, guard.ErrTimeout) || errors.Is(err, guard.ErrTransport) || errors.Is(err, guard.ErrStalled)) || r.code == 503
}

// talk sends REGISTER to one address until there is an answer that counts; expires 0 withdraws the binding.
func (b *binding) talk(ctx context.Context, at home, expires time.Duration) outcome {
	p := proofs{b: b, last: b.challenges} // their nonces may still be good, which spares a round trip
	b.tried = at
	for range sendsMost {
		req := b.request(expires)
		if err := p.dress(req); err != nil {
			return outcome{err: err, refused: true}
		}
		if expires > 0 {
			b.exists = true // from here on, whatever we hear
		}
		res, err := b.send(ctx, req, at)
		switch {
		case err != nil:
			return outcome{err: err}
		case res.StatusCode < 300:
			b.challenges = p.last
			return b.granted(res, expires)
		case res.StatusCode == 401 || res.StatusCode == 407:
			if err := p.answer(res); err != nil {
				return outcome{err: err, refused: true}
			}
		case res.StatusCode == 423:
			longer, err := b.briefest(res, expires)
			if err != nil {
				return outcome{err: err, refused: true}
			}
			b.asks, expires = longer, longer
		default:
			rest := seconds(res, "Retry-After")
			return outcome{err: refusal{res.StatusCode}, rest: rest, refused: res.StatusCode < 500 && res.StatusCode != 408 || res.StatusCode >= 600}
		}
	}
	return outcome{err: fmt.Errorf("the registrar asked for more than %d requests", sendsMost), refused: true}
}

// send waits for the final answer to one request.
func (b *binding) send(ctx context.Context, req *sip.Request, at home) (*sip.Response, error) {
	type event struct {
		res *sip.Response
		err error
	}
	got := make(chan event, 1)
	e := guard.Egress{
		Listener: b.terms.listener, Dest: at.addr, ServerName: at.server, TLSNames: strings.Fields(b.terms.names), TLS: b.terms.tls,
	}
	tx, err := b.o.Stack.Request(ctx, req, e, func(res *sip.Response, err error) {
		if err != nil || res.StatusCode >= 200 {
			select {
			case got <- event{res, err}:
			default: // the first one counts
			}
		}
	})
	if err != nil {
		return nil, err
	}
	defer tx.Terminate()
	select {
	case e := <-got:
		return e.res, e.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// request writes a REGISTER (RFC 3261 section 10.2).
func (b *binding) request(expires time.Duration) *sip.Request {
	b.cseq++
	t := b.terms
	req := sip.NewRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: bracket(t.domain)})
	us := sip.Uri{Scheme: "sip", User: t.user, Host: bracket(t.domain)}
	from := &sip.FromHeader{Address: us}
	from.Params.Add("tag", b.tag)
	id, left := sip.CallIDHeader(b.callID), sip.ExpiresHeader(expires/time.Second)
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: us})
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: b.cseq, MethodName: sip.REGISTER})
	req.AppendHeader(sip.NewHeader("Contact", "<"+b.contact()+">"))
	req.AppendHeader(&left)
	return req
}

// contact is where the registrar sends calls.
func (b *binding) contact() string {
	return "sip:" + b.terms.user + "@" + b.terms.contact + ";transport=" + b.terms.transport
}

// granted reads how long a 2xx binds us: the expires of our Contact among all that are bound, else Expires, else what we
// asked for (RFC 3261 section 10.2.4).
func (b *binding) granted(res *sip.Response, asked time.Duration) outcome {
	if asked == 0 {
		return outcome{}
	}
	left := asked
	if h := res.GetHeader("Expires"); h != nil {
		if n, err := strconv.ParseUint(strings.TrimSpace(h.Value()), 10, 32); err == nil {
			left = time.Duration(n) * time.Second
		}
	}
	for _, h := range res.GetHeaders("Contact") {
		c, ok := h.(*sip.ContactHeader)
		if !ok || !b.ours(c) {
			continue
		}
		if v, ok := c.Params.Get("expires"); ok {
			if n, err := strconv.ParseUint(v, 10, 32); err == nil {
				left = time.Duration(n) * time.Second
			}
		}
	}
	if left == 0 {
		return outcome{err: errors.New("the registrar granted no time at all")}
	}
	return outcome{granted: min(left, maxExpires)}
}

// ours tells whether a Contact that the registrar lists is the one that we sent.
func (b *binding) ours(c *sip.ContactHeader) bool {
	var sent sip.Uri
	if sip.ParseUri(b.contact(), &sent) != nil {
		return false
	}
	port := func(p int) int {
		if p == 0 {
			return sip.DefaultPort(strings.ToUpper(b.terms.transport))
		}
		return p
	}
	return c.Address.User == sent.User && strings.EqualFold(bracket(c.Address.Host), bracket(sent.Host)) && port(c.Address.Port) == port(sent.Port)
}

// briefest reads the Min-Expires of a 423.
func (b *binding) briefest(res *sip.Response, asked time.Duration) (time.Duration, error) {
	least := seconds(res, "Min-Expires")
	switch {
	case least <= asked:
		return 0, fmt.Errorf("the registrar answers 423 to %s and wants %s at least, which is no more", asked, least)
	case least > maxExpires:
		return 0, fmt.Errorf("the registrar wants %s at least, %s is the most that we ask for", least, maxExpires)
	}
	return least, nil
}

// seconds reads a header of seconds; 0 without one. Comment and parameters are left out (RFC 3261 section 20.33).
func seconds(res *sip.Response, name string) time.Duration {
	h := res.GetHeader(name)
	if h == nil {
		return 0
	}
	text := strings.TrimSpace(h.Value())
	if i := strings.IndexAny(text, "; (\t"); i >= 0 {
		text = text[:i]
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// bracket writes an IPv6 address as a host of a URI.
func bracket(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

// The two kinds of challenge: by the registrar, and by a proxy before it.
var kinds = [2]struct {
	code            int
	question, reply string // header names
}{
	{401, "WWW-Authenticate", "Authorization"},
	{407, "Proxy-Authenticate", "Proxy-Authorization"},
}

// proofs are what the requests of one talk carry.
type proofs struct {
	b     *binding
	last  [2][]string // challenges to answer; nil: none yet
	given [2]int      // answers to challenges of this talk
}

// answer takes a challenge up, or tells why it is the last one. What was answered from memory does not count: its nonce may
// simply be over.
func (p *proofs) answer(res *sip.Response) error {
	i := 0
	if res.StatusCode == kinds[1].code {
		i = 1
	}
	var challenges []string
	for _, h := range res.GetHeaders(kinds[i].question) {
		challenges = append(challenges, h.Value())
	}
	p.b.challenges[i] = nil // a password that was refused is not offered again by itself
	switch {
	case p.b.terms.who.User == "":
		return errors.New("it asks who we are, and the trunk has no auth")
	case p.b.terms.fault != "":
		return errors.New(p.b.terms.fault)
	case p.given[i] > 0 && !digest.NonceExpired(challenges):
		return errors.New("user or password of auth is wrong")
	case p.given[i] == answersMost:
		return errors.New("it calls every nonce of its own too old")
	}
	p.given[i]++
	p.last[i] = challenges
	if challenges == nil {
		p.last[i] = []string{} // none came: dress says so
	}
	return nil
}

// dress puts the answers into a request.
func (p *proofs) dress(req *sip.Request) error {
	for i, challenges := range p.last {
		if challenges == nil {
			continue
		}
		value, err := digest.Respond(challenges, p.b.terms.who, string(req.Method), req.Recipient.String(), nil, &p.b.count)
		if err != nil {
			return err
		}
		req.AppendHeader(sip.NewHeader(kinds[i].reply, value))
	}
	return nil
}
