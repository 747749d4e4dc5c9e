package topology

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	// patience is how long anything may take that comes within milliseconds on an idle machine, or within a timer of the
	// test's configuration. Nothing is measured with it.
	patience = 60 * time.Second
	glance   = 10 * time.Millisecond // between two looks at what no event tells

	// side is how many tests are under way at a time: they wait for timers far more than they work.
	side = 6
)

// tandem is the tandem under test, built once. Set by TestMain.
var tandem string

func TestMain(m *testing.M) {
	if os.Getenv(phoneVariable) != "" { // this process is a peer
		os.Exit(servePhone(os.Stdin, os.Stdout))
	}
	flag.Parse()
	os.Exit(run(m))
}

// run builds tandem, runs the tests and takes the binary away.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tandem-topology-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "topology:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	tandem = filepath.Join(dir, "tandem")
	build := exec.Command("go", "build", "-o", tandem, "tandem/cmd/tandem")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "topology: go build: %v\n%s", err, out)
		return 1
	}
	if err := flag.Set("test.parallel", fmt.Sprint(side)); err != nil {
		fmt.Fprintln(os.Stderr, "topology:", err)
		return 1
	}
	return m.Run()
}

// await polls until ok, or fails the test.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(glance) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
