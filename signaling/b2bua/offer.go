package b2bua

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"tandem/internal/config"
	"tandem/signaling/sdp"
)

// refusal is an offer that cannot be accepted: the status for the peer, and a sentence for its Warning header and our log.
// The sentence names our policy and the peer's own words, never the other side and nothing of our inside.
type refusal struct {
	code  int
	text  string
	cause error // for the log alone: a resolver's error names our DNS server; nil: the text says all
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return r.text + ": " + r.cause.Error()
	}
	return r.text
}

func refuse(code int, format string, args ...any) error {
	return &refusal{code: code, text: fmt.Sprintf(format, args...)}
}

// unresolved refuses a host that leads nowhere.
func unresolved(what, host string, err error) error {
	return &refusal{code: 488, text: fmt.Sprintf("%s address %q cannot be resolved", what, clip(host, opaqueText)), cause: err}
}

// refusalOf is what the peer may know of any error: the status, and why unless the fault is ours.
func refusalOf(err error) (code int, text string) {
	var r *refusal
	if errors.As(err, &r) {
		return r.code, r.text
	}
	return 500, ""
}

// lookup turns the host of a c= line into an address.
type lookup func(ctx context.Context, host string) (netip.Addr, error)

// terms judge the offers and answers of one leg: the policy of its trunk, where fresh keys come from, how names resolve.
type terms struct {
	policy *config.Trunk
	rand   io.Reader
	lookup lookup
}

// offered reads a peer's offer against what is agreed with it so far (the zero Media before the first). The result is
// what will be agreed if the offer is accepted: Ours is still open. Keys of ours survive as long as the suite does; a key of
// the peer that did not change is kept, so that nothing happens to it.
func (t terms) offered(ctx context.Context, now Media, body []byte) (Media, error) {
	s, err := sdp.Read(body)
	if err != nil {
		return now, refuse(400, "%v", err)
	}
	index, ok := s.Choose(t.want())
	if !ok {
		index, ok = s.Audio() // to say what is wrong with it
	}
	if at, fax := s.Fax(); !ok && fax {
		return t.faxOffered(ctx, now, s, at)
	}
	if !ok {
		return t.switchedOff(now, s)
	}
	m := s.Media()[index]
	next := now
	next.hear(s, index)
	next.Slot = index
	next.Offered, next.Mux, next.Theirs, next.Wants = nil, m.Mux, m.Flow(), m.Flow()
	next.Fax, next.Sealed = false, false
	next.Opportunistic = !m.Secure() && t.opportunistic(m)
	next.Secure = m.Secure() || next.Opportunistic
	switch {
	case next.Secure && !mayBeSecure(t.policy):
		return now, refuse(488, "SRTP is switched off on this trunk, RTP/SAVP was offered")
	case !next.Secure && t.policy.SRTP == config.SRTPRequired:
		return now, refuse(488, "SRTP is required on this trunk, %s was offered", m.Proto)
	case !next.Secure:
		next.TX, next.RX = Crypto{}, Crypto{}
	default:
		if err := t.keys(&next, m); err != nil {
			return now, err
		}
	}
	return next, t.remote(ctx, &next, m)
}

// switchedOff reads an offer with its audio at port 0: inside a dialog that takes it away for a while (RFC 3264 section 8.2),
// which the other side is told as inactive. Addresses and keys stay as they were, for the time after.
func (t terms) switchedOff(now Media, s *sdp.Session) (Media, error) {
	at := slices.IndexFunc(s.Media(), func(m sdp.Media) bool {
		return m.Rejected() && strings.EqualFold(m.Type, "audio") && len(m.Payloads) > 0
	})
	image := slices.ContainsFunc(s.Media(), func(m sdp.Media) bool { return !m.Rejected() })
	if now.Sent == "" || at < 0 || image {
		return now, refuse(488, "no active audio over RTP/AVP or RTP/SAVP")
	}
	now.hear(s, at)
	now.Slot, now.Offered = at, nil
	now.Theirs, now.Wants = sdp.Inactive, sdp.Inactive
	now.Secure, now.Fax, now.Sealed = now.keyed(), false, false
	return now, nil
}

// opportunistic reports an RTP/AVP offer with a key that a trunk with srtp: optional takes up (RFC 8643 section 3.1).
func (t terms) opportunistic(m sdp.Media) bool {
	if t.policy.SRTP != config.SRTPOptional {
		return false
	}
	_, err := m.PickCrypto(t.policy.Suites...)
	return err == nil
}

// want is the policy in the words of sdp.Choose.
func (t terms) want() sdp.Want {
	switch t.policy.SRTP {
	case config.SRTPRequired:
		return sdp.WantSecure
	case config.SRTPOptional:
		return sdp.PreferSecure
	}
	return sdp.WantPlain
}

