package relay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/pin"
	"tandem/relay/srtp"
)

// wants is what signalling asked of a leg, all its messages taken together.
type wants struct {
	policy   pin.Policy
	flags    flags          // hears, speaks, secure, muxed, watched
	pinned   bool           // the pin mode was named, not derived
	rtcp     netip.AddrPort // of the peer, if named
	known    [2]uint64
	payloads [control.MaxPayloads]payload
	rx, tx   srtp.Keys
	carry    bool        // a new send key continues the rollover counter
	used     []srtp.Keys // send keys given up: none may come back, its indices are spent
}

// change is one leg's next state, complete and checked, so that applying it cannot fail.
type change struct {
	end    *end
	next   wants
	remote netip.AddrPort
	codec  string
	dscp   uint8
	rx, tx *srtp.Cipher // built for keys that are new; nil: as before
}

// retiredLife is how long a replaced receive key opens packets that were in flight.
const retiredLife = 2 * time.Second

// maxPastKeys bounds how many replaced receive keys are remembered with what they opened.
const maxPastKeys = 8

// maxUsedKeys bounds how many send keys one leg may go through.
const maxUsedKeys = 64

// checkOpen judges what can be judged without the relay's state.
func checkOpen(m *control.Open) error {
	switch {
	case m.ID == "" || len(m.ID) > control.MaxID:
		return control.Errorf(control.CodeParams, "id: %d bytes; 1 to %d are allowed", len(m.ID), control.MaxID)
	case len(m.Owner) > control.MaxID:
		return control.Errorf(control.CodeParams, "owner: %d bytes; at most %d", len(m.Owner), control.MaxID)
	case len(m.Opaque) > control.MaxOpaque:
		return control.Errorf(control.CodeParams, "opaque: %d bytes; at most %d", len(m.Opaque), control.MaxOpaque)
	case len(m.Streams) == 0 || len(m.Streams) > control.MaxStreams:
		return control.Errorf(control.CodeParams, "streams: %d; 1 to %d are allowed", len(m.Streams), control.MaxStreams)
	}
	names := map[string]bool{}
	for i, st := range m.Streams {
		switch {
		case st.Name == "" || len(st.Name) > control.MaxID || names[st.Name]:
			return control.Errorf(control.CodeParams, "streams[%d].name: %q is empty, too long or used twice", i, st.Name)
		case st.Kind != "" && st.Kind != "rtp":
			return control.Errorf(control.CodeUnsupported, "stream %q: kind %q is reserved; this relay carries rtp", st.Name, st.Kind)
		case len(st.Legs) != control.MaxLegs:
			return control.Errorf(control.CodeParams, "stream %q: %d legs; this relay joins exactly %d", st.Name, len(st.Legs), control.MaxLegs)
		case st.Legs[0].Name == st.Legs[1].Name:
			return control.Errorf(control.CodeParams, "stream %q: both legs are named %q", st.Name, st.Legs[0].Name)
		}
		names[st.Name] = true
		for _, l := range st.Legs {
			switch {
			case l.Name == "" || len(l.Name) > control.MaxID:
				return control.Errorf(control.CodeParams, "stream %q: a leg's name is empty or longer than %d bytes", st.Name, control.MaxID)
			case !slices.Contains([]string{"", "ip4", "ip6"}, l.Family):
				return control.Errorf(control.CodeParams, "stream %q leg %q: family %q: use ip4 or ip6", st.Name, l.Name, l.Family)
			case !slices.Contains([]string{"", "pair", "mux"}, l.RTCP):
				return control.Errorf(control.CodeParams, "stream %q leg %q: rtcp %q: use pair or mux", st.Name, l.Name, l.RTCP)
			}
		}
	}
	return nil
}

// plan works out what a message makes of a leg. It changes nothing.
func (e *end) plan(m control.Leg, watch *bool) (*change, error) {
	c := &change{end: e, next: e.wants, remote: e.remote, codec: e.codec, dscp: e.dscp}
	c.next.used = slices.Clone(e.wants.used)
	w := &c.next
	if e.index == 0 { // being opened
		w.flags = hears | speaks | watched
		if m.RTCP == "mux" {
			w.flags |= muxed
		}
	}
	set(&w.flags, watched, watch)
	set(&w.flags, muxed, m.RTCPMux)
	for _, step := range []func(*change, *control.Leg) error{planDirection, planKeys, planPin, planRemote, planPayloads} {
		if err := step(c, &m); err != nil {
			return nil, err
		}
	}
	if m.DSCP != nil {
		if *m.DSCP < 0 || *m.DSCP > 63 {
			return nil, fmt.Errorf("dscp: %d; use 0 to 63", *m.DSCP)
		}
		c.dscp = uint8(*m.DSCP)
	}
	return c, nil
}

