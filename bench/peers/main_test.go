package peers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience is how long anything may take that comes within milliseconds on an idle machine. Nothing is measured with it.
const patience = 30 * time.Second

// tandem is the tandem under test, built once. Set by TestMain.
var tandem string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run builds tandem, runs the tests and takes the binary away.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tandem-peers-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	tandem = filepath.Join(dir, "tandem")
	build := exec.Command("go", "build", "-o", tandem, "tandem/cmd/tandem")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "peers: go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// need leaves a test out where its peer is not installed.
func need(t *testing.T, program, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		leaveOut(t, fmt.Sprintf("%s is not installed: apt-get install %s", program, debianPackage))
	}
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
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
