package phone

import (
	"math"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// spoken is one packet of a voice.
func spoken(t *testing.T, v voice, ssrc uint32, seq uint16, timestamp uint32) []byte {
	t.Helper()
	var frame [frameSamples]byte
	v.say(&frame, timestamp)
	b, err := (&rtp.Packet{
		Header: rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seq, Timestamp: timestamp}, Payload: frame[:],
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryFrameIsLikeNoOther(t *testing.T) {
	caller, callee := newVoices().of("1")
	other, _ := newVoices().of("2")
	again, _ := newVoices().of("1")
	var frame [frameSamples]byte
	for _, at := range []uint32{0, 160, clock - 1, clock, math.MaxUint32 - 80, math.MaxUint32} {
		caller.say(&frame, at)
		if !again.is(frame[:], at) {
			t.Errorf("%d: another phone says something else", at)
		}
		for name, wrong := range map[string]bool{
			"the other direction":     callee.is(frame[:], at),
			"another call":            other.is(frame[:], at),
			"a frame later":           caller.is(frame[:], at+frameSamples),
			"five frames, 11 periods": caller.is(frame[:], at+5*frameSamples),
			"a second later":          caller.is(frame[:], at+clock),
			"a sample short":          caller.is(frame[:frameSamples-1], at),
		} {
			if wrong {
				t.Errorf("%d: taken for %s", at, name)
			}
		}
		for i := range frame {
			frame[i] ^= 1
			if caller.is(frame[:], at) {
				t.Fatalf("%d: a changed bit at %d is not heard", at, i)
			}
			frame[i] ^= 1
		}
	}
}

func TestMuLawFollowsG711(t *testing.T) {
	// ITU-T G.711 table 2a: decision values, and what is sent between them; the 14-bit values times 4.
	for sample, want := range map[int]byte{
		0: 0xff, 3: 0xff, 4: 0xfe, 4 * 31: 0xef, 4 * 95: 0xdf, 4 * 223: 0xcf, 4 * 479: 0xbf, 4 * 991: 0xaf, 4 * 2015: 0x9f,
		4 * 4063: 0x8f, 4 * 8158: 0x80, 32767: 0x80, -4: 0x7e, -4 * 4063: 0x0f, -32768: 0x00,
	} {
		if have := muLaw(sample); have != want {
			t.Errorf("%d: want %#x, have %#x", sample, want, have)
		}
	}
}

func TestTheEarCountsWhatSequenceNumbersTell(t *testing.T) {
	v, _ := newVoices().of("1")
	type packet struct {
		ssrc uint32
		seq  uint16
	}
	tests := []struct {
		name                       string
		packets                    []packet
		received, lost, duplicates uint64
	}{
		{"in order", []packet{{1, 10}, {1, 11}, {1, 12}}, 3, 0, 0},
		{"a gap", []packet{{1, 10}, {1, 13}}, 2, 2, 0},
		{"out of order", []packet{{1, 10}, {1, 12}, {1, 11}}, 3, 0, 0},
		{"the first one late", []packet{{1, 11}, {1, 10}, {1, 12}}, 3, 0, 0},
		{"twice", []packet{{1, 10}, {1, 11}, {1, 10}, {1, 11}}, 2, 0, 2},
		{"over the rollover", []packet{{1, 65534}, {1, 65535}, {1, 0}, {1, 1}, {1, 65535}}, 4, 0, 1},
		{"a leap past all that is remembered", []packet{{1, 10}, {1, 10 + 2*seenBits}, {1, 9 + 2*seenBits}}, 3, 2*seenBits - 2, 0},
		{"a new source begins anew", []packet{{1, 10}, {1, 12}, {2, 5}, {2, 5}}, 3, 1, 1},
	}
	for _, tt := range tests {
		e := ear{voice: v}
		for i, p := range tt.packets {
			e.hear(spoken(t, v, p.ssrc, p.seq, uint32(i)*frameSamples), time.Unix(int64(i), 0))
		}
		if e.received != tt.received || e.lost() != tt.lost || e.duplicates != tt.duplicates || e.corrupt != 0 {
			t.Errorf("%s: received %d, lost %d, duplicates %d, corrupt %d", tt.name, e.received, e.lost(), e.duplicates, e.corrupt)
		}
	}
}

func TestTheEarTakesNothingButTheFarVoice(t *testing.T) {
	v, echo := newVoices().of("1")
	good := spoken(t, v, 1, 1, 0)
	for name, packet := range map[string][]byte{
		"nothing":       {},
		"a cut header":  good[:11],
		"a cut payload": good[:len(good)-1],
		"an echo":       spoken(t, echo, 1, 1, 0),
		"another type":  append([]byte{good[0], 8}, good[2:]...),
	} {
		e := ear{voice: v}
		e.hear(packet, time.Unix(0, 0))
		if e.corrupt != 1 || e.received != 0 {
			t.Errorf("%s: %+v", name, e)
		}
		e.report(packet)
		if e.corrupt != 2 || e.reports != 0 {
			t.Errorf("%s as RTCP: %+v", name, e)
		}
	}
}

func TestJitterIsThatOfRFC3550(t *testing.T) {
	v, _ := newVoices().of("1")
	e := ear{voice: v}
	at := time.Unix(0, 0)
	for i := range uint16(1000) { // every second packet 8 ms late: D alternates between +8 and -8 ms
		late := time.Duration(i%2) * 8 * time.Millisecond
		e.hear(spoken(t, v, 1, i, uint32(i)*frameSamples), at.Add(time.Duration(i)*frameTime+late))
	}
	if math.Abs(e.jitterMS()-8) > 0.001 {
		t.Errorf("want 8 ms, have %f", e.jitterMS())
	}
}

func TestMOSFallsWithLossAndJitter(t *testing.T) {
	if got := MOS(0, 10, 0); got != 0 {
		t.Errorf("nothing heard: %f", got)
	}
	clean := MOS(100, 0, 0)
	if math.Abs(clean-4.41) > 0.005 { // R 93.2 (ITU-T G.107 table 3 and annex B)
		t.Errorf("undisturbed: %f", clean)
	}
	if lossy := MOS(95, 5, 0); lossy >= clean || lossy < 1 {
		t.Errorf("5 %% lost: %f", lossy)
	}
	if shaken := MOS(100, 0, 60); shaken >= clean || shaken < 1 {
		t.Errorf("60 ms of jitter: %f", shaken)
	}
	if deaf := MOS(1, 1000, 1000); deaf != 1 {
		t.Errorf("nearly all lost: %f", deaf)
	}
}
