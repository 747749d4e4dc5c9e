package torture

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestT08_Fax(t *testing.T) {
	t.Parallel()
	t.Run("refused, and G.711 goes on", func(t *testing.T) {
		w := newWorld(t, "udp", "udp").open()
		k := w.call()
		for _, side := range []struct {
			d *dialog
			e *ear
		}{{k.a, k.ea}, {k.b, k.eb}} {
			side.d.invite(t38(side.e))
			side.d.failed(488)
			k.hear()
		}
		k.over()
	})
	t.Run("a page takes longer than the media timeout, and its receiver is silent", func(t *testing.T) {
		w := passing(t)
		w.config["media"].(object)["timeouts"] = object{"initial": "1s", "running": "1s"}
		w.open()
		k, silent := w.call(), w.call()
		offered, _ := k.modify(k.b, t38(k.eb), t38(k.ea))
		await(t, "a call without any media ends", func() bool { // which proves that the time is over
			p := udptl(uint16(len(k.eb.got())), 40, 7)
			k.ea.send(faxTo(t, offered), p)
			arrives(t, k.eb, p)
			m := w.bob.take("BYE", func(m *message) bool { return m.get("Call-ID") == silent.b.callID })
			if m != nil {
				silent.b.reply(m, "200 OK", "")
			}
			return m != nil
		})
		w.alice.reply(silent.a.want("BYE"), "200 OK", "", "")
		k.modify(k.b, k.eb.sdp(), k.ea.sdp())
		k.over()
	})
	t.Run("refused by the far side, and G.711 goes on", func(t *testing.T) {
		w := passing(t).open()
		k := w.call()
		k.hear()
		k.b.invite(t38(k.eb))
		k.a.reply(k.a.want("INVITE"), "488 Not Acceptable Here", "")
		k.b.failed(488)
		k.over()
	})
}

func TestT08_FaxPassesByPolicy(t *testing.T) {
	t.Parallel()
	for _, byCallee := range []bool{true, false} {
		t.Run(fmt.Sprintf("passed through by policy, asked for by the callee: %t", byCallee), func(t *testing.T) {
			w := passing(t).open()
			k := w.call()
			k.hear()
			d, mine, far := k.a, k.ea, k.eb
			if byCallee {
				d, mine, far = k.b, k.eb, k.ea
			}
			offered, got := k.modify(d, t38(mine), t38(far))
			for _, m := range []*message{offered, got} {
				f := strings.Fields(line(m.body, "m=image "))
				if len(f) != 3 || f[1] != "udptl" || f[2] != "t38" || line(m.body, "m=audio ") != "" {
					t.Fatalf("no T.38 in\n%s", m.body)
				}
				if line(m.body, "a=T38FaxVersion:") != "0" || line(m.body, "a=T38MaxBitRate:") != "14400" || line(m.body, "a=T38FaxUdpEC:") != "t38UDPRedundancy" {
					t.Errorf("its attributes are gone:\n%s", m.body)
				}
				if strings.Contains(m.body, "a=rtpmap") || strings.Contains(m.body, "a=ptime") {
					t.Errorf("the audio's attributes are still there:\n%s", m.body)
				}
			}
			back := map[*ear]string{mine: faxTo(t, got), far: faxTo(t, offered)}
			if mine == k.ea && back[mine] != k.ra || far == k.ea && back[far] != k.ra {
				t.Errorf("the fax has another port than the audio: %s, %s", back[k.ea], k.ra)
			}
			for seq, n := range []int{1, 1, 36, 200, 72} {
				for _, e := range []struct {
					from, to *ear
					of       byte
				}{{mine, far, 1}, {far, mine, 129}} {
					p := udptl(uint16(seq*0x3333), n, e.of)
					e.from.send(back[e.from], p)
					arrives(t, e.to, p)
				}
			}
			k.modify(d, mine.sdp(), far.sdp())
			k.over()
		})
	}
}

