package b2bua

import (
	"context"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
	"tandem/signaling/trunk"
)

// options answers a ping of a trunk: 200 while we take calls, 503 while we do not (RFC 3261 section 11.2: as an INVITE
// would be answered).
func (b *B2BUA) options(in *guard.Inbound) {
	if tr, why := b.o.Trunks.Identify(in.Listener, in.Source.Addr(), proven(in)); tr == nil {
		b.count(DropStranger)
		b.log.Debug("OPTIONS refused: no trunk", "source", in.Source, "listener", in.Listener, "why", why)
		b.answer(in, 403, nil)
		return
	}
	if b.draining.Load() {
		b.answer(in, 503, retryAfter(b.soon()))
		return
	}
	b.answer(in, 200, b.capabilities)
}

// capabilities are the headers of a 200 to OPTIONS. Supported is empty on purpose: it says "no extensions" (RFC 3261
// section 20.37).
func (b *B2BUA) capabilities(res *sip.Response) {
	res.AppendHeader(sip.NewHeader("Accept", contentSDP))
	res.AppendHeader(sip.NewHeader("Allow", allow))
	res.AppendHeader(sip.NewHeader("Supported", ""))
}

// poll sends OPTIONS to each trunk that is due for one, until Close.
func (b *B2BUA) poll() {
	tick := time.NewTicker(b.t.Poll)
	defer tick.Stop()
	for {
		for _, tr := range b.o.Trunks.All() {
			if tr.PollDue(b.o.Now()) {
				b.work.Go(func() { b.ping(tr) })
			}
		}
		select {
		case <-tick.C:
		case <-b.stop:
			return
		}
	}
}

// ping sends one OPTIONS. Every answer but 408 and 503 says that the peer lives.
func (b *B2BUA) ping(tr *trunk.Trunk) {
	ctx, cancel := b.patience()
	defer cancel()
	addrs, server, err := tr.Targets(ctx)
	if err != nil {
		b.missed(tr, err)
		return
	}
	req, err := b.buildOPTIONS(tr)
	if err != nil {
		b.missed(tr, err)
		return
	}
	e := guard.Egress{Listener: tr.Policy.Listener, Dest: addrs[0], ServerName: server, TLSNames: tr.Policy.TLSNames}
	_, err = b.o.Stack.Request(context.Background(), req, e, func(res *sip.Response, err error) {
		switch {
		case err != nil:
			b.missed(tr, err)
		case res.StatusCode >= 200:
			b.report(tr, res)
		}
	})
	if err != nil {
		b.missed(tr, err)
	}
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
	before, after := tr.Missed(b.o.Now())
	b.log.Debug("OPTIONS not answered", "trunk", tr.Name, "error", err)
	b.changed(tr, before, after)
}

// report tells the trunk what its peer answered, to an OPTIONS or to an INVITE.
func (b *B2BUA) report(tr *trunk.Trunk, res *sip.Response) {
	now := b.o.Now()
	before, after := tr.Answered(res.StatusCode, now)
	if n, ok := seconds(res); ok && res.StatusCode == 503 {
		_, after = tr.RetryAfter(time.Duration(n)*time.Second, now)
	}
	b.changed(tr, before, after)
}

func (b *B2BUA) changed(tr *trunk.Trunk, before, after trunk.State) {
	if before != after {
		b.log.Warn("trunk health changed", "trunk", tr.Name, "before", before.String(), "after", after.String())
	}
}
