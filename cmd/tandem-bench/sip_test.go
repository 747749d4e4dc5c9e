package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestCallsAnswerInJSONAndLeaveNothingBehind(t *testing.T) {
	run := exec.Command(binaries(t), "sip", "--engine", "sockets", "--rate", "20", "--seconds", "2", "--quick", "--json")
	run.Env = append(os.Environ(), mark(t))
	var complaints strings.Builder
	run.Stderr = &complaints
	out, err := run.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	var got struct {
		CPS    float64 `json:"cps_max"`
		CPU    float64 `json:"cpu_s_per_1000"`
		RSS    float64 `json:"rss_mb"`
		Calls  int     `json:"calls"`
		Failed int     `json:"failed"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.CPS != 20 || got.CPU <= 0 || got.RSS <= 0 || got.Calls != 40 || got.Failed != 0 {
		t.Errorf("%s\n%s", out, complaints.String())
	}
	if left := remains(t, run.Process.Pid); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func TestInterruptedCallsAndSoaksLeaveNothingBehind(t *testing.T) {
	program := binaries(t)
	for name, c := range map[string]struct {
		arguments []string
		first     string // line that says it runs
	}{
		"sip":  {[]string{"sip", "--engine", "sockets", "--search"}, "search 1"},
		"soak": {[]string{"soak", "--engine", "sockets", "--calls", "20", "--churn", "5", "--talk", "200ms"}, "20 calls at 5 a second"},
	} {
		run := exec.Command(program, c.arguments...)
		run.Env = append(os.Environ(), mark(t))
		progress, err := run.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(progress)
		if !lines.Scan() || !strings.Contains(lines.Text(), c.first) {
			t.Errorf("%s: first line %q", name, lines.Text())
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
			t.Errorf("%s: %v, last line %q", name, err, last)
		}
		if left := remains(t, run.Process.Pid); left != nil {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func TestAMistakeAboutCallsIsOneLine(t *testing.T) {
	program := binaries(t)
	for says, arguments := range map[string][]string{
		`rival "asterisk" is not known`: {"sip", "--rival", "asterisk"},
		"can't be used together":        {"sip", "--rate", "5", "--search"},
		"live 1s each":                  {"soak", "--calls", "50", "--churn", "50"},
		"no tandem binary":              {"soak", "--tandem", "/no/such"},
	} {
		out, err := exec.Command(program, arguments...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), says) || strings.Contains(string(out), "goroutine ") {
			t.Errorf("%v: %v: %s", arguments, err, out)
		}
	}
}
