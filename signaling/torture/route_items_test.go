package torture

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestT29_RoutesAndWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp").open()
	routeOf := func(p *peer, name, flags string) string { return fmt.Sprintf("<sip:%s@%s%s>", name, p.at, flags) }
	t.Run("double Record-Route, both roles", func(t *testing.T) {
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp(), "Record-Route: "+routeOf(w.alice, "p1", ";lr")+", "+routeOf(w.alice, "p2", ";lr;x=1"))
		k.invite = w.bob.next("INVITE")
		if len(k.invite.all("Record-Route"))+len(k.invite.all("Route")) != 0 || len(k.invite.all("Via")) != 1 {
			t.Errorf("the caller's way reached the callee:\n%s", k.invite.raw)
		}
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp(), "Record-Route: "+routeOf(w.bob, "q1", ";lr"), "Record-Route: "+routeOf(w.bob, "q2", ";lr"))
		k.joined()
		if got := strings.Join(k.ack.all("Route"), ", "); got != routeOf(w.bob, "q2", ";lr")+", "+routeOf(w.bob, "q1", ";lr") {
			t.Errorf("Route to the callee: %s", got)
		}
		if rr := strings.Join(k.ok.all("Record-Route"), ", "); !strings.Contains(rr, "p1") || strings.Contains(rr, "q1") {
			t.Errorf("Record-Route of the 200: %s", rr)
		}
		k.hear()
		k.b.send("BYE", "")
		k.b.want("200 BYE")
		bye := k.a.want("BYE")
		if got := strings.Join(bye.all("Route"), ", "); got != routeOf(w.alice, "p1", ";lr")+", "+routeOf(w.alice, "p2", ";lr;x=1") {
			t.Errorf("Route to the caller: %s", got)
		}
		w.alice.reply(bye, "200 OK", "", "")
	})
	t.Run("a strict router", func(t *testing.T) {
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp(), "Record-Route: "+routeOf(w.alice, "strict", ""))
		k.invite = w.bob.next("INVITE")
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.hear()
		k.b.send("BYE", "")
		k.b.want("200 BYE")
		bye := k.a.want("BYE")
		if !strings.HasPrefix(bye.start, "BYE sip:strict@") || !strings.HasPrefix(bye.get("Route"), "<sip:alice@") {
			t.Errorf("%s\nRoute: %s", bye.start, bye.get("Route"))
		}
		w.alice.reply(bye, "200 OK", "", "")
	})
	t.Run("a loop of Record-Route", func(t *testing.T) {
		var loop []string
		for range 40 {
			loop = append(loop, "Record-Route: "+routeOf(w.alice, "p", ";lr"))
		}
		d := w.alice.outside("+4312345")
		d.seq, d.inviteSeq, d.branch, d.uri = 1, 1, branch(), d.target
		raw := d.text("INVITE", 1, d.branch, d.uri, w.ears().ea.sdp())
		w.alice.raw(strings.Replace(raw, "Max-Forwards:", strings.Join(loop, "\r\n")+"\r\nMax-Forwards:", 1))
		d.failed(400)
	})
	t.Run("Contact without a port, with maddr and transport", func(t *testing.T) {
		for _, contact := range []string{
			"Contact: <sip:bob@" + w.bob.at.Addr().String() + ">",
			"Contact: <sip:bob@" + w.bob.at.Addr().String() + ";transport=udp>;+sip.instance=\"<urn:uuid:1>\"",
			"Contact: <sip:bob@nowhere.invalid;maddr=" + w.bob.at.Addr().String() + ";transport=UDP>",
		} {
			k := w.ears()
			k.a = w.alice.invite("+4312345", k.ea.sdp())
			k.invite = w.bob.next("INVITE")
			k.b = w.bob.called(k.invite, "bobtag")
			k.b.reply(k.invite, "200 OK", k.eb.sdp(), contact)
			k.joined()
			k.over()
		}
	})
	t.Run("received and rport", func(t *testing.T) {
		for _, c := range []struct{ via, want string }{
			{"Via: SIP/2.0/UDP 10.99.0.1:9;rport;branch=", ";received=" + w.alice.at.Addr().String()},
			{"Via: SIP/2.0/UDP pc.secret.example;rport;branch=", ";rport=5060"},
			{"Via: SIP/2.0/UDP " + w.alice.at.String() + ";branch=", ""},
		} {
			d := w.alice.outside("1")
			d.send("OPTIONS", "", c.via+branch())
			if res := d.want("200 OPTIONS"); !strings.Contains(res.get("Via"), c.want) || c.want == "" && strings.Contains(res.get("Via"), "received") {
				t.Errorf("Via: %s", res.get("Via"))
			}
		}
	})
	t.Run("several Via on one line and on several", func(t *testing.T) {
		d := w.alice.outside("1")
		b := branch()
		via := "Via: SIP/2.0/UDP " + w.alice.at.String() + ";branch=" + b + ", SIP/2.0/TCP second.secret.example;branch=z9hG4bKx\r\nVia: SIP/2.0/UDP third.secret.example;branch=z9hG4bKy"
		w.alice.raw(strings.Replace(d.text("OPTIONS", 1, b, d.target, "", "Via:"), "Max-Forwards:", via+"\r\nMax-Forwards:", 1))
		vias := strings.Join(d.want("200 OPTIONS").all("Via"), ", ")
		first, second, third := strings.Index(vias, b), strings.Index(vias, "second.secret.example"), strings.Index(vias, "third.secret.example")
		if first < 0 || second < first || third < second {
			t.Errorf("Via: %s", vias)
		}
	})
	t.Run("no Content-Length on UDP", func(t *testing.T) {
		k := w.ears()
		k.a = w.alice.outside("+4312345")
		k.a.seq, k.a.inviteSeq, k.a.branch, k.a.uri = 1, 1, branch(), k.a.target
		raw := k.a.text("INVITE", 1, k.a.branch, k.a.uri, k.ea.sdp())
		i := strings.Index(raw, "Content-Length:")
		w.alice.raw(raw[:i] + raw[i+strings.Index(raw[i:], "\r\n")+2:])
		k.invite = w.bob.next("INVITE")
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.over()
	})
	t.Run("one connection for all, partial reads, two messages in one", func(t *testing.T) {
		w := newWorld(t, "tcp", "tcp").open()
		k := w.ears()
		k.a = w.alice.outside("+4312345")
		k.a.seq, k.a.inviteSeq, k.a.branch, k.a.uri = 1, 1, branch(), k.a.target
		ping := w.alice.outside("1")
		contact := "Contact: <sip:alice@" + w.alice.dial().LocalAddr().String() + ";transport=tcp>"
		both := ping.text("OPTIONS", 1, branch(), ping.target, "") + k.a.text("INVITE", 1, k.a.branch, k.a.uri, k.ea.sdp(), contact)
		for len(both) > 0 {
			n := min(len(both), 37)
			w.alice.raw(both[:n])
			both = both[n:]
		}
		ping.want("200 OPTIONS")
		k.invite = w.bob.next("INVITE")
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.hear()
		k.b.send("INFO", "Signal=1\r\nDuration=100\r\n", "Content-Type: application/dtmf-relay") // over a connection of bob's own
		w.alice.reply(k.a.want("INFO"), "200 OK", "", "")
		k.b.want("200 INFO")
		k.hangUp()
		if a, b := w.alice.accepted(), w.bob.accepted(); a != 0 || b != 1 {
			t.Errorf("tandem opened %d connections to the caller, which had one, and %d to the callee", a, b)
		}
	})
}

