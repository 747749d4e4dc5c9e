package guard

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

const (
	sweepEvery    = 5 * time.Second
	answerWithin  = 32 * time.Second // 64*T1: nobody waits longer for the answer to anything but an INVITE (timer F)
	ringingMargin = time.Minute      // an INVITE outlives ring_timeout by this before it counts as abandoned
)

// keyOf names the server transaction of req as if its method were method (RFC 3261 section 17.2.3), appended to b; ACK belongs to
// its INVITE. It binds a transaction to the listener and the address it came from: who guesses a branch from elsewhere cannot
// cancel somebody's call. What is not of a fixed length ends with a NUL, which no message may hold (filter.go), so that two
// names are the same only where all their parts are.
func keyOf(b []byte, in *Inbound, method sip.RequestMethod) []byte {
	if method == sip.ACK {
		method = sip.INVITE
	}
	source := in.Source.Addr()
	ip := source.As16()
	b = append(append(append(b, in.l.Name...), 0), ip[:]...)
	b = append(append(b, source.Zone()...), 0)
	b = append(append(b, method...), 0)
	via := in.Req.Via()
	if branch, _ := via.Params.Get("branch"); unique(branch) {
		b = append(append(b, via.Host...), 0)
		b = append(strconv.AppendInt(b, int64(max(0, via.Port)), 10), 0)
		return append(b, branch...)
	}
	// An RFC 2543 peer has no unique branch. The To tag is left out: an ACK carries ours, the INVITE did not.
	for _, part := range []string{in.Req.CallID().Value(), in.Req.From().Params.GetOr("tag", ""),
		strconv.FormatUint(uint64(in.Req.CSeq().SeqNo), 10), in.Req.Recipient.String(), via.Value()} {
		b = append(append(b, part...), 0)
	}
	return b
}

const keyRoom = 192 // bytes of an ordinary key; a longer one costs an allocation

// mergeKey names a request that may arrive by two ways (RFC 3261 section 8.2.2.2).
type mergeKey struct {
	callID, fromTag string
	cseq            uint32
	method          string
}

func mergeKeyOf(req *sip.Request) mergeKey {
	return mergeKey{req.CallID().Value(), req.From().Params.GetOr("tag", ""), req.CSeq().SeqNo, string(req.Method)}
}

// serverTable holds the server transactions, and the INVITEs among them that have no final response by their merge key.
type serverTable struct {
	mu     sync.Mutex
	txs    map[string]*serverTx
	merges map[mergeKey]*serverTx
	most   int // entries of txs, since it was made

	waiting  queue[serverTx] // INVITEs without any response
	resting  queue[serverTx] // answered
	settling queue[serverTx] // refused, and the ACK came
}

// A map keeps the room that it grew to, so one that was large and has few entries left is copied into one that fits.
const (
	largeTable = 4096 // entries for which no room is given back
	fewLeft    = 16   // times fewer than there were
)

func roomy(now, most int) bool { return most > largeTable && now <= most/fewLeft }

func smaller[K comparable, V any](m map[K]V) map[K]V {
	fitting := make(map[K]V, len(m))
	maps.Copy(fitting, m)
	return fitting
}

func (t *serverTable) open() {
	t.txs, t.merges = map[string]*serverTx{}, map[mergeKey]*serverTx{}
}

func (t *serverTable) get(key []byte) *serverTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.txs[string(key)]
}

func (t *serverTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.txs)
}

func (t *serverTable) all() []*serverTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*serverTx, 0, len(t.txs))
	for _, tx := range t.txs {
		out = append(out, tx)
	}
	return out
}

func (t *serverTable) closeAll() {
	for _, tx := range t.all() {
		tx.Terminate()
	}
}

// put adds tx unless its key is taken; it returns who has it.
func (t *serverTable) put(tx *serverTx) *serverTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.txs[tx.key]; old != nil {
		return old
	}
	t.txs[tx.key] = tx
	if tx.invite && !tx.inDialog {
		t.merges[tx.in.merge] = tx
	}
	t.most = max(t.most, len(t.txs))
	return nil
}

func (t *serverTable) drop(tx *serverTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.txs, tx.key)
	if roomy(len(t.txs), t.most) {
		t.txs, t.merges, t.most = smaller(t.txs), smaller(t.merges), len(t.txs)
	}
}

// settle is the final response to an INVITE, or its end without one: it may come again by another way.
func (t *serverTable) settle(merge mergeKey, tx *serverTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.merges[merge] == tx {
		delete(t.merges, merge)
	}
}

// merged reports an INVITE that is being answered already under another branch. One that has its final response does not
// count: a peer that failed over to our next address repeats the same request (RFC 3263 section 4.3).
func (t *serverTable) merged(merge mergeKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.merges[merge] != nil
}

