package route

import "strings"

// apply rewrites a number by the first rule that fits all of it. A number that no rule fits stays as it is. The rules looked
// at are appended to steps, unless that is nil.
func (n numbers) apply(number string, steps *[]Step) string {
	if len(number) > maxNumber {
		return number
	}
	for i := range n.rules {
		r := &n.rules[i]
		result, verdict := r.rewrite(number)
		if steps != nil {
			s := r.step
			s.Verdict, s.Number, s.Result = verdict, number, result
			*steps = append(*steps, s)
		}
		if verdict == Fits {
			return result
		}
	}
	return number
}

// rewrite is one rule on one number.
func (r *numberRule) rewrite(number string) (string, Verdict) {
	at := r.whole.FindStringSubmatchIndex(number)
	if at == nil || at[0] != 0 || at[1] != len(number) {
		return "", OtherCalled
	}
	made := r.whole.ExpandString(nil, r.to, number, at)
	if len(made) > maxNumber {
		return "", TooLong
	}
	return string(made), Fits
}

// leave makes the numbers of a call as the peer of this trunk wants them. Steps as in apply.
func (s *side) leave(called, caller string, steps *[]Step) (toPeer, fromUs string) {
	called = s.plus.cut(KindCalled, s.called.apply(called, steps), steps)
	caller = s.plus.cut(KindCalling, s.calling.apply(caller, steps), steps)
	return called, caller
}

// cut removes the leading plus of a number if the trunk wants none.
func (p plus) cut(kind Kind, number string, steps *[]Step) string {
	bare, had := strings.CutPrefix(number, "+")
	if !p.remove || !had {
		return number
	}
	if steps != nil {
		*steps = append(*steps, Step{Kind: kind, Name: "remove_plus", Line: p.line, By: p.scope, Verdict: Fits, Number: number, Result: bare})
	}
	return bare
}
