package nic

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of linux/ethtool.h that x/sys has not.
const (
	getChannels = 0x3c // ETHTOOL_GCHANNELS
	getFlowHash = 0x29 // ETHTOOL_GRXFH
	getGRO      = 0x2b // ETHTOOL_GGRO
	getFlags    = 0x25 // ETHTOOL_GFLAGS

	flagLRO = 1 << 15 // ETH_FLAG_LRO

	udp4Flow = 2 // UDP_V4_FLOW
	udp6Flow = 6 // UDP_V6_FLOW
)

// What a device hashes to choose a packet's queue (RXH_ of linux/ethtool.h).
const (
	hashSrcPort = 1 << 6 // RXH_L4_B_0_1
	hashDstPort = 1 << 7 // RXH_L4_B_2_3
	hashPorts   = hashSrcPort | hashDstPort
)

// channels is struct ethtool_channels.
type channels struct {
	command                             uint32
	maxRX, maxTX, maxOther, maxCombined uint32
	rx, tx, other, combined             uint32
}

// flowHash is struct ethtool_rxnfc as far as ETHTOOL_GRXFH uses it.
type flowHash struct {
	command, flow uint32
	fields        uint64
	rest          [176]byte // the kernel copies the whole struct
}

// value is struct ethtool_value.
type value struct{ command, data uint32 }

// request is struct ifreq with a pointer to data.
type request struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte // the union is larger than the pointer
}

// ask does one ethtool request on a device of the calling thread's network namespace.
func ask(device string, data unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	r := request{data: data}
	if copy(r.name[:len(r.name)-1], device) < len(device) {
		return fmt.Errorf("device %q: the name is too long", device)
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	if errno != 0 {
		return errno
	}
	return nil
}

func channelsOf(device string) (channels, error) {
	c := channels{command: getChannels}
	err := ask(device, unsafe.Pointer(&c))
	return c, err
}

func driverOf(device string) (string, error) {
	i := unix.EthtoolDrvinfo{Cmd: unix.ETHTOOL_GDRVINFO}
	err := ask(device, unsafe.Pointer(&i))
	return unix.ByteSliceToString(i.Driver[:]), err
}

// hashesPorts tells whether the device looks at the ports of UDP packets when it chooses their queue.
func hashesPorts(device string, flow uint32) (bool, error) {
	h := flowHash{command: getFlowHash, flow: flow}
	err := ask(device, unsafe.Pointer(&h))
	return h.fields&hashPorts == hashPorts, err
}

// gluesPackets tells whether the device, or the kernel behind it, makes one packet of several before anybody sees them.
func gluesPackets(device string) (gro, lro bool) {
	g, f := value{command: getGRO}, value{command: getFlags}
	gro = ask(device, unsafe.Pointer(&g)) == nil && g.data != 0
	lro = ask(device, unsafe.Pointer(&f)) == nil && f.data&flagLRO != 0
	return gro, lro
}
