package torture

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestT21_StreamsThatJump(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	k := w.call()
	for _, side := range []struct {
		e, f *ear
		to   string
	}{{k.ea, k.eb, k.ra}, {k.eb, k.ea, k.rb}} {
		e := side.e
		say := func() { e.tell(side.to, side.f) }
		say()
		e.seq += 3000 // forward
		say()
		e.seq -= 6000 // backward: a new stream to every receiver
		for range 4 { // the first packets after a jump back may be held for late ones
			e.say(side.to)
		}
		say()
		e.when += 8000 * 35 // a pause of 35 s
		say()
		e.ssrc += 0x100
		e.reach(side.to, side.f) // the first packets of another source may be held until there is a second
		say()
		e.pt = 8
		say()
		e.when -= 1 << 20
		say()
		e.pt = 0
		say()
	}
	k.over()
}

func TestT22_DTMF(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	k := w.call()
	t.Run("RFC 4733 events pass as they are", func(t *testing.T) {
		event := func(e *ear, marker, end bool, duration uint16) []byte {
			p := make([]byte, 16)
			p[0], p[1] = 2<<6, 101
			if marker {
				p[1] |= 0x80
			}
			binary.BigEndian.PutUint16(p[2:], e.seq)
			binary.BigEndian.PutUint32(p[4:], e.when)
			binary.BigEndian.PutUint32(p[8:], e.ssrc)
			p[12], p[13] = 5, 10
			if end {
				p[13] |= 0x80
			}
			binary.BigEndian.PutUint16(p[14:], duration)
			e.seq++
			return p
		}
		for _, side := range []struct {
			e, f *ear
			to   string
		}{{k.ea, k.eb, k.ra}, {k.eb, k.ea, k.rb}} {
			side.e.tell(side.to, side.f)
			for i, n := range []uint16{160, 320, 65535, 160, 320} { // a long event is split (RFC 4733 section 2.5.1.3)
				if i == 3 {
					side.e.when += 65535
				}
				side.e.tellAs(side.to, side.f, event(side.e, i == 0, false, n))
			}
			for range 3 {
				side.e.tellAs(side.to, side.f, event(side.e, false, true, 480))
			}
			side.e.when += 480
		}
	})
	t.Run("INFO passes", func(t *testing.T) {
		for _, side := range []struct{ d, o *dialog }{{k.a, k.b}, {k.b, k.a}} {
			side.d.send("INFO", "Signal=5\r\nDuration=160\r\n", "Content-Type: application/dtmf-relay")
			got := side.o.want("INFO")
			if got.body != "Signal=5\r\nDuration=160\r\n" || got.get("Content-Type") != "application/dtmf-relay" {
				t.Errorf("%s", got.raw)
			}
			side.o.reply(got, "200 OK", "")
			side.d.want("200 INFO")
		}
	})
	k.over()
}

func TestT23_PacketsOfEveryKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	k := w.call()
	k.hear()
	t.Run("duplicates, padding, extension, CSRC, large ones pass", func(t *testing.T) {
		make := func(change func([]byte) []byte) []byte { return change(k.ea.packet()) }
		for name, p := range map[string][]byte{
			"padding": make(func(p []byte) []byte { p[0] |= 0x20; p[len(p)-1] = 4; return p }),
			"an extension": make(func(p []byte) []byte {
				p[0] |= 0x10
				return append(p[:rtpHeader:rtpHeader], append([]byte{0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0}, p[rtpHeader:]...)...)
			}),
			"two CSRCs": make(func(p []byte) []byte {
				p[0] |= 2
				return append(p[:rtpHeader:rtpHeader], append([]byte{0, 0, 0, 1, 0, 0, 0, 2}, p[rtpHeader:]...)...)
			}),
			"1400 bytes": make(func(p []byte) []byte { return append(p, bytes.Repeat([]byte{7}, 1400-len(p))...) }),
		} {
			t.Log(name)
			k.ea.tellAs(k.ra, k.eb, p)
		}
		twice := k.ea.say(k.ra)
		k.ea.utter(k.ra, twice)
		k.eb.awaits(twice)
	})
	t.Run("junk does not, and is counted", func(t *testing.T) {
		before, heard := w.relay().sum("tandem_relay_drops_total"), len(k.eb.got())
		version1 := k.ea.packet()
		version1[0] = 1 << 6
		junk := [][]byte{{0}, {0x80}, {0x80, 0, 0}, version1, make([]byte, 11)}
		for _, p := range junk {
			k.ea.send(k.ra, p)
		}
		k.hear()
		if n := len(k.eb.got()); n != heard+1 {
			t.Errorf("%d pieces of junk passed", n-heard-1)
		}
		await(t, "the junk is counted", func() bool {
			return w.relay().sum("tandem_relay_drops_total") >= before+float64(len(junk))
		})
	})
	t.Run("RTCP APP, XR and BYE", func(t *testing.T) {
		reports, mouth := k.eb.above, k.ea.above
		for n, kind := range []byte{204, 207, 203} {
			p := []byte{2<<6 | 1, kind, 0, 2, 0, 0, 0, 1, 't', 'e', 's', 't'}
			if kind == 203 { // one SSRC, and a reason
				p = []byte{2<<6 | 1, kind, 0, 2, 0, 0, 0, 1, 3, 'b', 'y', 'e'}
			}
			full := append(rtcp(k.ea.ssrc), p...)
			mouth.send(rtcpPort(k.ra), full)
			reports.gets(n+1, "a compound packet")
		}
	})
	k.over()
}
