package load

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"tandem/bench/rig"
)

// patience ends a test that waits for what never comes; nothing is measured by it.
const patience = 30 * time.Second

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// build returns a place that goes with the test.
func build(t testing.TB) *rig.Place {
	t.Helper()
	if os.Geteuid() != 0 {
		leaveOut(t, "network namespaces need root")
	}
	if runtime.NumCPU() < 2 {
		leaveOut(t, "a measurement needs two CPUs")
	}
	place, err := rig.Build(context.Background(), rig.Options{}) // the test's own context ends before its clean-up
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := place.Close(); err != nil {
			t.Error(err)
		}
	})
	return place
}

// contextThatEnds returns one that the test ends.
func contextThatEnds(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}
