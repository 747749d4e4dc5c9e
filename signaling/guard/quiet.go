package guard

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

const quietPerSecond = 5 // records of sipgo that are passed on; a flood of bad peers is not a flood of logs

// quiet is what sipgo's state machines may log to: warnings and worse, at debug level, a few a second, and never a
// message. They would log a whole packet, keys included, as an error that any peer can cause.
type quiet struct {
	to   slog.Handler
	last *atomic.Int64 // second of the clock, and how many were passed on in it, in the low byte
}

func newQuiet(to slog.Handler) quiet { return quiet{to: to, last: new(atomic.Int64)} }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.to.Enabled(ctx, slog.LevelDebug)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if !q.may(r.Time) {
		return nil
	}
	out := slog.NewRecord(r.Time, slog.LevelDebug, "sipgo: "+redact(r.Message), 0)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(slog.String(a.Key, redact(a.Value.String())))
		return true
	})
	return q.to.Handle(ctx, out)
}

// may counts a record against the second it is in.
func (q quiet) may(now time.Time) bool {
	for {
		old, second := q.last.Load(), now.Unix()
		n := int64(0)
		if old>>8 == second {
			n = old & 0xff
		}
		if n >= quietPerSecond {
			return false
		}
		if q.last.CompareAndSwap(old, second<<8|(n+1)) {
			return true
		}
	}
}

func (q quiet) WithAttrs(a []slog.Attr) slog.Handler {
	return quiet{q.to.WithAttrs(redactAll(a)), q.last}
}
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.to.WithGroup(name), q.last} }

func redactAll(attrs []slog.Attr) []slog.Attr {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = slog.String(a.Key, redact(a.Value.String()))
	}
	return out
}

// redact keeps one line without a key, a credential or a message.
func redact(text string) string {
	lower := strings.ToLower(text)
	for _, secret := range []string{"inline:", "a=crypto", "authorization", "response=", "sip/2.0\r\n", "\r\nv=0"} {
		if strings.Contains(lower, secret) {
			return "(redacted)"
		}
	}
	line, _, more := strings.Cut(text, "\n")
	if more {
		return strings.TrimRight(line, "\r") + " (cut)"
	}
	return line
}
