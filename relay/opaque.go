package relay

import (
	"encoding/binary"
	"errors"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/pin"
	"tandem/relay/verdict"
)

// An opaque stream carries datagrams that are none of RTP's: UDPTL, in which two gateways send a fax as data (ITU-T T.38, m=image
// udptl t38 of RFC 3362). They cross byte for byte between the ports that the audio had, and back to it changes nothing but
// the kind. Who may speak and where we send is decided as ever, by the source and, where it is learnt, by UDPTL's own sequence
// numbers. Nothing in such a datagram can be authenticated or sealed, so no leg of the stream may have keys. The largest is
// netio.MaxDatagram, the smallest is below.

// The kinds of a stream.
const (
	kindRTP    = "rtp"
	kindOpaque = "opaque"
)

// minUDPTL is the least that can be UDPTL, in bytes (T.38 section 9.1): sequence number 2, length of the first IFP packet 1, one
// octet of it, and two that say that no redundancy follows.
const minUDPTL = 6

func knownKind(name string) bool { return name == "" || name == kindRTP || name == kindOpaque }

func unknownKind(st *control.Stream) error {
	return control.Errorf(control.CodeUnsupported, "stream %q: kind %q is unknown; this relay carries %s and %s", st.Name, st.Kind, kindRTP, kindOpaque)
}

func kindOf(f flags) string {
	if f&opaque != 0 {
		return kindOpaque
	}
	return kindRTP
}

// planKind takes the stream's kind, if the message names one. Another kind is another source to be proved, even from the same
// address: the pin is armed anew, and the SSRC of the audio binds nobody.
func (c *change) planKind(name string) {
	if name == "" || name == kindOf(c.flags) {
		return
	}
	c.flags ^= opaque
	c.policy.Epoch++
}

// checkOpaque refuses to let anything cross in clear by a leg that signalling made an SRTP leg: it has to say that it is none any
// more.
func (c *change) checkOpaque() error {
	if c.flags&opaque != 0 && c.flags&secure != 0 {
		return errors.New("kind: opaque datagrams cross in clear, and this is an SRTP leg; " +
			"let rx and tx say suite none and pin exact or learn, or leave the stream rtp")
	}
	return nil
}

// admitOpaque asks the pin whether the source may speak at all.
func (w *worker) admitOpaque(p *netio.Packet, s *step, now int64) verdict.Verdict {
	if len(p.Data) < minUDPTL {
		return verdict.TooShort
	}
	return s.leg.pin.Glance(now, &w.cold[s.in()].pin, pin.Addr(p.Src), w.seed)
}

// judgeOpaque gives the pin its evidence. UDPTL has sequence numbers, and neither SSRC nor payload types.
func (w *worker) judgeOpaque(l *leg, p *netio.Packet, s *step, now int64) verdict.Verdict {
	k := &w.cold[s.in()]
	disputed := l.pin.Contested()
	moved, v := l.pin.Judge(now, &k.pin, pin.Addr(p.Src), pin.Evidence{Seq: binary.BigEndian.Uint16(p.Data), KnownPT: true, Fresh: true})
	if moved || disputed != l.pin.Contested() {
		w.tellPin(l, p, s, moved, disputed)
	}
	if v == verdict.Forward {
		k.inOpaque++
	}
	return v
}