func TestT08_FaxWhereTheAudioIsSRTP(t *testing.T) {
	t.Parallel()
	for _, fax := range []string{"passthrough", "passthrough_clear"} {
		t.Run(fax+", and the audio is SRTP", func(t *testing.T) {
			w := secretWorld(newWorld(t, "tls", "udp"))
			w.uc["fax"], w.gw["fax"] = fax, "passthrough"
			w.open()
			mine := newKey()
			k := w.secretCall(mine)
			k.hear()
			if fax == "passthrough" {
				k.b.invite(t38(k.eb))
				k.b.failed(488)
				k.over()
				return
			}
			offered, got := k.modify(k.b, t38(k.eb), t38(k.ea))
			if strings.Contains(offered.body, "a=crypto") {
				t.Errorf("a key where nothing can be sealed:\n%s", offered.body)
			}
			k.ea.inClear()
			for seq := range uint16(3) {
				p := udptl(seq, 40, 1)
				k.ea.send(faxTo(t, offered), p)
				arrives(t, k.eb, p)
				p = udptl(seq, 40, 129)
				k.eb.send(faxTo(t, got), p)
				arrives(t, k.ea, p)
			}
			mine = newKey()
			told := k.told
			offered, _ = k.modify(k.b, k.eb.sdp(), k.ea.savp(key("1", mine)))
			k.keyed(mine, offered)
			if k.told == told {
				t.Error("the audio after the fax is sealed with the key of before")
			}
			k.over()
		})
	}
}

func TestT08_FaxFromTheBeginning(t *testing.T) {
	t.Parallel()
	for _, byCaller := range []bool{true, false} {
		t.Run(fmt.Sprintf("the call begins with one, and audio is asked for by the caller: %t", byCaller), func(t *testing.T) {
			w := passing(t).open()
			k := w.faxCall()
			d, mine, far := k.a, k.ea, k.eb
			if !byCaller {
				d, mine, far = k.b, k.eb, k.ea
			}
			k.pages()
			k.modify(d, mine.sdp(), far.sdp())
			k.hear()
			offered, got := k.modify(d, t38(mine), t38(far))
			if f := []string{faxTo(t, offered), faxTo(t, got)}; !slices.Contains(f, k.ra) || !slices.Contains(f, k.rb) {
				t.Errorf("the second fax is at %s, the first at %s and %s", f, k.ra, k.rb)
			}
			k.pages()
			k.modify(d, mine.sdp(), far.sdp())
			k.over()
		})
	}
	t.Run("the call begins with one, and its audio is SRTP", func(t *testing.T) {
		w := secretWorld(newWorld(t, "tls", "udp"))
		w.uc["fax"], w.gw["fax"] = "passthrough_clear", "passthrough"
		w.open()
		k := w.faxCall()
		told := ""
		for range 2 {
			k.pages()
			mine := newKey()
			offered, _ := k.modify(k.b, k.eb.sdp(), k.ea.savp(key("1", mine)))
			k.keyed(mine, offered)
			if k.told == told {
				t.Error("the audio after the second fax is sealed with the key of before")
			}
			told = k.told
			k.hear()
			k.modify(k.a, t38(k.ea), t38(k.eb))
			k.ea.inClear()
		}
		k.pages()
		k.hangUp()
	})
	t.Run("refused, where a trunk does not say that it may pass", func(t *testing.T) {
		w := passing(t)
		w.uc["fax"] = "refuse"
		w.config["routes"] = append(w.config["routes"].([]any), object{"name": "on", "from": []any{"gw"}, "to": []any{"spare"}})
		w.open()
		k := w.ears()
		w.alice.invite("+4312345", t38(k.ea)).failed(488)
		w.bob.invite("+4312345", t38(k.eb)).failed(488) // to uc and, were faxes no matter, to spare
		if n := w.bob.had("INVITE") + w.carol.had("INVITE") + w.alice.had("INVITE"); n != 0 {
			t.Errorf("%d INVITEs were sent", n)
		}
		w.call().over()
	})
}

