package b2bua

import (
	"testing"

	"github.com/emiago/sipgo/sip"
)

func TestKeyInAnInfoIsPressedOnTheOtherSide(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	for _, tt := range []struct{ content, body, want string }{
		{"application/dtmf-relay", "Signal= 5\r\nDuration= 160\r\n", "Signal=5\r\nDuration=160\r\n"},
		{"application/dtmf-relay", "Signal=11\nX-Secret: 192.0.2.10\nDuration=99999999", "Signal=#\r\n"},
		{"application/dtmf", "*", "*"},
	} {
		k.a.other("INFO", tt.body, "Content-Type: "+tt.content)
		info := w.gw1.next("INFO")
		if info.body != tt.want || info.get("Content-Type") != tt.content || tagOf(info.get("To")) != "gwtag" {
			t.Errorf("INFO:\n%s", info.raw)
		}
		w.gw1.reply(info, "200 OK", "", "")
		w.caller.next("200 INFO")
	}
	k.b.other("INFO", "1", "Content-Type: application/dtmf")
	w.caller.reply(w.caller.next("INFO"), "501 Not Implemented", "", "")
	w.gw1.next("415 INFO")
	k.hangUp()
}

func TestInfoThatWeCannotReadIsRefused(t *testing.T) {
	w := newWorld(t)
	k := w.call()
	for _, tt := range []struct{ content, body string }{
		{"application/media_control+xml", "<x/>"}, {"application/dtmf", "55"}, {"application/dtmf-relay", "Duration=5"},
		{"application/isup", "x"},
	} {
		k.a.other("INFO", tt.body, "Content-Type: "+tt.content)
		if res := w.caller.next("415 INFO"); res.get("Accept") != "application/dtmf-relay, application/dtmf" {
			t.Errorf("415:\n%s", res.raw)
		}
	}
	k.a.other("INFO", "")
	w.caller.next("200 INFO")
	if n := w.gw1.had("INFO"); n != 0 {
		t.Errorf("%d INFOs crossed", n)
	}
	k.hangUp()
}

func FuzzKey(f *testing.F) {
	f.Add("application/dtmf-relay", "Signal=5\r\nDuration=160")
	f.Add("application/dtmf;x=y", "16")
	f.Fuzz(func(t *testing.T, content, body string) {
		req := sip.NewRequest(sip.INFO, sip.Uri{})
		ct := sip.ContentTypeHeader(content)
		req.AppendHeader(&ct)
		req.SetBody([]byte(body))
		kind, out, ok := key(req)
		if ok && (len(out) > 40 || kind != contentDTMF && kind != contentRelay) {
			t.Errorf("%q %q", kind, out)
		}
		if ok {
			ct = sip.ContentTypeHeader(kind)
			again := sip.NewRequest(sip.INFO, sip.Uri{})
			again.AppendHeader(&ct)
			again.SetBody([]byte(out))
			if _, same, ok := key(again); !ok || same != out {
				t.Errorf("%q became %q", out, same)
			}
		}
	})
}
