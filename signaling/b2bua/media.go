package b2bua

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"tandem/internal/config"
	"tandem/internal/control"
	"tandem/signaling/sdp"
	"tandem/signaling/trunk"
)

// Relay is the media plane as a call sees it; *control.Link is one. Every method may wait until its context ends.
type Relay interface {
	Open(context.Context, control.Open) (control.SessionState, error)
	Update(context.Context, control.Update) (control.SessionState, error)
	CloseSession(context.Context, control.Ref) (control.SessionState, error)
	List(context.Context, control.List) (control.ListResult, error)
}

// Names in the relay's session.
const (
	streamAudio = "audio"
	legA        = "a"
	legB        = "b"
	plainSuite  = "none" // no SRTP
	kindAudio   = "rtp"
	kindFax     = "opaque"
)

// session is the relay's session of a call: one stream of two legs, opened once, with what the relay was told last.
type session struct {
	id       string
	gen      uint64
	networks [2]string // of leg a and b
	applied  [2]control.Leg
	watched  bool
	fax      bool // the stream carries UDPTL
}

// open leases both ports with one call. Leg a goes complete: its offer is known. Of leg b the network is.
func (c *call) openSession(tr *trunk.Trunk) error {
	c.opened++
	s := &session{id: c.id, gen: 1, networks: [2]string{c.a.trunk.Policy.Network, tr.Policy.Network}}
	if c.opened > 1 {
		s.id += "." + strconv.Itoa(c.opened)
	}
	off := false
	a := c.legMedia(c.a, &c.a.d.Media, nil)
	s.applied[0] = a
	a.Network, a.Family = s.networks[0], c.b.family(s.networks[0], c.familyOf())
	b := control.Leg{Name: legB, Network: s.networks[1], Family: c.b.family(s.networks[1], tr.Listener.Address.Addr())}
	s.applied[1] = control.Leg{Name: legB}
	kind := "" // rtp
	if s.fax = c.a.d.Media.Fax; s.fax {
		kind = kindFax
	}
	c.b.claim(s.id, c) // before it exists: whoever lists the relay's sessions meanwhile must find an owner
	ctx := c.b.patience()
	st, err := c.b.o.Relay.Open(ctx, control.Open{
		ID: s.id, Generation: s.gen, Owner: c.b.o.Node, Opaque: c.opaque(),
		Streams: []control.Stream{{Name: streamAudio, Kind: kind, Watch: &off, Legs: []control.Leg{a, b}}},
	})
	if err != nil {
		c.b.unclaim(s.id)
		if control.CodeOf(err) == 0 { // no answer: it may exist all the same
			c.b.sweepLater(s.id)
		}
		return fmt.Errorf("media relay: %w", err)
	}
	c.session = s
	return c.lease(st)
}

// familyOf is an address of the family that the caller's leg uses: that of its media, or of its trunk while that is not known.
func (c *call) familyOf() netip.Addr {
	if a := c.a.d.Media.Remote.Addr(); a.IsValid() {
		return a
	}
	return c.a.trunk.Listener.Address.Addr()
}

// relayAway reports an error that no answer of the relay brought.
func relayAway(err error) bool {
	var r *refusal
	return control.CodeOf(err) == 0 && !errors.As(err, &r)
}

// lease notes the leased ports of both legs.
func (c *call) lease(st control.SessionState) error {
	for i, m := range []*Media{&c.a.d.Media, &c.leaseB} {
		if len(st.Streams) != 1 || len(st.Streams[0].Legs) != 2 {
			return fmt.Errorf("media relay: session %s has not one stream of two legs", st.ID)
		}
		leg := &st.Streams[0].Legs[i]
		local, err := netip.ParseAddrPort(leg.Local)
		if err != nil {
			return fmt.Errorf("media relay: session %s leg %s: local address %q", st.ID, leg.Name, leg.Local)
		}
		rtcp, err := netip.ParseAddrPort(leg.LocalRTCP)
		if err != nil {
			rtcp = netip.AddrPortFrom(local.Addr(), local.Port()+1)
		}
		if shown, err := netip.ParseAddr(leg.Advertise); err == nil {
			local = netip.AddrPortFrom(shown, local.Port())
		}
		m.Local, m.RTCP = local, rtcp.Port()
	}
	return nil
}