func TestT30_HeadersAsTheyCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp")
	w.uc["trusted"] = true
	w.gw["pidf_lo"] = true
	w.open()
	join := func(k *talk) {
		t.Helper()
		k.invite = w.bob.next("INVITE")
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.over()
	}
	t.Run("compact, folded, odd case", func(t *testing.T) {
		k := w.ears()
		k.a = w.alice.outside("+4312345")
		k.a.seq, k.a.inviteSeq, k.a.branch, k.a.uri = 1, 1, branch(), k.a.target
		sdp := k.ea.sdp()
		w.alice.raw("INVITE " + k.a.uri + " SIP/2.0\r\nv:  SIP / 2.0 / UDP\r\n  " + w.alice.at.String() + " ;\r\n\trport; BRANCH=" + k.a.branch +
			"\r\nmAX-fORWARDS:\t 70\r\nf:\r\n " + k.a.local + "\r\nT : " + k.a.remote + "\r\nI: " + k.a.callID + "\r\ncseq: 0001\r\n  INVITE\r\nM:" +
			w.alice.contact() + "\r\nK: timer\r\nC: Application/SDP ;charset=\"utf-8\"\r\nl:   " + itoa(len(sdp)) + "\r\n\r\n" + sdp)
		join(k)
	})
	for name, c := range map[string]struct{ from, want string }{
		"quoted name with brackets": {`"A <b> \"c\", d" <sip:+4311111@x.secret.example>`, `"A <b> \"c\", d" <sip:+4311111@`},
		"UTF-8":                     {`"Žofie Müller" <sip:+4311111@x.secret.example>`, `"Žofie Müller" <sip:+4311111@`},
		"without brackets":          {`sip:+4311111@x.secret.example`, `<sip:+4311111@`},
		"tel":                       {`<tel:+43-1-1111>`, `<sip:+4311111@`},
		"escaped #":                 {`<sip:12%2334@x.secret.example>`, `<sip:12%2334@`},
		"user parameters":           {`<sip:+4311111;ext=7;phone-context=secret.example@x.secret.example>`, `<sip:+4311111@`},
	} {
		t.Run(name, func(t *testing.T) {
			k := w.ears()
			k.a = w.alice.outside("+4312345")
			k.a.local = c.from + ";tag=t" + itoa(int(serial.Add(1)))
			k.a.invite(k.ea.sdp())
			join(k)
			if got := k.invite.get("From"); !strings.HasPrefix(got, c.want) || strings.Contains(got, "secret") {
				t.Errorf("From: %s", got)
			}
		})
	}
	t.Run("comma-joined values, 8 KB of one header", func(t *testing.T) {
		k := w.ears()
		k.a = w.alice.invite("+4312345", k.ea.sdp(), "Supported: timer, replaces,, 100rel", "Accept: application/sdp, text/plain", "X-Long: "+strings.Repeat("x", 8000))
		join(k)
		if strings.Contains(k.invite.raw, "X-Long") {
			t.Error("a header that nobody knows crossed")
		}
	})
	t.Run("more than 1,300 bytes on UDP, both ways", func(t *testing.T) {
		k := w.callWith(func(s string) string {
			var formats string
			for i := 96; i < 127; i++ {
				if i != 101 {
					formats += " " + itoa(i)
					s += fmt.Sprintf("a=rtpmap:%d EVRC/8000\r\na=fmtp:%d recvmode=0;x=%040d\r\n", i, i, i)
				}
			}
			s = strings.Replace(s, " 0 8 101", " 0 8 101"+formats, 1)
			return s
		}, nil)
		if len(k.invite.raw) < 1300 {
			t.Errorf("%d bytes to the callee", len(k.invite.raw))
		}
		k.over()
	})
	t.Run("bodies of several parts", func(t *testing.T) {
		const place = "<?xml version=\"1.0\"?>\n<presence><pos>48.2 16.37</pos>\r\n</presence>"
		multi := func(sdp string) string {
			return "--b1\r\nContent-Type: application/sdp\r\n\r\n" + sdp + "\r\n--b1\r\nContent-Type: application/ISUP;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n\x01\x00\xff\r\n" +
				"--b1\r\nContent-Type: application/QSIG\r\n\r\n\x08\x02\r\n--b1\r\nContent-Type: application/pidf+xml\r\nContent-ID: <here@secret.example>\r\n\r\n" + place + "\r\n--b1--\r\n"
		}
		k := w.ears()
		k.a = w.alice.invite("112", multi(k.ea.sdp()), "Content-Type: multipart/mixed;boundary=b1", "Geolocation: <cid:here@secret.example>", "Geolocation-Routing: yes")
		k.invite = w.bob.next("INVITE")
		if !strings.Contains(k.invite.body, "\r\n\r\n"+place+"\r\n--") || !strings.Contains(k.invite.body, "Content-ID: <here@secret.example>\r\n") ||
			k.invite.get("Geolocation") != "<cid:here@secret.example>" || k.invite.get("Geolocation-Routing") != "yes" || strings.Contains(k.invite.body, "ISUP") {
			t.Errorf("%s", k.invite.raw)
		}
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", multi(k.eb.sdp()), "Content-Type: multipart/mixed; boundary=\"b1\"")
		k.joined()
		if k.ok.get("Content-Type") != "application/sdp" {
			t.Errorf("the answer has Content-Type %s", k.ok.get("Content-Type"))
		}
		k.over()
		must := strings.Replace(multi(k.ea.sdp()), "handling=optional", "handling=required", 1)
		w.alice.invite("112", must, "Content-Type: multipart/mixed;boundary=b1").failed(415)
	})
	t.Run("an extension that is unknown", func(t *testing.T) {
		if res := w.alice.invite("1", "", "Require: nothing-that-is, 100rel").failed(420); res.get("Unsupported") != "nothing-that-is" {
			t.Errorf("Unsupported: %s", res.get("Unsupported"))
		}
	})
}

