package nic

import (
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// onVeth makes a device with one NAPI in a namespace of the test's own, and returns its index.
func onVeth(t *testing.T) int {
	t.Helper()
	enterNamespace(t)
	must(t, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "td-n", TxQLen: -1, NumRxQueues: 1, NumTxQueues: 1}, PeerName: "td-n-far",
	}))
	link, err := netlink.LinkByName("td-n")
	must(t, err)
	must(t, netlink.LinkSetUp(link))
	on := value{command: setGRO, data: 1} // without a program or GRO a veth pair does no receive work of its own
	must(t, ask("td-n", unsafe.Pointer(&on)))
	return link.Attrs().Index
}

const setGRO = 0x2c // ETHTOOL_SGRO of linux/ethtool.h

func TestANAPIWaitsAsItWasSet(t *testing.T) {
	index := onVeth(t)
	found, err := NAPIs(index)
	if errors.Is(err, ErrNoNAPI) {
		leaveOut(t, err.Error())
	}
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v; want one NAPI of a device with one queue", found, err)
	}
	before := found[0]
	if before.Defer != 0 || before.Flush != 0 {
		t.Errorf("a fresh device waits: %+v", before)
	}
	for _, want := range []NAPI{
		{ID: before.ID, Defer: 1, Flush: 750 * time.Microsecond},
		{ID: before.ID, Defer: 2, Flush: 5 * time.Second}, // more nanoseconds than 32 bits hold
		before,
	} {
		if err := want.Set(); err != nil {
			t.Fatal(err)
		}
		if got, err := NAPIs(index); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("set %+v, is %+v, %v", want, got, err)
		}
	}
}

func TestADeviceWithoutNAPIHasNone(t *testing.T) {
	const loopback = 1
	found, err := NAPIs(loopback)
	if errors.Is(err, ErrNoNAPI) {
		leaveOut(t, err.Error())
	}
	if err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestSettingANAPIThatIsNotThereSaysWhichItWas(t *testing.T) {
	onVeth(t) // for the privilege
	err := NAPI{ID: 1 << 30}.Set()
	if err == nil {
		t.Fatal("no error")
	}
	if errors.Is(err, ErrNoNAPI) {
		leaveOut(t, err.Error())
	}
	if want := "set NAPI 1073741824: "; len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("%v", err)
	}
}

func FuzzAnswersAboutNAPIsAreReadOrRefused(f *testing.F) {
	f.Add([]byte{11, 1, 0, 0})
	f.Add(append([]byte{11, 1, 0, 0}, nl.NewRtAttr(napiID, nl.Uint32Attr(300)).Serialize()...))
	f.Add([]byte{11, 1, 0, 0, 8, 0, 5, 0, 1, 0, 0, 0, 8, 0, 2, 0, 44, 1, 0, 0, 12, 0, 6, 0, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{})
	f.Add([]byte{11, 1, 0, 0, 11, 0, 7, 0, 1, 2, 3, 4, 5, 6, 7}) // an attribute without its padding at the end
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok, err := readNAPI(b)
		if ok && (err != nil || n.ID == 0) {
			t.Errorf("%+v, %v", n, err)
		}
	})
}
