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
// somebody else, or trunks failed before this one, entries of our own say so.
func (t *teller) history(now *turn, in, out sip.Message) {
	if !t.p.Trusted && t.privacy.has("history", "header", "session") {
		return
	}
	list := t.c.parties(in, headerHistory)
	for i := range list {
		t.entry(out, list[i])
	}
	target := t.c.target()
	if failed := t.c.failures(now); target.moved() || len(failed) > 0 {
		t.retargeted(out, list, target, failed)
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
	if list := reasonsOf(x.embedded("Reason")); len(list) > 0 {
		embedded = append(embedded, embeddedReasons(list))
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

// failure is a trunk that had its turn and did not take the call.
type failure struct {
	turn   *turn
	number string // that it was asked for
	code   int    // as it counts for the call
	cause  int    // Q.850; 0: it told none
}

// noteFailure keeps how a trunk's turn ended: of several addresses, and of an INVITE that was repeated, the last word counts, as
// it was one and the same target.
func (c *call) noteFailure(t *turn, code, cause int) {
	f := failure{t, c.called, code, cause}
	if n := len(c.unable); n > 0 && c.unable[n-1].turn == t {
		c.unable[n-1] = f
		return
	}
	c.unable = append(c.unable, f)
}

// failures are the trunks that failed before this one's turn.
func (c *call) failures(t *turn) []failure {
	list := c.unable
	if n := len(list); n > 0 && list[n-1].turn == t {
		list = list[:n-1]
	}
	return list[:min(len(list), maxParties)]
}

// reasons are what an entry says of it (RFC 7044 section 10.2). Nothing heard is a 408, whoever's timer it was.
func (f *failure) reasons() string {
	code := f.code
	if code == 504 {
		code = 408
	}
	list := []reason{{protocol: protocolSIP, cause: code}}
	if f.cause != 0 {
		list = append(list, reason{protocol: protocolQ850, cause: f.cause})
	}
	return embeddedReasons(list)
}

// retargeted adds whom the caller called, unless the last entry says that already, and below it whom we called instead: the
// trunks that failed, each with its Reason, and the one that is asked now (RFC 7044 sections 9.1 and 10.3, and appendix B.1 for
// one after the other). mp names the entry whose number was mapped, np the one whose number stayed. A gap in what came is a
// level "0" (section 10.3, rule 6).
func (t *teller) retargeted(out sip.Message, before []party, r retargeting, failed []failure) {
	index := firstIndex
	said := false
	if n := len(before); n > 0 {
		last := &before[n-1]
		was, ok := param(last.params, "index")
		if !ok || !isIndex(was) || len(was) > maxToken-len(".0.20") {
			return // there is nothing that ours could continue
		}
		if index = was; last.anonymous || last.user == r.from || sameNumber(last.user, r.from) {
			said = true
		} else {
			index += ".0"
		}
	}
	add := func(user, reasons, params string) {
		out.AppendHeader(sip.NewHeader(headerHistory, t.write(&party{user: user}, reasons)+params))
	}
	below := func(user, reasons string, place int) {
		how := ";np="
		if (retargeting{r.from, user}).moved() {
			how = ";mp="
		}
		add(user, reasons, ";index="+index+"."+strconv.Itoa(place)+how+index)
	}
	if !said {
		add(r.from, "", ";index="+index)
	}
	for i := range failed {
		below(failed[i].number, "?"+failed[i].reasons(), i+1)
	}
	below(r.to, "", len(failed)+1)
}

// embeddedReasons are Reason headers as the part of a URI that stands behind its "?".
func embeddedReasons(list []reason) string {
	var all []string
	for _, r := range list {
		all = append(all, "Reason="+escapeHeader(r.value()))
	}
	return strings.Join(all, "&")
}
