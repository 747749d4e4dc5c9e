package calls

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tandem/bench/rig"
)

// account is what a side had used at one moment.
type account struct {
	at         time.Time
	parts      map[string]time.Duration // run-time of each program with all its processes
	rig        rig.Sample               // of the kernel thread that receives for the side, and of its CPU
	overflowed uint64                   // datagrams that sipps' sockets had no room for
}

// take reads the account of a side and of the sipps that run.
func take(s Scene, g Gateway) (a account, err error) {
	a.at, a.parts = time.Now(), map[string]time.Duration{}
	for _, p := range g.Parts() {
		if a.parts[p.Name], err = SessionTime(p.Process.PID()); err != nil {
			return a, fmt.Errorf("run-time of %s: %w", p.Name, err)
		}
	}
	if a.rig, err = s.Place.CPU(nil); err != nil {
		return a, err
	}
	err = s.Place.InLoad(func() (err error) { a.overflowed, err = Overflows(); return err })
	return a, err
}

// SessionTime sums the run-time of all threads of all processes of a session: a program and what it forked. Processes that
// ended are not in it; workers live as long as their program.
func SessionTime(leader int) (sum time.Duration, err error) {
	for _, pid := range sessionOf(leader) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		for _, path := range tasks {
			text, err := os.ReadFile(path)
			if gone(err) {
				continue
			} else if err != nil {
				return 0, err
			}
			ns, err := strconv.ParseInt(word(string(text), 0), 10, 64) // nanoseconds on a CPU (sched-stats.rst of the kernel)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", path, err)
			}
			sum += time.Duration(ns)
		}
	}
	return sum, nil
}

// SessionMemory sums the proportional set sizes of a session's processes, in bytes: memory that they share counts once.
func SessionMemory(leader int) (sum uint64, err error) {
	for _, pid := range sessionOf(leader) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if gone(err) {
			continue
		} else if err != nil {
			return 0, err
		}
		kb, err := proportional(text)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/smaps_rollup: %w", pid, err)
		}
		sum += kb << 10
	}
	return sum, nil
}

// proportional reads the line "Pss: N kB".
func proportional(text []byte) (kb uint64, err error) {
	for line := range bytes.Lines(text) {
		if rest, found := bytes.CutPrefix(line, []byte("Pss:")); found {
			return strconv.ParseUint(word(string(rest), 0), 10, 64)
		}
	}
	return 0, errors.New("no line Pss")
}

// sessionOf returns the processes of a session. Programs of a place lead one each (rig.Place.Start).
func sessionOf(leader int) (pids []int) {
	return matching(func(stat string) bool { return word(stat, 3) == strconv.Itoa(leader) })
}

// childrenOf returns the processes that a process started itself.
func childrenOf(parent int) (pids []int) {
	return matching(func(stat string) bool { return word(stat, 1) == strconv.Itoa(parent) })
}

// matching returns the processes whose line in /proc/PID/stat, from the state on, suits: state, parent, group, session ...
func matching(suits func(stat string) bool) (pids []int) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic(err) // the pattern is ours
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil { // it ended meanwhile
			continue
		}
		rest, found := afterName(string(text))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if found && err == nil && suits(rest) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// afterName cuts a line of /proc/PID/stat after the program's name, which may hold anything, parentheses too.
func afterName(stat string) (rest string, found bool) {
	i := strings.LastIndex(stat, ") ")
	if i < 0 {
		return "", false
	}
	return stat[i+2:], true
}

// Overflows reads how many datagrams found a full receive buffer in this thread's namespace: two lines of the table say
// Udp:, the first has the names.
func Overflows() (uint64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		return 0, err
	}
	return snmp(string(text), "Udp:", "RcvbufErrors")
}

func snmp(table, protocol, name string) (uint64, error) {
	column := -1
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != protocol {
			continue
		}
		if column >= 0 && column < len(words) {
			return strconv.ParseUint(words[column], 10, 64)
		}
		for i, w := range words {
			if w == name {
				column = i
			}
		}
	}
	return 0, fmt.Errorf("snmp: no %s %s", protocol, name)
}

func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// word returns word i of a line, "" if there are fewer.
func word(line string, i int) string {
	if f := strings.Fields(line); i < len(f) {
		return f[i]
	}
	return ""
}