func set(f *flags, bit flags, on *bool) {
	if on == nil {
		return
	}
	*f &^= bit
	if *on {
		*f |= bit
	}
}

func planDirection(c *change, m *control.Leg) error {
	directions := map[string]flags{"sendrecv": hears | speaks, "sendonly": speaks, "recvonly": hears, "inactive": 0}
	if m.Direction == "" {
		return nil
	}
	d, ok := directions[m.Direction]
	if !ok {
		return fmt.Errorf("direction: %q; use sendrecv, sendonly, recvonly or inactive", m.Direction)
	}
	c.next.flags = c.next.flags&^(hears|speaks) | d
	return nil
}

// planPin takes the pin mode. A leg with keys, or pinned by evidence, is an SRTP leg: it never carries plain RTP, not even
// while a key is missing.
func planPin(c *change, m *control.Leg) error {
	w := &c.next
	if m.Pin != "" {
		mode, ok := pin.ParseMode(m.Pin)
		if !ok {
			return fmt.Errorf("pin: %q; use exact, learn or auth", m.Pin)
		}
		w.policy.Mode, w.pinned = mode, true
	}
	keyed := w.rx != (srtp.Keys{}) || w.tx != (srtp.Keys{})
	if !w.pinned {
		w.policy.Mode = pin.Exact
		if keyed {
			w.policy.Mode = pin.Auth
		}
	}
	if w.policy.Mode == pin.Auth && m.RX != nil && w.rx == (srtp.Keys{}) && w.pinned {
		return errors.New("pin: auth needs keys, and rx says none; use exact or learn for plain RTP")
	}
	if w.policy.Mode == pin.Learn && keyed {
		return errors.New("pin: learn is for plain RTP; an SRTP leg pins by evidence with auth")
	}
	if w.flags &^= secure; keyed || w.policy.Mode == pin.Auth {
		w.flags |= secure
	}
	if m.AnyPort != nil {
		w.policy.AnyPort = *m.AnyPort
	}
	if m.Signaling != "" {
		ip, err := netip.ParseAddr(m.Signaling)
		if err != nil {
			return fmt.Errorf("signaling: %q is no IP address", m.Signaling)
		}
		w.policy.Peer = ip.As16()
	}
	if m.Prefixes != nil {
		if len(*m.Prefixes) > control.MaxPrefixes {
			return fmt.Errorf("prefixes: %d; at most %d", len(*m.Prefixes), control.MaxPrefixes)
		}
		w.policy.Prefixes, w.policy.Count = [pin.MaxPrefixes]pin.Prefix{}, 0
		for _, text := range *m.Prefixes {
			prefix, err := netip.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("prefixes: %q is no prefix such as 192.0.2.0/24", text)
			}
			if err := w.policy.AddPrefix(prefix); err != nil {
				return fmt.Errorf("prefixes: %w", err)
			}
		}
	}
	return nil
}

// planRemote takes the peer's signalled addresses. An RTCP address that was not named follows the RTP address.
func planRemote(c *change, m *control.Leg) error {
	w := &c.next
	if m.Remote != "" {
		remote, err := parseRemote(m.Remote, c.end.family)
		if err != nil {
			return fmt.Errorf("remote: %w", err)
		}
		c.remote, w.rtcp = remote, netip.AddrPort{}
	}
	if m.RemoteRTCP != "" {
		remote, err := parseRemote(m.RemoteRTCP, c.end.family)
		if err != nil {
			return fmt.Errorf("remote_rtcp: %w", err)
		}
		w.rtcp = remote
	}
	w.policy.Mux = w.flags&muxed != 0
	w.policy.Signalled = pin.Addr(netio.AddrFrom(c.remote))
	rtcp := w.rtcp
	switch {
	case w.policy.Mux:
		rtcp = c.remote
	case !rtcp.IsValid() && c.remote.IsValid() && c.remote.Port() < 65535:
		rtcp = netip.AddrPortFrom(c.remote.Addr(), c.remote.Port()+1)
	}
	w.policy.SignalledRTCP = pin.Addr(netio.AddrFrom(rtcp))
	return nil
}

