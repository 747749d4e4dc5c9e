package trunk

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Status is all that is known of a trunk at one moment, for people: tandem top, ctl and the metrics. As JSON it has snake
// case keys, and what does not apply is absent.
type Status struct {
	Name      string `json:"name"`
	Peer      string `json:"peer"` // as the config has it
	Listener  string `json:"listener"`
	Transport string `json:"transport"`
	Site      string `json:"site,omitempty"`

	State        State     `json:"state"`
	Since        time.Time `json:"since"`                 // since when in this state
	Misses       int       `json:"misses"`                // OPTIONS in a row without an answer
	LastCode     int       `json:"last_code,omitempty"`   // of the last answer to OPTIONS or INVITE; 0: none yet
	LastAnswer   time.Time `json:"last_answer,omitzero"`  // when it came
	RestSeconds  int       `json:"rest_seconds"`          // left of the peer's Retry-After, rounded up
	Registration string    `json:"registration,omitzero"` // as its keeper says; empty: the trunk does not register

	Calls        int `json:"calls"`         // that hold a place
	MaxCalls     int `json:"max_calls"`     // 0: no cap; so with the others
	CPS          int `json:"cps"`           // calls that began within the last second, counted by tenths of a second
	MaxCPS       int `json:"max_cps"`       //
	Bandwidth    int `json:"bandwidth"`     // kbit/s
	MaxBandwidth int `json:"max_bandwidth"` //

	Addresses []Address `json:"addresses"`            // in the order of their SRV records
	DNSError  string    `json:"dns_error,omitempty"`  // of the last lookup; the addresses are those of an earlier one then
	DNSAsked  bool      `json:"dns_asked"`            // the addresses are from DNS and not from the config
	Counters  Counters  `json:"counters"`             //
	LastError *Failure  `json:"last_error,omitempty"` // the last attempt that failed
}

// Address is one of a peer's.
type Address struct {
	Address  netip.AddrPort `json:"address"`
	Host     string         `json:"host"` // the target of the SRV record, or the peer
	Priority uint16         `json:"priority"`
	Weight   uint16         `json:"weight"`
	TTL      int            `json:"ttl"`          // seconds left; 0: it aged, or needs no DNS
	Failed   bool           `json:"failed"`       // lately: it comes last
	Unusable bool           `json:"other_family"` // the listener is of the other address family
}

// Counters are of leaving calls since the start of the process, but for Refused.
type Counters struct {
	Attempts  uint64    `json:"attempts"`       // INVITEs begun
	Connected uint64    `json:"connected"`      // that were answered with 2xx
	Failed    uint64    `json:"failed"`         // that came to nothing, for whatever reason
	Classes   [7]uint64 `json:"failed_classes"` // of them by the first digit of the code; 0: no code, the transport failed
	Refused   uint64    `json:"refused"`        // calls, entering ones too, for which a cap left no room
}

// Failure is an attempt that failed.
type Failure struct {
	Code int       `json:"code"` // 0: none
	Why  string    `json:"why"`
	At   time.Time `json:"at"`
}

// tally is what is counted of a trunk's leaving calls.
type tally struct {
	attempts, connected, failed uint64
	classes                     [7]uint64
	last                        Failure // zero: none
}

// whyMost is the longest reason of a failure that is kept, in bytes: it may quote the peer.
const whyMost = 200

// Tried counts an INVITE that is sent to the peer.
func (tr *Trunk) Tried() { tr.count(func(t *tally) { t.attempts++ }) }

// Connected counts an INVITE that the peer accepted.
func (tr *Trunk) Connected() { tr.count(func(t *tally) { t.connected++ }) }

// Failed counts an INVITE that came to nothing: with the final answer's code, or one of ours that tells of it; 0 if the
// transport failed.
func (tr *Trunk) Failed(code int, why string) {
	now := tr.world.now()
	tr.count(func(t *tally) {
		t.failed++
		if class := code / 100; class > 0 && class < len(t.classes) {
			t.classes[class]++
		} else {
			t.classes[0]++
		}
		t.last = Failure{code, why[:min(len(why), whyMost)], now}
	})
}

