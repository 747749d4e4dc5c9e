package route

import "tandem/internal/config"

// Translate applies a trunk's response rules to a failure that its peer answered: code is 400..699, cause the Q.850 one of
// its Reason header (RFC 3326), 0 when none is told. Of the rules that fit the lowest priority holds, of equals the first.
// It returns the new code and the rule's place in the list; false: no rule fits, the code stays.
func Translate(rules []config.ResponseRule, code, cause int) (to int, rule int, ok bool) {
	for i, r := range rules { // a Cause below 1 is any: config.AnyCause, or a rule that no file made
		fits := (r.Code == 0 || r.Code == code) && (r.Cause <= 0 || r.Cause == cause)
		if fits && (!ok || r.Priority < rules[rule].Priority) {
			rule, ok = i, true
		}
	}
	if !ok {
		return code, -1, false
	}
	return rules[rule].To, rule, true
}
