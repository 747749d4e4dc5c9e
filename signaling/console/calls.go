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
	found := slices.DeleteFunc(all, func(i b2bua.CallInfo) bool { return !p.wants(&i) })
	r.Found = len(found)
	var err error
	r.Calls, r.Next, err = page(p, found, func(i b2bua.CallInfo) string { return i.ID })
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
func page[T any](p List, all []T, key func(T) string) (part []T, next string, err error) {
	limit := p.Limit
	if limit <= 0 || limit > control.MaxPage {
		limit = control.MaxPage
	}
	all = slices.DeleteFunc(all, func(t T) bool { return key(t) <= p.After })
	slices.SortFunc(all, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	part = []T{}
	for bytes, i := 0, 0; i < len(all); i++ {
		if len(part) == limit || bytes > pageBytes {
			return part, key(all[i-1]), nil
		}
		line, err := json.Marshal(all[i])
		if err != nil {
			return nil, "", err
		}
		bytes += len(line)
		part = append(part, all[i])
	}
	return part, "", nil
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
func (c *Console) hangUp(p Ref) (Ref, error) {
	if !c.o.Calls.Hangup(p.ID) {
		return Ref{}, missing(p.ID)
	}
	return p, nil
}

func missing(id string) error {
	return control.Errorf(control.CodeNotFound, "there is no call %q, or it is over: call.list has those that run", id)
}
