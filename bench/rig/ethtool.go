package rig

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of ethtool_value, linux/ethtool.h.
const (
	ethtoolSetTSO = 0x0000001f
	ethtoolSetGRO = 0x0000002c
)

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct {
	command, value uint32
}

// ifreq is struct ifreq with a pointer in its union; 40 bytes on 64-bit Linux.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// setOffloads makes a veth device use NAPI for what it receives and for what it sends to its peer: GRO turns on the NAPI of
// the receiving end, and the sending end uses it only while its own segmentation offload is off (veth_xmit and
// veth_skb_is_eligible_for_gro in drivers/net/veth.c). The device must be up, or its peer takes no packets that an XDP
// program redirects to it (veth_set_features). Must run inside the device's namespace.
func setOffloads(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("ethtool socket: %w", err)
	}
	defer unix.Close(fd)
	for _, o := range []struct {
		name  string
		value ethtoolValue
	}{
		{"generic-receive-offload on", ethtoolValue{ethtoolSetGRO, 1}},
		{"tcp-segmentation-offload off", ethtoolValue{ethtoolSetTSO, 0}},
	} {
		request := ifreq{data: unsafe.Pointer(&o.value)}
		copy(request.name[:unix.IFNAMSIZ-1], device)
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); e != 0 {
			return fmt.Errorf("ethtool %s: %s: %w", device, o.name, e)
		}
	}
	return nil
}
