package guard

import (
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// clientKey names a client transaction (RFC 3261 section 17.1.3).
type clientKey struct {
	branch string
	method sip.RequestMethod
}

// clientKeyOf is the key of a request of ours, or of the response to one; false: no branch of ours is in it.
func clientKeyOf(via *sip.ViaHeader, cseq *sip.CSeqHeader) (clientKey, bool) {
	branch, _ := via.Params.Get("branch")
	method := cseq.MethodName
	if method == sip.ACK {
		method = sip.INVITE
	}
	return clientKey{branch, method}, unique(branch)
}

// unique reports a branch that RFC 3261 section 8.1.1.7 makes unique.
func unique(branch string) bool {
	return len(branch) > len(sip.RFC3261BranchMagicCookie) && strings.HasPrefix(branch, sip.RFC3261BranchMagicCookie)
}

// clientTable holds the client transactions.
type clientTable struct {
	mu   sync.Mutex
	txs  map[clientKey]*clientTx
	most int // entries of txs, since it was made

	resting  queue[clientTx] // accepted
	settling queue[clientTx] // refused
}

func (t *clientTable) open() { t.txs = map[clientKey]*clientTx{} }

func (t *clientTable) get(key clientKey) *clientTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.txs[key]
}

func (t *clientTable) put(c *clientTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.txs[c.key] = c
	t.most = max(t.most, len(t.txs))
}

func (t *clientTable) drop(c *clientTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.txs[c.key] == c {
		delete(t.txs, c.key)
	}
	if roomy(len(t.txs), t.most) {
		t.txs, t.most = smaller(t.txs), len(t.txs)
	}
}

func (t *clientTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.txs)
}

func (t *clientTable) closeAll(why error) {
	t.mu.Lock()
	all := make([]*clientTx, 0, len(t.txs))
	for _, c := range t.txs {
		all = append(all, c)
	}
	t.mu.Unlock()
	for _, c := range all {
		c.fail(why)
	}
}
