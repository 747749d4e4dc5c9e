package relay

import (
	"runtime"
	"time"

	"tandem/relay/netio"
	"tandem/relay/verdict"
)

// worker is one core of the packet path: it owns the legs whose ports it receives from, and nothing else touches them.
type worker struct {
	id    int
	relay *Relay
	queue netio.Queue
	arena                  // shared by all workers; only our legs are ours
	keys  map[uint32]*keys // by leg: what does not fit into the arena

	retiring []retiring // in the order of their ends
	seed     uint64     // of the strangers' buckets

	batch  netio.Batch
	steps  [netio.BatchSize]step
	jobs   jobs
	beside beside // the queues beside the path

	commands    commands
	mine        []uint32 // indices of our legs, for the watch
	watchAt     int      // where in mine the watch goes on
	watchRounds uint64   // how often it has been through
	watchDue    int64
	yieldDue    int64

	received uint64
	inBytes  uint64
	outBytes uint64
	counts   verdict.Counters
	touched  byte // keeps the compiler from leaving out what touch reads
}

// run is the worker's life: what control wants, then packets, then the watch. It ends when quit is closed.
//
// It is not locked to a thread, and gives way now and then: a goroutine that never goes through the scheduler is taken for one that runs
// for too long, and the runtime's monitor wakes up thousands of times a second to interrupt it. On a virtual machine with slow
// wake-ups that was 7 - 8 % of the relay's time.
func (w *worker) run(quit <-chan struct{}) {
	for {
		if err := w.queue.Recv(&w.batch, watchEvery); err != nil {
			w.relay.log.Error("receive failed", "worker", w.id, "error", err)
			select {
			case <-quit:
				return
			case <-time.After(faultPause):
			}
		}
		now := netio.Now()
		w.obey(now) // before the packets: a leg whose ports a peer has been told is known when its packet is looked at
		if w.batch.N > 0 {
			w.forward(now)
		}
		if w.beside.injected.waiting() {
			w.originate()
		}
		w.watch(now)
		if now >= w.yieldDue {
			w.yieldDue = now + int64(yieldEvery)
			runtime.Gosched()
		}
		select {
		case <-quit:
			return
		default:
		}
	}
}

// yieldEvery is how long a worker goes on without giving way: a little less than the 10 ms that the runtime takes for too long.
const yieldEvery = 9 * time.Millisecond

// faultPause keeps a broken engine from spinning.
const faultPause = 100 * time.Millisecond
