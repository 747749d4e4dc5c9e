package torture

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long anything may take that comes within milliseconds on an idle machine. Nothing is measured with it.
const patience = 20 * time.Second

// tandem is the program under test, built once. Set by TestMain.
var tandem string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run builds tandem, runs the tests and takes the binary away.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tandem-torture-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	tandem = filepath.Join(dir, "tandem")
	build := exec.Command("go", "build", "-o", tandem, "tandem/cmd/tandem")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "torture: go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// leaveOut skips a test that this machine cannot run; with STRICT=1 that is a failure.
func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("STRICT") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// await polls until ok, or fails the test.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
