// Package fake is a netio.Engine in memory, for tests and benchmarks of what stands above netio.
//
// A test injects datagrams, runs the worker's code, and reads what was sent; nothing touches the network, and nothing is
// lost or reordered. A benchmark lets a queue replay one prepared batch for ever, without allocating. What a kernel does
// to packets (buffers that overflow, sockets that fail for real) does not live here: that is tested on the sockets engine.
package fake

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"tandem/relay/netio"
	"tandem/relay/verdict"
)

// Datagram is one datagram, received or sent.
type Datagram struct {
	Local netio.Local // received: the port it comes to; sent: the port it left by
	Peer  netio.Addr  // received: its source; sent: its destination
	Data  []byte
}

// Engine implements netio.Engine. All methods may be called by any goroutine.
type Engine struct {
	queues []*queue

	mu     sync.Mutex
	bound  map[netio.Local]int   // the queue that receives from the port
	held   map[netio.Local]bool  // ports a stranger holds
	dscp   map[netio.Local]uint8 // by bound port
	closed bool
}

// New returns an engine of as many queues.
func New(workers int) *Engine {
	e := &Engine{
		bound: make(map[netio.Local]int),
		held:  make(map[netio.Local]bool),
		dscp:  make(map[netio.Local]uint8),
	}
	for range workers {
		e.queues = append(e.queues, newQueue())
	}
	return e
}

// Name implements netio.Engine.
func (e *Engine) Name() string { return "fake" }

// Queue implements netio.Engine.
func (e *Engine) Queue(i int) netio.Queue { return e.queues[i] }

// Bind implements netio.Engine. It knows every slot.
func (e *Engine) Bind(queue int, l netio.Local) error {
	if queue < 0 || queue >= len(e.queues) || l.Port() == 0 {
		return fmt.Errorf("bind: queue %d, port %d: no such queue or port", queue, l.Port())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, taken := e.bound[l]; taken || e.held[l] {
		return fmt.Errorf("bind slot %d, port %d: %w", l.Slot(), l.Port(), netio.ErrPortTaken)
	}
	e.bound[l] = queue
	return nil
}

// Unbind implements netio.Engine.
func (e *Engine) Unbind(l netio.Local) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.bound, l)
	delete(e.dscp, l)
}

// SetDSCP implements netio.Engine.
func (e *Engine) SetDSCP(l netio.Local, dscp uint8) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.bound[l]; !ok || dscp > 63 {
		return fmt.Errorf("set DSCP %d: slot %d, port %d: not bound, or not 0 to 63", dscp, l.Slot(), l.Port())
	}
	e.dscp[l] = dscp
	return nil
}

// Close implements netio.Engine: every port is unbound and Recv returns netio.ErrClosed from now on. A Recv that waits
// ends at once.
func (e *Engine) Close() error {
	e.mu.Lock()
	clear(e.bound)
	clear(e.dscp)
	e.closed = true
	e.mu.Unlock()
	for _, q := range e.queues {
		q.close()
	}
	return nil
}

// Bound returns the bound ports in order.
func (e *Engine) Bound() []netio.Local {
	e.mu.Lock()
	defer e.mu.Unlock()
	ports := make([]netio.Local, 0, len(e.bound))
	for l := range e.bound {
		ports = append(ports, l)
	}
	slices.Sort(ports)
	return ports
}

// Receiver returns the queue that a port is bound to.
func (e *Engine) Receiver(l netio.Local) (queue int, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	queue, ok = e.bound[l]
	return queue, ok
}

// DSCP returns the code point set for a port, 0 when none was.
func (e *Engine) DSCP(l netio.Local) uint8 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dscp[l]
}

// Hold makes a port look taken by a stranger's socket, or free again: Bind of a held port wraps netio.ErrPortTaken.
func (e *Engine) Hold(l netio.Local, held bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held[l] = held
}

// Inject lets a datagram from src arrive at port in of a queue, bound or not (a late packet meets a port whose lease
// has ended). The data is copied; beyond netio.MaxDatagram it is cut off and gets verdict.TooLong.
func (e *Engine) Inject(queue int, in netio.Local, src netio.Addr, data []byte) {
	e.queues[queue].inject(Datagram{Local: in, Peer: src, Data: bytes.Clone(data)})
}

// Sent returns what a queue has sent since the last call, in order, and forgets it.
func (e *Engine) Sent(queue int) []Datagram {
	q := e.queues[queue]
	q.mu.Lock()
	defer q.mu.Unlock()
	sent := q.sent
	q.sent = nil
	return sent
}

// Refuse makes Send fail for packets of a queue that go to dst, or succeed again.
func (e *Engine) Refuse(queue int, dst netio.Addr, refused bool) {
	q := e.queues[queue]
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refused[dst] = refused
}

