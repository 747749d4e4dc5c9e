package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"tandem/signaling/b2bua"
	"tandem/signaling/console"
	"tandem/signaling/trunk"
)

// column is one of a table.
type column[T any] struct {
	title string
	width int // at least; more if there is room and a cell needs it
	right bool
	spare bool // left out where the table would not fit
	cell  func(*T) string
	order func(a, b *T) int // sorts so that what deserves a look comes first
}

// arrange sorts rows by a column; equals by the first one.
func arrange[T any](rows []T, columns []column[T], by int, reverse bool) {
	slices.SortStableFunc(rows, func(a, b T) int { return columns[0].order(&a, &b) })
	slices.SortStableFunc(rows, func(a, b T) int {
		if reverse {
			a, b = b, a
		}
		return columns[by].order(&a, &b)
	})
}

// table lays rows out in a width; 0: as wide as the widest cells. by is the column that is marked.
func table[T any](rows []T, columns []column[T], by, width int, style func(*T) string) (title string, out []row) {
	cells := make([][]string, len(rows))
	for i := range rows {
		for _, c := range columns {
			cells[i] = append(cells[i], plain(c.cell(&rows[i])))
		}
	}
	widths := spread(cells, columns, width)
	titles := make([]string, len(columns))
	for j, c := range columns {
		if titles[j] = c.title; j == by {
			titles[j] += "*"
		}
	}
	for i := range rows {
		out = append(out, row{join(cells[i], columns, widths), style(&rows[i])})
	}
	return join(titles, columns, widths), out
}

// spread gives each column its width; 0: it is left out. Room that is left goes to cells that were cut, from left to right.
func spread[T any](cells [][]string, columns []column[T], width int) []int {
	widths, total := make([]int, len(columns)), -1 // no gap before the first
	for j, c := range columns {
		widths[j] = max(c.width, len(c.title)+1)
		total += 1 + widths[j]
	}
	for j := len(columns) - 1; j >= 0 && width > 0 && total > width; j-- {
		if columns[j].spare {
			total -= 1 + widths[j]
			widths[j] = 0
		}
	}
	for j := range columns {
		if widths[j] == 0 {
			continue
		}
		widest := widths[j]
		for i := range cells {
			widest = max(widest, len(cells[i][j]))
		}
		more := widest - widths[j]
		if width > 0 {
			more = max(0, min(more, width-total))
		}
		widths[j] += more
		total += more
	}
	return widths
}

// join makes one line of cells.
func join[T any](cells []string, columns []column[T], widths []int) string {
	var b strings.Builder
	for j, cell := range cells {
		w := widths[j]
		if w == 0 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if len(cell) > w {
			cell = cell[:w-1] + "~"
		}
		if columns[j].right {
			fmt.Fprintf(&b, "%*s", w, cell)
		} else {
			fmt.Fprintf(&b, "%-*s", w, cell)
		}
	}
	return b.String()
}

// falling sorts the larger first.
func falling[T any, N cmp.Ordered](of func(*T) N) func(a, b *T) int {
	return func(a, b *T) int { return cmp.Compare(of(b), of(a)) }
}

func rising[T any, N cmp.Ordered](of func(*T) N) func(a, b *T) int {
	return func(a, b *T) int { return cmp.Compare(of(a), of(b)) }
}

// trunkColumns are what is shown of a trunk, 80 columns wide without the spare ones.
var trunkColumns = []column[console.Trunk]{
	{title: "TRUNK", width: 14, cell: func(t *console.Trunk) string { return t.Name }, order: rising(func(t *console.Trunk) string { return t.Name })},
	{title: "STATE", width: 7, cell: func(t *console.Trunk) string { return t.State.String() }, order: falling(func(t *console.Trunk) trunk.State { return t.State })},
	{title: "FOR", width: 5, right: true, cell: stateAge, order: falling(func(t *console.Trunk) int64 { return t.Since.UnixNano() })},
	{title: "CALLS", width: 7, right: true, cell: func(t *console.Trunk) string { return capped(t.Calls, t.MaxCalls) }, order: falling(func(t *console.Trunk) int { return t.Calls })},
	{title: "CPS", width: 5, right: true, cell: func(t *console.Trunk) string { return capped(t.CPS, t.MaxCPS) }, order: falling(func(t *console.Trunk) int { return t.CPS })},
	{title: "KBIT/S", width: 11, right: true, spare: true, cell: func(t *console.Trunk) string { return capped(t.Bandwidth, t.MaxBandwidth) }, order: falling(func(t *console.Trunk) int { return t.Bandwidth })},
	{title: "FAILED", width: 6, right: true, cell: func(t *console.Trunk) string { return fmt.Sprint(t.Counters.Failed) }, order: falling(func(t *console.Trunk) uint64 { return t.Counters.Failed })},
	{title: "LOSS%", width: 5, right: true, cell: quality("%.1f", func(q *console.Quality) float64 { return q.Loss }), order: falling(func(t *console.Trunk) float64 {
		return ofQuality(t, func(q *console.Quality) float64 { return q.Loss })
	})},
	{title: "JITTER", width: 6, right: true, spare: true, cell: quality("%.0fms", func(q *console.Quality) float64 { return q.JitterMS }), order: falling(func(t *console.Trunk) float64 {
		return ofQuality(t, func(q *console.Quality) float64 { return q.JitterMS })
	})},
	{title: "MOS", width: 4, right: true, cell: quality("%.1f", func(q *console.Quality) float64 { return q.MOS }), order: falling(func(t *console.Trunk) float64 {
		return ofQuality(t, func(q *console.Quality) float64 { return 5 - q.MOS })
	})},
	{title: "PEER", width: 22, spare: true, cell: func(t *console.Trunk) string { return t.Transport + " " + t.Peer }, order: rising(func(t *console.Trunk) string { return t.Peer })},
	{title: "NOTE", width: 17, cell: note, order: falling(func(t *console.Trunk) string { return note(t) })},
}

