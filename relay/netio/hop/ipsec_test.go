package hop

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// policy is an outgoing IPsec policy for all that goes to a prefix.
func (w *world) policy(dst string) *netlink.XfrmPolicy {
	w.t.Helper()
	to, err := netlink.ParseIPNet(dst)
	w.check("parse prefix", err)
	_, from, err := net.ParseCIDR("198.18.0.0/24")
	w.check("parse prefix", err)
	return &netlink.XfrmPolicy{
		Src: from, Dst: to, Dir: netlink.XFRM_DIR_OUT,
		Tmpls: []netlink.XfrmPolicyTmpl{{
			Src: net.ParseIP("198.18.0.1"), Dst: net.ParseIP("198.18.0.2"), Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL,
		}},
	}
}

func TestPolicyThatWasThereBeforeIsSeen(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	w.via("198.19.0.0/16", "198.18.0.2")
	w.check("add policy", w.near.XfrmPolicyAdd(w.policy("198.19.1.0/24")))
	table := w.open()
	w.becomes(table, "198.19.1.1", "is left to IPsec", in(Policy))
	w.becomes(table, "198.19.2.1", "is outside of the policy", in(Ready))
}

func TestPoliciesComeChangeAndGo(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	w.via("198.19.0.0/16", "198.18.0.2")
	table := w.open()
	const dst = "198.19.1.1"
	w.becomes(table, dst, "is ready", in(Ready))

	p := w.policy("198.19.1.0/24")
	w.check("add policy", w.near.XfrmPolicyAdd(p))
	w.becomes(table, dst, "is left to IPsec", in(Policy))

	plain := *p
	plain.Tmpls = nil
	w.check("update policy", w.near.XfrmPolicyUpdate(&plain))
	w.becomes(table, dst, "is allowed in clear text", in(Ready))

	block := plain
	block.Action = netlink.XFRM_POLICY_BLOCK
	w.check("update policy", w.near.XfrmPolicyUpdate(&block))
	w.becomes(table, dst, "is blocked", in(Policy))

	w.check("delete policy", w.near.XfrmPolicyDel(&block))
	w.becomes(table, dst, "is ready after the deletion", in(Ready))

	w.check("add policy", w.near.XfrmPolicyAdd(w.policy("198.19.0.0/16")))
	w.becomes(table, dst, "is left to the wider policy", in(Policy))
	w.check("flush", w.near.XfrmPolicyFlush())
	w.becomes(table, dst, "is ready after the flush", in(Ready))

	in4 := w.policy("198.19.0.0/16")
	in4.Dir = netlink.XFRM_DIR_IN
	w.check("add policy", w.near.XfrmPolicyAdd(in4))
	w.check("add policy", w.near.XfrmPolicyAdd(w.policy("198.19.2.0/24"))) // comes later than the one before
	w.becomes(table, "198.19.2.1", "is left to IPsec", in(Policy))
	w.becomes(table, dst, "is not concerned by an incoming policy", in(Ready))
}

func TestDefaultToBlockIsAPolicy(t *testing.T) {
	const xfrmSetDefault, blockOut = 0x27, 1
	w := newWorld(t)
	w.gateways()
	table := w.open()
	w.becomes(table, "198.18.0.2", "is ready", in(Ready))
	set := func(out byte) {
		s, err := openQuestions(unix.NETLINK_XFRM)
		w.check("open xfrm", err)
		defer s.Close()
		_, err = ask(s, unix.NETLINK_XFRM, xfrmSetDefault, unix.NLM_F_ACK, []byte{0, 0, out})
		if err != nil && err != errNothing {
			leaveOut(t, "the kernel has no default of IPsec policies (Linux 5.14): "+err.Error())
		}
	}
	set(blockOut)
	w.becomes(table, "198.18.0.2", "is blocked by default", in(Policy))
	other := w.open()
	w.becomes(other, "198.18.0.2", "is blocked for who opens later", in(Policy))
	set(2)
	w.becomes(table, "198.18.0.2", "is ready again", in(Ready))
}

func TestLostPolicyEventsWithoutCapabilityMakeEverythingAPolicy(t *testing.T) {
	w := newWorld(t)
	w.gateways()
	table := w.startPowerless()
	w.check("shrink the buffer", table.kernel.policyEvents.SetReceiveBufferSize(1, true))
	w.becomes(table, "198.18.0.2", "is ready", in(Ready))
	w.flood(func(int) {
		p := w.policy("203.0.113.0/24")
		w.check("add policy", w.near.XfrmPolicyAdd(p))
		w.check("delete policy", w.near.XfrmPolicyDel(p))
	})
	w.becomes(table, "198.18.0.2", "is left to the kernel", in(Policy))
	w.becomes(table, "198.18.0.3", "is left to the kernel, unheard of before", in(Policy))
}
