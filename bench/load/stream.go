package load

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v2"
)

// stream is one direction of a call: what from's peer says and to's peer hears.
type stream struct {
	id       uint32
	from, to *Side
	head     header
	seal     *srtp.Context // as from's peer seals; nil: plain
	open     *srtp.Context // as to's peer opens; nil: plain
	next     uint32        // number of the next packet; a sequence number is the first one plus this

	relayed struct { // what the relay makes of this stream's header, learned from its first packet
		known bool
		shift uint16 // sequence number behind the relay minus before it
		ssrc  uint32
	}
}

// newStreams returns two streams a call, A to B first.
func newStreams(calls []Call, fromMAC, toMAC net.HardwareAddr) ([]stream, error) {
	all := make([]stream, 2*len(calls))
	for i := range all {
		s, call := &all[i], &calls[i/2]
		s.id, s.from, s.to = uint32(i), call.leg(i%2), call.leg(1-i%2)
		if !s.from.Peer.IsValid() || !s.from.Relay.IsValid() || s.from.Peer.Addr().Is4() != s.from.Relay.Addr().Is4() {
			return nil, fmt.Errorf("load: call %d: peer %s and relay %s: two addresses of one family are needed", i/2, s.from.Peer, s.from.Relay)
		}
		s.head = newHeader(fromMAC, toMAC, s.from.Peer, s.from.Relay)
		var err error
		if s.seal, err = newContext(s.from.Suite, s.from.PeerKey); err != nil {
			return nil, fmt.Errorf("%w (call %d, peer's key)", err, i/2)
		}
		if s.open, err = newContext(s.to.Suite, s.to.RelayKey); err != nil {
			return nil, fmt.Errorf("%w (call %d, relay's key)", err, i/2)
		}
	}
	return all, nil
}

// write makes the stream's next packet in frame, which has room for maxFrame bytes, and returns its length. scratch is as
// long and is for the plain text.
func (s *stream) write(frame, scratch []byte) (int, error) {
	number := s.next
	h := rtp.Header{
		Version: 2, PayloadType: payloadType, SequenceNumber: s.from.PeerFirst + uint16(number),
		Timestamp: number * samplesEach, SSRC: s.from.SSRC,
	}
	plain := frame[s.head.n : s.head.n+rtpBytes+payloadBytes]
	if s.seal != nil {
		plain = scratch[:rtpBytes+payloadBytes]
	}
	plain[0], plain[1] = h.Version<<6, h.PayloadType
	binary.BigEndian.PutUint16(plain[2:], h.SequenceNumber)
	binary.BigEndian.PutUint32(plain[4:], h.Timestamp)
	binary.BigEndian.PutUint32(plain[8:], h.SSRC)
	fillPayload(plain[rtpBytes:], s.id, number)
	n := len(plain)
	if s.seal != nil {
		sealed, err := s.seal.EncryptRTP(frame[s.head.n:s.head.n], plain, &h)
		if err != nil {
			return 0, fmt.Errorf("load: seal packet %d of stream %d: %w", number, s.id, err)
		}
		n = copy(frame[s.head.n:], sealed) // in place already if pion kept to the buffer
	}
	s.next++
	return s.head.finish(frame, n), nil
}

// finding is what the judge says of one packet.
type finding uint8

const (
	right finding = iota
	forged
	corrupt
	stray
)

// read judges a datagram that came to the stream's peer. buffer is room for the plain text. number is valid if right.
func (s *stream) read(p *parcel, h *rtp.Header, buffer []byte) (number uint32, f finding) {
	if p.from != s.to.Relay {
		return 0, stray
	}
	plain := p.payload
	if _, err := h.Unmarshal(plain); err != nil {
		return 0, corrupt
	}
	if s.open != nil {
		var err error
		if plain, err = s.open.DecryptRTP(buffer[:0], p.payload, h); err != nil {
			return 0, forged
		}
	}
	if !p.intact || len(plain) != rtpBytes+payloadBytes || h.PayloadType != payloadType || plain[0] != 2<<6 || h.Marker ||
		!payloadRight(plain[rtpBytes:]) {
		return 0, corrupt
	}
	if binary.BigEndian.Uint32(plain[rtpBytes:]) != s.id {
		return 0, stray
	}
	number = binary.BigEndian.Uint32(plain[rtpBytes+4:])
	shift := h.SequenceNumber - (s.from.PeerFirst + uint16(number))
	if !s.relayed.known {
		s.relayed.known, s.relayed.shift, s.relayed.ssrc = true, shift, h.SSRC
	}
	if shift != s.relayed.shift || h.SSRC != s.relayed.ssrc {
		return 0, corrupt
	}
	return number, right
}
