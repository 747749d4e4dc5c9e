package calls

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"tandem/bench/rig"
)

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// scene builds the rig.
func scene(t *testing.T) Scene {
	t.Helper()
	if os.Geteuid() != 0 {
		leaveOut(t, "network namespaces need root")
	}
	if runtime.NumCPU() < 2 {
		leaveOut(t, "a measurement needs two CPUs")
	}
	if err := FindSipp(); err != nil {
		leaveOut(t, err.Error())
	}
	place, err := rig.Build(t.Context(), rig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := place.Close(); err != nil {
			t.Error(err)
		}
	})
	return NewScene(place)
}

// carry lets a gateway carry a few calls, by the book.
func carry(t *testing.T, g Gateway, s Scene) {
	t.Helper()
	var pids []int
	err := with(t.Context(), s, g, func() error {
		for _, p := range g.Parts() {
			pids = append(pids, sessionOf(p.Process.PID())...)
		}
		o, err := offer(t.Context(), s, g, 20, 2*time.Second, settle)
		if err != nil {
			return err
		}
		if o.Calls != 40 || o.Failed != 0 || o.Opened != 40 {
			t.Errorf("%d of %d calls failed (%s), %d media sessions", o.Failed, o.Calls, o.Problem, o.Opened)
		}
		if o.PerThousand() <= 0 || o.Memory == 0 || o.Load <= 0 || o.P99 < o.P50 {
			t.Errorf("%+v", o)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pids) < 2 {
		t.Errorf("processes %v", pids)
	}
	for _, pid := range pids {
		if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid))); err == nil {
			t.Errorf("process %d is left", pid)
		}
	}
}

func TestTandemCarriesCallsWithMediaSetUp(t *testing.T) {
	s := scene(t)
	binary := filepath.Join(t.TempDir(), "tandem")
	if out, err := exec.Command("go", "build", "-o", binary, "tandem/cmd/tandem").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	carry(t, &Tandem{Binary: binary, Engine: "sockets"}, s)
}

func TestKamailioWithRtpengineCarriesCallsWithMediaSetUp(t *testing.T) {
	k, err := Find("kamailio+rtpengine")
	if err != nil {
		leaveOut(t, err.Error())
	}
	carry(t, k, scene(t))
}
