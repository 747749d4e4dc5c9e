package b2bua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/trunk"
)

// pingMost addresses of a trunk get an OPTIONS before it counts as a miss: each takes 32 s to be given up over UDP, and the
// next poll comes after 60.
const pingMost = 2

// poll sends OPTIONS to each trunk that is due for one, until Close.
func (b *B2BUA) poll() {
	tick := time.NewTicker(b.t.Poll)
	defer tick.Stop()
	for {
		for _, tr := range b.seen.Load().trunks.All() {
			if tr.PollDue(b.o.Now()) {
				b.work.Go(func() { b.pingTrunk(tr) })
			}
			b.heed(tr, "") // a state also sinks by silence alone
		}
		select {
		case <-tick.C:
		case <-b.stop:
			return
		}
	}
}

// pingTrunk sends one OPTIONS, and another one to the next address if the first does not answer.
func (b *B2BUA) pingTrunk(tr *trunk.Trunk) {
	ctx := b.patience()
	addrs, server, err := tr.Targets(ctx)
	if err != nil {
		b.missed(tr, err)
		return
	}
	p := &ping{b: b, v: b.seen.Load(), tr: tr, addrs: addrs[:min(len(addrs), pingMost)], server: server}
	p.send()
}

// ping is an OPTIONS on its way.
type ping struct {
	b      *B2BUA
	v      *view
	tr     *trunk.Trunk
	addrs  []netip.AddrPort // the first has the OPTIONS
	server string
	req    *sip.Request
	proof  proof
}

// send asks the first address.
func (p *ping) send() {
	req, err := p.b.buildOPTIONS(p.tr)
	if err != nil {
		p.b.missed(p.tr, err)
		return
	}
	p.req, p.proof = req, proof{}
	p.launch()
}

func (p *ping) launch() {
	if _, err := p.b.o.Stack.Request(context.Background(), p.req, p.v.egress(p.tr, p.addrs[0], p.server), p.event); err != nil {
		p.failed(err)
	}
}

// event takes the answer. Every one but 408 and 503 says that the peer lives; a challenge is answered, so that peers which
// count who authenticates are content.
func (p *ping) event(res *sip.Response, err error) {
	switch {
	case err != nil:
		p.failed(err)
	case res.StatusCode < 200:
	case challenged(res) && p.tr.Policy.Auth != nil && p.prove(res):
	case res.StatusCode == 503 && len(p.addrs) > 1: // one server of several
		p.failed(errors.New("503"))
	default:
		p.tr.AddressWorked(p.addrs[0])
		p.b.report(p.b.log, p.tr, res)
	}
}

func (p *ping) prove(res *sip.Response) bool {
	if err := p.proof.add(p.v, p.tr, p.req, res); err != nil {
		p.b.log.Warn("the peer does not take who we are", "trunk", p.tr.Name, "method", "OPTIONS", "why", err)
		return false
	}
	p.req.CSeq().SeqNo++
	p.launch()
	return true
}

// failed goes on with the next address; without one it is a miss.
func (p *ping) failed(err error) {
	p.tr.AddressFailed(p.addrs[0], p.b.o.Now())
	if p.addrs = p.addrs[1:]; len(p.addrs) > 0 && !p.b.closing.Load() {
		p.send()
		return
	}
	p.b.missed(p.tr, err)
}

// buildOPTIONS writes a ping: from us to the peer, about nobody.
func (b *B2BUA) buildOPTIONS(tr *trunk.Trunk) (*sip.Request, error) {
	ours, theirs := b.host(tr.Policy.Listener), bracket(tr.Host)
	if tr.Policy.Domain != "" {
		ours = bracket(tr.Policy.Domain)
	}
	d := Dialog{
		CallID: b.newCallID(), LocalTag: b.newTag(), Target: "sip:" + theirs,
		Local: "<sip:" + ours + ">", Remote: "<sip:" + theirs + ">",
	}
	if int(tr.Port) != defaultPort(tr.Listener.Transport) {
		d.Target += ":" + strconv.Itoa(int(tr.Port))
	}
	req, err := d.request(sip.OPTIONS, d.next())
	if err != nil {
		return nil, err
	}
	req.AppendHeader(b.contact(tr.Policy.Listener))
	req.AppendHeader(sip.NewHeader("Accept", contentSDP))
	return req, nil
}

// missed tells the trunk that it did not answer.
func (b *B2BUA) missed(tr *trunk.Trunk, err error) {
	tr.Missed(b.o.Now())
	b.log.Debug("OPTIONS not answered", "trunk", tr.Name, "error", err)
	b.heed(tr, "")
}

// report tells the trunk what its peer answered, to an OPTIONS or to an INVITE. log is the call's, if there is one.
func (b *B2BUA) report(log *slog.Logger, tr *trunk.Trunk, res *sip.Response) {
	now := b.o.Now()
	tr.Answered(res.StatusCode, now)
	if n, ok := seconds(res); ok && res.StatusCode == 503 {
		rest := time.Duration(n) * time.Second
		tr.RetryAfter(rest, now)
		log.Info("trunk asks for rest", "trunk", tr.Name, "rest", rest)
	}
	b.heed(tr, fmt.Sprintf("answered %d", res.StatusCode))
}

// heed logs a change of a trunk's state, each once, whoever caused it. why may be empty: the polls tell it then.
func (b *B2BUA) heed(tr *trunk.Trunk, why string) {
	h := tr.Health()
	state := h.State(b.o.Now())
	b.mu.Lock()
	before := b.states[tr.Name]
	b.states[tr.Name] = state
	b.mu.Unlock()
	if before == state {
		return
	}
	if why == "" {
		why = tr.Silence(b.o.Now())
	}
	log := b.log.Warn
	if state < before {
		log = b.log.Info
	}
	log("trunk health changed", "trunk", tr.Name, "before", before.String(), "after", state.String(), "why", why)
}
