package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// binaries builds tandem and tandem-bench beside each other, and returns the latter.
func binaries(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		leaveOut(t, "network namespaces need root")
	}
	if runtime.NumCPU() < 2 {
		leaveOut(t, "a measurement needs two CPUs")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "tandem/cmd/tandem", "tandem/cmd/tandem-bench")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return filepath.Join(dir, "tandem-bench")
}

// remains returns what a run of this process number left behind.
func remains(t *testing.T, pid int) []string {
	t.Helper()
	left, err := filepath.Glob(fmt.Sprintf("/run/netns/td-%d-*", pid))
	if err != nil {
		t.Fatal(err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range processes {
		// A relay inherits its environment from the run.
		if raw, err := os.ReadFile(path); err == nil && strings.Contains(string(raw), mark(t)) && filepath.Base(filepath.Dir(path)) != fmt.Sprint(pid) {
			left = append(left, path)
		}
	}
	return left
}

// mark is in the environment of every process of a test's run.
func mark(t *testing.T) string { return fmt.Sprintf("TANDEM_BENCH_TEST=%d-%s", os.Getpid(), t.Name()) }

func TestARunAnswersInJSONAndLeavesNothingBehind(t *testing.T) {
	run := exec.Command(binaries(t), "relay", "--engine", "sockets", "--mode", "both", "--streams", "20", "--rate", "1000", "--quick", "--json")
	run.Env = append(os.Environ(), mark(t))
	var complaints strings.Builder
	run.Stderr = &complaints
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	var got map[string]any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got["engine"] != "sockets" || got["path"] != "sockets/socket" || got["streams"] != 20.0 || got["delivered_pps"].(float64) <= 0 {
		t.Errorf("%s", out)
	}
	if conditions := got["conditions"].(map[string]any); !strings.HasPrefix(conditions["command"].(string), "tandem-bench relay --engine sockets") || conditions["kernel"] == "" {
		t.Errorf("conditions %v", conditions)
	}
	if left := remains(t, run.Process.Pid); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnInterruptedRunLeavesNothingBehind(t *testing.T) {
	run := exec.Command(binaries(t), "relay", "--engine", "sockets", "--streams", "20", "--search")
	run.Env = append(os.Environ(), mark(t))
	progress, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(progress)
	if !lines.Scan() || !strings.Contains(lines.Text(), "search 1") { // the first rate was offered: the next is on its way
		t.Errorf("first line %q", lines.Text())
	}
	if err := run.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	err = run.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != interrupted || !strings.Contains(last, "interrupted") {
		t.Errorf("%v, last line %q", err, last)
	}
	if left := remains(t, run.Process.Pid); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestAMistakeIsOneLine(t *testing.T) {
	program := binaries(t)
	for name, c := range map[string]struct {
		arguments []string
		says      string
	}{
		"no binary":    {[]string{"relay", "--tandem", "/no/such"}, "make build"},
		"no rival":     {[]string{"relay", "--rival", "rtpproxy"}, `rival "rtpproxy" is not known`},
		"one CPU":      {[]string{"relay", "--relay-cpu", "0"}, "name both"},
		"odd streams":  {[]string{"relay", "--streams", "3"}, "even number"},
		"no markers":   {[]string{"all", "--document", "/dev/null"}, "<!-- bench:relay -->"},
		"an engine":    {[]string{"sessions", "--engine", "no-such-engine", "--count", "2"}, "no-such-engine"},
		"both of them": {[]string{"relay", "--rate", "5", "--search"}, "can't be used together"},
	} {
		out, err := exec.Command(program, c.arguments...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.says) || strings.Contains(string(out), "goroutine ") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
