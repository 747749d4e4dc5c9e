package nic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// NAPI is a unit of a device's receive work, as a rule one queue's, and how long it waits for somebody who polls. Beyond Defer
// empty polls in a row, or Flush after the last poll, the device does its work itself again. With either of them 0 it never waits.
type NAPI struct {
	ID    uint32
	Defer uint32        // napi_defer_hard_irqs of the kernel's networking/napi.rst
	Flush time.Duration // gro_flush_timeout, of whole nanoseconds
}

// ErrNoNAPI says that the kernel knows no way to ask about NAPIs or to set one: it is older than Linux 6.13.
var ErrNoNAPI = errors.New("the kernel has no netdev family with napi-set: it needs Linux 6.13")

// Names and numbers of the generic netlink family netdev (Documentation/netlink/specs/netdev.yaml of the kernel).
const (
	netdevFamily  = "netdev"
	netdevVersion = 1
	napiGet       = 11
	napiSet       = 14

	napiIndex = 1 // u32: of the device
	napiID    = 2 // u32
	napiDefer = 5 // s32
	napiFlush = 6 // unsigned integer of 4 or 8 bytes
)

// NAPIs returns those of the device with that index, in the network namespace of the calling thread. A device that is down, or
// whose driver works without, has none.
func NAPIs(index int) ([]NAPI, error) {
	answers, err := whole(func() ([][]byte, error) {
		return askNetdev(napiGet, unix.NLM_F_DUMP, nl.NewRtAttr(napiIndex, nl.Uint32Attr(uint32(index))))
	})
	if err != nil {
		return nil, fmt.Errorf("list NAPIs: %w", err)
	}
	var all []NAPI
	for _, b := range answers {
		n, ok, err := readNAPI(b)
		if err != nil {
			return nil, fmt.Errorf("list NAPIs: %w", err)
		}
		if ok {
			all = append(all, n)
		}
	}
	return all, nil
}

// readNAPI reads an answer. One without waiting times comes from a kernel that could not set them.
func readNAPI(b []byte) (n NAPI, ok bool, err error) {
	if len(b) < nl.SizeofGenlmsg {
		return n, false, errors.New("an answer of the kernel is cut short")
	}
	b = b[nl.SizeofGenlmsg:]
	if rest := len(b) % unix.RTA_ALIGNTO; rest != 0 { // the library steps over the last attribute's padding without looking whether it is there
		b = append(slices.Clip(b), make([]byte, unix.RTA_ALIGNTO-rest)...)
	}
	attributes, err := nl.ParseRouteAttr(b)
	if err != nil {
		return n, false, err
	}
	for _, a := range attributes {
		switch value := unsigned(a.Value); a.Attr.Type &^ unix.NLA_F_NESTED {
		case napiID:
			n.ID = uint32(value)
		case napiDefer:
			n.Defer, ok = uint32(value), true
		case napiFlush:
			n.Flush = time.Duration(value)
		}
	}
	if !ok {
		return n, false, ErrNoNAPI
	}
	return n, n.ID != 0, nil
}

// unsigned reads an integer of 4 or 8 bytes; of another length it is 0.
func unsigned(b []byte) uint64 {
	switch len(b) {
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	case 8:
		return binary.NativeEndian.Uint64(b)
	}
	return 0
}

// Set makes the NAPI wait as n says. It needs CAP_NET_ADMIN.
func (n NAPI) Set() error {
	_, err := askNetdev(napiSet, unix.NLM_F_ACK,
		nl.NewRtAttr(napiID, nl.Uint32Attr(n.ID)),
		nl.NewRtAttr(napiDefer, nl.Uint32Attr(n.Defer)),
		nl.NewRtAttr(napiFlush, binary.NativeEndian.AppendUint64(nil, uint64(n.Flush))))
	if err != nil {
		return fmt.Errorf("set NAPI %d: %w", n.ID, err)
	}
	return nil
}

func askNetdev(command uint8, flags int, attributes ...*nl.RtAttr) ([][]byte, error) {
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if errors.Is(err, unix.ENOENT) {
		return nil, ErrNoNAPI
	}
	if err != nil {
		return nil, fmt.Errorf("family %s: %w", netdevFamily, err)
	}
	request := nl.NewNetlinkRequest(int(family.ID), flags)
	request.AddRawData([]byte{command, netdevVersion, 0, 0}) // struct genlmsghdr; the library's leaves its last two bytes to chance
	for _, a := range attributes {
		request.AddRawData(a.Serialize())
	}
	answers, err := request.Execute(unix.NETLINK_GENERIC, 0)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, ErrNoNAPI
	}
	return answers, err
}