func parseRemote(text, family string) (netip.AddrPort, error) {
	remote, err := netip.ParseAddrPort(text)
	if err != nil {
		return remote, fmt.Errorf("%q is no ip:port", text)
	}
	remote = netip.AddrPortFrom(remote.Addr().Unmap().WithZone(""), remote.Port())
	switch a := remote.Addr(); {
	case remote.Port() == 0 || a.IsUnspecified() || a.IsMulticast():
		return remote, fmt.Errorf("%q: media can be sent to a unicast address and a port above 0; for hold use direction", text)
	case !ofFamily(a, family):
		return remote, fmt.Errorf("%q: the leg's own address is %s; choose the family at session.open", text, family)
	}
	return remote, nil
}

func planPayloads(c *change, m *control.Leg) error {
	if m.Payloads == nil {
		return nil
	}
	if len(*m.Payloads) > control.MaxPayloads {
		return fmt.Errorf("payloads: %d; at most %d", len(*m.Payloads), control.MaxPayloads)
	}
	c.next.known, c.next.payloads, c.codec = [2]uint64{}, [control.MaxPayloads]payload{}, ""
	for i, p := range *m.Payloads {
		if p.Type > 127 {
			return fmt.Errorf("payloads[%d].type: %d; use 0 to 127", i, p.Type)
		}
		c.next.known[p.Type>>6] |= 1 << (p.Type & 63)
		c.next.payloads[i] = payload{typ: p.Type, clock: p.Clock}
		if c.codec == "" {
			c.codec = p.Name
		}
	}
	return nil
}

// apply hands the changes to the session's worker, all in one go, and then remembers them. Nothing in it can fail but the
// DSCP mark, which is logged: a call with the wrong mark is better than none.
func (r *Relay) apply(s *session, changes []*change) {
	if len(changes) == 0 {
		return
	}
	s.worker.do(func(now int64) {
		for _, c := range changes {
			s.worker.change(c, now)
		}
	})
	for _, c := range changes {
		e := c.end
		e.wants, e.remote, e.codec = c.next, c.remote, c.codec
		if c.dscp != e.dscp {
			if err := r.mark(e, c.dscp); err != nil {
				r.log.Warn("dscp not set", "session", s.id, "leg", e.name, "error", err)
			}
		}
	}
}

// change makes a leg what signalling wants it to be. Worker only. What is the same as before stays untouched: a pin, a
// rollover counter or a window never restarts without a reason.
func (w *worker) change(c *change, now int64) {
	l, k, n := &w.legs[c.end.index], &w.keys[c.end.index], &c.next
	other := &w.legs[l.peer]
	newRX, newAddress := n.rx != l.rxKeys, n.policy.Signalled != l.policy.Signalled
	const wanted = hears | speaks | secure | muxed | watched
	const active = hears | speaks | watched
	if l.flags&active != active && n.flags&active == active || newAddress {
		l.since = now
	}
	if l.flags&(hears|speaks) != hears|speaks && n.flags&(hears|speaks) == hears|speaks {
		other.since = now // nobody could expect it while this end was held
	}
	l.flags = l.flags&^wanted | n.flags&wanted
	l.known, l.payloads, l.clock = n.known, n.payloads, 0
	switch {
	case newRX:
		old := l.rx
		if k.retired != nil {
			k.retired.cipher.Wipe()
			k.retired = nil
		}
		if k.rx != nil {
			from, _ := l.pin.SendTo(&l.policy)
			k.retired = &retired{cipher: k.rx, keys: l.rxKeys, rx: old, from: from, until: now + int64(retiredLife)}
			if len(k.past) == maxPastKeys {
				k.past = slices.Delete(k.past, 0, 1)
			}
			k.past = append(k.past, k.retired)
		}
		l.rx = srtp.RX{}
		if i := slices.IndexFunc(k.past, func(p *retired) bool { return p.keys.SameSecret(&n.rx) }); i >= 0 {
			l.rx = k.past[i].rx // it was here before: what it opened stays opened
			l.rx.Retry()
			k.past = slices.Delete(k.past, i, i+1)
		} else {
			l.rx.Rekey(&old)
		}
		k.rx, l.rxKeys, l.keyTold = c.rx, n.rx, 0
	case newAddress:
		l.rx.Retry()
	}
	if n.tx != l.txKeys {
		old := l.tx
		if k.tx != nil {
			k.tx.Wipe()
		}
		if l.tx = (srtp.TX{}); n.carry {
			l.tx.Carry(&old)
		}
		k.tx, l.txKeys, l.keyTold = c.tx, n.tx, 0
	}
	l.policy = n.policy
	l.pin.Arm(now, &l.policy)
}