// Replay puts a queue in benchmark mode: every Recv returns the same batch, with fresh copies of the data, and Send
// counts and discards. More than netio.BatchSize datagrams do not fit; an empty batch ends the mode. It panics on a
// batch that does not fit: a benchmark would measure something else than it says.
func (e *Engine) Replay(queue int, batch []Datagram) {
	if len(batch) > netio.BatchSize {
		panic(fmt.Sprintf("fake: replay of %d datagrams: a batch holds %d", len(batch), netio.BatchSize))
	}
	e.queues[queue].setReplay(batch)
}

const bufferSize = netio.Headroom + netio.MaxDatagram + netio.Tailroom // bytes of a packet's buffer

type queue struct {
	slab  []byte        // Recv's caller only
	ready chan struct{} // one token: something was injected, woken or closed
	own   sync.Mutex    // what is the worker's alone; unlocked while Recv waits

	mu      sync.Mutex
	inbox   []Datagram
	sent    []Datagram
	refused map[netio.Addr]bool
	replay  []Datagram
	stats   netio.QueueStats
	woken   bool
	closed  bool
}

var _ netio.Queue = (*queue)(nil)

func newQueue() *queue {
	q := &queue{
		slab:    make([]byte, netio.BatchSize*bufferSize),
		ready:   make(chan struct{}, 1),
		refused: make(map[netio.Addr]bool),
	}
	q.own.Lock()
	return q
}

// Recv implements netio.Queue.
func (q *queue) Recv(b *netio.Batch, wait time.Duration) error {
	b.N = 0
	if ended, err := q.take(b); ended || wait <= 0 {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	q.own.Unlock()
	defer q.own.Lock()
	for {
		select {
		case <-timer.C:
			return nil
		case <-q.ready:
			if ended, err := q.take(b); ended {
				return err
			}
		}
	}
}

// take fills b with what is there and reports whether that ends a Recv.
func (q *queue) take(b *netio.Batch) (ended bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return true, fmt.Errorf("fake queue: receive: %w", netio.ErrClosed)
	}
	ended, q.woken = q.woken, false
	from := q.replay
	if len(from) == 0 {
		from = q.inbox[:min(len(q.inbox), netio.BatchSize)]
		q.inbox = q.inbox[len(from):]
	}
	for i := range from {
		q.receive(&b.Packets[i], q.slab[i*bufferSize:][:bufferSize:bufferSize], &from[i])
	}
	b.N = len(from)
	if b.N > 0 {
		q.stats.RecvCalls++
		q.stats.RecvPackets += uint64(b.N)
	}
	return ended || b.N > 0, nil
}

func (q *queue) receive(p *netio.Packet, buffer []byte, d *Datagram) {
	n := copy(buffer[netio.Headroom:][:netio.MaxDatagram], d.Data)
	*p = netio.Packet{Data: buffer[netio.Headroom:][:n], In: d.Local, Src: d.Peer}
	if n < len(d.Data) {
		p.Verdict = verdict.TooLong
	}
}

// Send implements netio.Queue. It refuses what goes to no port or to an address given to Refuse, and does not ask whether
// the port it leaves by is bound.
func (q *queue) Send(b *netio.Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := q.stats.SendPackets
	for i := range b.Packets[:b.N] {
		p := &b.Packets[i]
		if p.Verdict != verdict.Forward {
			continue
		}
		if p.Dst.Port == 0 || len(q.refused) > 0 && q.refused[p.Dst] {
			p.Verdict = verdict.SendFailed
			continue
		}
		q.stats.SendPackets++
		q.stats.Sent[netio.Socket]++
		if len(q.replay) == 0 {
			q.sent = append(q.sent, Datagram{Local: p.Out, Peer: p.Dst, Data: bytes.Clone(p.Data)})
		}
	}
	if q.stats.SendPackets > before {
		q.stats.SendCalls++
	}
}

// Stats implements netio.Queue.
func (q *queue) Stats() netio.QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stats
}

// Wake implements netio.Queue.
func (q *queue) Wake() {
	q.mu.Lock()
	q.woken = true
	q.mu.Unlock()
	q.signal()
}

// Borrow implements netio.Queue.
func (q *queue) Borrow(f func()) bool {
	if !q.own.TryLock() {
		return false
	}
	defer q.own.Unlock()
	f()
	return true
}

func (q *queue) inject(d Datagram) {
	q.mu.Lock()
	q.inbox = append(q.inbox, d)
	q.mu.Unlock()
	q.signal()
}

func (q *queue) setReplay(batch []Datagram) {
	q.mu.Lock()
	q.replay = nil
	for _, d := range batch {
		d.Data = bytes.Clone(d.Data)
		q.replay = append(q.replay, d)
	}
	q.mu.Unlock()
	q.signal()
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default: // a token is there already
	}
}
