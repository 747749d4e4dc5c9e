package xsk

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sizes of a socket. Depth decides how long its owner may be held up before packets are lost; more than that only makes the
// frames in turn cover more memory than a cache holds.
const (
	// FrameSize is the bytes of one frame, the least that the kernel takes. A packet begins 256 bytes into it
	// (XDP_PACKET_HEADROOM), so that an Ethernet's 1,518 bytes leave 274 behind them.
	FrameSize = 2048

	// Headroom is where in a frame a received packet begins.
	Headroom = 256

	// Longest is the bytes of the longest packet that is received here; the program passes longer ones to the kernel. What is
	// left of the frame is the tailroom.
	Longest = FrameSize - Headroom - tailroom

	tailroom = 128 // bytes after a packet: SRTP's tag, index and MKI twice over

	// Depth is the packets that may wait to be received: 10 ms at 400,000 a second.
	Depth = 4096

	// sendDepth is the packets that may wait to be sent.
	sendDepth = 4096

	// frames is enough for both directions: no packet on its way out takes the place of one to come.
	frames = Depth + sendDepth

	// Locked is the bytes that a socket locks in memory.
	Locked = frames * FrameSize

	// copyAt is where in a frame a packet's payload is copied that is not in one: room for all headers, two cache lines.
	copyAt = 128
)

const (
	// sendBuffer is bytes of packets on their way that the kernel may charge the socket with in copy mode: all frames of the
	// send ring, as it counts them (768 bytes for a voice packet).
	sendBuffer = 8 << 20

	// sendBudget is packets that one kick sends in copy mode (XDP_MAX_TX_SKB_BUDGET): two batches, so that one kick a batch does.
	// Kernels without the option send 32.
	sendBudget = 128

	// mostKicks bounds the kicks after one batch: a kernel whose budget is 32 needs two for 64, and one that still does not get
	// on has a full device.
	mostKicks = 4

	// bindPatience is how long the predecessor of a socket on the same queue may take to go: the kernel frees it in its own
	// time after close(2). bindAgain is how long between two tries.
	bindPatience = 2 * time.Second
	bindAgain    = 2 * time.Millisecond
)

// ErrMemory is wrapped by Open when the limit of locked memory is too low for the frames.
var ErrMemory = errors.New("the limit of locked memory (RLIMIT_MEMLOCK) is too low: LimitMEMLOCK=infinity of the service")

// Mode is how packets get from the device into the socket's memory.
type Mode uint8

// The modes, best first.
const (
	ZeroCopy Mode = iota // the device writes into the socket's memory and sends from it
	Native               // the driver runs the program, the kernel copies
	Generic              // the kernel runs the program after it made a packet of its own: works with every driver
	modes                // how many there are
)

// String returns the mode's name in logs and in relay.hello.
func (m Mode) String() string { return [modes]string{"zero-copy", "native", "generic"}[m] }

// Options say what a socket is opened for.
type Options struct {
	Ifindex, Queue int
	Mode           Mode // that the program is attached in; ZeroCopy: try it, else Native
	BusyPoll       bool // a receive kick polls the device itself
}

// busyBudget is packets that one busy poll takes at most (SO_BUSY_POLL_BUDGET): a batch.
const busyBudget = 64

// Socket is an AF_XDP socket on one queue of a device, with memory of its own. All methods belong to one goroutine.
type Socket struct {
	fd         int
	mode       Mode
	pages      Pages
	memory     []byte
	fill       ring[uint64]
	completion ring[uint64]
	rx, tx     ring[unix.XDPDesc]

	free    []uint64     // frames of nobody, last in first out: the warmest first
	held    []uint64     // frames of packets that were received and neither sent nor given back
	place   [frames]byte // of each frame: where it is
	lent    int          // frames that the kernel has to fill, or has filled
	sending int          // frames that the kernel has to send, or has sent and not given back
	unsent  bool         // the last kick did not take everything
	polls   bool         // a receive kick polls the device
}

// Where a frame is.
const (
	ours    byte = iota // free, or the kernel's to fill
	inBatch             // received, its packet is being worked on
	onItsWay
)

// Descriptor returns a new AF_XDP socket for Open. Closing it is up to the caller, after Close.
func Descriptor() (int, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, explainFamily(os.NewSyscallError("socket(AF_XDP)", err))
	}
	return fd, nil
}

// explainFamily adds what to do where there are no such sockets: a service manager that forbids them gives the error of a kernel
// without them.
func explainFamily(err error) error {
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("%w: the kernel needs CONFIG_XDP_SOCKETS, and the service AF_XDP in RestrictAddressFamilies=", err)
	}
	return err
}

// Open gives the socket its memory and rings and binds it to the queue. Nothing is received before Program.Enter.
func Open(fd int, o Options) (*Socket, error) {
	s := &Socket{fd: fd, mode: o.Mode, free: make([]uint64, 0, frames), held: make([]uint64, 0, Depth)}
	if err := s.open(o); err != nil {
		return nil, errors.Join(fmt.Errorf("AF_XDP socket on queue %d: %w", o.Queue, err), s.Close())
	}
	return s, nil
}

