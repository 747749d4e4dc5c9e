package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Final answers to an INVITE that may move a call on. 600 is where "nobody anywhere" begins, but only 603 is certain: the
// callee declined, and asking again by another way would ring a phone that said no.
const (
	firstFailure = 400
	lastFailure  = 699
	declined     = 603
)

// Bounds of a policy.
const (
	maxBandwidth = 100_000_000 // kbit/s: 100 Gbit/s, more than any node's network card
	maxMisses    = 1000        // OPTIONS unanswered in a row: most of a day at one a minute
	maxCause     = 127         // seven bits (Q.850 section 2.2.5)
	maxPriority  = 1_000_000
	maxEarly     = 100 // early dialogs: a hunt group of that size rings nobody's phone in time
	maxNumber    = 64  // characters: E.164 has 15 digits, prefixes of carriers and trunk groups some more
)

// checkPolicy checks the keys that one scope gives: "policy", "sites.vienna.policy", "trunks.gw1". Of a trunk, p is merged
// already.
func (c *Config) checkPolicy(d *document, path string, p *Policy) {
	words := func(key, value string, known ...string) {
		if d.has(path + key) {
			d.oneOf(path+key, value, known...)
		}
	}
	number := func(key string, n, low, high int) {
		if d.has(path + key) {
			d.between(path+key, n, low, high)
		}
	}
	span := func(key string, v, low, high time.Duration) {
		if d.has(path + key) {
			d.within(path+key, v, low, high)
		}
	}
	c.checkProfile(d, path+".profile", p.Profile)
	words(".srtp", p.SRTP, SRTPRequired, SRTPOptional, SRTPOff)
	words(".roc_tx", p.ROC, ROCReset, ROCCarry)
	words(".pin", p.Pin, PinExact, PinLearn, PinAuth)
	if d.has(path+".pin") && p.Pin == PinAuth && p.SRTP == SRTPOff {
		d.fail(path+".pin", "nothing authenticates plain RTP, and srtp is off here", "write exact or learn")
	}
	if d.has(path+".any_source_port") && p.AnyPort && (p.Pin == PinLearn || p.Pin == PinAuth) {
		d.fail(path+".any_source_port", "only pin exact looks at source ports, and here pin is "+show(p.Pin),
			"remove it, or write pin: exact")
	}
	words(".refer", p.Refer, ReferConsume, ReferForward)
	words(".session_timer", p.SessionTimer, TimerOff, TimerOn)
	words(".prack", p.Prack, PrackSupported, PrackRequired, PrackOff)
	words(".fax", p.Fax, FaxRefuse, FaxPassthrough, FaxClear)
	number(".max_early_dialogs", p.MaxEarly, 1, maxEarly)
	p.checkSuites(d, path+".suites")
	span(".failover.timeout", p.Failover.Timeout, time.Second, 3*time.Minute)
	if ring := c.SIP.Limits.RingTimeout; d.has(path+".failover.timeout") && p.Failover.Timeout >= ring {
		d.fail(path+".failover.timeout", fmt.Sprintf("is not shorter than sip.limits.ring_timeout, %s", short(ring)),
			"a call would end before it moves on; shorten it")
	}
	p.checkCodes(d, path+".failover.codes")
	if trunk := strings.HasPrefix(path, "trunks."); !trunk || !p.Options.Off { // a trunk's is not looked at when off
		span(".options.every", p.Options.Every, time.Second, time.Hour)
	}
	span(".options.demote", p.Options.Demote, time.Second, 24*time.Hour)
	number(".options.down", p.Options.Down, 1, maxMisses)
	number(".max_calls", p.MaxCalls, 0, maxAny)
	number(".max_cps", p.MaxCPS, 0, maxAny)
	number(".max_bandwidth", p.MaxBandwidth, 0, maxBandwidth)
	c.checkNumbers(d, path, p)
}

// checkNumbers checks what a policy says of numbers and of answers.
func (c *Config) checkNumbers(d *document, path string, p *Policy) {
	if _, ok := c.DialPlans[p.DialPlan]; !ok && p.DialPlan != "" && d.has(path+".dial_plan") {
		d.unknown(path+".dial_plan", p.DialPlan, "dial plan", "dial_plans", slices.Collect(maps.Keys(c.DialPlans)))
	}
	if d.has(path + ".usages") {
		d.usages(path+".usages", p.Usages)
	}
	if d.has(path + ".called_numbers") {
		d.numberRules(path+".called_numbers", p.Called)
	}
	if d.has(path + ".calling_numbers") {
		d.numberRules(path+".calling_numbers", p.Calling)
	}
	if !d.has(path + ".responses") {
		return
	}
	for i, r := range p.Responses {
		item := fmt.Sprintf("%s.responses[%d]", path, i)
		d.between(item+".priority", r.Priority, 0, maxPriority)
		if r.Code != 0 {
			d.between(item+".code", r.Code, firstFailure, lastFailure)
		}
		if r.Cause != AnyCause && (r.Cause < 1 || r.Cause > maxCause) {
			d.fail(item+".cause", "is no cause of Q.850", fmt.Sprintf("write 1 to %d, or %d for any", maxCause, AnyCause))
		}
		d.missing(item+".to", "write the code that takes the place of the peer's answer, 400 to 699")
		d.between(item+".to", r.To, firstFailure, lastFailure)
	}
}

