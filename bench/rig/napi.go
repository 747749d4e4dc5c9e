package rig

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// napiPriority is the real-time priority of the load's NAPI thread: while nobody polls (see Polled), it must come to its turn
// beside a generator that spins. The relay's NAPI thread has the same weight as the relay.
const napiPriority = 1

// pollGap is after how long without a poll the device helps itself. Longer than a tick of 100 Hz would be, so that the timer
// is never the CPU's next one: setting that is an exit from a virtual machine.
const pollGap = 20 * time.Millisecond

// rtnlPatience is how often a device's attribute is written again while other namespaces are being made or removed.
const rtnlPatience = 1000

// napiPatience is how long a NAPI thread may take to appear once it was asked for.
const napiPatience = 2 * time.Second

// useNAPI gives the device's receive work a thread of its own and the thread its CPU.
func (s *side) useNAPI() error {
	if err := s.set("threaded", "1"); err != nil {
		return err
	}
	for end := time.Now().Add(napiPatience); ; time.Sleep(time.Millisecond) {
		tids, err := napiThreads(s.device.Name)
		if err != nil {
			return err
		}
		if len(tids) > 0 {
			s.napi = tids
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("rig: %s: no napi/%s thread after %s although threaded is set", s.name, s.device.Name, napiPatience)
		}
	}
	for _, tid := range s.napi {
		if err := pinThread(tid, s.cpu); err != nil {
			return fmt.Errorf("rig: NAPI thread %d of %s: %w", tid, s.device.Name, err)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, precedence); err != nil {
			return fmt.Errorf("rig: NAPI thread %d of %s: nice %d: %w", tid, s.device.Name, precedence, err)
		}
		if s.batch {
			if err := schedule(tid, unix.SCHED_BATCH); err != nil {
				return fmt.Errorf("rig: NAPI thread %d of %s: SCHED_BATCH: %w", tid, s.device.Name, err)
			}
		}
	}
	return nil
}

// preferNAPI lets the receive work preempt everything else on its CPU.
func (s *side) preferNAPI() error {
	for _, tid := range s.napi {
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: napiPriority}
		if err := unix.SchedSetAttr(tid, &attr, 0); err != nil {
			return fmt.Errorf("rig: NAPI thread %d of %s: SCHED_FIFO: %w", tid, s.device.Name, err)
		}
	}
	return nil
}

// Polled says whether somebody busy-polls the load's device from now on. While that is so, the device waits for the poll:
// nobody is woken up for a packet, and what nobody polls for waits for up to pollGap.
func (p *Place) Polled(on bool) error {
	if on {
		return p.load.set("gro_flush_timeout", strconv.Itoa(int(pollGap)), "napi_defer_hard_irqs", "1")
	}
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed { // and its device with it
		return nil
	}
	err := p.load.set("napi_defer_hard_irqs", "0", "gro_flush_timeout", "0")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil // it is being closed
	}
	return err
}

// set writes attributes of /sys/class/net/DEVICE of the namespace, name and value in turn. A sysfs shows the devices of the
// namespace it was mounted from, hence a mount, in a mount namespace that ends with the thread.
func (s *side) set(attributes ...string) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		result <- s.mountAndSet(attributes)
	}()
	if err := <-result; err != nil {
		return fmt.Errorf("rig: %v of %s: %w", attributes, s.device.Name, err)
	}
	return nil
}

func (s *side) mountAndSet(attributes []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mounts: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if err := unix.Setns(int(s.warden.namespace), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter namespace %s: %w", s.name, err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	for i := 0; i < len(attributes); i += 2 {
		path := "/sys/class/net/" + s.device.Name + "/" + attributes[i]
		err := os.WriteFile(path, []byte(attributes[i+1]), 0)
		for range rtnlPatience {
			// The kernel's lock of all network devices is taken: it writes nothing and expects to be asked again.
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			err = os.WriteFile(path, []byte(attributes[i+1]), 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// napiThreads finds the kernel threads napi/DEVICE-ID. They live in the first process namespace whatever the network
// namespace; the device's name carries our process number, so that nobody else's match.
func napiThreads(device string) ([]int, error) {
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	var tids []int
	for _, path := range comms {
		comm, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		if !strings.HasPrefix(string(comm), "napi/"+device+"-") {
			continue
		}
		tid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		tids = append(tids, tid)
	}
	return tids, nil
}
