package load

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Mode says which legs are secure.
type Mode string

// The modes of tandem-bench.
const (
	RTP  Mode = "rtp"  // both legs plain
	SRTP Mode = "srtp" // both legs SRTP, with different keys
	Both Mode = "both" // leg A SRTP, leg B plain; with traffic both ways half of the packets are sealed and half opened
)

// DefaultSuite is what trunks speak (RFC 4568 section 6.2.1).
const DefaultSuite = "AES_CM_128_HMAC_SHA1_80"

// Peers' ports: even ones, as if RTCP had the odd ones.
const (
	firstPort = 10000
	lastPort  = 59998
)

// Side is one leg of a call as its peer sees it.
type Side struct {
	Peer      netip.AddrPort // where the peer sends from and is sent to
	Relay     netip.AddrPort // where the relay listens for this peer; whoever sets the relay up fills it in
	Suite     string         // "" for plain RTP, else the RFC's name
	PeerKey   []byte         // master key and salt with which the peer seals
	RelayKey  []byte         // master key and salt with which the relay seals towards the peer
	SSRC      uint32         // of what the peer sends
	PeerFirst uint16         // sequence number of the first packet that the peer sends
}

// Call is two legs of one session. Both peers speak at once: a call is two streams.
type Call struct{ A, B Side }

// Make returns streams/2 calls among the peers' addresses, which must be of one family. Keys, SSRCs and first sequence
// numbers are random. suite is for the secure legs, "" means DefaultSuite.
func Make(streams int, mode Mode, suite string, peers []netip.Addr) ([]Call, error) {
	if streams < 2 || streams%2 != 0 {
		return nil, fmt.Errorf("load: %d streams: an even number is needed, since a call is two", streams)
	}
	if most := len(peers) * ((lastPort-firstPort)/2 + 1); streams > most {
		return nil, fmt.Errorf("load: %d streams: %d peer addresses have room for %d: build the place with more", streams, len(peers), most)
	}
	if suite == "" {
		suite = DefaultSuite
	}
	var suiteA, suiteB string
	switch mode {
	case RTP:
	case SRTP:
		suiteA, suiteB = suite, suite
	case Both:
		suiteA = suite
	default:
		return nil, fmt.Errorf("load: mode %q: rtp, srtp or both", mode)
	}
	calls := make([]Call, streams/2)
	for i := range calls {
		for j, of := range []struct {
			side  *Side
			suite string
		}{{&calls[i].A, suiteA}, {&calls[i].B, suiteB}} {
			n := 2*i + j
			at := netip.AddrPortFrom(peers[n%len(peers)], uint16(firstPort+n/len(peers)*2))
			if err := of.side.fill(at, of.suite); err != nil {
				return nil, err
			}
		}
	}
	return calls, nil
}

func (s *Side) fill(at netip.AddrPort, suite string) error {
	var random [6]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	s.Peer, s.Suite = at, suite
	s.SSRC = binary.BigEndian.Uint32(random[:])
	s.PeerFirst = binary.BigEndian.Uint16(random[4:]) >> 1 // first half: the rollover counter of the first packet is sure (RFC 3711 section 3.3.1)
	if suite == "" {
		return nil
	}
	cipher, err := cipherOf(suite)
	if err != nil {
		return err
	}
	s.PeerKey, s.RelayKey = make([]byte, cipher.key+cipher.salt), make([]byte, cipher.key+cipher.salt)
	rand.Read(s.PeerKey)
	rand.Read(s.RelayKey)
	return nil
}

// leg returns side i of the call: 0 is A.
func (c *Call) leg(i int) *Side {
	if i == 0 {
		return &c.A
	}
	return &c.B
}
