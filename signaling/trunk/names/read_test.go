package names

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// message is an answer to the question "what is this name's record of this kind", with records as lines of a zone file.
func message(tb testing.TB, name string, kind uint16, answers ...string) *dns.Msg {
	tb.Helper()
	m := new(dns.Msg).SetQuestion(name, kind)
	m.Response, m.RecursionAvailable = true, true
	for _, line := range answers {
		r, err := dns.NewRR(line)
		if err != nil {
			tb.Fatal(err)
		}
		m.Answer = append(m.Answer, r)
	}
	return m
}

func TestLifeIsThatOfTheShortestRecordOnTheWay(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []string
		want    time.Duration
	}{
		"one":                  {[]string{"a. 60 IN A 192.0.2.1"}, time.Minute},
		"the shorter of two":   {[]string{"a. 60 IN A 192.0.2.1", "a. 20 IN A 192.0.2.2"}, 20 * time.Second},
		"that of an alias":     {[]string{"a. 5 IN CNAME b.", "b. 60 IN A 192.0.2.2"}, 5 * time.Second},
		"not of other names":   {[]string{"a. 60 IN A 192.0.2.1", "b. 1 IN A 192.0.2.2"}, time.Minute},
		"zero":                 {[]string{"a. 0 IN A 192.0.2.1"}, 0},
		"longer than a week":   {[]string{"a. 2000000 IN A 192.0.2.1"}, lifeMost},
		"with the sign bit on": {[]string{"a. 2147483648 IN A 192.0.2.1"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := message(t, "a.", dns.TypeA, tc.answers...)
			f, err := read(m.Question[0], m)
			if err != nil || f.life != tc.want {
				t.Errorf("%s, %v, want %s", f.life, err, tc.want)
			}
		})
	}
}

func TestRecordsOfOneAnswerAreBounded(t *testing.T) {
	var answers []string
	for i := range 2 * recordsMost {
		answers = append(answers, fmt.Sprintf("a. 60 IN A 192.0.%d.%d", i/256, i%256))
	}
	m := message(t, "a.", dns.TypeA, answers...)
	if f, err := read(m.Question[0], m); err != nil || len(f.records) != recordsMost {
		t.Errorf("%d records, %v", len(f.records), err)
	}
}

func TestDenialHoldsAsLongAsItsZoneSays(t *testing.T) {
	for name, tc := range map[string]struct {
		answers []string
		zone    string
		want    time.Duration
	}{
		"by the zone's minimum":          {nil, "a. 3600 IN SOA ns. root. 1 1 1 1 300", 5 * time.Minute},
		"no longer than the zone's word": {nil, "a. 60 IN SOA ns. root. 1 1 1 1 300", time.Minute},
		"nor than the alias":             {[]string{"a. 20 IN CNAME b."}, "b. 60 IN SOA ns. root. 1 1 1 1 300", 20 * time.Second},
		"of a server that does not say":  {nil, "a. 60 IN NS ns.", 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := message(t, "a.", dns.TypeA, tc.answers...)
			r, err := dns.NewRR(tc.zone)
			if err != nil {
				t.Fatal(err)
			}
			m.Ns = []dns.RR{r}
			if f, err := read(m.Question[0], m); !errors.Is(err, ErrNone) || f.life != tc.want || f.alias != "" {
				t.Errorf("%+v, %v, want a denial for %s", f, err, tc.want)
			}
		})
	}
}

func TestRecordWithoutDataIsNone(t *testing.T) {
	head := func(kind uint16) dns.RR_Header { return dns.RR_Header{Name: "a.", Rrtype: kind, Class: dns.ClassINET} }
	for kind, r := range map[uint16]dns.RR{
		dns.TypeA: &dns.A{Hdr: head(dns.TypeA)}, dns.TypeAAAA: &dns.AAAA{Hdr: head(dns.TypeAAAA)}, dns.TypeSRV: &dns.SRV{Hdr: head(dns.TypeSRV)},
		dns.TypeTXT: &dns.CNAME{Hdr: head(dns.TypeCNAME)},
	} {
		m := message(t, "a.", kind)
		m.Answer = []dns.RR{r}
		if f, err := read(m.Question[0], m); !errors.Is(err, ErrNone) {
			t.Errorf("%v: %+v, %v", r, f, err)
		}
	}
}

// FuzzRead lets any bytes be an answer and checks what is promised of every finding: records are those of the kind asked
// for, bounded, of a life within bounds, and an answer that helps has exactly one of records, an alias and a denial.
func FuzzRead(f *testing.F) {
	for _, m := range []*dns.Msg{
		message(f, "_sip._udp.example.net.", dns.TypeSRV, "_sip._udp.example.net. 60 IN SRV 10 5 5060 a.example.net."),
		message(f, "_sip._udp.example.net.", dns.TypeSRV, "_sip._udp.example.net. 60 IN CNAME b.", "b. 60 IN CNAME _sip._udp.example.net."),
		message(f, "_sip._udp.example.net.", dns.TypeSRV, "_SIP._udp.example.net. 60 IN SRV 0 0 0 .", "x. 1 IN A 192.0.2.1"),
		message(f, "a.", dns.TypeA, "a. 4294967295 IN A 192.0.2.1"),
	} {
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	f.Add([]byte("00\x810\x00\x01000000\x000000\x00\x00\x05\x00\x010000\x00\x00")) // an alias without a name
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(dns.Msg)
		if m.Unpack(packet) != nil {
			return
		}
		for _, q := range append(m.Question, dns.Question{Name: "_sip._udp.example.net.", Qtype: dns.TypeSRV, Qclass: dns.ClassINET}) {
			if !slices.Contains([]uint16{dns.TypeSRV, dns.TypeA, dns.TypeAAAA, dns.TypeCNAME}, q.Qtype) {
				continue // nobody asks for it
			}
			got, err := read(q, m)
			if err != nil && (len(got.records) > 0 || got.alias != "") {
				t.Fatalf("%v beside %+v", err, got)
			}
			if err == nil && (len(got.records) > 0) == (got.alias != "") {
				t.Fatalf("neither or both: %+v", got)
			}
			if len(got.records) > recordsMost || got.life < 0 || got.life > lifeMost {
				t.Fatalf("%d records for %s", len(got.records), got.life)
			}
			for _, r := range got.records {
				if r.Header().Rrtype != q.Qtype || hollow(r) {
					t.Fatalf("asked for %d: %v", q.Qtype, r)
				}
			}
			if err != nil && errors.Is(err, ErrNone) && !m.Response {
				t.Fatal("a question denied something")
			}
		}
	})
}
