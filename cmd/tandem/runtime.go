package main

import (
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What the garbage collector is told where the environment does not say otherwise (GOGC, GOMEMLIMIT). What lives is small, a
// few kilobytes of a call and of the transactions that outlive it by 32 s, and what dies is much: at Go's 100 percent the
// collector took a seventh of the CPU time of a call, at this a twentieth. Towards the limit it works as often as it has to.
const (
	collectorPercent = 400
	collectorLimit   = 2 << 30 // bytes
)

// paceCollector sets the collector's pace for a process with calls in it.
func paceCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(collectorLimit)
	}
}

// timerSlack is how much later than asked for a sleep of one of our threads may end (prctl(2), PR_SET_TIMERSLACK).
//
// Go's monitor thread sleeps for 20 us at a time as long as goroutines come and go, though it finds something to do only after
// milliseconds. By the kernel's default of 50 us it wakes up thousands of times a second on a core with calls, and each time
// interrupts somebody: a sixth of the CPU time of a call. Our timers, SIP's among them, are of 100 ms and longer; the naps
// of a worker do not depend on this.
const timerSlack = time.Millisecond

// calmMonitor sets the slack for all threads and those that they will start.
func calmMonitor(log *slog.Logger) {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0, 0)
	if errno != 0 { // a build with cgo, whose threads Go does not know
		log.Debug("timer slack not set: the runtime's monitor costs more", "error", errno)
	}
}
