package topology

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// tlsPort is where peers and nodes listen for TLS.
const tlsPort = 5061

// handset is a phone on a host, as the test drives it.
type handset struct {
	*process
	last int // number of the last order
}

// phone starts a phone on the host, at a port. It has an identity of the authority's, and answers calls once it refused as
// many as there are codes.
func (h *host) phone(a *trust, port uint16, codes ...int) *handset {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	a.equip(h)
	p := &handset{process: h.start(h.run, "phone", []string{phoneVariable + "=1"}, self)}
	p.do(order{
		Do: "open", Local: netip.AddrPortFrom(h.addr, port), Codes: codes,
		CA: "/run/tandem/" + authorityFile, Cert: "/run/tandem/" + certFile, Key: "/run/tandem/" + keyFile,
	})
	return p
}

// begin gives an order, and returns what waits for its answer.
func (p *handset) begin(o order) (wait func() reply) {
	p.T.Helper()
	p.last++
	o.Number = p.last
	line, err := json.Marshal(o)
	if err == nil {
		_, err = fmt.Fprintf(p.In, "%s\n", line)
	}
	if err != nil {
		p.T.Fatalf("%s: %v", p.Name, err)
	}
	return func() (r reply) {
		p.T.Helper()
		await(p.T, fmt.Sprintf("%s: %s", p.Name, o.Do), func() (found bool) {
			r, found = p.answer(o.Number)
			if !found && p.Ended() {
				p.T.Fatalf("%s ended: %v", p.Name, p.Err())
			}
			return found
		})
		if r.Error != "" {
			p.T.Fatalf("%s: %s: %s", p.Name, o.Do, r.Error)
		}
		return r
	}
}

// answer finds the answer to an order in what the phone wrote.
func (p *handset) answer(number int) (reply, bool) {
	for lines := bufio.NewScanner(strings.NewReader(p.Said())); lines.Scan(); {
		var r reply
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Number == number {
			return r, true
		}
	}
	return reply{}, false
}

// do gives an order and waits until it is done.
func (p *handset) do(o order) reply {
	p.T.Helper()
	return p.begin(o)()
}

// converse has two phones talk to each other in all their calls, of which there must be so many.
func converse(t *testing.T, a, b *handset, calls int) {
	t.Helper()
	talk := order{Do: "talk", MS: brief, Count: calls}
	first, second := a.begin(talk), b.begin(talk)
	if x, y := first().Calls, second().Calls; x != calls || y != calls {
		t.Errorf("%s talks in %d calls and %s in %d, want %d", a.Name, x, b.Name, y, calls)
	}
}
