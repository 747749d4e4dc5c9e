package quality

import (
	"math"
	"testing"
	"time"
)

func TestOpinionIsThatOfG107AnnexB(t *testing.T) {
	// ITU-T G.107 table B.1: lower limits of R and the opinion they stand for.
	for r, want := range map[float64]float64{90: 4.34, 80: 4.03, 70: 3.60, 60: 3.10, 50: 2.58, 0: 1, -20: 1, 100: 4.5, 120: 4.5, 3: 1} {
		if got := opinion(r); math.Abs(got-want) > 0.01 {
			t.Errorf("R %v: %.3f, want %.2f", r, got, want)
		}
	}
}

func TestCleanCallHasTheBestOpinionOfItsCodec(t *testing.T) {
	for codec, want := range map[string]float64{
		"PCMU": 4.41, "pcma": 4.41, "G722": 4.41, "G729": 4.10, "G723": 3.95, "GSM-EFR": 4.29, "opus": 4.41, "": 4.41,
	} {
		p := newSender()
		p.send(500)
		if got := p.s.Report(CodecOf(codec)).MOS; math.Abs(got-want) > 0.01 {
			t.Errorf("%q: %.3f, want %.2f", codec, got, want)
		}
	}
}

func TestLossAndJitterCostOpinion(t *testing.T) {
	for _, codec := range []string{"PCMU", "G729", "GSM", "AMR", "G726-32", "G728", "G723"} {
		before := 5.0
		for _, lost := range []int64{0, 1, 5, 10, 50, 99} {
			got := mos(CodecOf(codec), 100, lost, 0)
			if got >= before && before > 1 || got < 1 || got > 4.5 {
				t.Errorf("%s, %d%% lost: %.3f after %.3f", codec, lost, got, before)
			}
			before = got
		}
		if still, shaken := mos(CodecOf(codec), 100, 0, 0), mos(CodecOf(codec), 100, 0, 100*time.Millisecond); shaken >= still {
			t.Errorf("%s: 100 ms of jitter: %.3f, without %.3f", codec, shaken, still)
		}
	}
	// G.711 with concealment, 5 % random loss: Ie-eff = 95 * 5 / (5 + 25.1) = 15.78, R = 77.42.
	if got := mos(CodecOf("PCMU"), 100, 5, 0); math.Abs(got-opinion(77.42)) > 0.005 {
		t.Errorf("5%% lost: %.3f, want %.3f", got, opinion(77.42))
	}
}

func TestDuplicatesAreNoGain(t *testing.T) {
	if twice, once := mos(CodecOf("PCMU"), 100, -100, 0), mos(CodecOf("PCMU"), 100, 0, 0); twice != once {
		t.Fatalf("%.3f with every packet twice, %.3f without", twice, once)
	}
}
