package console

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"tandem/internal/control"
	"tandem/signaling/b2bua"
)

// pageBytes bounds the entries of one answer: it has to fit into a line, with room for what stands around them.
const pageBytes = control.MaxLine / 2

// calls lists a page of the calls that are not over, in the order of their ids.
func (c *Console) calls(p List) (CallList, error) {
	all := c.o.Calls.Calls()
	r := CallList{Total: len(all)}
	found := all
	if p.Trunk != "" || p.Match != "" {
		found = slices.DeleteFunc(all, func(i b2bua.CallInfo) bool { return !p.wants(&i) })
	}
	r.Found = len(found)
	var err error
	r.Calls, r.Next, err = page(p, found, func(i *b2bua.CallInfo) string { return i.ID })
	return r, err
}

// wants tells whether a call belongs to what was asked for.
func (p List) wants(i *b2bua.CallInfo) bool {
	if p.Trunk != "" && i.From != p.Trunk && i.To != p.Trunk {
		return false
	}
	return p.Match == "" || slices.ContainsFunc([]string{i.ID, i.From, i.To, i.Called, i.CalledSent, i.Caller, i.CallerSent},
		func(s string) bool { return strings.Contains(s, p.Match) })
}

// page cuts from a list what follows p.After in the order of its keys, and tells where the next page goes on.
func page[T any](p List, all []T, key func(*T) string) (part []T, next string, err error) {
	limit := p.Limit
	if limit <= 0 || limit > control.MaxPage {
		limit = control.MaxPage
	}
	order := make([]keyed[T], 0, len(all))
	for i := range all {
		if k := key(&all[i]); k > p.After {
			order = append(order, keyed[T]{k, &all[i]})
		}
	}
	slices.SortFunc(order, func(a, b keyed[T]) int { return cmp.Compare(a.key, b.key) })
	part = []T{}
	bytes := 0
	for i, o := range order {
		if len(part) == limit || bytes > pageBytes {
			return part, order[i-1].key, nil
		}
		line, err := json.Marshal(o.entry)
		if err != nil {
			return nil, "", err
		}
		bytes += len(line)
		part = append(part, *o.entry)
	}
	return part, "", nil
}

// keyed is an entry on its way into a page: entries are large, and stay where they are while they are sorted.
type keyed[T any] struct {
	key   string
	entry *T
}

// call tells everything of one call: as SIP sees it, and what the relay measures of its media.
func (c *Console) call(ctx context.Context, p Ref) (CallState, error) {
	all := c.o.Calls.Calls()
	i := slices.IndexFunc(all, func(i b2bua.CallInfo) bool { return i.ID == p.ID })
	if i < 0 {
		return CallState{}, missing(p.ID)
	}
	r := CallState{Call: all[i]}
	switch {
	case r.Call.Session == "":
		r.NoMedia = "the call has no session at the relay yet"
	case !c.o.Relay.Up():
		r.NoMedia = "the relay is not connected"
	default:
		s, err := c.o.Relay.Get(ctx, control.Ref{ID: r.Call.Session})
		if err != nil {
			r.NoMedia = err.Error()
			break
		}
		s.Opaque = "" // what stands in Call
		r.Media = &s
	}
	return r, nil
}

// hangUp ends a call on both sides.
func (c *Console) hangUp(by control.Peer, p Ref) (Ref, error) {
	if !c.o.Calls.Hangup(p.ID) {
		return Ref{}, missing(p.ID)
	}
	c.o.Log.Info("hung up by the operator", "call", p.ID, "uid", by.UID)
	return p, nil
}

func missing(id string) error {
	return control.Errorf(control.CodeNotFound, "there is no call %q, or it is over: call.list has those that run", id)
}