func (s *Socket) open(o Options) (err error) {
	const size = (frames*FrameSize + hugePage - 1) / hugePage * hugePage
	if s.memory, s.pages, err = mapFrames(size); err != nil {
		return err
	}
	if err := register(s.fd, s.memory[:frames*FrameSize]); errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("register %d bytes of frames: %w", size, ErrMemory)
	} else if err != nil {
		return fmt.Errorf("setsockopt(XDP_UMEM_REG): %w", err)
	}
	if err := s.mapRings(); err != nil {
		return err
	}
	if err := s.tune(o); err != nil {
		return err
	}
	for i := range frames {
		s.free = append(s.free, uint64(frames-1-i)*FrameSize)
	}
	s.Refill()
	return s.bind(o)
}

func (s *Socket) mapRings() error {
	for _, r := range []struct {
		option, size int
		name         string
	}{
		{unix.XDP_UMEM_FILL_RING, Depth, "XDP_UMEM_FILL_RING"}, {unix.XDP_UMEM_COMPLETION_RING, frames, "XDP_UMEM_COMPLETION_RING"},
		{unix.XDP_RX_RING, Depth, "XDP_RX_RING"}, {unix.XDP_TX_RING, sendDepth, "XDP_TX_RING"},
	} {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_XDP, r.option, r.size); err != nil {
			return fmt.Errorf("setsockopt(%s, %d): %w", r.name, r.size, err)
		}
	}
	var at unix.XDPMmapOffsets
	if errno := getOption(s.fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&at), unsafe.Sizeof(at)); errno != 0 {
		return os.NewSyscallError("getsockopt(XDP_MMAP_OFFSETS)", errno)
	}
	var errs [4]error
	s.fill, errs[0] = mapRing[uint64](s.fd, unix.XDP_UMEM_PGOFF_FILL_RING, at.Fr, Depth)
	s.completion, errs[1] = mapRing[uint64](s.fd, unix.XDP_UMEM_PGOFF_COMPLETION_RING, at.Cr, frames)
	s.rx, errs[2] = mapRing[unix.XDPDesc](s.fd, unix.XDP_PGOFF_RX_RING, at.Rx, Depth)
	s.tx, errs[3] = mapRing[unix.XDPDesc](s.fd, unix.XDP_PGOFF_TX_RING, at.Tx, sendDepth)
	return errors.Join(errs[:]...)
}

// tune sets what a socket works without, only slower, and what was asked for.
func (s *Socket) tune(o Options) error {
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, sendBudget)
	if !o.BusyPoll {
		return nil
	}
	if err := BusyPoll(s.fd); err != nil {
		return err
	}
	s.polls = true
	return nil
}

// BusyPoll makes each look at the socket that finds nothing poll its device (SO_BUSY_POLL of socket(7)), and the device wait for it
// (SO_PREFER_BUSY_POLL) as long as its gro_flush_timeout says.
func BusyPoll(fd int) error {
	for _, option := range []struct {
		name        string
		key, option int
	}{
		{"SO_PREFER_BUSY_POLL", unix.SO_PREFER_BUSY_POLL, 1},
		{"SO_BUSY_POLL", unix.SO_BUSY_POLL, 1}, // microseconds; a look that does not wait polls once, whatever it says
		{"SO_BUSY_POLL_BUDGET", unix.SO_BUSY_POLL_BUDGET, busyBudget},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option.key, option.option); err != nil {
			return fmt.Errorf("setsockopt(%s, %d): %w: busy polling needs Linux 5.11 and CAP_NET_ADMIN", option.name, option.option, err)
		}
	}
	return nil
}

// bind joins the socket and the queue in the best mode that there is.
func (s *Socket) bind(o Options) error {
	var err error
	if o.Mode == ZeroCopy {
		if err = s.bindAs(o, unix.XDP_ZEROCOPY); err == nil {
			return nil
		}
		s.mode = Native
	}
	if err = s.bindAs(o, unix.XDP_COPY); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	return nil
}

func (s *Socket) bindAs(o Options, flags uint16) error {
	to := &unix.SockaddrXDP{Flags: flags | unix.XDP_USE_NEED_WAKEUP, Ifindex: uint32(o.Ifindex), QueueID: uint32(o.Queue)}
	for waited := time.Duration(0); ; waited += bindAgain {
		err := unix.Bind(s.fd, to)
		if !errors.Is(err, unix.EBUSY) || waited >= bindPatience {
			return err
		}
		time.Sleep(bindAgain)
	}
}

// Mode returns the mode that the socket is bound in.
func (s *Socket) Mode() Mode { return s.mode }

// Pages returns what the frames' memory is made of.
func (s *Socket) Pages() Pages { return s.pages }

// Close unmaps rings and memory. No packet of the socket is in anybody's hands. The program was detached before and the
// descriptor is closed after it, by its owner.
func (s *Socket) Close() error {
	errs := []error{s.fill.unmap(), s.completion.unmap(), s.rx.unmap(), s.tx.unmap()}
	if s.memory != nil {
		errs = append(errs, unix.Munmap(s.memory))
		s.memory = nil
	}
	return errors.Join(errs...)
}
