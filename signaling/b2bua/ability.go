package b2bua

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"

	"tandem/internal/config"
)

// Option tags of ours (RFC 3261 section 27.1).
const (
	optionRel      = "100rel"   // RFC 3262
	optionTimer    = "timer"    // RFC 4028
	optionReplaces = "replaces" // RFC 3891
)

// eventRefer is the one event package that we know (RFC 3515 section 2.4.4).
const eventRefer = "refer"

// methods are those that a B2BUA takes, in the order of Allow.
var methods = []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY", "SUBSCRIBE"}

// allow is methods as Allow has it.
const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, SUBSCRIBE"

// Methods are what the stack must let through (guard.Options.Methods): any other has no use here, and is refused there with
// the same Allow.
func Methods() []string { return slices.Clone(methods) }

// Extensions are the option tags that a peer may require (guard.Options.Supported). Whether a trunk is granted one is decided
// call by call.
func Extensions() []string { return []string{optionRel, optionTimer, optionReplaces} }

// ability is what a peer said that it can. What it did not say it cannot, but for methods before its first Allow: nobody
// knows then, and UPDATE is not risked.
type ability struct {
	update bool
	rel    bool
	timer  bool
}

// learn reads Allow and Supported of a message that creates or renews a dialog.
func (l *leg) learn(m sip.Message) {
	if list := tokens(m, "Allow"); len(list) > 0 {
		l.can.update = slices.Contains(list, "UPDATE")
	}
	if len(named(m, "Supported")) == 0 {
		return
	}
	list := tokens(m, "Supported")
	l.can.rel, l.can.timer = slices.Contains(list, optionRel), slices.Contains(list, optionTimer)
}

// compact are the short names of headers that the stack leaves as they came (RFC 3261 section 7.3.3, and the RFC of each).
var compact = map[string]string{"Supported": "k", "Session-Expires": "x", "Refer-To": "r", "Referred-By": "b", "Event": "o"}

// named are the values of a header under either of its names.
func named(m sip.Message, name string) []string {
	list := values(m, name)
	if short, ok := compact[name]; ok {
		list = append(list, values(m, short)...)
	}
	return list
}

// tokens lists the comma-separated words of every header of a name, as they are written.
func tokens(m sip.Message, name string) (list []string) {
	for _, v := range named(m, name) {
		for word := range strings.SplitSeq(v, ",") {
			if word = strings.TrimSpace(word); word != "" {
				list = append(list, word)
			}
		}
	}
	return list
}

// requires reports an option tag in Require.
func requires(m sip.Message, tag string) bool { return hasToken(m, "Require", tag) }

func hasToken(m sip.Message, name, tag string) bool {
	return slices.ContainsFunc(tokens(m, name), func(w string) bool { return strings.EqualFold(w, tag) })
}

// prackOff reports a trunk without reliable provisional responses; no word on it means that they are used.
func prackOff(p *config.Trunk) bool { return p.Prack == config.PrackOff }

// supportedHeader is our Supported towards a trunk.
func supportedHeader(p *config.Trunk) sip.Header {
	if prackOff(p) {
		return someSupported
	}
	return allSupported
}
