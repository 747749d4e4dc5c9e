package guard

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// Outcome is what became of one message that was received. Each message has exactly one, so that
// Received == the sum over all outcomes.
type Outcome uint8

// The outcomes. The first three are the ordinary ones, the others are drops.
const (
	Delivered      Outcome = iota // to the Handler, or to a ClientHandler
	Absorbed                      // by a transaction: a retransmission, an ACK to a failure, a CANCEL's own part
	Answered                      // refused with a response of ours, without any state
	Keepalive                     // CRLF, or nothing (RFC 5626 section 3.5.1)
	OverRate                      // its source, or all strangers together, sent too much
	Overload                      // the workers' queue was full
	TooLarge                      // larger than message_bytes
	BadFirstLine                  // neither a request line nor a status line
	BadLineBreak                  // a CR or LF that ends no line: header injection
	BadHeader                     // NUL, a name that is no token, a continuation of nothing, no empty line
	TooManyHeaders                // more than maxHeaders
	TooManyParams                 // more than maxParams in a header, or maxParamsTotal in all
	BadLength                     // Content-Length twice with two values, no number, or none on a stream
	Smuggled                      // a separator inside a quoted parameter of Via, From or To
	Unparsable                    // refused by the parser
	BadResponse                   // a response without what a response must have
	StrayResponse                 // a response to nothing we sent
	StrayRequest                  // a request that may not be answered: an invalid ACK, no Via
	Panicked                      // the boundary caught a panic
	outcomes
)

func (o Outcome) String() string {
	if o >= outcomes {
		return "unknown"
	}
	return [outcomes]string{"delivered", "absorbed", "answered", "keepalive", "over_rate", "overload", "too_large",
		"bad_first_line", "bad_line_break", "bad_header", "too_many_headers", "too_many_params", "bad_length",
		"smuggled", "unparsable", "bad_response", "stray_response", "stray_request", "panicked"}[o]
}

// Metrics takes counts as they happen. Methods must not block.
type Metrics interface {
	Message(listener string, o Outcome)            // one message received
	Connection(listener string, e ConnectionEvent) // one stream connection
	Status(listener string, code int)              // one response of guard's own
	Unreachable(listener string)                   // one request of ours that ICMP ended
}

// ConnectionEvent is what became of a stream connection.
type ConnectionEvent uint8

// The events of a connection's life.
const (
	Accepted        ConnectionEvent = iota
	RefusedTotal                    // connections: the limit in total
	RefusedSource                   // connections_per_source, or the strangers' share
	HandshakeFailed                 // TLS, either direction
	Opened                          // by us
	OpenFailed                      // by us: refused, unreachable
	BrokenFraming                   // closed by us: the stream has no message boundary any more
	IdleClosed                      // closed by us: silent for too long, or a message that never ends
	Stalled                         // closed by us: the peer does not read
	AcceptRetried                   // accept failed (out of descriptors) and was tried again
	connectionEvents
)

func (e ConnectionEvent) String() string {
	if e >= connectionEvents {
		return "unknown"
	}
	return [connectionEvents]string{"accepted", "refused_total", "refused_source", "handshake_failed", "opened",
		"open_failed", "broken_framing", "idle_closed", "stalled", "accept_retried"}[e]
}

// Stats is a snapshot. Received equals the sum over Outcomes once nothing is under way.
type Stats struct {
	Received    uint64
	Outcomes    [outcomes]uint64
	Connections [connectionEvents]uint64

	Streams   int    // stream connections open now, both directions
	Servers   int    // server transactions alive
	Clients   int    // client transactions alive
	Abandoned uint64 // server transactions that nobody answered

	Unreachable uint64 // requests of ours that ICMP ended: nobody takes datagrams there
}

// Of is the number of messages with outcome o.
func (st Stats) Of(o Outcome) uint64 { return st.Outcomes[o] }

// Sum is the number of messages that have an outcome.
func (st Stats) Sum() uint64 {
	var n uint64
	for _, v := range st.Outcomes {
		n += v
	}
	return n
}

type counters struct {
	received    atomic.Uint64
	outcomes    [outcomes]atomic.Uint64
	connections [connectionEvents]atomic.Uint64
	abandoned   atomic.Uint64
	unreachable atomic.Uint64
}

// Stats counts since Open.
func (s *Stack) Stats() Stats {
	st := Stats{Received: s.counters.received.Load(), Abandoned: s.counters.abandoned.Load(), Unreachable: s.counters.unreachable.Load()}
	for i := range st.Outcomes {
		st.Outcomes[i] = s.counters.outcomes[i].Load()
	}
	for i := range st.Connections {
		st.Connections[i] = s.counters.connections[i].Load()
	}
	st.Streams, st.Servers, st.Clients = s.streams.count(), s.servers.count(), s.clients.count()
	return st
}

// Crowd is the stream connections between one listener and one source.
type Crowd struct {
	Listener string
	Source   netip.Addr
	Theirs   int // opened by the source
	Ours     int // opened by us, those that are still being opened among them
}

// Crowds lists who is connected now, the most connections first, no more than most of them.
func (s *Stack) Crowds(most int) []Crowd {
	type key struct {
		listener string
		source   netip.Addr
	}
	by := make(map[key]*Crowd)
	s.streams.mu.Lock()
	for c := range s.streams.all {
		k := key{c.l.Name, c.remote.Addr()}
		if by[k] == nil {
			by[k] = &Crowd{Listener: k.listener, Source: k.source}
		}
		if c.inbound {
			by[k].Theirs++
		} else {
			by[k].Ours++
		}
	}
	s.streams.mu.Unlock()
	list := make([]Crowd, 0, len(by))
	for _, c := range by {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Crowd) int {
		return cmp.Or(b.Theirs+b.Ours-a.Theirs-a.Ours, strings.Compare(a.Listener, b.Listener), a.Source.Compare(b.Source))
	})
	return list[:min(len(list), max(0, most))]
}

func (l *listener) count(o Outcome) {
	l.stack.counters.outcomes[o].Add(1)
	if m := l.stack.opt.Metrics; m != nil {
		m.Message(l.Name, o)
	}
}

func (l *listener) countConn(e ConnectionEvent) {
	l.stack.counters.connections[e].Add(1)
	if m := l.stack.opt.Metrics; m != nil {
		m.Connection(l.Name, e)
	}
}

func (l *listener) countUnreachable() {
	l.stack.counters.unreachable.Add(1)
	if m := l.stack.opt.Metrics; m != nil {
		m.Unreachable(l.Name)
	}
}

func (l *listener) countStatus(code int) {
	if m := l.stack.opt.Metrics; m != nil {
		m.Status(l.Name, code)
	}
}
