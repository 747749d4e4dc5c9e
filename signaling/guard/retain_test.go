package guard

import (
	"bytes"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// What a transaction keeps when its work is done is the memory of the process: at 1,000 calls/s there are 32,000 of each kind,
// which wait for repetitions that hardly ever come.

const restingRounds = 4000 // transactions of one kind, so that what the tables and the collector need counts little

// resting are the kinds of transactions that outlive their final response: a round makes one, and sends nothing to anybody who reads.
var resting = []struct {
	name string
	most float64 // bytes that one may keep, with its place in the table
	code int     // our answer, or the peer's
	ours bool
	bye  bool
}{
	{"a call that we answered", 500, 200, false, false},
	{"a call that we refused", 1200, 486, false, false},
	{"a BYE that we answered", 900, 200, false, true},
	{"a call of ours, answered", 600, 200, true, false},
	{"a call of ours, refused", 1200, 486, true, false},
	{"a BYE of ours, answered", 16, 200, true, true},
}

// restingBytes is what one transaction of kind k keeps after its end.
func restingBytes(t testing.TB, k int) float64 {
	kind := resting[k]
	sink, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	to := sink.LocalAddr().(*net.UDPAddr).AddrPort()
	l := benchListener(t, func(in *Inbound) {
		if in.Tx != nil {
			in.Reply(kind.code, "Said", sip.NewHeader("Allow", "INVITE, ACK, CANCEL, BYE"))
		}
	})
	round := func() {
		branch := newBranch()
		arrives := func(raw []byte) {
			copy(raw[bytes.Index(raw, []byte("branch="))+len("branch="):], branch)
			if out := l.desk(raw, to); out != Delivered {
				t.Fatalf("%s: %.200s", out, raw)
			}
			d := <-l.desks[0]
			l.receive(d.raw, d.src, l.replyTo(d.src), nil)
		}
		method, line := sip.INVITE, "1 INVITE"
		if kind.bye {
			method, line = sip.BYE, "2 BYE"
		}
		const tag = ";tag=d4c3b2a1d4c3b2a1"
		switch {
		case !kind.ours && kind.bye:
			arrives(benchMessage("BYE sip:127.0.0.1:5060 SIP/2.0", line, tag, "", ""))
		case !kind.ours:
			arrives(benchMessage("INVITE sip:+15551230002@127.0.0.1 SIP/2.0", line, "", benchMore, benchSDP))
		default:
			req := request(method, "7f3a9c1e55d04b7d@192.0.2.1")
			req.AppendHeader(sip.NewHeader("Allow", "INVITE, ACK, CANCEL, BYE"))
			req.SetBody([]byte(benchSDP))
			if _, err := l.stack.send(req, branch, l, l.replyTo(to), func(*sip.Response, error) {}); err != nil {
				t.Fatal(err)
			}
			arrives(benchMessage("SIP/2.0 "+map[int]string{200: "200 OK", 486: "486 Busy"}[kind.code], line, tag, benchMore, benchSDP))
		}
	}
	for range 16 { // what comes once
		round()
	}
	before := heapInUse()
	for range restingRounds {
		round()
	}
	after := heapInUse()
	runtime.KeepAlive(l)
	return (float64(after) - float64(before)) / restingRounds
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one found is swept
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestATransactionThatIsOverKeepsLittle(t *testing.T) {
	for k, kind := range resting {
		t.Run(kind.name, func(t *testing.T) {
			kept := restingBytes(t, k)
			t.Logf("%.0f bytes", kept)
			if kept > kind.most {
				t.Errorf("%.0f bytes are kept for up to 32 s, want %.0f at most", kept, kind.most)
			}
		})
	}
}
