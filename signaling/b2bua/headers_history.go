package b2bua

import (
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// firstIndex is that of the oldest entry (RFC 7044 section 9.1).
const firstIndex = "1"

// history passes History-Info on (RFC 7044 section 5): who was called before, why the call moved on, and the index that makes a
// tree of it. Entries that ask for privacy are anonymous to a peer that is not trusted. Where a route sends the call to
// somebody else, two of our own say so.
func (t *teller) history(in, out sip.Message) {
	if !t.p.Trusted && t.privacy.has("history", "header", "session") {
		return
	}
	list := t.c.parties(in, headerHistory)
	for i := range list {
		t.entry(out, list[i])
	}
	if target := t.c.target(); target.moved() {
		t.retargeted(out, list, target)
	}
}

// entry writes one of a peer's anew.
func (t *teller) entry(out sip.Message, x party) {
	hidden := strings.EqualFold(x.embedded("Privacy"), "history")
	if hidden && !t.p.Trusted {
		x.hide()
	}
	extra := ""
	if n, err := strconv.Atoi(x.uri("cause")); err == nil && n > 0 && n < 1000 { // RFC 4458
		extra = ";cause=" + strconv.Itoa(n)
	}
	var embedded []string
	for _, r := range reasonsOf(x.embedded("Reason")) {
		embedded = append(embedded, "Reason="+escapeHeader(r.value()))
	}
	if hidden && t.p.Trusted {
		embedded = append(embedded, "Privacy=history")
	}
	if len(embedded) > 0 {
		extra += "?" + strings.Join(embedded, "&")
	}
	v := t.write(&x, extra)
	for _, name := range []string{"index", "rc", "mp", "np"} {
		if p, ok := param(x.params, name); ok && isIndex(p) {
			v += ";" + name + "=" + p
		}
	}
	out.AppendHeader(sip.NewHeader(headerHistory, v))
}

// retargeting is whom the caller called, and whom a trunk is asked for instead.
type retargeting struct{ from, to string }

func (c *call) target() retargeting { return retargeting{c.rec.Called, c.called} }

// moved reports that somebody else is called. A number written another way (national or international, with a prefix for
// the trunk, or an extension completed) ends with the same digits, and is the same person.
func (r retargeting) moved() bool {
	from, to := strings.TrimLeft(r.from, "+0"), strings.TrimLeft(r.to, "+0")
	if from == "" || to == "" {
		return false
	}
	return !strings.HasSuffix(from, to) && !strings.HasSuffix(to, from)
}

// retargeted adds whom the caller called, unless the last entry says that already, and whom we call instead (RFC 7044
// sections 9.1 and 10.3): one level below, mp naming the entry that was mapped. A gap in what came is a level "0" (section
// 10.3, rule 6). Trunks that were tried before are not told of.
func (t *teller) retargeted(out sip.Message, before []party, r retargeting) {
	index := firstIndex
	said := false
	if n := len(before); n > 0 {
		last := &before[n-1]
		was, ok := param(last.params, "index")
		if !ok || !isIndex(was) || len(was) > maxToken-len(".0.1") {
			return // there is nothing that ours could continue
		}
		if index = was; last.anonymous || last.user == r.from || sameNumber(last.user, r.from) {
			said = true
		} else {
			index += ".0"
		}
	}
	add := func(user, params string) {
		out.AppendHeader(sip.NewHeader(headerHistory, t.write(&party{user: user}, "")+params))
	}
	if !said {
		add(r.from, ";index="+index)
	}
	add(r.to, ";index="+index+".1;mp="+index)
}
