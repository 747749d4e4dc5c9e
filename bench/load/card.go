package load

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tandem/bench/rig"
)

const (
	cardRing = 4096 // packets that wait for the relay: the receive ring of a network card, since veth's has 256
	// wireRoom is how many packets may be in veth's ring of 256 at once. The rest is for what the kernel itself sends, ARP and ND.
	wireRoom = 224
	tapName  = "gate" // of the tap device, in the load's namespace
)

// A card gives packets to the relay's device much as a network card does: in pages, with room before them for an XDP program, no
// buffer of a socket around them. A packet that a socket sent into a veth pair comes in that socket's buffer, which the
// receiving side has to give back (a lock and a ring that the load's CPU has just written to, for AF_XDP) and, before an
// XDP program may see it, to copy into a page of its own: with the engine xdp that was 0.9 us of the 1.7 of its receive thread, and nothing
// that it does with a card. Who receives with sockets has the kernel's buffer made around the page, on its own CPU, as with a card; a
// checksum is verified there too, which most cards do. Packets are written to a tap device, whose program redirects them to the load's end of the pair. veth
// tells nobody that its ring is full, so the card asks how many packets were taken out of it. Its methods belong to one
// goroutine. Pushing makes no allocation.
type card struct {
	fd       int // of the tap
	counters int // /proc/net/dev of the load's namespace
	device   []byte
	link     link.Link

	waiting    [cardRing]uint32 // numbers of packets in the volley
	head, tail uint32           // of waiting: next to push, next to put
	pushed     uint64           // packets that were given to veth, on the scale of taken
	taken      uint64           // packets that the relay's side took out of its ring or that veth dropped, as far as is known
	held       uint32           // of waiting: those before it waited for the relay's side
	blocked    bool             // they did when push was last called
	text       []byte           // of counters
}

// openCard must run inside the load's namespace, when the sink's program is attached.
func openCard(device rig.Device) (c *card, err error) {
	c = &card{fd: -1, counters: -1, device: []byte(device.Name + ":"), text: make([]byte, 4096)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("load: tap device that feeds %s: %w", device.Name, err), c.close())
			c = nil
		}
	}()
	// Non-blocking, or the kernel makes a socket's buffer of what is written (tun_can_build_skb of drivers/net/tun.c).
	if c.fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return c, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(tapName)
	if err != nil {
		return c, err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(c.fd, unix.TUNSETIFF, request); err != nil {
		return c, err
	}
	tap, err := netlink.LinkByName(tapName)
	if err != nil {
		return c, err
	}
	if err := c.aim(tap.Attrs().Index, device.Index); err != nil {
		return c, err
	}
	if err := netlink.LinkSetUp(tap); err != nil {
		return c, fmt.Errorf("set up: %w", err)
	}
	c.counters, err = unix.Open("/proc/thread-self/net/dev", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return c, err
}

// aim attaches the program that hands every packet of the tap to the device to.
func (c *card) aim(tap, to int) error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "card", Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(to)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
	}})
	if err != nil {
		return fmt.Errorf("XDP program: %w", err)
	}
	// The link is gone with its last descriptor, however this process ends, and holds the program.
	c.link, err = link.AttachXDP(link.XDPOptions{Program: program, Interface: tap, Flags: link.XDPDriverMode})
	return errors.Join(err, program.Close())
}

// begin must be called before the first packet of a volley, when none is on its way.
func (c *card) begin() (err error) {
	c.head, c.tail, c.held, c.blocked = 0, 0, 0, false
	if c.taken, err = c.look(); err != nil {
		return err
	}
	c.pushed = c.taken
	return nil
}

// put adds packet k of the volley to the ring. false: it is full.
func (c *card) put(k int) bool {
	if c.tail-c.head == cardRing {
		return false
	}
	c.waiting[c.tail%cardRing] = uint32(k)
	c.tail++
	return true
}

// waited tells whether the packet at a place of waiting waited for the relay's side.
func (c *card) waited(place uint32) bool { return int32(place-c.held) < 0 }

// push gives packets to veth, so many at most, until it is full or none waits.
func (c *card) push(v *volley, limit int) (err error) {
	c.blocked = false
	if c.pushed-c.taken+uint64(limit) > wireRoom {
		if c.taken, err = c.look(); err != nil {
			return err
		}
		c.pushed = max(c.pushed, c.taken) // ARP and ND of the kernel's were taken too
	}
	for ; limit > 0 && c.head != c.tail; limit-- {
		if c.pushed-c.taken >= wireRoom {
			c.blocked, c.held = true, c.tail
			return nil
		}
		frame := v.frame(int(c.waiting[c.head%cardRing]))
		if _, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame))); e != 0 {
			return fmt.Errorf("write to %s: %w", tapName, e)
		}
		c.head++
		c.pushed++
	}
	return nil
}

// vanished returns how many packets left the tap and never came to the relay's ring, nor were counted as dropped, after a volley whose
// last packet has had its time.
func (c *card) vanished() uint64 {
	taken, err := c.look()
	if err != nil || taken >= c.pushed { // the kernel's own packets are among the taken
		return 0
	}
	return c.pushed - taken
}

// look returns how many packets left veth's ring since it was made: it counts a packet as sent by one side when the other has
// taken it.
func (c *card) look() (uint64, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_PREAD64, uintptr(c.counters), uintptr(unsafe.Pointer(&c.text[0])), uintptr(len(c.text)), 0, 0, 0)
	if e != 0 {
		return 0, fmt.Errorf("/proc/net/dev: %w", e)
	}
	sent, dropped, err := sentBy(c.device, c.text[:n])
	return sent + dropped, err
}

// The fields of a line of /proc/net/dev: what came in is in the eight before.
const sentField, dropField = 9, 11

// sentBy reads the packets that a device sent and dropped from the text of /proc/net/dev. device ends with its colon.
func sentBy(device, text []byte) (sent, dropped uint64, err error) {
	at := bytes.Index(text, device)
	if at < 0 {
		return 0, 0, fmt.Errorf("/proc/net/dev has no line %s", device)
	}
	text = text[at+len(device):]
	for field := range dropField + 1 {
		text = bytes.TrimLeft(text, " ")
		var n uint64
		digits := 0
		for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
			n = 10*n + uint64(text[digits]-'0')
			digits++
		}
		if text = text[digits:]; digits == 0 || len(text) == 0 { // a number that ends here may go on
			return 0, 0, fmt.Errorf("/proc/net/dev: field %d of the line %s is no number, or cut", field, device)
		}
		if field == sentField {
			sent = n
		}
		dropped = n
	}
	return sent, dropped, nil
}

// close removes the tap.
func (c *card) close() error {
	var errs []error
	if c.link != nil {
		errs = append(errs, c.link.Close())
	}
	for _, fd := range []int{c.counters, c.fd} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
