package load

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/rtp"
)

var (
	here, there = net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	ends        = map[string][2]netip.AddrPort{
		"IPv4": {netip.MustParseAddrPort("198.18.1.1:10000"), netip.MustParseAddrPort("198.18.0.1:20001")},
		"IPv6": {netip.MustParseAddrPort("[fd00::1:1]:10000"), netip.MustParseAddrPort("[fd00::1]:20001")},
	}
)

// framed returns a frame with a payload.
func framed(end [2]netip.AddrPort, payload []byte) []byte {
	h := newHeader(here, there, end[0], end[1])
	frame := make([]byte, h.n+len(payload))
	copy(frame[h.n:], payload)
	return frame[:h.finish(frame, len(payload))]
}

func TestAFrameIsReadAsItWasWritten(t *testing.T) {
	for name, end := range ends {
		for n := range 180 {
			payload := bytes.Repeat([]byte{0xa5}, n)
			p, ok := unwrap(framed(end, payload))
			if !ok || !p.intact || p.from != end[0] || p.to != end[1] || !bytes.Equal(p.payload, payload) {
				t.Fatalf("%s, %d bytes: %v, %+v", name, n, ok, p)
			}
		}
	}
}

// The checksum of the standard's own kind of sum, word by word (RFC 1071 section 4.1).
func TestTheChecksumIsTheSlowOne(t *testing.T) {
	for n := range 70 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(255 - 7*i)
		}
		var slow uint32
		for i := 0; i < n; i += 2 {
			word := uint32(b[i]) << 8
			if i+1 < n {
				word |= uint32(b[i+1])
			}
			slow += word
		}
		for slow > 0xffff {
			slow = slow>>16 + slow&0xffff
		}
		if got := fold(sum(0, b)); uint32(got) != slow {
			t.Fatalf("%d bytes: %#x, want %#x", n, got, slow)
		}
	}
}

func TestAFlippedBitIsNeverIntact(t *testing.T) {
	for name, end := range ends {
		frame := framed(end, bytes.Repeat([]byte{0x5a}, 20))
		from := ethernetBytes
		if name == "IPv6" {
			from += 8 // version, class, flow label, length, next header and hop limit are in no sum
		}
		for i := from; i < len(frame); i++ {
			for bit := range 8 {
				frame[i] ^= 1 << bit
				if p, ok := unwrap(frame); ok && p.intact {
					t.Errorf("%s: byte %d bit %d is not missed", name, i, bit)
				}
				frame[i] ^= 1 << bit
			}
		}
	}
}

