// Package pin decides whom a leg accepts and where it sends. It is pure: no clock, no socket, no key, no allocation; State,
// Rest and Policy are plain memory without pointers. State is all that a packet from the pinned source needs; Rest, with the
// policy in it, is read when a source is not the pinned one, and for RTCP.
//
// These are two questions with two answers, and never one variable. Accept: may this packet go on to the other leg? Pin: which
// address do we send to? To be accepted is not enough to be pinned. The failures this package prevents are media sent to
// a stranger (bleed, steal), a stranger's media forwarded (inject), and CPU burnt on a stranger's tags; known cases are
// CVE-2017-14099, CVE-2017-14114 and CVE-2025-53399, where a proxy learned an address before it had proof.
// FuzzPin drives the machine with an attacker's events, and TestNaivePinFailsTheInvariants shows that the same harness
// finds a machine that pins on any packet.
//
// A packet passes twice: Glance before any crypto (is this source worth a tag check?), Judge after it proved itself. On an
// SRTP leg a packet whose length, tag or index failed must not reach Judge; all that it changed is a budget.
//
// What does not live here: what proof is (relay/srtp), media timeouts, hold, and events.
//
// Residual risks, which no rule below removes; SRTP with mode auth is the cure for the first three:
//   - learn: a neighbour behind the peer's public address can win the pin before the peer's first packet, or keep the leg
//     contested, so that the peer is heard again only when the neighbour stops or signalling decides.
//   - learn and exact on plain RTP: a sender that spoofs the exact tuple and the live SSRC injects. Another SSRC needs
//     200 ms of silence first.
//   - learn: a sender that spoofs the signalled tuple moves the pin there. Media then goes where signalling said, not to the
//     sender, but a peer behind NAT may lose it until it is heard again.
//   - auth: who suppresses or outruns the originals of an SRTP stream can win a pin by replaying them first, before the
//     pin or after 200 ms of silence. What such a sender receives is sealed with a key that it does not have.
//   - RTCP without mux is accepted from any port of the pinned address; on a plain leg a neighbour behind it can claim the
//     place where reports go while the peer sends none. Media never follows RTCP.
package pin

import (
	"fmt"
	"net/netip"
)

// Addr is a UDP address without pointers: IPv4 addresses are IPv4-mapped, the port is in host order. The zero value is
// "no address". relay/netio has an identical struct, so that conversion costs nothing.
type Addr struct {
	IP   [16]byte
	Port uint16
}

// mapped is the first twelve bytes of an IPv4-mapped address (RFC 4291 section 2.5.5.2).
var mapped = [12]byte{10: 0xff, 11: 0xff}

// is4 tells whether ip is IPv4-mapped.
func is4(ip *[16]byte) bool { return [12]byte(ip[:12]) == mapped }

// specified tells whether ip names a host: neither :: nor 0.0.0.0 (which SDP also uses for hold, RFC 3264 section 8.4).
func specified(ip *[16]byte) bool {
	return *ip != [16]byte{} && (!is4(ip) || [4]byte(ip[12:]) != [4]byte{})
}

// usable tells whether datagrams can come from a or go to it.
func (a *Addr) usable() bool { return a.Port != 0 && specified(&a.IP) }

// Mode is how a leg comes to trust a source.
type Mode uint8

// The modes. Exact is the zero value because it trusts least.
const (
	Exact Mode = iota // the signalled address and nothing else: gateways and SBCs on known networks
	Learn             // plain RTP behind NAT: four in-order packets from an address that signalling vouches for
	Auth              // SRTP: packets whose tag verified and whose index is newer than all before
)

var modeNames = [...]string{Exact: "exact", Learn: "learn", Auth: "auth"}

// String returns the mode's name as the configuration and the control messages write it.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return "unknown"
}

// ParseMode returns the mode of a name; false if there is none.
func ParseMode(name string) (Mode, bool) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), true
		}
	}
	return Exact, false
}

// MaxPrefixes is how many prefixes a policy holds.
const MaxPrefixes = 8

// Prefix is a set of addresses: the first Bits of the 16-byte form. IPv4 prefixes are IPv4-mapped, with 96 or more bits.
type Prefix struct {
	IP   [16]byte
	Bits uint8
}

// contains tells whether ip is in the prefix. Families do not mix: ::/0 holds no IPv4 address.
func (x *Prefix) contains(ip *[16]byte) bool {
	if is4(ip) != (is4(&x.IP) && x.Bits >= 96) {
		return false
	}
	whole, rest := x.Bits/8, x.Bits%8
	for i := range whole {
		if ip[i] != x.IP[i] {
			return false
		}
	}
	return rest == 0 || (ip[whole]^x.IP[whole])>>(8-rest) == 0
}

// Policy is what signalling decided about a leg. The control side writes one and hands it to Arm; == tells whether two of them
// say the same.
type Policy struct {
	Signalled     Addr                // where SDP wants RTP
	SignalledRTCP Addr                // where SDP wants RTCP; zero: Signalled with the next port. Unused with Mux
	Peer          [16]byte            // IP of the signalling peer: learn accepts it too; zero: none
	Prefixes      [MaxPrefixes]Prefix // learn accepts these too; auth accepts nothing else but the signalled IP if there are any
	Epoch         uint32              // a number that changes when the receive key does: a new key re-arms
	Count         uint8               // prefixes in use
	Mode          Mode
	AnyPort       bool // exact: accept any source port of the signalled IP
	Mux           bool // RTCP shares the RTP port (RFC 5761)
}

// AddPrefix appends a prefix. The error says that it is invalid or that the policy holds MaxPrefixes already.
func (p *Policy) AddPrefix(prefix netip.Prefix) error {
	if !prefix.IsValid() {
		return fmt.Errorf("pin: prefix %s is not valid", prefix)
	}
	if int(p.Count) == len(p.Prefixes) {
		return fmt.Errorf("pin: prefix %s is one too many: a leg has at most %d", prefix, MaxPrefixes)
	}
	prefix = prefix.Masked()
	bits := prefix.Bits()
	if prefix.Addr().Is4() {
		bits += 96
	}
	p.Prefixes[p.Count] = Prefix{IP: prefix.Addr().As16(), Bits: uint8(bits)}
	p.Count++
	return nil
}

// inPrefixes tells whether ip is in one of the policy's prefixes.
func (p *Policy) inPrefixes(ip *[16]byte) bool {
	for i := range min(int(p.Count), len(p.Prefixes)) {
		if p.Prefixes[i].contains(ip) {
			return true
		}
	}
	return false
}

// vouched tells whether learn may listen to ip: SDP's, the signalling peer's, or one of the prefixes.
func (p *Policy) vouched(ip *[16]byte) bool {
	return *ip == p.Signalled.IP || *ip == p.Peer || p.inPrefixes(ip)
}

// within tells whether auth may listen to ip: anywhere, or within the prefixes if there are any. The signalled IP always is.
func (p *Policy) within(ip *[16]byte) bool {
	return p.Count == 0 || *ip == p.Signalled.IP || p.inPrefixes(ip)
}

// rtcp returns the signalled address of RTCP without mux (RFC 3605: the next port unless SDP names one).
func (p *Policy) rtcp() Addr {
	if p.SignalledRTCP.usable() || !p.Signalled.usable() {
		return p.SignalledRTCP
	}
	return Addr{IP: p.Signalled.IP, Port: p.Signalled.Port + 1}
}
