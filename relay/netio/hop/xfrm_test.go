package hop

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// policyInfo builds struct xfrm_userpolicy_info for any source.
func policyInfo(family byte, dst string, bits byte, index uint32, direction, action byte) []byte {
	b := make([]byte, policyInfoSize)
	copy(b[selectorDst:], netip.MustParseAddr(dst).AsSlice())
	binary.NativeEndian.PutUint16(b[selectorFamily:], uint16(family))
	b[selectorDstBits] = bits
	binary.NativeEndian.PutUint32(b[policyInfoIndex:], index)
	b[policyInfoDir], b[policyInfoAction] = direction, action
	return b
}

func TestReadPolicyEvent(t *testing.T) {
	const block = 1
	out := func(action byte) []byte {
		return policyInfo(unix.AF_INET, "198.19.0.0", 16, 9, xfrmDirectionOut, action)
	}
	selector := policy{src: netip.MustParsePrefix("0.0.0.0/0"), dst: netip.MustParsePrefix("198.19.0.0/16")}
	plain := selector
	plain.plain = true
	sub := selector
	sub.sub = true
	byIndex := make([]byte, policyIDSize)
	binary.NativeEndian.PutUint32(byIndex[policyIDIndex:], 9)
	hard := append(out(xfrmAllow), 1, 0, 0, 0, 0, 0, 0, 0)
	soft := append(out(xfrmAllow), 0, 0, 0, 0, 0, 0, 0, 0)
	for _, c := range []struct {
		name string
		kind uint16
		b    []byte
		want policyEvent
		ok   bool
	}{
		{"IPsec", xfrmNewPolicy, message(out(xfrmAllow), xfrmAttrTemplates, make([]byte, 64)), policyEvent{kind: policySet, index: 9, policy: selector}, true},
		{"update to clear text", xfrmUpdPolicy, out(xfrmAllow), policyEvent{kind: policySet, index: 9, policy: plain}, true},
		{"block", xfrmNewPolicy, out(block), policyEvent{kind: policySet, index: 9, policy: selector}, true},
		{"of type sub", xfrmNewPolicy, message(out(block), xfrmAttrPolicyType, []byte{1, 0, 0, 0}), policyEvent{kind: policySet, index: 9, policy: sub}, true},
		{"unreadable", xfrmNewPolicy, make([]byte, policyInfoSize-1), policyEvent{}, true},
		{"deleted by index", xfrmDelPolicy, byIndex, policyEvent{kind: policyGone, index: 9}, true},
		{"deleted by selector", xfrmDelPolicy, message(make([]byte, policyIDSize), xfrmAttrPolicy, out(xfrmAllow)), policyEvent{kind: policyGone, index: 9}, true},
		{"deleted, but which", xfrmDelPolicy, make([]byte, policyIDSize), policyEvent{}, true},
		{"deleted, unreadable", xfrmDelPolicy, nil, policyEvent{}, true},
		{"expired", xfrmPolExpire, hard, policyEvent{kind: policyGone, index: 9}, true},
		{"expired, unreadable", xfrmPolExpire, hard[:polExpireSize-1], policyEvent{}, true},
		{"flushed", xfrmFlushPolicy, nil, policyEvent{kind: policyFlush}, true},
		{"flushed of type sub", xfrmFlushPolicy, message(nil, xfrmAttrPolicyType, []byte{1, 0, 0, 0}), policyEvent{kind: policyFlush, policy: policy{sub: true}}, true},
		{"default to block", xfrmGetDefault, []byte{2, 2, 1}, policyEvent{kind: policyDefault, block: true}, true},
		{"default to accept", xfrmGetDefault, []byte{1, 1, 2}, policyEvent{kind: policyDefault}, true},
		{"default, unreadable", xfrmGetDefault, []byte{1, 1}, policyEvent{}, true},
	} {
		if e, ok := readPolicyEvent(c.kind, c.b); e != c.want || ok != c.ok {
			t.Errorf("%s: %+v %v; want %+v %v", c.name, e, ok, c.want, c.ok)
		}
		if e, ok := readPolicyMessage(c.kind, c.b); ok != c.ok || (e.kind == policiesLost) != (c.want.kind == 0) {
			t.Errorf("%s: %+v %v", c.name, e, ok)
		}
	}
	for name, c := range map[string]struct {
		kind uint16
		b    []byte
	}{
		"direction in": {xfrmNewPolicy, policyInfo(unix.AF_INET, "198.19.0.0", 16, 9, 0, xfrmAllow)},
		"soft expiry":  {xfrmPolExpire, soft},
	} {
		if e, ok := readPolicyEvent(c.kind, c.b); ok {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestReadPrefixIsEverythingWhenInDoubt(t *testing.T) {
	b := netip.MustParseAddr("2001:db8::1").As16()
	for _, c := range []struct {
		family, bits byte
		want         string
	}{
		{unix.AF_INET6, 32, "2001:db8::/32"},
		{unix.AF_INET6, 0, "::/0"},
		{unix.AF_INET, 8, "32.0.0.0/8"},
		{unix.AF_INET, 33, "invalid Prefix"},
		{unix.AF_UNSPEC, 0, "invalid Prefix"},
	} {
		if p := readPrefix(c.family, b[:], c.bits); p.String() != c.want {
			t.Errorf("family %d, %d bits: %s; want %s", c.family, c.bits, p, c.want)
		}
	}
	if !contains(readPrefix(unix.AF_UNSPEC, b[:], 0), us) {
		t.Error("a selector of no family does not match")
	}
}