func TestT31_Identity(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "udp", "udp")
	w.uc["trusted"], w.gw["trusted"], w.spare["trusted"] = true, true, false
	for _, tr := range []object{w.gw, w.spare} {
		tr["forward_pai"], tr["forward_history"], tr["forward_diversion"] = true, true, true
	}
	w.spare["calling_numbers"] = []any{object{"match": `^\+43(.*)$`, "to": "0$1"}}
	w.gw["called_numbers"] = []any{object{"match": `^\+4310000$`, "to": "+4377777"}}
	w.config["routes"] = append([]any{object{"name": "far", "from": []any{"uc"}, "match": `^\+49`, "to": []any{"spare"}}}, w.config["routes"].([]any)...)
	w.open()
	const passport = `eyJhbGciOiJFUzI1NiJ9.eyJvcmlnIjp7InRuIjoiNDMxIn19.c2ln_-0;info=<https://cert.example/a.pem>;alg=ES256;ppt="shaken"`
	headers := []string{
		`P-Asserted-Identity: "Alice" <sip:+4311111@pbx.secret.example>, <tel:+4311111;phone-context=secret.example>`,
		"P-Preferred-Identity: <sip:+431@pbx.secret.example>",
		"Diversion: <sip:+4322222@pbx.secret.example>;reason=unconditional;privacy=off",
		"History-Info: <sip:+4322222@pbx.secret.example?Reason=SIP%3Bcause%3D302>;index=1, <sip:+4312345@pbx.secret.example;cause=302>;index=1.1",
		"Identity: " + passport, "Date: Mon, 23 Nov 2026 05:31:38 GMT",
	}
	// placed is a call with these headers to a peer, and the INVITE that it got.
	placed := func(t *testing.T, to *peer, number string, extra ...string) *message {
		t.Helper()
		k := w.ears()
		k.eb = listen(t, to.at.Addr(), 0xbbbb0031)
		k.a = w.alice.invite(number, k.ea.sdp(), append(headers, extra...)...)
		k.invite = to.next("INVITE")
		k.b = to.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.over()
		head, _, _ := strings.Cut(k.invite.raw, "\r\n\r\n")
		if strings.Contains(head, "secret") {
			t.Errorf("a host of the caller's network crossed:\n%s", head)
		}
		return k.invite
	}
	us := w.inner.Addr().String()
	t.Run("to a peer that is trusted", func(t *testing.T) {
		inv := placed(t, w.bob, "+4312345", "Privacy: id")
		for name, want := range map[string]string{
			"P-Asserted-Identity": `"Alice" <sip:+4311111@` + us + ";user=phone>, <tel:+4311111>",
			"Diversion":           "<sip:+4322222@" + us + ";user=phone>;reason=unconditional;privacy=off",
			"History-Info":        "<sip:+4322222@" + us + ";user=phone?Reason=SIP%3Bcause%3D302>;index=1, <sip:+4312345@" + us + ";user=phone;cause=302>;index=1.1",
			"Privacy":             "id", "Identity": passport, "Date": "Mon, 23 Nov 2026 05:31:38 GMT", "P-Preferred-Identity": "",
		} {
			if got := strings.Join(inv.all(name), ", "); got != want {
				t.Errorf("%s\n got %s\nwant %s", name, got, want)
			}
		}
	})
	t.Run("a route that calls somebody else says so", func(t *testing.T) {
		all := placed(t, w.bob, "+4310000").all("History-Info")
		want := []string{"<sip:+4310000@" + us + ";user=phone>;index=1.1.0", "<sip:+4377777@" + us + ";user=phone>;index=1.1.0.1;mp=1.1.0"}
		if len(all) != 4 || !slices.Equal(all[2:], want) {
			t.Errorf("got %q\nwant, behind the two of the caller, %q", all, want)
		}
	})
	t.Run("critical privacy that nobody knows", func(t *testing.T) {
		d := w.alice.invite("+4312345", listen(t, w.alice.at.Addr(), 0xaaaa0031).sdp(), "Privacy: id;critical;unheard-of")
		d.failed(500)
	})
	t.Run("to one that is not", func(t *testing.T) {
		inv := placed(t, w.carol, "+4912345", "Privacy: id")
		if from := inv.get("From"); !strings.Contains(from, "anonymous.invalid") || strings.Contains(inv.raw, "11111") {
			t.Errorf("the caller is shown:\n%s", inv.raw)
		}
		if inv.get("Identity") != "" {
			t.Errorf("a signature names a caller who is hidden:\n%s", inv.raw)
		}
	})
	t.Run("a number that was changed is not signed", func(t *testing.T) {
		inv := placed(t, w.carol, "+4912345")
		if !strings.Contains(inv.get("From"), "<sip:011111@") || inv.get("Identity") != "" || !strings.Contains(inv.get("P-Asserted-Identity"), "+4311111") && !strings.Contains(inv.get("P-Asserted-Identity"), "011111") {
			t.Errorf("%s", inv.raw)
		}
	})
	t.Run("anonymous.invalid", func(t *testing.T) {
		k := w.ears()
		k.a = w.alice.outside("+4312345")
		k.a.local = `"Anonymous" <sip:anonymous@anonymous.invalid>;tag=anon`
		k.a.invite(k.ea.sdp())
		k.invite = w.bob.next("INVITE")
		if !strings.HasPrefix(k.invite.get("From"), `"Anonymous" <sip:anonymous@anonymous.invalid>`) {
			t.Errorf("From: %s", k.invite.get("From"))
		}
		k.b = w.bob.called(k.invite, "bobtag")
		k.b.reply(k.invite, "200 OK", k.eb.sdp())
		k.joined()
		k.over()
	})
	if n := w.sip()[`tandem_sip_drops_total{reason="identity_changed"}`]; n != 3 { // hidden, changed, and the anonymous one has none
		t.Logf("%v signatures were kept back", n)
	}
}
