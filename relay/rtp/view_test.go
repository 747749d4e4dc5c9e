package rtp

import (
	"encoding/binary"
	"testing"

	"tandem/relay/verdict"
)

// packet builds an RTP packet: header of the given shape, then payload. words < 0 means no extension.
func packet(csrc, words int, payload []byte) []byte {
	b := []byte{0x80 | byte(csrc), 0x80 | 8, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef}
	b = append(b, make([]byte, 4*csrc)...)
	if words >= 0 {
		b[0] |= 0x10
		b = append(b, 0xbe, 0xde, byte(words>>8), byte(words))
		b = append(b, make([]byte, 4*words)...)
	}
	return append(b, payload...)
}

func TestFirstByteTellsProtocolsApart(t *testing.T) {
	for first := range 256 {
		for _, second := range []byte{0, 8, 127, 128, 191, 192, 200, 223, 224, 255} {
			// RFC 7983 section 7, figure 3, and RFC 5761 section 4.
			want := Other
			switch {
			case first >= 0 && first <= 3:
				want = STUN
			case first >= 20 && first <= 63:
				want = DTLS
			case first >= 128 && first <= 191 && second >= 192 && second <= 223:
				want = RTCP
			case first >= 128 && first <= 191:
				want = RTP
			}
			if got := Classify([]byte{byte(first), second}); got != want {
				t.Fatalf("first byte %d, second %d: %s, want %s", first, second, got, want)
			}
		}
	}
}