// family names the address family to lease when the network has both and the default would be the wrong one.
func (b *B2BUA) family(network string, peer netip.Addr) string {
	if !peer.IsValid() {
		return ""
	}
	for _, a := range b.o.Config.Media.Networks[network].Addresses {
		if a.Unmap().Is4() == peer.Unmap().Is4() {
			if peer.Unmap().Is4() {
				return "ip4"
			}
			return "ip6"
		}
	}
	return ""
}

// apply tells the relay what changed on either leg since it was told last: one update, or none. With the answer to a call both
// have agreed, and what was read of their bodies need not last as long as the call does.
func (c *call) apply(a, b *Media, legB *leg, answered bool) error {
	s := c.session
	want := [2]control.Leg{c.legMedia(c.a, a, b), c.legMedia(legB, b, a)}
	stream := control.Stream{Name: streamAudio, Legs: make([]control.Leg, 0, len(want))}
	for i := range want {
		if d, changed := difference(s.applied[i], want[i]); changed {
			stream.Legs = append(stream.Legs, d)
		}
	}
	watch := answered && !s.watched
	if watch {
		on := true
		stream.Watch = &on
	}
	fax := a.Fax && b.Fax
	if fax != s.fax {
		stream.Kind = kindAudio
		if fax {
			stream.Kind = kindFax
		}
	}
	if len(stream.Legs) > 0 || watch || stream.Kind != "" {
		if err := c.update(stream); err != nil {
			return err
		}
		s.applied, s.watched, s.fax = want, s.watched || watch, fax
	}
	if answered {
		a.read, b.read = nil, nil
	}
	return nil
}

// silence makes leg b of the session deaf and dumb: the trunk whose early media it carried was given up.
func (c *call) silence() error {
	leg := control.Leg{Name: legB, Direction: sdp.Inactive.String()}
	if err := c.update(control.Stream{Name: streamAudio, Legs: []control.Leg{leg}}); err != nil {
		return err
	}
	c.session.applied[1].Direction = leg.Direction
	return nil
}

// update is one session.update.
func (c *call) update(stream control.Stream) error {
	s := c.session
	s.gen++
	opaque := c.opaque()
	ctx := c.b.patience()
	_, err := c.b.o.Relay.Update(ctx, control.Update{
		ID: s.id, Generation: s.gen, Opaque: &opaque, Streams: []control.Stream{stream},
	})
	if err != nil {
		return fmt.Errorf("media relay: %w", err)
	}
	return nil
}

// closeSession ends the relay's session and returns its final counters, nil if there are none. A session that the relay
// does not confirm is closed later by the sweeper, which outlives the call.
func (c *call) closeSession() *control.SessionState {
	s := c.session
	if s == nil {
		return nil
	}
	c.session = nil
	ctx := c.b.patience()
	st, err := c.b.o.Relay.CloseSession(ctx, control.Ref{ID: s.id})
	c.b.unclaim(s.id)
	if err == nil {
		return &st
	}
	if control.CodeOf(err) != control.CodeNotFound {
		c.log.Warn("media session not closed yet", "session", s.id, "error", err)
		c.b.sweepLater(s.id)
	}
	return nil
}

// legMedia describes one leg for the relay. other is the opposite side, nil while nothing is known of it.
func (c *call) legMedia(l *leg, m, other *Media) control.Leg {
	policy := &l.trunk.Policy
	keys := &[2]control.Crypto{relayCrypto(m.RX, ""), relayCrypto(m.TX, policy.ROC)}
	leg := control.Leg{
		Name: l.name, Pin: pinMode(policy, m.Secure && m.RX.Suite != ""), Direction: m.Theirs.Answer(m.Ours).String(),
		RX: &keys[0], TX: &keys[1],
	}
	mux := m.Mux
	leg.RTCPMux = &mux
	if m.Remote.IsValid() {
		leg.Remote = m.Remote.String()
	}
	if m.RemoteCt.IsValid() {
		leg.RemoteRTCP = m.RemoteCt.String()
	}
	if policy.AnyPort {
		leg.AnyPort = &policy.AnyPort
	}
	if l.d.Peer.IsValid() {
		leg.Signaling = l.d.Peer.Addr().String()
	}
	if n := len(policy.Prefixes); n > 0 {
		list := make([]string, 0, n)
		for _, p := range policy.Prefixes[:min(n, control.MaxPrefixes)] {
			list = append(list, p.String())
		}
		leg.Prefixes = &list
	}
	list := payloads(other, m)
	leg.Payloads = &list
	if !policy.RTCPActive {
		leg.RTCPActive = &policy.RTCPActive
	}
	if policy.RTCPHeld {
		leg.RTCPHeld = &policy.RTCPHeld
	}
	return leg
}

