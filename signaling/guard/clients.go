package guard

import "sync"

// clientTable holds the client transactions by branch and method (RFC 3261 section 17.1.3).
type clientTable struct {
	mu  sync.Mutex
	txs map[string]*clientTx
}

func (t *clientTable) open() { t.txs = map[string]*clientTx{} }

func (t *clientTable) get(key string) *clientTx {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.txs[key]
}

func (t *clientTable) put(c *clientTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.txs[c.key] = c
}

func (t *clientTable) drop(c *clientTx) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.txs[c.key] == c {
		delete(t.txs, c.key)
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
