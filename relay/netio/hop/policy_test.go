package hop

import (
	"net/netip"
	"testing"
)

func TestPolicyMatchesWhateverItMightBeMeantFor(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		name string
		p    policy
		want bool
	}{
		{"everything", policy{}, true},
		{"all of IPv4", policy{src: prefix("0.0.0.0/0"), dst: prefix("0.0.0.0/0")}, true},
		{"all of IPv6", policy{src: prefix("::/0"), dst: prefix("::/0")}, false},
		{"the destination", policy{dst: prefix("198.19.0.0/16")}, true},
		{"another destination", policy{dst: prefix("198.20.0.0/16")}, false},
		{"another source", policy{src: prefix("198.20.0.0/16"), dst: prefix("198.19.0.0/16")}, false},
		{"allowed in clear text", policy{dst: prefix("198.19.0.0/16"), plain: true}, false},
	} {
		set := policies{set: map[uint32]policy{1: c.p}}
		if got := set.match(us, peer); got != c.want {
			t.Errorf("%s: match = %v", c.name, got)
		}
	}
	if empty := (policies{}); empty.match(us, peer) {
		t.Error("no policy matches")
	}
}

func TestPolicyEventsKeepTheSet(t *testing.T) {
	var p policies
	set := func(index uint32, one policy) { p.apply(&policyEvent{kind: policySet, index: index, policy: one}) }
	set(1, policy{})
	set(1, policy{plain: true}) // an update takes the place of what it updates
	if p.match(us, peer) {
		t.Error("an update to plain still matches")
	}
	set(2, policy{})
	set(3, policy{sub: true})
	p.apply(&policyEvent{kind: policyFlush})
	if len(p.set) != 1 || !p.set[3].sub {
		t.Errorf("a flush of the main policies left %v", p.set)
	}
	p.apply(&policyEvent{kind: policyGone, index: 3})
	p.apply(&policyEvent{kind: policyGone, index: 4})
	if p.match(us, peer) {
		t.Error("an empty set matches")
	}
	p.apply(&policyEvent{kind: policyDefault, block: true})
	if !p.match(us, peer) {
		t.Error("a blocking default does not match")
	}
	p.apply(&policyEvent{kind: policyDefault})
	if p.match(us, peer) {
		t.Error("an allowing default matches")
	}
}