func (tr *Trunk) count(change func(*tally)) {
	tr.live.mu.Lock()
	defer tr.live.mu.Unlock()
	change(&tr.live.tally)
}

// SetRegistration says how the trunk's registration stands, in words of whoever keeps it.
func (tr *Trunk) SetRegistration(state string) {
	tr.live.mu.Lock()
	defer tr.live.mu.Unlock()
	tr.live.registration = state
}

// Snapshot is the status of every trunk, by name.
func (t *Table) Snapshot(now time.Time) []Status {
	list := make([]Status, 0, len(t.all))
	for _, tr := range t.all {
		list = append(list, tr.Snapshot(now))
	}
	return list
}

// Snapshot is the trunk's status. It asks no DNS.
func (tr *Trunk) Snapshot(now time.Time) Status {
	s := Status{
		Name: tr.Name, Peer: tr.Policy.Peer, Listener: tr.Policy.Listener, Transport: tr.Listener.Transport, Site: tr.Policy.Site,
	}
	l := tr.live
	l.mu.Lock()
	defer l.mu.Unlock()
	h, p, c := &l.health, &l.places, &l.tally
	s.State, s.Since, s.Misses = h.State(now), h.Since(now), h.misses
	s.LastCode, s.LastAnswer = h.code, h.heard
	s.RestSeconds = int((h.Resting(now) + time.Second - 1) / time.Second)
	s.Registration = l.registration
	flow := p.flow // a copy: who looks changes nothing
	s.Calls, s.CPS, s.Bandwidth = p.calls, flow.sum(l.at(now)), p.bandwidth
	s.MaxCalls, s.MaxCPS, s.MaxBandwidth = l.caps.calls, l.caps.rate, l.caps.bandwidth
	s.Counters = Counters{c.attempts, c.connected, c.failed, c.classes, p.refused}
	if !c.last.At.IsZero() {
		last := c.last
		s.LastError = &last
	}
	tr.addresses(&s, now)
	return s
}

// Silence says why nobody answers the trunk's polls: their number, or that there is no address to send one to.
func (tr *Trunk) Silence(now time.Time) string {
	s := tr.Snapshot(now)
	usable := slices.ContainsFunc(s.Addresses, func(a Address) bool { return !a.Unusable })
	switch {
	case usable:
		return fmt.Sprintf("%d OPTIONS in a row not answered", s.Misses)
	case len(s.Addresses) > 0:
		return fmt.Sprintf("no address to send OPTIONS to: those of %s are of another family than listener %s", s.Peer, s.Listener)
	case s.DNSError != "":
		return "no address to send OPTIONS to: " + s.DNSError
	}
	return fmt.Sprintf("no address to send OPTIONS to: %s is not resolved", s.Peer)
}

// addresses tells where the peer's name leads. The caller holds live.mu.
func (tr *Trunk) addresses(s *Status, now time.Time) {
	a, targets := tr.peer.answer.Load(), tr.peer.fixed
	if targets == nil {
		s.DNSAsked, targets = true, a.usable(now)
	}
	if a.err != nil {
		s.DNSError = a.err.Error()
	}
	s.Addresses = make([]Address, 0, len(targets))
	for _, t := range targets {
		addr := netip.AddrPortFrom(t.addr, cmp.Or(t.port, tr.Port))
		until, failed := tr.live.avoid[addr]
		s.Addresses = append(s.Addresses, Address{
			Address: addr, Host: t.host, Priority: t.priority, Weight: t.weight,
			TTL: int(max(0, a.end.Sub(now)) / time.Second), Failed: failed && now.Before(until),
			Unusable: t.addr.Is4() != tr.Listener.Address.Addr().Unmap().Is4(),
		})
	}
}

// MarshalText writes the state's name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads it back.
func (s *State) UnmarshalText(text []byte) error {
	for _, known := range []State{Up, Demoted, Down} {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("trunk state %q is not up, demoted or down", text)
}