func TestT08_FaxThatPassesTandemByIsInTheRecord(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("the call begins with it: %t", first), func(t *testing.T) {
			w := passing(t)
			w.uc["bypass"], w.gw["bypass"] = true, true
			file := filepath.Join(w.dir, "records.json")
			w.config["records"] = object{"file": file}
			w.open()
			var k *talk
			if first {
				k = w.faxCall()
			} else {
				k = w.call()
				offered, got := k.modify(k.b, t38(k.eb), t38(k.ea))
				k.ra, k.rb = faxTo(t, offered), faxTo(t, got)
			}
			if k.ra != k.eb.at().String() || k.rb != k.ea.at().String() {
				t.Errorf("the fax goes to %s and %s", k.ra, k.rb)
			}
			k.pages()
			k.hangUp()
			var record struct{ Answer, Fax, End time.Time }
			await(t, "the record is written", func() bool {
				line, err := os.ReadFile(file)
				return err == nil && json.Unmarshal(line, &record) == nil
			})
			if record.Fax.IsZero() || record.Fax.Before(record.Answer) || record.End.Before(record.Fax) {
				t.Errorf("answered %s, fax %s, ended %s", record.Answer, record.Fax, record.End)
			}
			if n := w.relay()["tandem_relay_sessions"]; n != 0 {
				t.Errorf("%v sessions of the relay", n)
			}
		})
	}
}

// faxCall places a call of alice's that begins with a fax and that bob answers.
func (w *world) faxCall() *talk {
	w.t.Helper()
	k := w.ears()
	k.a = w.alice.invite("+4312345", t38(k.ea))
	k.invite = w.bob.next("INVITE")
	k.b = w.bob.called(k.invite, "bobtag")
	k.b.reply(k.invite, "180 Ringing", "")
	k.b.reply(k.invite, "200 OK", t38(k.eb))
	k.ack = k.b.want("ACK")
	k.ok = k.a.established()
	for _, m := range []*message{k.invite, k.ok} {
		if line(m.body, "a=T38MaxBitRate:") != "14400" || strings.Contains(m.body, "m=audio") || strings.Contains(m.body, "a=crypto") {
			w.t.Errorf("no call that begins with a fax:\n%s", m.raw)
		}
	}
	k.ra, k.rb = faxTo(w.t, k.ok), faxTo(w.t, k.invite)
	return k
}

// pages asserts that datagrams of a fax cross both ways, byte for byte.
func (k *talk) pages() {
	k.w.t.Helper()
	for _, n := range []int{1, 36, 200} {
		seq := uint16(serial.Add(1)) // no datagram is one of before
		p, q := udptl(seq, n, 1), udptl(seq, n, 129)
		k.ea.send(k.ra, p)
		arrives(k.w.t, k.eb, p)
		k.eb.send(k.rb, q)
		arrives(k.w.t, k.ea, q)
	}
}

// t38 is the body of a gateway that goes on with a fax as data, on the port of its audio.
func t38(e *ear) string {
	s := e.sdp()
	i := strings.Index(s, "m=audio")
	return strings.Replace(s[:i], "42 1 IN", "42 2 IN", 1) + "m=image " + itoa(e.port()) + " udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
}

// passing is a world whose trunks let faxes pass.
func passing(t *testing.T) *world {
	w := newWorld(t, "udp", "udp")
	w.uc["fax"], w.gw["fax"] = "passthrough", "passthrough"
	return w
}

// udptl is a datagram of T.38: a sequence number, one IFP packet of n octets that no other datagram has, no redundancy.
func udptl(seq uint16, n int, of byte) []byte {
	p := append(binary.BigEndian.AppendUint16(nil, seq), byte(n))
	for i := range n {
		p = append(p, of+byte(i)*3+byte(seq))
	}
	return append(p, 0, 0)
}

// inClear takes an ear's keys away.
func (e *ear) inClear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seal, e.open = nil, nil
}

// arrives waits for a datagram of a fax.
func arrives(t *testing.T, e *ear, p []byte) {
	t.Helper()
	await(t, "a datagram of the fax arrives byte for byte", func() bool {
		return slices.ContainsFunc(e.got(), func(q []byte) bool { return bytes.Equal(p, q) })
	})
}

// faxTo is where a body wants its fax.
func faxTo(t *testing.T, m *message) string {
	return media(t, strings.Replace(m.body, "m=image", "m=audio", 1))
}
