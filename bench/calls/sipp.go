package calls

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tandem/bench/rig"
)

//go:embed scenarios/uac.xml
var callerScenario []byte

//go:embed scenarios/uas.xml
var calledScenario []byte

const (
	// CallTime is how long a call stands: short, so that the calls of a run fit into any memory.
	CallTime = time.Second

	calledNumber = "+15550199"
	socketBuffer = 4 << 20 // bytes: what the kernel gives at most; sipp's own 64 KB overflow within 20 ms
	timerTick    = 1       // ms between two looks at what is due: by default sipp sends calls in bursts of 10 ms
	listenLimit  = 5 * time.Second
	crowded      = 15_000           // calls at once: never the limit of a rate that is carried; sipp wants a descriptor for each
	recvLimit    = 10 * time.Second // for any message that a call waits for: a refusal is one that does not come
	complained   = 300              // bytes of a complaint
	mostBatch    = 200              // sipp's own default
	rowEvery     = "250ms"          // between two rows of sipp's: how well it is known when it began its calls
)

// sipp is one that runs on the load's CPU.
type sipp struct {
	cmd  *exec.Cmd
	dir  string
	out  strings.Builder // valid once done is closed
	done chan struct{}
	err  error // how it ended; valid once done is closed
}

// FindSipp returns an error unless the machine has it.
func FindSipp() error {
	if _, err := exec.LookPath("sipp"); err != nil {
		return fmt.Errorf("%w: install it with apt-get install sip-tester", err)
	}
	return nil
}

// playSipp starts sipp in the load's namespace. It is killed when ctx ends, or this process dies.
func playSipp(ctx context.Context, place *rig.Place, at netip.AddrPort, scenario []byte, flags ...string) (s *sipp, err error) {
	s = &sipp{done: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "tandem-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("sipp: %w", err), os.RemoveAll(s.dir))
		}
	}()
	if err := os.WriteFile(filepath.Join(s.dir, "scenario.xml"), scenario, 0o600); err != nil {
		return nil, err
	}
	common := []string{
		"-sf", "scenario.xml", "-i", at.Addr().String(), "-p", strconv.Itoa(int(at.Port())), "-t", "u1", "-nostdin",
		"-timer_resol", strconv.Itoa(timerTick), "-buff_size", strconv.Itoa(socketBuffer), "-l", strconv.Itoa(crowded),
		"-trace_stat", "-stf", "stat.csv", "-fd", rowEvery, "-trace_err", "-error_file", "errors", "-deadcall_wait", "0", "-default_behaviors", "all,-abortunexp",
	}
	s.cmd = exec.CommandContext(ctx, "sipp", append(common, flags...)...)
	s.cmd.Dir, s.cmd.Stderr = s.dir, &s.out
	s.cmd.Env = append(os.Environ(), "TERM=dumb")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true} // a terminal's ^C is ours to pass on
	s.cmd.WaitDelay = time.Second
	if err := place.InLoad(func() error { return startOn(s.cmd, place.LoadCPU()) }); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

// startOn starts a program on one CPU, before others: a child has the CPUs and the nice value of the thread that forked it.
func startOn(cmd *exec.Cmd, cpu int) error {
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	if err := rig.GoFirst(); err != nil {
		return err
	}
	err := cmd.Start()
	return errors.Join(err, unix.Setpriority(unix.PRIO_PROCESS, 0, 0), unix.SchedSetaffinity(0, &before))
}

// listen starts the called sipp, and returns when it has its socket.
func listen(ctx context.Context, s Scene) (*sipp, error) {
	called, err := playSipp(ctx, s.Place, s.Called, calledScenario)
	if err != nil {
		return nil, err
	}
	limit := time.Now().Add(listenLimit)
	for {
		there := false
		if err := s.Place.InLoad(func() (err error) { there, err = bound(s.Called); return err }); err != nil {
			return nil, errors.Join(err, called.end())
		}
		if there {
			return called, nil
		}
		select {
		case <-called.done:
			return nil, errors.Join(errors.New(called.complaint()), called.end())
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), called.end())
		case <-time.After(startPause):
		}
		if time.Now().After(limit) {
			return nil, errors.Join(fmt.Errorf("sipp does not listen on %s after %s", s.Called, listenLimit), called.end())
		}
	}
}