func TestOneByteIsNotAPacket(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		want Kind
	}{
		"nothing":             {nil, Short},
		"RTP version alone":   {[]byte{0x80}, Short},
		"one byte of STUN":    {[]byte{0}, STUN},
		"one byte of DTLS":    {[]byte{22}, DTLS},
		"one byte of nothing": {[]byte{255}, Other},
	} {
		if got := Classify(c.b); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestKindsHaveNames(t *testing.T) {
	for k := Other; k <= DTLS; k++ {
		if k.String() == "" || k.String() == "unknown" {
			t.Errorf("kind %d has no name", k)
		}
	}
	if Kind(99).String() != "unknown" {
		t.Error("a kind that does not exist has a name")
	}
}

func TestFieldsAreWhereRFC3550PutsThem(t *testing.T) {
	v, fate := Parse(packet(2, 3, []byte("payload")))
	want := View{Header: 12 + 8 + 4 + 12, SSRC: 0xdeadbeef, Timestamp: 160, Seq: 0x1234, PT: 8, Marker: true}
	if fate != verdict.Forward || v != want {
		t.Fatalf("%+v %s, want %+v", v, fate, want)
	}
}

// TestEveryLengthOfEveryHeaderShape cuts every header shape at every length and compares with the offsets added up by hand.
func TestEveryLengthOfEveryHeaderShape(t *testing.T) {
	const payload = 5
	for csrc := range 16 {
		for _, words := range []int{-1, 0, 1, 2, 17} {
			whole := packet(csrc, words, make([]byte, payload))
			header := len(whole) - payload
			for n := range len(whole) + 1 {
				v, fate := Parse(whole[:n:n])
				switch {
				case n < 12:
					if fate != verdict.TooShort {
						t.Fatalf("csrc %d, extension %d, %d bytes: %s, want too_short", csrc, words, n, fate)
					}
				case n < header:
					if fate != verdict.BadHeader {
						t.Fatalf("csrc %d, extension %d, %d bytes: %s, want bad_header", csrc, words, n, fate)
					}
				case fate != verdict.Forward || v.Header != header:
					t.Fatalf("csrc %d, extension %d, %d bytes: %s at %d, want the payload at %d", csrc, words, n, fate, v.Header, header)
				}
			}
		}
	}
}

func TestExtensionThatClaims256KilobytesIsRefused(t *testing.T) {
	b := packet(0, 1, make([]byte, 100))
	binary.BigEndian.PutUint16(b[14:], 65535)
	if _, fate := Parse(b); fate != verdict.BadHeader {
		t.Fatalf("%s, want bad_header", fate)
	}
}

func TestOtherVersionsAreRefused(t *testing.T) {
	for version := range byte(4) {
		b := packet(0, -1, make([]byte, 160))
		b[0] = version<<6 | b[0]&0x3f
		want := verdict.BadHeader
		if version == 2 {
			want = verdict.Forward
		}
		if _, fate := Parse(b); fate != want {
			t.Errorf("version %d: %s, want %s", version, fate, want)
		}
	}
}

func TestPaddingIsJudgedOnlyInThePlain(t *testing.T) {
	for name, c := range map[string]struct {
		payload []byte
		padding bool
		want    int
		fate    verdict.Verdict
	}{
		"no padding":              {make([]byte, 160), false, 160, verdict.Forward},
		"empty payload":           {nil, false, 0, verdict.Forward},
		"four bytes":              {[]byte{1, 2, 3, 0, 0, 0, 4}, true, 3, verdict.Forward},
		"padding alone":           {[]byte{0, 0, 3}, true, 0, verdict.Forward},
		"length zero":             {[]byte{1, 2, 0}, true, 0, verdict.BadHeader},
		"one past the payload":    {[]byte{0, 0, 4}, true, 0, verdict.BadHeader},
		"bit set without payload": {nil, true, 0, verdict.BadHeader},
	} {
		b := packet(1, 0, c.payload)
		if c.padding {
			b[0] |= 0x20
		}
		v, fate := Parse(b)
		if fate != verdict.Forward || v.Padding != c.padding {
			t.Errorf("%s: Parse says %s, padding %t", name, fate, v.Padding)
		}
		if n, fate := PayloadLen(b, v); fate != c.fate || n != c.want {
			t.Errorf("%s: %d %s, want %d %s", name, n, fate, c.want, c.fate)
		}
	}
}

func TestPayloadOfAPacketCutAfterParsingIsRefused(t *testing.T) {
	b := packet(3, 2, make([]byte, 20))
	v, _ := Parse(b)
	if _, fate := PayloadLen(b[:v.Header-1], v); fate != verdict.BadHeader {
		t.Fatalf("%s, want bad_header", fate)
	}
}

func TestWrittenFieldsAreReadBackAndNothingElseChanges(t *testing.T) {
	b := packet(1, 1, []byte("payload"))
	before, _ := Parse(b)
	PutSeq(b, 65535)
	PutSSRC(b, 0x01020304)
	after, _ := Parse(b)
	before.Seq, before.SSRC = 65535, 0x01020304
	if after != before || SSRC(b) != 0x01020304 {
		t.Fatalf("%+v, want %+v", after, before)
	}
}

func TestViewDoesNotAllocate(t *testing.T) {
	good, cut, padded := packet(2, 3, make([]byte, 160)), packet(2, 3, nil), packet(0, -1, make([]byte, 4))
	cut = cut[:len(cut)-1]
	padded[0] |= 0x20
	if n := testing.AllocsPerRun(100, func() {
		for _, b := range [][]byte{nil, good[:1], good[:11], cut, good, padded} {
			Classify(b)
			if v, fate := Parse(b); fate == verdict.Forward {
				PayloadLen(b, v)
				PutSeq(b, v.Seq+1)
				PutSSRC(b, SSRC(b)+1)
			}
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// FuzzView checks that whatever Parse lets through has its payload inside the packet, and that the header alone decides: the
// shortest packet that it accepts is the header itself.
func FuzzView(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x80})
	f.Add(packet(0, -1, make([]byte, 160)))
	f.Add(packet(15, 0, nil))
	f.Add(packet(1, 9, []byte{0, 0, 0, 4}))
	f.Add([]byte{0xbf, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, fate := Parse(b)
		if fate != verdict.Forward {
			if v != (View{}) {
				t.Fatalf("%s, and yet %+v", fate, v)
			}
			return
		}
		if k := Classify(b); k != RTP && k != RTCP {
			t.Fatalf("version 2 classified as %s", k)
		}
		if v.Header < MinRTP || v.Header > len(b) {
			t.Fatalf("payload at %d of %d bytes", v.Header, len(b))
		}
		if again, fate := Parse(b[:v.Header:v.Header]); fate != verdict.Forward || again != v {
			t.Fatalf("header alone: %s %+v, whole: %+v", fate, again, v)
		}
		if _, fate := Parse(b[: v.Header-1 : v.Header-1]); fate == verdict.Forward {
			t.Fatalf("a header cut by one byte was let through")
		}
		if n, fate := PayloadLen(b, v); n < 0 || n > len(b)-v.Header || fate != verdict.Forward && n != 0 {
			t.Fatalf("%d bytes of payload in %d, %s", n, len(b)-v.Header, fate)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := packet(0, -1, make([]byte, 160))
	b.ReportAllocs()
	for b.Loop() {
		if Classify(p) == RTP {
			if _, fate := Parse(p); fate != verdict.Forward {
				b.Fatal(fate)
			}
		}
	}
}
