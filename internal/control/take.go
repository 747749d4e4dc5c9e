package control

import (
	"errors"
	"strconv"
)

// What a client does with each line it reads.

// take gives an answer to its call and an event to its listener. An error is the end.
func (c *Client) take(line []byte) error {
	if id, result, ok := plainAnswer(line); ok && c.takePlain(id, result) {
		return nil
	}
	e, bad, broken := openEnvelope(line, allMembers)
	id, failed := e.member[memberID], e.member[memberError]
	switch {
	case broken:
		return notUnderstood(line)
	case bad != nil:
		return bad
	case (e.member[memberMethod] != nil) == (e.member[memberResult] != nil || failed != nil):
		return errors.New("unable to determine message type: want either a call or an answer")
	case e.member[memberMethod] != nil:
		return c.asked(e)
	case id == nil || string(id) == "null":
		return nullError(failed)
	}
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return nil // not an id of ours
	}
	w := c.forget(n)
	if w == nil {
		return nil // its caller gave up
	}
	if failed != nil {
		w.done <- readError(failed)
	} else {
		w.done <- w.read(e.member[memberResult])
	}
	return nil
}

// takePlain gives an answer to its call, in one pass over it. false: the line needs a second look, and whoever waits still does.
func (c *Client) takePlain(id uint64, result []byte) bool {
	w := c.forget(id)
	if w == nil {
		return false
	}
	if w.read(result) == nil {
		w.done <- nil
		return true
	}
	c.mu.Lock()
	c.waiters[id] = w // even if its caller gave up meanwhile: who finds that it was taken up waits for the answer, or for the end
	c.mu.Unlock()
	return false
}

// notUnderstood says why a line is no object.
func notUnderstood(line []byte) error {
	if err := syntax(line); err != nil {
		return err
	}
	return errors.New("unable to determine message type: no object")
}

// readError is the error of an answer.
func readError(raw []byte) error {
	e := &Error{}
	if err := decodeAnswer(raw, e); err != nil {
		return err
	}
	return e
}

// nullError is the error of an answer to no request: a refusal, or a line of ours that was not understood.
func nullError(failed []byte) error {
	if failed == nil {
		return errors.New("an answer without id and without error")
	}
	return readError(failed)
}

// asked takes an event. A call, which no server of ours makes, is answered that it went to the wrong side. It runs between
// two reads, so it does not wait for the listener.
func (c *Client) asked(e envelope) error {
	method, ok := textOf(e.member[memberMethod])
	if !ok {
		return errors.New("a message whose method is no string")
	}
	if id := e.member[memberID]; id != nil {
		c.out.add(func(b []byte) []byte {
			return appendAnswer(b, id, nil, Errorf(CodeNoMethod, "a controller answers no calls"), MaxLine)
		})
		c.flush()
		return nil
	}
	heard := event{method: method}
	if params := e.member[memberParams]; params != nil {
		if err := decodeAnswer(params, &heard.body); err != nil {
			c.log.Warn("control: event not understood", "method", method, "error", err)
			return nil
		}
	}
	select {
	case c.events <- heard:
	default:
		c.lost.Add(1)
	}
	return nil
}