// callColumns are what is shown of a call.
var callColumns = []column[b2bua.CallInfo]{
	{title: "AGE", width: 5, right: true, cell: func(c *b2bua.CallInfo) string { return short(seconds(c.Age)) }, order: falling(func(c *b2bua.CallInfo) float64 { return c.Age })},
	{title: "PHASE", width: 8, cell: func(c *b2bua.CallInfo) string { return c.Phase }, order: rising(func(c *b2bua.CallInfo) string { return c.Phase })},
	{title: "FROM", width: 11, cell: func(c *b2bua.CallInfo) string { return c.From }, order: rising(func(c *b2bua.CallInfo) string { return c.From })},
	{title: "TO", width: 11, cell: func(c *b2bua.CallInfo) string { return c.To }, order: rising(func(c *b2bua.CallInfo) string { return c.To })},
	{title: "CALLER", width: 15, cell: func(c *b2bua.CallInfo) string { return c.Caller }, order: rising(func(c *b2bua.CallInfo) string { return c.Caller })},
	{title: "CALLED", width: 15, cell: func(c *b2bua.CallInfo) string { return c.Called }, order: rising(func(c *b2bua.CallInfo) string { return c.Called })},
	{title: "TALK", width: 5, right: true, cell: talk, order: falling(func(c *b2bua.CallInfo) float64 { return c.Talk })},
	{title: "TRIED", width: 5, right: true, spare: true, cell: func(c *b2bua.CallInfo) string { return fmt.Sprint(len(c.Tried)) }, order: falling(func(c *b2bua.CallInfo) int { return len(c.Tried) })},
	{title: "ROUTE", width: 12, spare: true, cell: func(c *b2bua.CallInfo) string { return c.Route }, order: rising(func(c *b2bua.CallInfo) string { return c.Route })},
	{title: "ID", width: 34, spare: true, cell: func(c *b2bua.CallInfo) string { return c.ID }, order: rising(func(c *b2bua.CallInfo) string { return c.ID })},
}

// capped is a number and the most that it may be, if there is a most.
func capped(n, most int) string {
	if most == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d/%d", n, most)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func talk(c *b2bua.CallInfo) string {
	if c.Answer.IsZero() {
		return "-"
	}
	return short(seconds(c.Talk))
}

// quality shows one figure of a trunk's quality, or that there is none.
func quality(format string, of func(*console.Quality) float64) func(*console.Trunk) string {
	return func(t *console.Trunk) string {
		if t.Quality == nil {
			return "-"
		}
		return fmt.Sprintf(format, of(t.Quality))
	}
}

// ofQuality is the figure to sort by; trunks without any come last.
func ofQuality(t *console.Trunk, of func(*console.Quality) float64) float64 {
	if t.Quality == nil {
		return -1
	}
	return of(t.Quality)
}

// How long something stays worth a note.
const (
	noteFailure = 5 * time.Minute     // the last failure
	noteExpiry  = 30 * 24 * time.Hour // before a certificate ends
)

// unavailable is what a peer answers that cannot take calls (RFC 3261 section 21.5.4).
const unavailable = 503

// note is the one thing about a trunk that somebody should know, in a few words that begin with the gist.
func note(t *console.Trunk) string {
	switch {
	case t.RestSeconds > 0:
		return fmt.Sprintf("rests %ds more", t.RestSeconds)
	case t.Full != "":
		return "full: " + t.Full
	case len(t.Addresses) == 0 && t.DNSError != "":
		return "no address: " + t.DNSError
	case t.Registration != "" && !console.Registered(t.Registration):
		return t.Registration
	case t.Misses > 0:
		return counted(t.Misses, "poll", "polls") + " missed"
	case t.State != trunk.Up && t.LastCode == unavailable:
		return "answered 503"
	case t.State != trunk.Up:
		return "no answer"
	case t.LastError != nil && t.Looked.Sub(t.LastError.At) < noteFailure:
		return fmt.Sprintf("%d %s", t.LastError.Code, t.LastError.Why)
	case !t.Expires.IsZero() && t.Expires.Sub(t.Looked) < noteExpiry:
		return "certificate ends " + t.Expires.Format(time.DateOnly)
	case t.DNSError != "":
		return "old addresses: " + t.DNSError
	}
	return ""
}

// counted is a number of things.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// stateAge is how long a trunk has been in its state.
func stateAge(t *console.Trunk) string { return short(t.Looked.Sub(t.Since)) }

func styleOfTrunk(t *console.Trunk) string {
	switch {
	case t.State == trunk.Down:
		return styleBad
	case t.State == trunk.Demoted, t.RestSeconds > 0, t.Full != "":
		return styleWarn
	}
	return ""
}

func styleOfCall(*b2bua.CallInfo) string { return "" }
