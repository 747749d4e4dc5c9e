package b2bua

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// callLog is a log in which each line carries the id of a call. What stands before the lines is made with the first of them: at
// most levels most calls have none.
type callLog struct {
	slog.Handler // of the node: what is enabled there is enabled here
	id           string
	made         atomic.Pointer[slog.Handler]
}

func newCallLog(node *slog.Logger, id string) *slog.Logger {
	return slog.New(&callLog{Handler: node.Handler(), id: id})
}

func (l *callLog) marked() slog.Handler {
	if h := l.made.Load(); h != nil {
		return *h
	}
	h := l.Handler.WithAttrs([]slog.Attr{slog.String("call", l.id)})
	l.made.Store(&h)
	return h
}

// Handle, WithAttrs and WithGroup are those of slog.Handler.
func (l *callLog) Handle(ctx context.Context, r slog.Record) error { return l.marked().Handle(ctx, r) }

// WithAttrs: see Handle.
func (l *callLog) WithAttrs(attrs []slog.Attr) slog.Handler { return l.marked().WithAttrs(attrs) }

// WithGroup: see Handle.
func (l *callLog) WithGroup(name string) slog.Handler { return l.marked().WithGroup(name) }
