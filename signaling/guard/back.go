package guard

import (
	"errors"
	"net/netip"
)

// wayBack is how a response over TCP or TLS reaches its peer: on the connection of the request, and when that is gone on a
// new one to where the request came from, at the port of its Via (RFC 3261 section 18.2.2). A phone may ring for longer than
// a proxy keeps an idle connection; without this the peer would never hear the answer to a call that is up on our side.
type wayBack struct {
	conn  link
	l     *listener
	again Egress
}

// wayBack is the way of a request whose Via names this port. No connection is opened to a stranger, or over TLS to a peer
// that did not prove its name.
func (l *listener) wayBack(in *Inbound, port uint16) link {
	secure := l.Transport == "tls"
	if secure && (!in.Verified || len(in.TLSNames) == 0) || !l.stack.opt.Known(l.Name, in.Source.Addr()) {
		return in.back
	}
	e := Egress{Listener: l.Name, Dest: netip.AddrPortFrom(in.Source.Addr(), port)}
	if secure {
		e.ServerName, e.TLSNames = in.TLSNames[0], in.TLSNames
	}
	return wayBack{conn: in.back, l: l, again: e}
}

func (w wayBack) send(b []byte) error {
	err := w.conn.send(b)
	if err == nil || errors.Is(err, ErrStalled) || w.l.stack.isClosed() {
		return err
	}
	fresh, again := w.l.stream(w.again)
	if again != nil {
		return errors.Join(err, again)
	}
	return fresh.send(b)
}
