package relay

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"tandem/internal/control"
)

// receiverReport is RTCP about media that was heard up to an extended sequence number.
func receiverReport(sender, media, highest uint32) []byte {
	b := make([]byte, 32)
	b[0], b[1], b[3] = 0x81, 201, 7
	binary.BigEndian.PutUint32(b[4:], sender)
	binary.BigEndian.PutUint32(b[8:], media)
	binary.BigEndian.PutUint32(b[16:], highest)
	return b
}

func TestReportsSpeakOfTheSequenceNumbersThatTheirReaderSent(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) })
	a, b := leg1(s, "a"), leg1(s, "b")
	var last []byte
	for _, seq := range []uint16{100, 101, 20_000, 20_001} { // bob restarts
		h.arrive(b.Local, bob, packet(8, seq))
		last = h.heard(alice)
	}
	highest := uint32(binary.BigEndian.Uint16(last[2:]))
	if highest != 103 {
		t.Fatalf("the restart reached alice as sequence %d", highest)
	}
	in, err := pion(t, 1).EncryptRTCP(nil, receiverReport(7, 8, highest), nil)
	if err != nil {
		t.Fatal(err)
	}
	h.arrive(a.LocalRTCP, next(alice), in)
	if got, want := h.heard(next(bob)), receiverReport(7, 8, 20_001); !bytes.Equal(got, want) {
		t.Errorf("bob reads %x, want %x", got, want)
	}
}

func TestRTCPOfAPlainPeerDoesNotUseUpWhatMediaNeeds(t *testing.T) {
	h := open(t, nil)
	b := leg1(h.call("one", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }), "b")
	for ssrc := range uint32(40) { // one address, forged or not, under many names
		h.arrive(b.LocalRTCP, next(bob), report(1000+ssrc))
	}
	h.left()
	p := packet(8, 1)
	h.arrive(b.Local, bob, p)
	if got, err := pion(t, 2).DecryptRTP(nil, h.heard(alice), nil); err != nil || !bytes.Equal(got, p) {
		t.Errorf("alice heard %x: %v", got, err)
	}
}

func TestWithMuxRTCPLeavesByThePortOfRTP(t *testing.T) {
	h := open(t, nil)
	s := h.call("one", nil)
	a, b := leg1(s, "a"), leg1(s, "b")
	mux := true
	h.update("one", 2, control.Leg{Name: "b", RTCPMux: &mux})
	h.arrive(a.LocalRTCP, next(alice), report(7))
	sent := h.left()
	if len(sent) != 1 || sent[0].Peer.AddrPort() != bob {
		t.Fatalf("sent %+v", sent)
	}
	if got := sent[0].Local; got != local(b.Local) {
		t.Errorf("RTCP left by port %d; RFC 5761 has one port for both, %s", got.Port(), b.Local)
	}
}

func TestANamedRTCPAddressComesBackWhenMuxEnds(t *testing.T) {
	elsewhere := netip.MustParseAddrPort("198.18.2.9:50000")
	h := open(t, nil)
	a := leg1(h.call("one", func(_, b *control.Leg) { b.RemoteRTCP = elsewhere.String() }), "a")
	for i, mux := range []bool{true, false} {
		h.update("one", uint64(2+i), control.Leg{Name: "b", RTCPMux: &mux})
	}
	h.arrive(a.LocalRTCP, next(alice), report(7))
	h.heard(elsewhere)
}
