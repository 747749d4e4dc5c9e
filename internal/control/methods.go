package control

import "context"

// Methods are the relay's methods with their types. Client and Link carry them. Every error that the relay answered is
// an *Error (CodeOf tells which); any other error is the connection's or the context's.
type Methods struct {
	call func(ctx context.Context, method string, params, result any) error
}

// Hello introduces the caller. Dial and Link do this by themselves when they are given a Hello.
func (m Methods) Hello(ctx context.Context, h Hello) (r HelloResult, err error) {
	err = m.call(ctx, MethodHello, h, &r)
	return r, err
}

// Open opens a session, or returns the state of the one that the same Open opened before.
func (m Methods) Open(ctx context.Context, o Open) (r SessionState, err error) {
	err = m.call(ctx, MethodOpen, o, &r)
	return r, err
}

// Update changes what it names and leaves the rest as it was.
func (m Methods) Update(ctx context.Context, u Update) (r SessionState, err error) {
	err = m.call(ctx, MethodUpdate, u, &r)
	return r, err
}

// CloseSession closes a session and returns its final counters, also if it was closed within the last 60 s.
func (m Methods) CloseSession(ctx context.Context, ref Ref) (r SessionState, err error) {
	err = m.call(ctx, MethodClose, ref, &r)
	return r, err
}

// Get returns the state of a session.
func (m Methods) Get(ctx context.Context, ref Ref) (r SessionState, err error) {
	err = m.call(ctx, MethodGet, ref, &r)
	return r, err
}

// List returns one page of sessions.
func (m Methods) List(ctx context.Context, l List) (r ListResult, err error) {
	err = m.call(ctx, MethodList, l, &r)
	return r, err
}

// Each calls f for every session of owner, or of everybody with "", page by page, until f returns an error.
func (m Methods) Each(ctx context.Context, owner string, f func(SessionState) error) error {
	for l := (List{Owner: owner}); ; {
		page, err := m.List(ctx, l)
		if err != nil {
			return err
		}
		for _, s := range page.Sessions {
			if err := f(s); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		if page.Next <= l.After {
			return Errorf(CodeInternal, "session.list: the page after %q ends at %q: it does not advance", l.After, page.Next)
		}
		l.After = page.Next
	}
}

// Stats returns the relay's totals.
func (m Methods) Stats(ctx context.Context) (r Stats, err error) {
	err = m.call(ctx, MethodStats, nil, &r)
	return r, err
}

// Drain stops the relay from opening sessions, or lets it open them again.
func (m Methods) Drain(ctx context.Context, on bool) (r DrainResult, err error) {
	err = m.call(ctx, MethodDrain, Drain{On: on}, &r)
	return r, err
}
