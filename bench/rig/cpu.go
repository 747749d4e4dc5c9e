package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// precedence is the nice value of everything that a measurement consists of, the same for all of it: what else runs on the
// machine gets out of the way, and the parts compete with each other as they would at 0.
const precedence = -20

// pinThread lets a thread run on one CPU only.
func pinThread(tid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}

// Occupy pins every thread of this process, and with them those that they start, to one CPU, lets this process's session
// go before others, and returns what undoes both. A thread that does the work should call GoFirst.
func Occupy(cpu int) (release func() error, err error) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return nil, fmt.Errorf("rig: read the CPUs of this process: %w", err)
	}
	var one unix.CPUSet
	one.Set(cpu)
	if err := setAllThreads(&one); err != nil {
		return nil, errors.Join(fmt.Errorf("rig: pin this process to CPU %d: %w", cpu, err), setAllThreads(&before))
	}
	restore, err := preferSession("self")
	if err != nil {
		return nil, errors.Join(err, setAllThreads(&before))
	}
	return func() error { return errors.Join(restore(), setAllThreads(&before)) }, nil
}

// GoFirst gives the calling thread precedence, for good: lock it, and let it end.
func GoFirst() error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, precedence); err != nil {
		return fmt.Errorf("rig: nice %d: %w", precedence, err)
	}
	return nil
}

// schedule gives a thread one of the policies that share a CPU by weight, and precedence.
func schedule(tid int, policy uint32) error {
	return unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Nice: precedence}, 0)
}

// noHalt keeps idle CPUs from halting until the file is closed: nobody may be late by any time in getting them back (Documentation/power/
// pm_qos_interface.rst of the kernel).
func noHalt() (*os.File, error) {
	f, err := os.OpenFile("/dev/cpu_dma_latency", os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("rig: keep idle CPUs from halting: %w", err)
	}
	if _, err := f.Write(make([]byte, 4)); err != nil { // 0 us
		return nil, fmt.Errorf("rig: keep idle CPUs from halting: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

// NoHalt tells whether idle CPUs are kept from halting. Without a driver for idle states nobody asks how late they may be.
func (p *Place) NoHalt() bool {
	driver, _ := os.ReadFile("/sys/devices/system/cpu/cpuidle/current_driver") // an error: there are no idle states
	name := strings.TrimSpace(string(driver))
	return p.latency != nil && name != "" && name != "none"
}

// preferSession raises the weight of a process's session: where sessions share the CPU as groups (sched(7), autogroup), a
// thread's nice value counts only within its own. A kernel without such groups needs nothing.
func preferSession(pid string) (restore func() error, err error) {
	path := filepath.Join("/proc", pid, "autogroup")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	_, nice, found := strings.Cut(strings.TrimSpace(string(text)), " nice ")
	if err != nil || !found { // found is false for a process outside of all groups
		return func() error { return nil }, err
	}
	write := func(nice string) error {
		if err := os.WriteFile(path, []byte(nice), 0); err != nil {
			return fmt.Errorf("rig: precedence of the session: %w", err)
		}
		return nil
	}
	return func() error { return write(nice) }, write(strconv.Itoa(precedence))
}

// setAllThreads repeats itself until it finds no thread that it did not see: one that started meanwhile has the CPUs of its
// parent, which may have been the old ones.
func setAllThreads(set *unix.CPUSet) error {
	seen := map[string]bool{}
	for grew := true; grew; {
		grew = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, task := range tasks {
			if seen[task.Name()] {
				continue
			}
			seen[task.Name()], grew = true, true
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return nil
}