func (p *Policy) checkSuites(d *document, path string) {
	if !d.has(path) {
		return
	}
	if p.SRTP == SRTPOff {
		d.fail(path, "srtp is off here", "remove the suites, or write srtp: required")
	}
	if len(p.Suites) == 0 {
		d.fail(path, "names no suite", "list at least one, or remove the key for "+suites()[0])
	}
	for i, suite := range p.Suites {
		item := fmt.Sprintf("%s[%d]", path, i)
		if slices.Contains(p.Suites[:i], suite) {
			d.fail(item, "stands in this list already", "remove one of the two")
			continue
		}
		d.oneOf(item, suite, suites()...)
	}
}

func (p *Policy) checkCodes(d *document, path string) {
	if !d.has(path) {
		return
	}
	for i, code := range p.Failover.Codes {
		item := fmt.Sprintf("%s[%d]", path, i)
		d.between(item, code, firstFailure, lastFailure)
		if code == declined {
			d.fail(item, "the callee declined, that is never tried again", "remove it")
		}
	}
}

// usages wants a list of distinct names.
func (d *document) usages(path string, list []string) {
	for i, name := range list {
		d.name(fmt.Sprintf("%s[%d]", path, i), name)
		if slices.Contains(list[:i], name) {
			d.fail(fmt.Sprintf("%s[%d]", path, i), "stands in this list already", "remove one of the two")
		}
	}
}

// numberRules checks rules that rewrite a number.
func (d *document) numberRules(path string, rules []NumberRule) {
	names := make(map[string]int) // -> index
	for i, r := range rules {
		item := fmt.Sprintf("%s[%d]", path, i)
		if d.has(item + ".name") {
			d.name(item+".name", r.Name)
			if before, twice := names[r.Name]; twice {
				d.fail(item+".name", fmt.Sprintf("the rule of line %d has this name", d.line(fmt.Sprintf("%s[%d]", path, before))),
					"give each its own, or none")
			} else {
				names[r.Name] = i
			}
		}
		d.missing(item+".match", `write a regular expression for the whole number, as '^0(\d+)$'`)
		if !d.has(item + ".to") {
			d.missing(item+".to", `write what takes the number's place, as '+43$1'`)
		} else if r.Match != nil {
			if what, do := template(r.Match, r.To); what != "" {
				d.fail(item+".to", what, do)
			}
		}
	}
}

var (
	numberText = regexp.MustCompile(`^\+?[0-9A-Za-z*#._-]*$`)                  // of a number, as rules may write it
	reference  = regexp.MustCompile(`\$(\{([0-9A-Za-z_]*)\}|([0-9A-Za-z_]*))`) // as regexp.Expand reads it, $$ aside
)

// template checks what a rule writes in the number's place: every reference leads to a group of the rule's match, and the
// text around them can stand in a number. Without success it says what is wrong and what to do.
func template(match *regexp.Regexp, to string) (what, do string) {
	groups := match.NumSubexp()
	if strings.TrimSpace(to) == "" {
		return "is empty, and so would be the number", "write what takes its place; '$0' is the number itself"
	}
	for _, ref := range reference.FindAllStringSubmatch(to, -1) {
		name, bare := ref[2], ref[3]
		if bare != "" {
			name = bare
		}
		n, err := strconv.Atoi(name)
		switch {
		case name == "":
			return "has a $ that names no group", "write $1 for the first group of match"
		case err != nil && slices.Contains(match.SubexpNames(), name), err == nil && n <= groups && strconv.Itoa(n) == name:
		case bare != "" && bare[0] >= '0' && int(bare[0]-'0') <= groups:
			return fmt.Sprintf("$%s is no group of match, which has %d", bare, groups),
				fmt.Sprintf("if $%s and then %s is meant, write ${%s}%s", bare[:1], bare[1:], bare[:1], bare[1:])
		default:
			return fmt.Sprintf("%s is no group of match, which has %d", ref[0], groups),
				"put parentheses around what should be kept, $1 is the first of them and $0 the whole number"
		}
	}
	if i := strings.LastIndexByte(to, '+'); i > 0 {
		return "has a + that is not its first character", "begin the number with it"
	}
	plain := reference.ReplaceAllString(to, "")
	switch {
	case len(plain) > maxNumber:
		return fmt.Sprintf("is longer than %d characters", maxNumber), "no number is; shorten it"
	case !numberText.MatchString(plain):
		return "is more than a number", "use digits, letters, * # . _ -, a + at the beginning, and $1 for groups"
	}
	return "", ""
}
