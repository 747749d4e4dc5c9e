package calls

import (
	"context"
	"fmt"
	"time"
)

const (
	// restMost is how long a gateway may take to come to rest: INVITE transactions stay for 32 s (RFC 6026, timer L), and Go collects
	// two minutes after the last time, or up to one later when nobody has anything to do (its monitor sleeps as well).
	restMost = 220 * time.Second
	restLook = time.Second

	spareGoroutines = 12      // connections of those who ask, threads of pools
	spareHeap       = 8 << 20 // bytes: tables and pools that keep the size they grew to
)

// Rest is what a gateway was before its calls, and what it came to after them.
type Rest struct {
	Took       float64            `json:"seconds"` // from the last call's end
	Goroutines map[string]int     `json:"goroutines"`
	Started    map[string]int     `json:"goroutines_at_start"`
	HeapMB     map[string]float64 `json:"heap_mb"`
	HeapStart  map[string]float64 `json:"heap_mb_at_start"`
	Returned   bool               `json:"returned"`
	Left       string             `json:"left,omitempty"` // what did not
}

// rest waits until goroutines and heap are what they were, or not.
func rest(ctx context.Context, g Gateway, start Books, log func(string, ...any)) (*Rest, error) {
	log("rest       %-18s until goroutines and heap are back: %s at most", g.Name(), restMost)
	began := time.Now()
	for {
		now, err := g.Books(ctx)
		if err != nil {
			return nil, err
		}
		r := &Rest{
			Took: time.Since(began).Seconds(), Goroutines: now.Goroutines, Started: start.Goroutines,
			HeapMB: megas(now.Heap), HeapStart: megas(start.Heap), Left: left(start, now),
		}
		if r.Returned = r.Left == ""; r.Returned || time.Since(began) > restMost {
			return r, nil
		}
		select {
		case <-time.After(restLook):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// left says what is more than it was, "" for nothing.
func left(start, now Books) string {
	for _, part := range []string{sipPart, relayPart} {
		if n, was := now.Goroutines[part], start.Goroutines[part]; n > was+spareGoroutines {
			return fmt.Sprintf("%s has %d goroutines, had %d", part, n, was)
		}
		if n, was := now.Heap[part], start.Heap[part]; n > was+was/2+spareHeap {
			return fmt.Sprintf("%s has %.1f MB on its heap, had %.1f", part, mega(n), mega(was))
		}
	}
	if now.Calls > 0 || now.Sessions > 0 {
		return fmt.Sprintf("%d calls, %d media sessions", now.Calls, now.Sessions)
	}
	return ""
}

func mega(bytes uint64) float64 { return float64(bytes) / (1 << 20) }

func megas(bytes map[string]uint64) map[string]float64 {
	m := map[string]float64{}
	for name, b := range bytes {
		m[name] = mega(b)
	}
	return m
}