// mayBeSecure reports a trunk that speaks SRTP; without a word on it, it does not.
func mayBeSecure(p *config.Trunk) bool {
	return p.SRTP == config.SRTPRequired || p.SRTP == config.SRTPOptional
}

// keys takes one of the offered crypto lines: the one with the suite in use if there is one, else the first that the
// trunk allows.
func (t terms) keys(next *Media, m sdp.Media) error {
	line, err := m.PickCrypto(next.RX.Suite)
	if next.RX.Suite == "" || err != nil {
		if line, err = m.PickCrypto(t.policy.Suites...); err != nil {
			return refuse(488, "no usable a=crypto line: %v", err)
		}
	}
	tx := next.TX
	if tx.Suite != line.Suite {
		fresh, err := sdp.NewCrypto(max(line.Tag, 1), line.Suite, t.rand)
		if err != nil {
			return err
		}
		tx = keep(fresh)
	}
	tx.Tag, tx.Clear = line.Tag, line.UnencryptedSRTCP
	next.TX, next.RX = tx, keep(line)
	return nil
}

// remote takes the peer's media addresses. With hold by address (c=0.0.0.0) the old ones stay: they are valid again when
// the peer comes back, and nothing is sent there meanwhile.
func (t terms) remote(ctx context.Context, next *Media, m sdp.Media) error {
	if m.Hold {
		return nil
	}
	if m.Addr == "" {
		return refuse(488, "the %s has no c= line", m.Type)
	}
	addr, err := t.lookup(ctx, m.Addr)
	if err != nil {
		return unresolved("c=", m.Addr, err)
	}
	if next.Local.IsValid() && next.Local.Addr().Is4() != addr.Is4() {
		return refuse(488, "c= address %s is of another family than the port of this call", addr)
	}
	next.Remote, next.RemoteCt = netip.AddrPortFrom(addr, m.Port), netip.AddrPort{}
	if m.RTCPPort == 0 || next.Mux {
		return nil
	}
	rtcp := addr
	if m.RTCPAddr != "" {
		if rtcp, err = t.lookup(ctx, m.RTCPAddr); err != nil {
			return unresolved("a=rtcp", m.RTCPAddr, err)
		}
	}
	next.RemoteCt = netip.AddrPortFrom(rtcp, m.RTCPPort)
	return nil
}

// propose completes the media of a leg to which an offer will be sent. secure asks for SRTP: with the suite in use if
// there is one, else with a fresh key for each suite of the trunk.
func (t terms) propose(now Media, secure bool, ours sdp.Direction) (Media, error) {
	next := now
	next.Secure, next.Ours, next.Offered = secure, ours, nil
	next.Fax, next.Sealed = false, false
	next.Mux = now.Mux || t.policy.RTCPMux && now.Received == ""
	if !secure {
		return next, nil
	}
	if now.TX.Suite != "" {
		next.Offered = []Crypto{now.TX}
		return next, nil
	}
	for i, suite := range t.policy.Suites {
		line, err := sdp.NewCrypto(i+1, suite, t.rand)
		if err != nil {
			return now, err
		}
		next.Offered = append(next.Offered, keep(line))
	}
	if len(next.Offered) == 0 {
		return now, refuse(500, "the trunk has no SRTP suite to offer")
	}
	return next, nil
}

// answered reads the peer's answer to what was proposed.
func (t terms) answered(ctx context.Context, now Media, body []byte) (Media, error) {
	s, err := sdp.Read(body)
	if err != nil {
		return now, refuse(400, "%v", err)
	}
	if now.Slot < len(s.Media()) && s.Media()[now.Slot].Rejected() && now.Ours == sdp.Inactive && now.Remote.IsValid() {
		now.Theirs = sdp.Inactive // silent it was to be
		return now, nil
	}
	if now.Fax {
		return t.faxAnswered(ctx, now, s)
	}
	if now.Slot >= len(s.Media()) || s.Media()[now.Slot].Rejected() || len(s.Media()[now.Slot].Payloads) == 0 {
		return now, refuse(488, "the answer refuses the audio")
	}
	m := s.Media()[now.Slot]
	next := now
	next.hear(s, now.Slot)
	next.Mux, next.Theirs = now.Mux && m.Mux, m.Flow()
	if now.Ours == sdp.Sendrecv {
		next.Wants = next.Theirs
	}
	open := !m.Secure() && now.Secure && now.Opportunistic // RFC 8643: with a key or without
	switch {
	case open && len(m.Crypto) > 0:
		if err := takeKeys(&next, m); err != nil {
			return now, err
		}
	case m.Secure() && !now.Secure:
		return now, refuse(488, "RTP/AVP was offered, the answer is %s", m.Proto)
	case !m.Secure() && now.Secure && t.policy.SRTP == config.SRTPRequired:
		return now, refuse(488, "SRTP is required on this trunk, the answer is %s", m.Proto)
	case !m.Secure():
		next.Secure, next.Opportunistic, next.TX, next.RX = false, false, Crypto{}, Crypto{}
	default:
		next.Opportunistic = false
		if err := takeKeys(&next, m); err != nil {
			return now, err
		}
	}
	return next, t.remote(ctx, &next, m)
}