func TestAChecksumLeftToTheDeviceIsIntact(t *testing.T) {
	for name, end := range ends {
		frame := framed(end, []byte("payload"))
		h := newHeader(here, there, end[0], end[1])
		udp := frame[h.n-udpBytes:]
		binary.BigEndian.PutUint16(udp[6:], fold(h.pseudo+uint64(len(udp))))
		if p, ok := unwrap(frame); !ok || !p.intact {
			t.Errorf("%s: not accepted", name)
		}
		udp[6], udp[7] = 0, 0
		if p, ok := unwrap(frame); !ok || p.intact != (name == "IPv4") {
			t.Errorf("%s: no checksum: intact %v", name, p.intact)
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	for _, end := range ends {
		f.Add(framed(end, []byte("payload")))
		f.Add(framed(end, nil))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		p, ok := unwrap(frame)
		if ok && len(p.payload) > len(frame)-head4 {
			t.Errorf("%d bytes of payload in a frame of %d", len(p.payload), len(frame))
		}
		if ok && (!p.from.IsValid() || !p.to.IsValid()) {
			t.Errorf("addresses %v, %v", p.from, p.to)
		}
	})
}

func TestAPayloadTellsItsStreamAndNumber(t *testing.T) {
	payload, other := make([]byte, payloadBytes), make([]byte, payloadBytes)
	fillPayload(payload, 7, 9)
	if !payloadRight(payload) {
		t.Fatal("a payload as it was made is not right")
	}
	for i := range payload {
		payload[i] ^= 4
		if payloadRight(payload) {
			t.Errorf("byte %d may be changed", i)
		}
		payload[i] ^= 4
	}
	fillPayload(other, 9, 7)
	if bytes.Equal(payload[identityBytes:], other[identityBytes:]) {
		t.Error("two packets share their filling")
	}
}

// pair returns the stream from A to B of a call through a relay that copies packets.
func pair(t testing.TB, suite string) *stream {
	t.Helper()
	mode := SRTP
	if suite == "" {
		mode = RTP
	}
	calls, err := Make(2, mode, suite, []netip.Addr{netip.MustParseAddr("198.18.1.1")})
	if err != nil {
		t.Fatal(err)
	}
	c := &calls[0]
	c.A.Relay, c.B.Relay = netip.MustParseAddrPort("198.18.0.1:20000"), netip.MustParseAddrPort("198.18.0.1:20002")
	c.A.PeerFirst = 65530 // the rollover counter moves
	c.B.RelayKey = c.A.PeerKey
	all, err := newStreams(calls, here, there)
	if err != nil {
		t.Fatal(err)
	}
	return &all[0]
}

func TestEverySuiteIsSealedAndOpened(t *testing.T) {
	names := []string{""}
	for _, s := range suites() {
		names = append(names, s.name)
	}
	for _, name := range names {
		s := pair(t, name)
		var h rtp.Header
		frame, scratch := make([]byte, stride), make([]byte, stride)
		for want := range uint32(20) {
			n, err := s.write(frame, scratch)
			if err != nil {
				t.Fatal(err)
			}
			p, ok := unwrap(frame[:n])
			p.from = s.to.Relay
			number, f := s.read(&p, &h, scratch)
			if !ok || f != right || number != want {
				t.Fatalf("%q packet %d: %v, finding %d, number %d", name, want, ok, f, number)
			}
			p.payload[len(p.payload)-1] ^= 1
			if _, f := s.read(&p, &h, scratch); name != "" && f != forged || name == "" && f != corrupt {
				t.Fatalf("%q packet %d with a flipped bit: finding %d", name, want, f)
			}
		}
	}
}

func TestMakeRefusesWhatCannotBe(t *testing.T) {
	peers := []netip.Addr{netip.MustParseAddr("198.18.1.1")}
	for name, try := range map[string]func() ([]Call, error){
		"odd streams":    func() ([]Call, error) { return Make(3, RTP, "", peers) },
		"no streams":     func() ([]Call, error) { return Make(0, RTP, "", peers) },
		"too many":       func() ([]Call, error) { return Make(50_002, RTP, "", peers) },
		"no such mode":   func() ([]Call, error) { return Make(2, "zrtp", "", peers) },
		"no such suite":  func() ([]Call, error) { return Make(2, SRTP, "ROT13", peers) },
		"no peer at all": func() ([]Call, error) { return Make(2, RTP, "", nil) },
	} {
		if calls, err := try(); err == nil {
			t.Errorf("%s: %d calls", name, len(calls))
		}
	}
}

func TestMakeGivesEveryLegItsOwnAddressAndKeys(t *testing.T) {
	peers := []netip.Addr{netip.MustParseAddr("198.18.1.1"), netip.MustParseAddr("198.18.1.2")}
	calls, err := Make(2000, SRTP, "", peers)
	if err != nil {
		t.Fatal(err)
	}
	seen, keys := map[netip.AddrPort]bool{}, map[string]bool{}
	for i := range calls {
		for j := range 2 {
			side := calls[i].leg(j)
			seen[side.Peer] = true
			keys[string(side.PeerKey)], keys[string(side.RelayKey)] = true, true
			if side.PeerFirst >= 1<<15 {
				t.Errorf("first sequence number %d", side.PeerFirst)
			}
		}
	}
	if len(seen) != 2000 || len(keys) != 4000 {
		t.Errorf("%d addresses, %d keys", len(seen), len(keys))
	}
	both, err := Make(2, Both, "AEAD_AES_128_GCM", peers)
	if err != nil {
		t.Fatal(err)
	}
	if c := both[0]; c.A.Suite != "AEAD_AES_128_GCM" || len(c.A.PeerKey) != 28 || c.B.Suite != "" || c.B.PeerKey != nil {
		t.Errorf("both: A %q with %d bytes of key, B %q", c.A.Suite, len(c.A.PeerKey), c.B.Suite)
	}
}
