package srtp

import (
	"bytes"
	"math/rand/v2"
	"testing"

	pion "github.com/pion/srtp/v2"

	"tandem/relay/verdict"
)

// stranger is a far end that owes our code nothing: pion/srtp, or for AES_192, which it has not, the slow twin.
type stranger struct {
	keys      Keys
	rtp, rtcp Schedule
	tx, rx    *pion.Context // nil: the twin
	at        uint64        // index of RTP
	reports   uint32        // index of RTCP
	heard     rxState
	sent      txState
	sealed    uint64 // index that our next packet has
	told      uint32
}

func newStranger(t testing.TB, w way, suite Suite, id byte) *stranger {
	f := &stranger{keys: mustKeys(t, suite, id, nil, false), at: 65_500, sealed: 65_500}
	Derive(w.tier, &f.keys, &f.rtp, &f.rtcp)
	if _, ok := pionProfiles[suite]; ok {
		f.tx, f.rx = pionContext(t, &f.keys), pionContext(t, &f.keys)
	}
	return f
}

// seal returns what the far end makes of its next packet.
func (f *stranger) seal(t testing.TB, plain []byte, hdr int, rtcp bool) (sealed []byte) {
	t.Helper()
	var err error
	switch {
	case rtcp && f.tx == nil:
		sealed = twin{f.keys}.rtcp(plain, f.reports)
		f.reports++
	case rtcp:
		sealed, err = f.tx.EncryptRTCP(nil, plain, nil)
	case f.tx == nil:
		sealed = twin{f.keys}.rtp(plain, hdr, f.at)
	default:
		sealed, err = f.tx.EncryptRTP(nil, plain, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// understands tells whether the far end opens what we sealed to plain.
func (f *stranger) understands(sealed, plain []byte, hdr int, rtcp bool) bool {
	var got []byte
	var err error
	switch {
	case rtcp && f.rx == nil:
		f.told++
		return bytes.Equal(sealed, twin{f.keys}.rtcp(plain, f.told-1))
	case rtcp:
		got, err = f.rx.DecryptRTCP(nil, bytes.Clone(sealed), nil)
	case f.rx == nil:
		return bytes.Equal(sealed, twin{f.keys}.rtp(plain, hdr, f.sealed))
	default:
		got, err = f.rx.DecryptRTP(nil, bytes.Clone(sealed), nil)
	}
	return err == nil && bytes.Equal(got, plain)
}

// packet returns one of 12 to 1,500 bytes, or a report.
func (f *stranger) packet(rng *rand.Rand, at uint64) (plain []byte, hdr int, rtcp bool) {
	if rng.IntN(12) == 0 {
		return rtcpPacket(testSSRC), 0, true
	}
	payload := g711
	if rng.IntN(2) == 0 {
		payload = rng.IntN(1489)
	}
	plain, hdr = shapedPacket(testSSRC, uint16(at), rng.IntN(3), rng.IntN(3), rng.IntN(2) == 0, payload)
	return plain, hdr, false
}

// TestBatchesOfAllSuitesAreWhatStrangersSealAndOpen plays batches of 0 to 64 packets between all suites and far ends of each,
// across a rollover. Some packets arrive forged, among the good ones: they must be dropped, and nothing else.
func TestBatchesOfAllSuitesAreWhatStrangersSealAndOpen(t *testing.T) {
	for _, way := range ways() {
		if !way.batch {
			continue
		}
		t.Run(way.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(30, uint64(way.tier)))
			var far []*stranger
			for i, suite := range Suites() {
				far = append(far, newStranger(t, way, suite, byte(i)))
			}
			scratch := way.scratch()
			for range 25 {
				openStrangers(t, rng, far, scratch)
				sealForStrangers(t, rng, far, scratch)
			}
		})
	}
}

func openStrangers(t *testing.T, rng *rand.Rand, far []*stranger, scratch *Scratch) {
	t.Helper()
	var jobs []OpenJob
	var plains, came [][]byte
	for range rng.IntN(MaxBatch + 1) {
		f := far[rng.IntN(len(far))]
		plain, hdr, rtcp := f.packet(rng, f.at)
		j := OpenJob{RTCP: rtcp, Key: &f.rtp, Keys: &f.keys, Received: f.heard.both(), Packet: f.seal(t, plain, hdr, rtcp), Header: hdr}
		if rtcp {
			j.Key = &f.rtcp
		} else {
			f.at++
		}
		if rng.IntN(5) == 0 {
			j.Packet[len(j.Packet)-1-rng.IntN(4)] ^= 1 << rng.IntN(8)
			plain = nil
		}
		jobs, plains, came = append(jobs, j), append(plains, plain), append(came, bytes.Clone(j.Packet))
	}
	OpenBatch(jobs, scratch)
	for i, j := range jobs {
		switch {
		case plains[i] == nil && (j.Verdict == verdict.Forward || !bytes.Equal(j.Packet, came[i])):
			t.Fatalf("%s, forged packet %d of %d: %v, or it was changed", j.Key.Suite(), i, len(jobs), j.Verdict)
		case plains[i] != nil && (j.Verdict != verdict.Forward || !bytes.Equal(j.Packet[:j.N], plains[i])):
			t.Fatalf("%s, packet %d of %d: %v, or other bytes", j.Key.Suite(), i, len(jobs), j.Verdict)
		}
	}
}

func sealForStrangers(t *testing.T, rng *rand.Rand, far []*stranger, scratch *Scratch) {
	t.Helper()
	var jobs []SealJob
	var to []*stranger
	var plains [][]byte
	next := map[*stranger]uint64{}
	for range rng.IntN(MaxBatch + 1) {
		f := far[rng.IntN(len(far))]
		plain, hdr, rtcp := f.packet(rng, f.sealed+next[f])
		j := SealJob{RTCP: rtcp, Key: &f.rtp, Keys: &f.keys, Sent: f.sent.both(), Packet: clone(plain), Header: hdr}
		if rtcp {
			j.Key = &f.rtcp
		} else {
			next[f]++
		}
		jobs, to, plains = append(jobs, j), append(to, f), append(plains, plain)
	}
	SealBatch(jobs, scratch)
	for i, j := range jobs {
		if j.Verdict != verdict.Forward || !to[i].understands(j.Packet[:j.N], plains[i], j.Header, j.RTCP) {
			t.Fatalf("%s, packet %d of %d: %v, or the far end does not open it", j.Key.Suite(), i, len(jobs), j.Verdict)
		}
		if !j.RTCP {
			to[i].sealed++
		}
	}
}
