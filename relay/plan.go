package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/pin"
	"tandem/relay/quality"
	"tandem/relay/srtp"
	"tandem/relay/srtp/kernel"
)

// change is one leg's next state, complete and checked, so that applying it cannot fail: what signalling wants of it, all its
// messages taken together.
type change struct {
	end      *end
	ip4, mux bool // for the lease of a new leg: the family, and one port for RTP and RTCP

	policy pin.Policy
	flags  flags
	said   word
	known  [2]uint64
	clocks *[control.MaxPayloads]payload // nil: as before
	codec  quality.Codec
	dscp   uint8
	tier   kernel.Tier
	rx, tx *schedules   // of keys that are new; nil: as before
	carry  bool         // a new send key continues the rollover counter
	spent  *[]srtp.Keys // send keys given up, the one that this change replaces included
}

// draft plans a new leg of a stream: its network and family, and what the message wants of it.
func (r *Relay) draft(c *change, e *end, st *control.Stream, m *control.Leg) error {
	n := r.network(m.Network)
	if n == nil {
		return fmt.Errorf("network %q is unknown; known: %s", m.Network, r.networkNames())
	}
	e.network = n
	*c = change{end: e, tier: r.tier, mux: m.RTCP == "mux", ip4: n.Addresses[0].Is4(), dscp: n.DSCP, flags: hears | speaks | watched}
	if m.Family != "" {
		c.ip4 = m.Family == "ip4"
	}
	if !n.has(c.ip4) {
		return fmt.Errorf("network %s has no address of family %s", n.Name, m.Family)
	}
	if c.mux {
		c.flags |= muxed
	}
	return c.plan(st, m)
}

// redraft plans what a message makes of a leg that is there. It changes nothing. The caller holds r.mu.
func (r *Relay) redraft(c *change, e *end, st *control.Stream, m *control.Leg) error {
	l, k := &r.legs[e.index], &r.cold[e.index]
	*c = change{
		end: e, tier: r.tier, ip4: e.network.Addresses[e.at].Is4(), mux: e.mux(),
		policy: *k.pin.Policy(), flags: l.flags & wanted, said: k.said, known: l.known, codec: e.codec, dscp: e.dscp, spent: e.spent,
	}
	return c.plan(st, m)
}

// plan takes a message about a stream and one of its legs into account.
func (c *change) plan(st *control.Stream, m *control.Leg) error {
	c.set(watched, st.Watch)
	c.set(muxed, m.RTCPMux)
	c.set(holdReports, m.RTCPHeld)
	if m.RTCPActive != nil {
		silent := !*m.RTCPActive
		c.set(unreported, &silent)
	}
	c.planKind(st.Kind)
	for _, step := range [...]func(*change, *control.Leg) error{planDirection, planKeys, planPin, planRemote, planPayloads} {
		if err := step(c, m); err != nil {
			return err
		}
	}
	if m.DSCP != nil {
		if *m.DSCP < 0 || *m.DSCP > 63 {
			return fmt.Errorf("dscp: %d; use 0 to 63", *m.DSCP)
		}
		c.dscp = uint8(*m.DSCP)
	}
	return c.checkOpaque()
}

func (c *change) set(bit flags, on *bool) {
	if on == nil {
		return
	}
	c.flags &^= bit
	if *on {
		c.flags |= bit
	}
}

func planDirection(c *change, m *control.Leg) error {
	d := hears | speaks
	switch m.Direction {
	case "":
		return nil
	case "sendrecv":
	case "sendonly":
		d = speaks
	case "recvonly":
		d = hears
	case "inactive":
		d = 0
	default:
		return fmt.Errorf("direction: %q; use sendrecv, sendonly, recvonly or inactive", m.Direction)
	}
	c.flags = c.flags&^(hears|speaks) | d
	return nil
}

