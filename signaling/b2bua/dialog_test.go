package b2bua

import (
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

func TestQuotedParametersOfAURIDoNotGrow(t *testing.T) {
	const room = 1024 // bytes that a request of ours has beside what the peer named
	for _, many := range []int{1, 2, 500} {
		quoted := ";lr;transport=tcp;" + strings.Repeat(`a=""`, many)
		for name, head := range map[string]string{
			"From":         "From: <sip:a@h" + quoted + ">;tag=t\r\nContact: <sip:c@h>\r\n",
			"Contact":      "From: <sip:a@h>;tag=t\r\nContact: <sip:c@h" + quoted + ">\r\n",
			"Record-Route": "From: <sip:a@h>;tag=t\r\nContact: <sip:c@h>\r\nRecord-Route: <sip:r@h" + quoted + ">\r\n",
		} {
			raw := "INVITE sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nTo: <sip:1@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n" +
				head + "Content-Length: 0\r\n\r\n"
			m, err := sip.NewParser().ParseSIP([]byte(raw))
			if err != nil {
				t.Fatal(name, err)
			}
			d, err := dialogUAS(m.(*sip.Request), "us")
			if err != nil {
				t.Fatal(name, err)
			}
			req, err := d.request(sip.BYE, 2)
			if err != nil {
				t.Fatal(name, err)
			}
			out := req.String()
			if len(out) > room || strings.Contains(out, `"`) {
				t.Errorf("%s with %d quoted values: %d bytes in, %d out", name, many, len(raw), len(out))
			}
			if !strings.Contains(out, "transport=tcp") || !strings.Contains(out, "lr;") {
				t.Errorf("%s with %d quoted values: what is right was lost:\n%s", name, many, out)
			}
		}
	}
}
