package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tick is the resolution of Steal, SoftIRQ, System, User and Idle: the kernel counts them at its user-visible 100 Hz.
const Tick = 10 * time.Millisecond

// Sample is the account of the relay's side at one moment. Differences of two are meant, see Since.
type Sample struct {
	At      time.Duration // CLOCK_MONOTONIC
	Process time.Duration // run-time of all threads of the process (/proc/PID/task/*/schedstat), exact
	NAPI    time.Duration // run-time of the NAPI threads of the relay's device, exact

	// The relay's CPU as /proc/stat tells, in ticks: conditions of a run, not a measurement.
	User, System, SoftIRQ, Steal, Idle time.Duration

	Softnet    []uint64 // packets that network receive work handed to the protocols, by CPU (/proc/net/softnet_stat)
	Polled     uint64   // packets that busy polls took from the relay's devices; the second half of a full poll is not in it
	RSS        uint64   // bytes of the process
	NAPIPinned bool     // the NAPI threads may run on the relay's CPU only
	NAPIHome   bool     // and last ran there; a thread that did not run since it was pinned is not there yet
}

// CPU takes the account. process may be nil: only the NAPI threads and the CPU then.
func (p *Place) CPU(process *Process) (Sample, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return Sample{}, fmt.Errorf("rig: clock: %w", err)
	}
	s := Sample{At: time.Duration(now.Nano()), NAPIPinned: true, NAPIHome: true}
	var err error
	if process != nil {
		if s.Process, err = runTime(process.PID()); err != nil {
			return s, fmt.Errorf("rig: run-time of %s: %w", process.name, err)
		}
		if s.RSS, err = residentBytes(process.PID()); err != nil {
			return s, fmt.Errorf("rig: memory of %s: %w", process.name, err)
		}
	}
	for _, tid := range p.relay.napi {
		ran, err := runTime(tid)
		if err != nil {
			return s, fmt.Errorf("rig: run-time of the NAPI thread of %s: %w", p.relay.device.Name, err)
		}
		pinned, home, err := whereabouts(tid, p.options.RelayCPU)
		if err != nil {
			return s, fmt.Errorf("rig: CPU of the NAPI thread of %s: %w", p.relay.device.Name, err)
		}
		s.NAPI += ran
		s.NAPIPinned, s.NAPIHome = s.NAPIPinned && pinned, s.NAPIHome && home
	}
	if err := s.readStat(p.options.RelayCPU); err != nil {
		return s, err
	}
	if process != nil {
		if s.Polled, err = polledPackets(process.PID()); err != nil {
			return s, fmt.Errorf("rig: busy polls of %s: %w", process.name, err)
		}
	}
	return s, s.readSoftnet()
}

// runTime sums the first number, nanoseconds on a CPU, of every thread's schedstat. Threads that ended are not in it: a
// relay's threads live as long as it.
func runTime(pid int) (time.Duration, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "task")
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, task := range tasks {
		text, err := os.ReadFile(filepath.Join(dir, task.Name(), "schedstat"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		} else if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(field(string(text), 0), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s/%s/schedstat: %w", dir, task.Name(), err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// whereabouts tells whether a thread may run on one CPU only, and whether it last ran there.
func whereabouts(tid, cpu int) (pinned, home bool, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(tid, &set); err != nil {
		return false, false, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	if err != nil {
		return false, false, err
	}
	// The name in parentheses may hold anything; processor is field 39 of proc_pid_stat(5), the 37th after it.
	_, rest, _ := strings.Cut(string(text), ") ")
	last, err := strconv.Atoi(field(rest, 36))
	return set.Count() == 1 && set.IsSet(cpu), last == cpu, err
}

func residentBytes(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseUint(field(string(text), 1), 10, 64)
	return pages * uint64(os.Getpagesize()), err
}

// readStat reads the line of one CPU in /proc/stat: user nice system idle iowait irq softirq steal.
func (s *Sample) readStat(cpu int) error {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if field(line, 0) != fmt.Sprintf("cpu%d", cpu) {
			continue
		}
		for i, into := range map[int]*time.Duration{1: &s.User, 3: &s.System, 4: &s.Idle, 7: &s.SoftIRQ, 8: &s.Steal} {
			ticks, err := strconv.ParseInt(field(line, i), 10, 64)
			if err != nil {
				return fmt.Errorf("rig: /proc/stat: %q: %w", line, err)
			}
			*into = time.Duration(ticks) * Tick
		}
		return nil
	}
	return fmt.Errorf("rig: /proc/stat has no CPU %d", cpu)
}

// readSoftnet reads packets processed (column 0) by CPU (column 12); both hexadecimal.
func (s *Sample) readSoftnet() error {
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return fmt.Errorf("rig: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		processed, err := strconv.ParseUint(field(line, 0), 16, 32)
		if err != nil {
			return fmt.Errorf("rig: softnet_stat: %q: %w", line, err)
		}
		cpu, err := strconv.ParseUint(field(line, 12), 16, 16)
		if err != nil {
			return fmt.Errorf("rig: softnet_stat: %q: kernel 5.14 or newer names the CPU here: %w", line, err)
		}
		for len(s.Softnet) <= int(cpu) {
			s.Softnet = append(s.Softnet, 0)
		}
		s.Softnet[cpu] = processed
	}
	return nil
}

// polledPackets reads BusyPollRxPackets of the process's network namespace: /proc/PID/net/netstat has a line of names and one of numbers.
func polledPackets(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netstat", pid))
	if err != nil {
		return 0, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if field(line, 0) != "TcpExt:" {
			continue
		}
		if names == nil {
			names = strings.Fields(line)
			continue
		}
		return strconv.ParseUint(field(line, slices.Index(names, "BusyPollRxPackets")), 10, 64)
	}
	return 0, errors.New("netstat has no TcpExt")
}

// field returns field i of a line that is separated by blanks, "" if there are fewer.
func field(line string, i int) string {
	if f := strings.Fields(line); i >= 0 && i < len(f) {
		return f[i]
	}
	return ""
}