// takeKeys matches the answer's crypto line with ours by tag and suite (RFC 4568 section 5.1.3). The lines offered are
// kept: another early dialog of the same INVITE may take another one.
func takeKeys(next *Media, m sdp.Media) error {
	line, err := m.PickCrypto()
	if err != nil {
		return refuse(488, "the answer is RTP/SAVP without a usable key: %v", err)
	}
	for _, ours := range next.Offered {
		if ours.Tag == line.Tag && ours.Suite == line.Suite {
			next.TX, next.RX = ours, keep(line)
			return nil
		}
	}
	return refuse(488, "the answer takes crypto tag %d with %s, which was not offered", line.Tag, line.Suite)
}

// side is how a leg shows itself in SDP.
func (m *Media) side(lines ...Crypto) sdp.Side {
	s := sdp.Side{
		Origin: m.Origin, Addr: m.Local.Addr(), Port: m.Local.Port(), RTCPPort: m.RTCP,
		Mux: m.Mux, Secure: m.Secure && !m.Opportunistic, Direction: m.Ours,
	}
	if m.Secure {
		for _, c := range lines {
			s.Crypto = append(s.Crypto, c.line())
		}
	}
	return s
}

// tell notes the SDP that write makes and raises the o= version if it differs from the one before (RFC 3264 section 8).
func (m *Media) tell(write func() []byte) []byte {
	body := write()
	if m.Sent != "" && string(body) != m.Sent {
		m.Origin.Version++
		body = write()
	}
	m.Sent = string(body)
	return body
}

// hear takes a body of the peer, with its m-line at audio.
func (m *Media) hear(s *sdp.Session, audio int) { m.Received, m.Audio, m.read = s.Text(), audio, s }

// heard is Received as it was read. A dozen questions are asked of a body between its coming and the answer, and none for the
// rest of the call: until both sides have agreed it is read once, and later whenever it is needed.
func (m *Media) heard() (*sdp.Session, error) {
	if m.read != nil && m.read.Text() == m.Received {
		return m.read, nil
	}
	return readSDP(m.Received)
}

// mline is the audio m-line of Received, or that of the fax in its place; nil when there is none.
func (m *Media) mline() *sdp.Media {
	if m.Received == "" {
		return nil
	}
	s, err := m.heard()
	if err != nil || m.Audio >= len(s.Media()) {
		return nil
	}
	return &s.Media()[m.Audio]
}

// same reports whether two bodies of a peer mean the same to the other side: codecs, their attributes and direction. It
// compares what would be sent there.
func same(a, b Media) bool {
	return bytes.Equal(a.passed(), b.passed())
}

// alike is same, and of a body that crosses as it is: equal but for the version in o=.
func (m *Media) alike(next Media) bool {
	if !m.Pass {
		return same(*m, next)
	}
	x, err := m.heard()
	y, other := next.heard()
	return err == nil && other == nil && sdp.Equal(x, y, true)
}

func (m *Media) passed() []byte {
	s, err := m.heard()
	if err != nil {
		return nil
	}
	return sdp.Offer(s, m.Audio, sdp.Side{Port: 1, Direction: m.Theirs})
}

// keep turns an SDP line into state, line turns it back.
func keep(c sdp.Crypto) Crypto {
	return Crypto{Tag: c.Tag, Suite: c.Suite, Key: slices.Clone(c.Key), MKI: c.MKI, Clear: c.UnencryptedSRTCP}
}

func (c Crypto) line() sdp.Crypto {
	line := sdp.Crypto{Tag: c.Tag, Suite: c.Suite, Key: c.Key}
	if c.Clear {
		line.UnencryptedSRTCP, line.Params = true, []string{"UNENCRYPTED_SRTCP"}
	}
	return line
}

// inline and mki are the encodings that the control socket takes.
func (c Crypto) inline() string { return base64.StdEncoding.EncodeToString(c.Key) }
func (c Crypto) mki() string    { return hex.EncodeToString(c.MKI) }