// call starts the calling sipp: count calls, rate of them a second.
func call(ctx context.Context, s Scene, rate float64, count int) (*sipp, error) {
	// A rate is given as calls in a period, both whole numbers: ten seconds' worth in ten seconds.
	const period = 10 * time.Second
	return playSipp(ctx, s.Place, s.Caller, callerScenario,
		"-r", strconv.Itoa(int(rate*period.Seconds()+0.5)), "-rp", strconv.Itoa(int(period.Milliseconds())),
		"-m", strconv.Itoa(count), "-d", strconv.Itoa(int(CallTime.Milliseconds())), "-s", calledNumber, "-key", "called", calledNumber,
		"-recv_timeout", strconv.Itoa(int(recvLimit.Milliseconds())), "-trace_rtt", "-rtt_freq", strconv.Itoa(batch(count)), s.At.String())
}

// batch is how many response times sipp writes at a time: what is left in the end, it does not write at all.
func batch(count int) int {
	for n := min(count, mostBatch); n > 1; n-- {
		if count%n == 0 {
			return n
		}
	}
	return 1
}

// bound tells whether somebody in this thread's namespace has a UDP socket at an address (proc_net_tcp.rst of the kernel).
func bound(at netip.AddrPort) (bool, error) {
	text, err := os.ReadFile("/proc/thread-self/net/udp")
	if err != nil {
		return false, err
	}
	a := at.Addr().As4()
	return strings.Contains(string(text), fmt.Sprintf(" %02X%02X%02X%02X:%04X ", a[3], a[2], a[1], a[0], at.Port())), nil
}

// stop ends a sipp at once. What it counted stands in its last row; asked to end, it would wait for calls that only wait for
// a BYE that comes again.
func (s *sipp) stop() {
	s.cmd.Process.Kill() // an error means that it is gone: done tells
	<-s.done
}

// end kills sipp and removes what it wrote.
func (s *sipp) end() error {
	s.stop()
	return os.RemoveAll(s.dir)
}

// cpu is what a sipp that ended has used.
func (s *sipp) cpu() time.Duration {
	return s.cmd.ProcessState.UserTime() + s.cmd.ProcessState.SystemTime()
}

// complaint is what a sipp that ended says went wrong first, without the messages that it quotes.
func (s *sipp) complaint() string {
	if why := complaintIn(s.errors()); why != "" {
		return why
	}
	if why := complaintIn(s.out.String()); why != "" {
		return why
	}
	return fmt.Sprintf("sipp ended: %v", s.err)
}

// entry is how sipp begins what it writes, sometimes in the middle of a line: date, time, seconds since 1970.
var entry = regexp.MustCompile(`\d{4}-\d\d-\d\d\t[\d:.]+\t[\d.]+: `)

// complaintIn is the first line of the first entry that is not harmless. Text before the entries is one, too.
func complaintIn(text string) string {
	for _, one := range entry.Split(text, -1) {
		line, _, _ := strings.Cut(strings.TrimSpace(one), "\n")
		if line = strings.TrimSpace(line); line != "" && !slices.ContainsFunc(harmless, func(h string) bool { return strings.Contains(line, h) }) {
			return "sipp: " + line[:min(len(line), complained)]
		}
	}
	return ""
}

// harmless are entries of sipp's about itself.
var harmless = []string{"The following events", "Maximum number of open sockets", overslept, "Overload warning", "Discarding message"}

// overslept is what sipp says when it had no CPU for half a second.
const overslept = "watchdog timer"

// starved is how often that was.
func (s *sipp) starved() int { return strings.Count(s.errors(), overslept) }

func (s *sipp) errors() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "errors")) // it may have had none
	return string(text)
}

// written are the tables that a sipp that ended left.
func (s *sipp) written() (t Tally, err error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "stat.csv"))
	if err != nil {
		return t, err
	}
	if t, err = readTally(string(text)); err != nil {
		return t, err
	}
	paths, err := filepath.Glob(filepath.Join(s.dir, "*_rtt.csv"))
	if err != nil || len(paths) == 0 {
		return t, err
	}
	if text, err = os.ReadFile(paths[0]); err != nil {
		return t, err
	}
	t.Setups, err = readSetups(string(text))
	return t, err
}
