package hop

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Message types, attributes and groups of linux/xfrm.h, which x/sys does not have.
const (
	xfrmNewPolicy   = 0x13
	xfrmDelPolicy   = 0x14
	xfrmGetPolicy   = 0x15
	xfrmUpdPolicy   = 0x19
	xfrmPolExpire   = 0x1b
	xfrmFlushPolicy = 0x1d
	xfrmGetDefault  = 0x28 // Linux 5.14; also the type of the event

	xfrmAttrTemplates  = 5  // XFRMA_TMPL
	xfrmAttrPolicy     = 7  // XFRMA_POLICY: struct xfrm_userpolicy_info
	xfrmAttrPolicyType = 16 // XFRMA_POLICY_TYPE: struct xfrm_userpolicy_type

	xfrmGroupExpire = 2
	xfrmGroupPolicy = 4

	xfrmDirectionOut = 1
	xfrmAllow        = 0
	xfrmTypeSub      = 1
	xfrmDefaultBlock = 1
)

// Sizes and offsets in bytes of the structures in linux/xfrm.h.
const (
	policyInfoSize   = 168 // struct xfrm_userpolicy_info: selector, lifetimes, then
	policyInfoIndex  = 156
	policyInfoDir    = 160
	policyInfoAction = 161

	policyIDSize  = 64 // struct xfrm_userpolicy_id: selector, then
	policyIDIndex = 56

	polExpireHard = policyInfoSize // struct xfrm_user_polexpire: info, hard
	polExpireSize = 176

	defaultsSize = 3 // struct xfrm_userpolicy_default: in, forward, out
	defaultsOut  = 2

	selectorDst     = 0 // struct xfrm_selector: two addresses of 16 bytes, ports and masks of 8, then
	selectorSrc     = 16
	selectorFamily  = 40
	selectorDstBits = 42
	selectorSrcBits = 43
)

// policyEvent is one change of the set of policies.
type policyEvent struct {
	kind   policyEventKind
	index  uint32
	policy policy // policySet: the policy; policyFlush: its type
	block  bool   // policyDefault
}

type policyEventKind uint8

const (
	policySet policyEventKind = iota + 1
	policyGone
	policyFlush
	policyDefault
)

// readPolicyEvent reads a message of the policy or the expire group; false for what does not touch outgoing policies.
// A message that does touch them and cannot be read has kind 0: the set must be listed again.
func readPolicyEvent(kind uint16, b []byte) (policyEvent, bool) {
	switch kind {
	case xfrmNewPolicy, xfrmUpdPolicy:
		index, p, direction, ok := readPolicy(b)
		if !ok {
			return policyEvent{}, true
		}
		return policyEvent{kind: policySet, index: index, policy: p}, direction == xfrmDirectionOut
	case xfrmDelPolicy:
		return readDeletion(b), true
	case xfrmPolExpire:
		// The kernel deletes a policy whose time is up, and says only this.
		if len(b) < polExpireSize {
			return policyEvent{}, true
		}
		return policyEvent{kind: policyGone, index: binary.NativeEndian.Uint32(b[policyInfoIndex:])}, b[polExpireHard] != 0
	case xfrmFlushPolicy:
		return policyEvent{kind: policyFlush, policy: policy{sub: isSub(b)}}, true
	case xfrmGetDefault:
		block, ok := readDefault(b)
		if !ok {
			return policyEvent{}, true
		}
		return policyEvent{kind: policyDefault, block: block}, true
	}
	return policyEvent{}, false
}

// readPolicy reads struct xfrm_userpolicy_info and the attributes behind it.
func readPolicy(b []byte) (index uint32, p policy, direction byte, ok bool) {
	if len(b) < policyInfoSize {
		return 0, policy{}, 0, false
	}
	hasTemplates := false
	for kind := range attributes(b[policyInfoSize:]) {
		hasTemplates = hasTemplates || kind == xfrmAttrTemplates
	}
	family := byte(binary.NativeEndian.Uint16(b[selectorFamily:]))
	p = policy{
		src:   readPrefix(family, b[selectorSrc:], b[selectorSrcBits]),
		dst:   readPrefix(family, b[selectorDst:], b[selectorDstBits]),
		plain: b[policyInfoAction] == xfrmAllow && !hasTemplates,
		sub:   isSub(b[policyInfoSize:]),
	}
	return binary.NativeEndian.Uint32(b[policyInfoIndex:]), p, b[policyInfoDir], true
}

// readDeletion reads struct xfrm_userpolicy_id: it has the index or the selector, depending on what the policy was
// deleted by. The attribute behind it is the policy itself and always has the index.
func readDeletion(b []byte) policyEvent {
	if len(b) < policyIDSize {
		return policyEvent{}
	}
	index := binary.NativeEndian.Uint32(b[policyIDIndex:])
	for kind, value := range attributes(b[policyIDSize:]) {
		if kind == xfrmAttrPolicy && len(value) >= policyInfoSize {
			index = binary.NativeEndian.Uint32(value[policyInfoIndex:])
		}
	}
	if index == 0 {
		return policyEvent{}
	}
	return policyEvent{kind: policyGone, index: index}
}

// readDefault tells whether struct xfrm_userpolicy_default blocks what no policy allows to leave.
func readDefault(b []byte) (block, ok bool) {
	if len(b) < defaultsSize {
		return false, false
	}
	return b[defaultsOut] == xfrmDefaultBlock, true
}

// isSub tells whether the attributes name the policy type "sub".
func isSub(b []byte) bool {
	for kind, value := range attributes(b) {
		if kind == xfrmAttrPolicyType && len(value) > 0 {
			return value[0] == xfrmTypeSub
		}
	}
	return false
}

// readPrefix reads a selector's prefix; 0 bits is every address of the family. An unknown family, or more bits than it
// has, is no prefix: every address of both. An IPv4-mapped prefix stays IPv6, as the kernel compares it.
func readPrefix(family byte, b []byte, bits byte) netip.Prefix {
	var a netip.Addr
	switch family {
	case unix.AF_INET:
		a = netip.AddrFrom4([4]byte(b))
	case unix.AF_INET6:
		a = netip.AddrFrom16([16]byte(b))
	}
	p, err := a.Prefix(int(bits))
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
