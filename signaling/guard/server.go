package guard

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

const (
	sweepEvery    = 5 * time.Second
	answerWithin  = 32 * time.Second // 64*T1: nobody waits longer for the answer to anything but an INVITE (timer F)
	ringingMargin = time.Minute      // an INVITE outlives ring_timeout by this before it counts as abandoned
)

// txKey names a server transaction (RFC 3261 section 17.2.3), and binds it to the address it came from: who guesses a
// branch from elsewhere cannot cancel somebody's call.
type txKey struct {
	listener *listener
	source   netip.Addr
	branch   string
	host     string // sent-by
	port     int    // 0: none
	method   sip.RequestMethod
}

// keyOf is the key of req as if its method were method; ACK belongs to its INVITE.
func keyOf(in *Inbound, method sip.RequestMethod) txKey {
	if method == sip.ACK {
		method = sip.INVITE
	}
	via := in.Req.Via()
	k := txKey{listener: in.l, source: in.Source.Addr(), method: method}
	if branch, _ := via.Params.Get("branch"); unique(branch) {
		k.branch, k.host, k.port = branch, via.Host, max(0, via.Port)
		return k
	}
	// An RFC 2543 peer has no unique branch. The To tag is left out: an ACK carries ours, the INVITE did not.
	k.branch = strings.Join([]string{in.Req.CallID().Value(), in.Req.From().Params.GetOr("tag", ""),
		strconv.FormatUint(uint64(in.Req.CSeq().SeqNo), 10), in.Req.Recipient.String()}, " ")
	k.host = via.Value()
	return k
}

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
	txs    map[txKey]*serverTx
	merges map[mergeKey]*serverTx
}

func (t *serverTable) open() {
	t.txs, t.merges = map[txKey]*serverTx{}, map[mergeKey]*serverTx{}
}

func (t *serverTable) get(k txKey) *serverTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.txs[k]
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
		t.merges[tx.merge] = tx
	}
	return nil
}

func (t *serverTable) drop(tx *serverTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.txs, tx.key)
	if t.merges[tx.merge] == tx {
		delete(t.merges, tx.merge)
	}
}

// merged reports an INVITE that is being answered already under another branch. One that has its final response does not
// count: a peer that failed over to our next address repeats the same request (RFC 3263 section 4.3).
func (t *serverTable) merged(req *sip.Request) bool {
	t.mu.Lock()
	tx := t.merges[mergeKeyOf(req)]
	t.mu.Unlock()
	if tx == nil {
		return false
	}
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return tx.final == 0
}

// begin finds the transaction of a request, or makes one and calls the Handler.
func (l *listener) begin(in *Inbound) Outcome {
	s, req := l.stack, in.Req
	key := keyOf(in, req.Method)
	if tx := s.servers.get(key); tx != nil {
		return tx.repeat()
	}
	inDialog := req.To().Params.Has("tag")
	if req.IsInvite() && !inDialog && s.servers.merged(req) {
		return in.refuse(refusal{sip.StatusLoopDetected, "Loop Detected", nil})
	}
	tx := &serverTx{l: l, back: in.back, in: in, key: key, born: in.Received, invite: req.IsInvite(), inDialog: inDialog}
	if tx.invite {
		tx.ending = in.Response(sip.StatusRequestTerminated, "Request Terminated") // now: the Handler may take Req apart
		if !inDialog {
			tx.merge = mergeKeyOf(req)
		}
	}
	if old := s.servers.put(tx); old != nil {
		return old.repeat()
	}
	if s.isClosed() {
		tx.Terminate()
		return StrayRequest
	}
	in.tx, in.Tx = tx, tx
	s.opt.Handler(in)
	return Delivered
}

// ack ends the retransmission of a failure, or goes to the Handler: the ACK to a 2xx is a transaction of its own, even
// where a peer reuses the branch of its INVITE.
func (l *listener) ack(in *Inbound) Outcome {
	tx := l.stack.servers.get(keyOf(in, sip.ACK))
	if tx == nil {
		l.stack.opt.Handler(in)
		return Delivered
	}
	tx.mu.Lock()
	final := tx.final
	tx.acked = tx.final >= 300
	if tx.acked {
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
	tx := l.stack.servers.get(keyOf(in, sip.INVITE))
	if tx == nil {
		return l.begin(in)
	}
	tx.mu.Lock()
	invite, tag, ended := tx.in, "", false
	if !tx.inDialog {
		tag = tx.localTag()
	}
	ok := in.Response(sip.StatusOK, "OK")
	if tag != "" {
		ok.To().Params.Add("tag", tag)
	}
	l.dress(ok)
	if raw, err := encodeResponse(ok); err == nil {
		in.back.send(raw)
	}
	if tx.final == 0 && tx.state != forgotten {
		ended, tx.canceled = true, true
		tx.respond(tx.ending)
	}
	hooks := tx.onCancel
	tx.mu.Unlock()
	if !ended {
		return Absorbed
	}
	for _, f := range hooks {
		f(in.Req)
	}
	in.Invite = invite
	l.stack.opt.Handler(in)
	return Delivered
}

// sweep ends transactions that nobody answered, so that a request lost above costs no memory for ever.
func (s *Stack) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.closed:
			return
		case now := <-tick.C:
			s.abandon(now)
		}
	}
}

func (s *Stack) abandon(now time.Time) {
	for _, tx := range s.servers.all() {
		limit := answerWithin
		if tx.invite {
			limit = s.opt.Limits.RingTimeout + ringingMargin
		}
		if now.Sub(tx.born) < limit {
			continue
		}
		tx.mu.Lock()
		waiting := tx.final == 0
		tx.mu.Unlock()
		if waiting {
			s.counters.abandoned.Add(1)
			tx.Terminate()
		}
	}
}