// planPin takes the pin mode. A leg with keys, or pinned by evidence, is an SRTP leg: it never carries plain RTP, not even
// while a key is missing.
func planPin(c *change, m *control.Leg) error {
	if m.Pin != "" {
		mode, ok := pin.ParseMode(m.Pin)
		if !ok {
			return fmt.Errorf("pin: %q; use exact, learn or auth", m.Pin)
		}
		c.policy.Mode, c.said.pinned = mode, true
	}
	keyed := c.said.rx != (srtp.Keys{}) || c.said.tx != (srtp.Keys{})
	if !c.said.pinned {
		c.policy.Mode = pin.Exact
		if keyed {
			c.policy.Mode = pin.Auth
		}
	}
	if c.policy.Mode == pin.Auth && m.RX != nil && c.said.rx == (srtp.Keys{}) && c.said.pinned {
		return errors.New("pin: auth needs keys, and rx says none; use exact or learn for plain RTP")
	}
	if c.policy.Mode == pin.Learn && keyed {
		return errors.New("pin: learn is for plain RTP; an SRTP leg pins by evidence with auth")
	}
	if c.flags &^= secure; keyed || c.policy.Mode == pin.Auth {
		c.flags |= secure
	}
	if m.AnyPort != nil {
		c.policy.AnyPort = *m.AnyPort
	}
	if m.Signaling != "" {
		ip, err := netip.ParseAddr(m.Signaling)
		if err != nil {
			return fmt.Errorf("signaling: %q is no IP address", m.Signaling)
		}
		c.policy.Peer = ip.As16()
	}
	if m.Prefixes != nil {
		if len(*m.Prefixes) > control.MaxPrefixes {
			return fmt.Errorf("prefixes: %d; at most %d", len(*m.Prefixes), control.MaxPrefixes)
		}
		c.policy.Prefixes, c.policy.Count = [pin.MaxPrefixes]pin.Prefix{}, 0
		for _, text := range *m.Prefixes {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("prefixes: %q is no prefix such as 192.0.2.0/24", text)
			}
			if err := c.policy.AddPrefix(prefix); err != nil {
				return fmt.Errorf("prefixes: %w", err)
			}
		}
	}
	return nil
}

// planRemote takes the peer's signalled addresses. An RTCP address that was not named follows the RTP address.
func planRemote(c *change, m *control.Leg) error {
	if m.Remote != "" {
		remote, err := parseRemote(m.Remote, c.ip4)
		if err != nil {
			return fmt.Errorf("remote: %w", err)
		}
		c.policy.Signalled, c.said.rtcp = remote, pin.Addr{}
	}
	if m.RemoteRTCP != "" {
		remote, err := parseRemote(m.RemoteRTCP, c.ip4)
		if err != nil {
			return fmt.Errorf("remote_rtcp: %w", err)
		}
		c.said.rtcp = remote
	}
	p := &c.policy
	p.Mux = c.flags&muxed != 0
	p.SignalledRTCP = c.said.rtcp
	switch {
	case p.Mux:
		p.SignalledRTCP = p.Signalled
	case c.said.rtcp == pin.Addr{} && p.Signalled.Port != 0 && p.Signalled.Port < 65535:
		p.SignalledRTCP = pin.Addr{IP: p.Signalled.IP, Port: p.Signalled.Port + 1}
	}
	return nil
}

func parseRemote(text string, ip4 bool) (pin.Addr, error) {
	remote, err := netip.ParseAddrPort(text)
	if err != nil {
		return pin.Addr{}, fmt.Errorf("%q is no ip:port", text)
	}
	switch a := remote.Addr().Unmap(); {
	case remote.Port() == 0 || a.IsUnspecified() || a.IsMulticast():
		return pin.Addr{}, fmt.Errorf("%q: media can be sent to a unicast address and a port above 0; for hold use direction", text)
	case a.Is4() != ip4:
		ours := "ip6"
		if ip4 {
			ours = "ip4"
		}
		return pin.Addr{}, fmt.Errorf("%q: the leg's own address is %s; choose the family at session.open", text, ours)
	}
	return pin.Addr(netio.AddrFrom(remote)), nil
}

func planPayloads(c *change, m *control.Leg) error {
	if m.Payloads == nil {
		return nil
	}
	if len(*m.Payloads) > control.MaxPayloads {
		return fmt.Errorf("payloads: %d; at most %d", len(*m.Payloads), control.MaxPayloads)
	}
	c.known, c.codec, c.flags = [2]uint64{}, 0, c.flags&^clocked
	for i, p := range *m.Payloads {
		if p.Type > 127 {
			return fmt.Errorf("payloads[%d].type: %d; use 0 to 127", i, p.Type)
		}
		c.known[p.Type>>6] |= 1 << (p.Type & 63)
		if p.Clock != 0 && p.Clock != defaultClock {
			c.flags |= clocked
		}
	}
	if i := slices.IndexFunc(*m.Payloads, func(p control.Payload) bool { return p.Name != "" }); i >= 0 {
		c.codec = quality.CodecOf((*m.Payloads)[i].Name)
	}
	if c.flags&clocked != 0 {
		c.clocks = new([control.MaxPayloads]payload)
		for i, p := range *m.Payloads {
			c.clocks[i] = payload{typ: p.Type, clock: p.Clock}
		}
	}
	return nil
}
