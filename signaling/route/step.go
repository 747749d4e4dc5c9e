package route

import (
	"fmt"
	"regexp"
	"strings"

	"tandem/internal/config"
)

// Kind is what a step looked at.
type Kind string

// The kinds.
const (
	KindDialPlan Kind = "dial_plan"      // a rule of the entering trunk's dial plan
	KindRoute    Kind = "route"          // a route
	KindGroup    Kind = "group"          // a group of a route that fits: its trunks
	KindCalled   Kind = "called_number"  // a rule on the called number of a leaving call, or its remove_plus
	KindCalling  Kind = "calling_number" // likewise on the caller's
)

// Verdict is what came of it.
type Verdict string

// The verdicts.
const (
	Fits        Verdict = "fits"
	OtherCalled Verdict = "other_number" // the number does not match
	OtherCaller Verdict = "other_caller" // the caller's number does not match
	TooLong     Verdict = "too_long"     // the rule would make a number of more than maxNumber bytes
)

// Step is one rule that was looked at. It holds values and no sentences: String makes one when somebody reads it.
type Step struct {
	Kind          Kind           `json:"kind"`
	Name          string         `json:"name"`           // of the rule, route or group
	Line          int            `json:"line,omitempty"` // in the config; 0: not in the file
	By            string         `json:"by,omitempty"`   // why it was looked at: its dial plan, "emergency", "from", "usage local", "site vienna"
	Verdict       Verdict        `json:"verdict"`
	Pattern       string         `json:"pattern,omitempty"`
	Number        string         `json:"number,omitempty"` // that was held against Pattern
	CallerPattern string         `json:"caller_pattern,omitempty"`
	Caller        string         `json:"caller,omitempty"`
	Result        string         `json:"result,omitempty"` // of a number rule that fits
	Trunks        []string       `json:"trunks,omitempty"` // of a route that fits, or a group
	Balance       string         `json:"balance,omitempty"`
	Weights       map[string]int `json:"weights,omitempty"`
	Continue      bool           `json:"continue,omitempty"`
	Reject        int            `json:"reject,omitempty"`
}

// Title names the rule: "route city", "rule national of dial plan vienna".
func (s Step) Title() string {
	switch {
	case s.Kind == KindDialPlan:
		return fmt.Sprintf("dial plan %s, rule %s", s.By, s.Name)
	case s.Kind == KindRoute || s.Kind == KindGroup:
		return fmt.Sprintf("%s %s", s.Kind, s.Name)
	case s.Name == "remove_plus":
		return "remove_plus"
	case s.Kind == KindCalled:
		return "called number, rule " + s.Name
	}
	return "caller's number, rule " + s.Name
}

// Because says what was found, in words. Strings of the caller are quoted: they come from the network.
func (s Step) Because() string {
	switch s.Verdict {
	case OtherCalled:
		if part, err := regexp.MatchString(s.Pattern, s.Number); err == nil && part && s.Kind != KindRoute {
			return fmt.Sprintf("%q matches %s only in part, and rules rewrite whole numbers", s.Number, s.Pattern)
		}
		return fmt.Sprintf("%q does not match %s", s.Number, s.Pattern)
	case OtherCaller:
		return fmt.Sprintf("caller %q does not match %s", s.Caller, s.CallerPattern)
	case TooLong:
		return fmt.Sprintf("%q would become longer than %d bytes", s.Number, maxNumber)
	}
	switch s.Kind {
	case KindRoute:
		return s.matched() + "; " + s.leads()
	case KindGroup:
		return s.equals()
	}
	return fmt.Sprintf("%q becomes %q", s.Number, s.Result)
}

// matched says by which patterns a route fits.
func (s Step) matched() string {
	var parts []string
	if s.Pattern != "" {
		parts = append(parts, fmt.Sprintf("%q matches %s", s.Number, s.Pattern))
	} else {
		parts = append(parts, "any number")
	}
	if s.CallerPattern != "" {
		parts = append(parts, fmt.Sprintf("caller %q matches %s", s.Caller, s.CallerPattern))
	}
	return strings.Join(parts, " and ")
}

// leads says where a route leads.
func (s Step) leads() string {
	switch {
	case s.Reject != 0:
		return fmt.Sprintf("rejects with %d", s.Reject)
	case s.Balance == config.BalanceShuffle && len(s.Trunks) > 1:
		return "to " + strings.Join(s.Trunks, ", ") + " in any order" + s.after()
	}
	return "to " + strings.Join(s.Trunks, ", then ") + s.after()
}

func (s Step) after() string {
	if s.Continue {
		return "; after these the next route that fits"
	}
	return ""
}

// equals says how the trunks of a group are ordered.
func (s Step) equals() string {
	switch {
	case s.Balance == config.BalanceOrder || len(s.Trunks) == 1:
		return strings.Join(s.Trunks, ", then ")
	case s.Balance == config.BalanceWeight:
		parts := make([]string, len(s.Trunks))
		for i, name := range s.Trunks {
			parts[i] = fmt.Sprintf("%s (weight %d)", name, max(1, s.Weights[name]))
		}
		return strings.Join(parts, ", ") + ": drawn by weight for each call"
	}
	return strings.Join(s.Trunks, ", ") + ": shuffled for each call"
}

// String is the step as one line.
func (s Step) String() string {
	verdict := "yes"
	if s.Verdict != Fits {
		verdict = "no"
	}
	return s.Title() + ": " + verdict + ": " + s.Because()
}