// begin finds the transaction of a request, or makes one and calls the Handler.
func (l *listener) begin(in *Inbound) Outcome {
	s, req := l.stack, in.Req
	var room [keyRoom]byte
	key := keyOf(room[:0], in, req.Method)
	if tx := s.servers.get(key); tx != nil {
		return tx.repeat()
	}
	tx := &serverTx{l: l, back: in.back, in: in, invite: req.IsInvite(), inDialog: req.To().Params.Has("tag")}
	if tx.invite && !tx.inDialog {
		in.merge = mergeKeyOf(req)
		if s.servers.merged(in.merge) {
			return in.refuse(refusal{sip.StatusLoopDetected, "Loop Detected", nil})
		}
	}
	tx.key, in.born = string(key), in.Received.Sub(s.born)
	if tx.invite {
		in.repeats = repeated(make([]sip.Header, 0, repeatedRoom/2), req) // now: the Handler may take Req apart
		in.timestamp = timestampOf(req)
	}
	if old := s.servers.put(tx); old != nil {
		return old.repeat()
	}
	if s.isClosed() {
		tx.Terminate()
		return StrayRequest
	}
	in.tx, in.Tx = tx, tx
	if tx.invite {
		s.calm(tx)
	}
	handled := false
	defer func() {
		if !handled { // it panicked; a 100 alone would have the peer wait for minutes
			tx.fail()
		}
	}()
	s.opt.Handler(in)
	handled = true
	return Delivered
}

// ack ends the retransmission of a failure, or goes to the Handler: the ACK to a 2xx is a transaction of its own, even
// where a peer reuses the branch of its INVITE.
func (l *listener) ack(in *Inbound) Outcome {
	var room [keyRoom]byte
	tx := l.stack.servers.get(keyOf(room[:0], in, sip.ACK))
	if tx == nil {
		l.stack.opt.Handler(in)
		return Delivered
	}
	tx.mu.Lock()
	final := int(tx.final)
	if final >= 300 {
		tx.confirm()
	}
	tx.mu.Unlock()
	switch {
	case success(final):
		l.stack.opt.Handler(in)
		return Delivered
	case final == 0:
		return StrayRequest
	}
	return Absorbed
}

// cancel answers a CANCEL and ends its INVITE (RFC 3261 section 9.2). One that meets no INVITE goes to the Handler like
// any other request.
func (l *listener) cancel(in *Inbound) Outcome {
	var room [keyRoom]byte
	tx := l.stack.servers.get(keyOf(room[:0], in, sip.INVITE))
	if tx == nil {
		return l.begin(in)
	}
	invite, hooks := tx.cancel(in)
	if invite == nil {
		return Absorbed
	}
	for _, f := range hooks {
		f(in.Req)
	}
	in.Invite = invite
	l.stack.opt.Handler(in)
	return Delivered
}

// cancel answers the CANCEL in, and its INVITE, which it returns unless that had its final response.
func (t *serverTx) cancel(in *Inbound) (invite *Inbound, hooks []sip.FnTxCancel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ok := in.Response(sip.StatusOK, "OK")
	if !t.inDialog {
		ok.To().Params.Add("tag", t.localTag())
	}
	t.l.dress(ok)
	if raw, err := encodeResponse(ok); err == nil {
		in.back.send(raw) //nolint:errcheck // whoever asks again will do so once more
	}
	if invite = t.in; invite != nil {
		t.canceled, hooks = true, invite.onCancel
		t.respond(respond(invite.repeats, sip.INVITE, "SIP/2.0", sip.StatusRequestTerminated, "Request Terminated")) //nolint:errcheck // it is cancelled all the same
	}
	return invite, hooks
}

// sweep ends transactions that have waited for repetitions, and those that nobody answered, so that a request lost above costs no
// memory for ever.
func (s *Stack) sweep() {
	tick, rest := time.NewTicker(sweepEvery), time.NewTicker(restEvery)
	defer tick.Stop()
	defer rest.Stop()
	for {
		select {
		case <-s.closed:
			return
		case <-rest.C:
			s.release(s.age())
		case now := <-tick.C:
			s.abandon(now)
		}
	}
}

// waitsSince tells whether a request that came before that time has no final response.
func (t *serverTx) waitsSince(then time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.in != nil && then.Sub(t.l.stack.born) >= t.in.born
}

// fail ends a request that nobody will answer: an INVITE, of which the peer may have heard a 100, with a 500, another in silence.
func (t *serverTx) fail() {
	defer t.l.recovered("a failure of ours", t.l.local)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.in == nil { // it was answered
		return
	}
	if !t.invite || t.respond(respond(t.in.repeats, sip.INVITE, "SIP/2.0", sip.StatusInternalServerError, "Server Internal Error")) != nil {
		t.forget()
	}
}

func (s *Stack) abandon(now time.Time) {
	for _, tx := range s.servers.all() {
		limit := answerWithin
		if tx.invite {
			limit = s.opt.Limits.RingTimeout + ringingMargin
		}
		if tx.waitsSince(now.Add(-limit)) {
			s.counters.abandoned.Add(1)
			tx.fail()
		}
	}
}