// pinMode is the trunk's mode, as far as the leg's keys allow it: only SRTP can authenticate.
func pinMode(policy *config.Trunk, secure bool) string {
	switch {
	case secure && policy.Pin == config.PinExact, !secure && policy.Pin == config.PinLearn:
		return policy.Pin
	case secure:
		return config.PinAuth
	}
	return config.PinExact
}

// relayCrypto is one direction's keys in the words of the control socket.
func relayCrypto(c Crypto, roc string) control.Crypto {
	if c.Suite == "" {
		return control.Crypto{Suite: plainSuite}
	}
	return control.Crypto{Suite: c.Suite, Key: c.inline(), MKI: c.mki(), UnencryptedRTCP: c.Clear, ROC: roc}
}

// payloads lists the payload types that may be heard on a leg. A peer sends what the other side's SDP names; its own
// names are taken too, for peers that do not renumber.
func payloads(sides ...*Media) []control.Payload {
	lines, most := make([]*sdp.Media, 0, 2), 0
	for _, m := range sides {
		if m == nil {
			continue
		}
		if l := m.mline(); l != nil {
			lines, most = append(lines, l), max(most, len(l.Payloads))
		}
	}
	list := make([]control.Payload, 0, min(most, control.MaxPayloads))
	var seen [128]bool
	for _, l := range lines {
		for i := range l.Payloads {
			p := &l.Payloads[i]
			if len(list) == control.MaxPayloads || seen[p.Type&127] {
				continue
			}
			seen[p.Type&127] = true
			list = append(list, control.Payload{Type: p.Type, Name: clip(p.Name, control.MaxID), Clock: p.Clock})
		}
	}
	return list
}

// difference is what must be sent to turn one description of a leg into another. Keys that did not change are left out:
// to the relay a repeated key is nothing new, but what is not said cannot be misunderstood.
func difference(was, want control.Leg) (control.Leg, bool) {
	d := control.Leg{Name: want.Name}
	if was.Remote != want.Remote || was.RemoteRTCP != want.RemoteRTCP || !equal(was.RTCPMux, want.RTCPMux) {
		d.Remote, d.RemoteRTCP, d.RTCPMux = want.Remote, want.RemoteRTCP, want.RTCPMux
	}
	text := func(to *string, was, want string) {
		if was != want {
			*to = want
		}
	}
	text(&d.Pin, was.Pin, want.Pin)
	text(&d.Direction, was.Direction, want.Direction)
	text(&d.Signaling, was.Signaling, want.Signaling)
	if !equal(was.RX, want.RX) {
		d.RX = want.RX
	}
	if !equal(was.TX, want.TX) {
		d.TX = want.TX
	}
	if !equal(was.AnyPort, want.AnyPort) {
		d.AnyPort = want.AnyPort
	}
	if !equalLists(was.Prefixes, want.Prefixes) {
		d.Prefixes = want.Prefixes
	}
	if !equalLists(was.Payloads, want.Payloads) {
		d.Payloads = want.Payloads
	}
	demand := func(to **bool, was, want *bool, unsaid bool) {
		if !equal(was, want) {
			if *to = want; want == nil {
				*to = &unsaid
			}
		}
	}
	demand(&d.RTCPActive, was.RTCPActive, want.RTCPActive, true)
	demand(&d.RTCPHeld, was.RTCPHeld, want.RTCPHeld, false)
	return d, d != control.Leg{Name: want.Name}
}

// equal compares what two fields of a message say; nil is not said.
func equal[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func equalLists[T comparable](a, b *[]T) bool {
	return a == b || a != nil && b != nil && slices.Equal(*a, *b)
}
