package xsk

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// ErrTaken is wrapped by Attach when the device has another XDP program. It is left alone.
var ErrTaken = errors.New("another XDP program is attached")

// ProgramOptions say what a device's program redirects.
type ProgramOptions struct {
	Slots  int      // descriptor of a hash map: address, IPv4-mapped -> slot (uint32)
	Leases int      // descriptor of an array map by slot: a byte by port, 0 is not leased
	MAC    [6]byte  // of the device: frames to other link addresses are passed. Zero: only those to groups are
	VLANs  []uint16 // tags whose packets are ours too, beside no tag and tag 0 (priority only); at most MostVLANs
	Queues int      // of the device
	Frags  bool     // the device's packets may be longer than a page; those are passed. Needs Linux 5.18
}

// MostVLANs is how many tags a program compares with: a media gateway has a few, and each is an instruction in every packet's way.
const MostVLANs = 64

// Program is the XDP program of one device, its map of sockets by queue, and the link that attaches it.
type Program struct {
	sockets *ebpf.Map
	program *ebpf.Program
	link    link.Link
	mode    Mode
}

// Load lets the kernel verify a program. It passes every packet until Attach and Enter.
func Load(o ProgramOptions) (*Program, error) {
	p := new(Program)
	if err := p.load(&o); err != nil {
		return nil, errors.Join(fmt.Errorf("load the XDP program: %w", explain(err)), p.Close())
	}
	return p, nil
}

func (p *Program) load(o *ProgramOptions) (err error) {
	if o.Queues < 1 || len(o.VLANs) > MostVLANs {
		return fmt.Errorf("%d queues and %d VLANs: need at least 1 queue, at most %d VLANs", o.Queues, len(o.VLANs), MostVLANs)
	}
	p.sockets, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "td_xsks", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(o.Queues),
	})
	if err != nil {
		return fmt.Errorf("create the map of sockets: %w", err)
	}
	spec := &ebpf.ProgramSpec{
		Name: "td_xdp", Type: ebpf.XDP, License: "MIT", Instructions: instructions(o.Slots, o.Leases, p.sockets.FD(), o.MAC, o.VLANs),
	}
	if o.Frags {
		spec.Flags = unix.BPF_F_XDP_HAS_FRAGS
	}
	if p.program, err = ebpf.NewProgram(spec); err != nil {
		return fmt.Errorf("verify the program: %w", err)
	}
	return nil
}

// explain adds what to do to the errors that a machine gives because of what it is or what it allows.
func explain(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: the process needs CAP_BPF and CAP_NET_ADMIN", err)
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("%w: the kernel must be Linux 5.10 or later, with CONFIG_XDP_SOCKETS", err)
	}
	return err
}

// Attach makes the program see the device's packets, until Close or the end of the process: in the driver, or, if that cannot
// and generic is allowed, in the kernel. Where a program of somebody else's is attached already the error wraps ErrTaken.
func (p *Program) Attach(ifindex int, generic bool) error {
	err := p.attach(ifindex, link.XDPDriverMode)
	if err == nil {
		p.mode = ZeroCopy // as far as the program knows
		return nil
	}
	if taken(err) {
		return fmt.Errorf("attach the XDP program: %w", ErrTaken)
	}
	if !generic || errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("attach the XDP program to the driver: %w", explain(err))
	}
	if also := p.attach(ifindex, link.XDPGenericMode); taken(also) {
		return fmt.Errorf("attach the XDP program: %w", ErrTaken)
	} else if also != nil {
		return fmt.Errorf("attach the XDP program: to the driver: %w; to the kernel (generic): %w", err, also)
	}
	p.mode = Generic
	return nil
}

// taken tells whether the kernel refused because there is another program: in this mode, or in the other one.
func taken(err error) bool { return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) }

func (p *Program) attach(ifindex int, mode link.XDPAttachFlags) (err error) {
	p.link, err = link.AttachXDP(link.XDPOptions{Program: p.program, Interface: ifindex, Flags: mode})
	if err != nil {
		p.link = nil
	}
	return err
}

// Mode returns ZeroCopy where the driver runs the program, or Generic: the best mode that a Socket can be opened in.
func (p *Program) Mode() Mode { return p.mode }

// Enter makes the socket on a queue, by its descriptor, the one that gets that queue's packets.
func (p *Program) Enter(queue, fd int) error {
	if err := p.sockets.Update(uint32(queue), uint32(fd), ebpf.UpdateAny); err != nil {
		return fmt.Errorf("enter the socket of queue %d: %w", queue, explain(err))
	}
	return nil
}

// Leave undoes Enter: the program passes that queue's packets to the kernel.
func (p *Program) Leave(queue int) error {
	if err := p.sockets.Delete(uint32(queue)); err != nil {
		return fmt.Errorf("take out the socket of queue %d: %w", queue, err)
	}
	return nil
}

// context is struct xdp_md of linux/bpf.h.
type context struct {
	Data, DataEnd, DataMeta, Ifindex, Queue, Egress uint32
}

// liveFrames is BPF_F_TEST_XDP_LIVE_FRAMES: what the program redirects really goes there (kernel document bpf/bpf_prog_run.rst).
const liveFrames = unix.BPF_F_TEST_XDP_LIVE_FRAMES

// Inject lets the kernel treat a frame as if the device had received it on queue 0, the only one that it can pretend. It needs
// Linux 5.18; older ones return an error.
func (p *Program) Inject(ifindex int, frame []byte) error {
	in := context{DataEnd: uint32(len(frame)), Ifindex: uint32(ifindex)}
	_, err := p.program.Run(&ebpf.RunOptions{Data: frame, Context: in, Repeat: 1, Flags: liveFrames})
	return err
}

// verdict runs the program on a frame and returns what it decides (enum xdp_action of linux/bpf.h).
func (p *Program) verdict(frame []byte) (uint32, error) {
	return p.program.Run(&ebpf.RunOptions{Data: frame, Repeat: 1})
}

// Close detaches the program first, so that no packet meets half of it, and frees it. The sockets are closed after it.
func (p *Program) Close() error {
	var errs []error
	if p.link != nil {
		errs = append(errs, p.link.Close())
	}
	if p.program != nil {
		errs = append(errs, p.program.Close())
	}
	if p.sockets != nil {
		errs = append(errs, p.sockets.Close())
	}
	*p = Program{}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close the XDP program: %w", err)
	}
	return nil
}
