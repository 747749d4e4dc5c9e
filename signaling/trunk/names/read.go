package names

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Bounds of one answer.
const (
	chainMost   = 8                  // aliases on the way to a record: real chains have two or three
	recordsMost = 256                // records used of one answer
	lifeMost    = 7 * 24 * time.Hour // of a record: longer ones are errors (RFC 8767 section 4)
	ttlSign     = 1 << 31            // a lifetime from here on is 0 (RFC 2181 section 8)
)

// finding is what one answer says to one question: records, or an alias whose own records the answer does not have.
type finding struct {
	records []dns.RR // of the kind asked for, each once
	alias   string   // to be asked instead
	life    time.Duration
}

// read judges an answer. ErrNone is a verdict: the server says that there is no such record. Any other error is a server
// that does not help.
func read(q dns.Question, m *dns.Msg) (finding, error) {
	if !m.Response || len(m.Question) != 1 || !answers(m.Question[0], q) {
		return finding{}, errors.New("it answers another question")
	}
	if m.Truncated {
		return finding{}, errors.New("its answer is cut off")
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return finding{}, fmt.Errorf("it says %s", rcode(m.Rcode))
	}
	f := finding{life: lifeMost}
	name := q.Name
	for range chainMost {
		if f.records = f.collect(m.Answer, name, q.Qtype); len(f.records) > 0 {
			return f, nil
		}
		alias := f.collect(m.Answer, name, dns.TypeCNAME)
		if len(alias) == 0 {
			break
		}
		name = alias[0].(*dns.CNAME).Target
	}
	f.records = nil
	soa, negative := denial(m.Ns)
	switch {
	case m.Rcode == dns.RcodeNameError, soa:
		return finding{life: min(f.life, negative)}, ErrNone
	case !strings.EqualFold(name, q.Name):
		f.alias = name
		return f, nil
	case !m.Authoritative && !m.RecursionAvailable:
		return finding{}, errors.New("it does not answer for others")
	}
	return finding{}, ErrNone
}

// answers reports that an answer's question is ours: names are compared without case, as some servers change it.
func answers(theirs, ours dns.Question) bool {
	return strings.EqualFold(theirs.Name, ours.Name) && theirs.Qtype == ours.Qtype && theirs.Qclass == ours.Qclass
}

// collect takes the records of one name and kind, each once, and shortens the finding's life to theirs.
func (f *finding) collect(section []dns.RR, name string, kind uint16) (list []dns.RR) {
	for _, r := range section {
		h := r.Header()
		if h.Rrtype != kind || h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) || len(list) == recordsMost {
			continue
		}
		if !hollow(r) && !repeated(list, r) {
			list = append(list, r)
			f.life = min(f.life, lifetime(h.Ttl))
		}
	}
	return list
}

// hollow reports a record without its data: dynamic updates have such ones (RFC 2136), answers do not.
func hollow(r dns.RR) bool {
	switch r := r.(type) {
	case *dns.A:
		return len(r.A) == 0
	case *dns.AAAA:
		return len(r.AAAA) == 0
	case *dns.SRV:
		return r.Target == ""
	case *dns.CNAME:
		return r.Target == ""
	}
	return true
}

func repeated(list []dns.RR, r dns.RR) bool {
	for _, x := range list {
		if dns.IsDuplicate(x, r) {
			return true
		}
	}
	return false
}

// denial finds the zone's word of how long a denial holds (RFC 2308 section 5).
func denial(authority []dns.RR) (told bool, life time.Duration) {
	for _, r := range authority {
		if soa, ok := r.(*dns.SOA); ok {
			return true, min(lifetime(soa.Hdr.Ttl), lifetime(soa.Minttl))
		}
	}
	return false, 0
}

// lifetime reads a TTL.
func lifetime(ttl uint32) time.Duration {
	if ttl >= ttlSign {
		return 0
	}
	return min(time.Duration(ttl)*time.Second, lifeMost)
}

// rcode is the name of a response code.
func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("response code %d", code)
}
