package b2bua

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"tandem/signaling/guard"
)

// options answers a ping of a trunk: 200 while we take calls, 503 while we do not (RFC 3261 section 11.2: as an INVITE
// would be answered).
func (b *B2BUA) options(in *guard.Inbound) {
	if tr, why := b.seen.Load().trunks.Identify(in.Listener, in.Source.Addr(), proven(in)); tr == nil {
		b.count(DropStranger)
		b.log.Debug("OPTIONS refused: no trunk", "source", in.Source, "listener", in.Listener, "why", why)
		b.answer(in, 403, nil)
		return
	}
	if b.draining.Load() || b.o.Ready != nil && !b.o.Ready() {
		b.answer(in, 503, retryAfter(b.soon()))
		return
	}
	b.answer(in, 200, b.capabilities)
}

// capabilities are the headers of a 200 to OPTIONS (RFC 3261 section 11.2).
func (b *B2BUA) capabilities(res *sip.Response) {
	res.AppendHeader(sip.NewHeader("Accept", contentSDP))
	res.AppendHeader(allowHeader)
	res.AppendHeader(sip.NewHeader("Supported", strings.Join(Extensions(), ", ")))
}
