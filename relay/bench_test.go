package relay

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/pion/srtp/v2"

	"tandem/internal/control"
	"tandem/relay/netio"
	"tandem/relay/netio/fake"
)

// roomy gives each network two addresses with all their ports: room for 128,000 sessions with RTCP on the port of RTP.
func roomy(sessions int) func(*Options) {
	return func(o *Options) {
		o.Sessions = sessions
		for i := range o.Networks {
			n := &o.Networks[i]
			n.Low, n.High = 1024, 65_023
			n.Addresses = nil
			for k := range 2 {
				n.Addresses = append(n.Addresses, netip.AddrFrom4([4]byte{198, 18, 10, byte(2*i + k)}))
			}
		}
	}
}

func gcm(n byte) *control.Crypto {
	return &control.Crypto{Suite: "AEAD_AES_128_GCM", Key: base64.StdEncoding.EncodeToString(key(n)[:28])}
}

func pionGCM(t testing.TB, n byte) *srtp.Context {
	t.Helper()
	c, err := srtp.CreateContext(key(n)[:16], key(n)[16:28], srtp.ProtectionProfileAeadAes128Gcm)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// BenchmarkWorker is the worker's part of forwarding, from batch to batch: one operation is one packet in and out. The batches visit
// all sessions in turn, in an order that has nothing to do with where they lie.
func BenchmarkWorker(b *testing.B) {
	for _, mode := range []struct {
		name   string
		change func(a, b *control.Leg)
		far    func(testing.TB, byte) *srtp.Context // what alice seals with; nil: nothing
	}{
		{"rtp-rtp", func(_, _ *control.Leg) {}, nil},
		{"rtp-srtp", func(_, b *control.Leg) { b.RX, b.TX = crypto(3), crypto(4) }, nil},
		{"srtp-rtp", func(a, _ *control.Leg) { a.RX, a.TX = crypto(1), crypto(2) }, pion},
		{"gcm-gcm", func(a, b *control.Leg) { a.RX, a.TX, b.RX, b.TX = gcm(1), gcm(2), gcm(3), gcm(4) }, pionGCM},
	} {
		for _, sessions := range []int{1, 100, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", mode.name, sessions), func(b *testing.B) {
				benchmarkWorker(b, sessions, mode.change, mode.far)
			})
		}
	}
}

func benchmarkWorker(b *testing.B, sessions int, change func(a, b *control.Leg), far func(testing.TB, byte) *srtp.Context) {
	h := open(b, roomy(sessions))
	locals := make([]netio.Local, sessions)
	for i := range sessions {
		locals[i] = h.quickCall(fmt.Sprint("session", i), change)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(sessions, func(i, k int) { locals[i], locals[k] = locals[k], locals[i] })
	var alices *srtp.Context
	if far != nil {
		alices = far(b, 1)
	}
	h.engine.Replay(0, []fake.Datagram{{}}) // sent packets are counted, not kept
	buffers := make([]byte, netio.BatchSize*netio.MaxDatagram)
	done := 0
	w := h.relay.workers[0]
	w.order(func(now int64) {
		seq, at := uint16(0), len(locals)
		var said [][]byte // what alice says next, to all sessions the same
		template := []byte(nil)
		src := netio.AddrFrom(alice)
		w.batch.N = 0
		b.ReportAllocs()
		for b.Loop() {
			if at == len(locals) && len(said) == 0 {
				b.StopTimer()
				for said = make([][]byte, 0, 4096/sessions+1); len(said) < cap(said); seq++ {
					p := packet(7, seq)
					if alices != nil {
						p = sealed(b, alices, p)
					}
					said = append(said, p)
				}
				b.StartTimer()
			}
			if at == len(locals) { // every session was heard once: the next packet of all of them
				at, template, said = 0, said[0], said[1:]
			}
			n := w.batch.N
			buffer := buffers[n*netio.MaxDatagram:][:0:netio.MaxDatagram]
			w.batch.Packets[n] = netio.Packet{Data: append(buffer, template...), In: locals[at], Src: src}
			at++
			if w.batch.N++; w.batch.N == netio.BatchSize {
				w.forward(now + int64(done)*1000)
				w.batch.N = 0
				done += netio.BatchSize
			}
		}
	})
	if stats := h.relay.Stats(); stats.Forwarded < uint64(done) {
		b.Fatalf("forwarded %d of %d, dropped %v", stats.Forwarded, done, stats.Drops)
	}
}

// quickCall is call with RTCP on the port of RTP and without a word of JSON; it returns the port that alice sends to.
func (h *house) quickCall(id string, change func(a, b *control.Leg)) netio.Local {
	h.t.Helper()
	legs := []control.Leg{
		{Name: "a", Network: "uc", RTCP: "mux", Remote: alice.String()},
		{Name: "b", Network: "pstn", RTCP: "mux", Remote: bob.String()},
	}
	change(&legs[0], &legs[1])
	if _, err := h.relay.open(control.Open{ID: id, Owner: "test", Streams: []control.Stream{audio(legs...)}}); err != nil {
		h.t.Fatal(err)
	}
	return h.relay.sessions[id].streams[0].legs[0].rtp
}
