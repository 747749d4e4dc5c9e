package peers

import (
	"os"
	"os/exec"
	"testing"

	"tandem/internal/beside"
)

// process is a program that runs beside the test.
type process = beside.Process

// start runs a program in dir. The test's name for it is name.
func start(t *testing.T, dir, name, program string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TERM=dumb", "HOME="+dir)
	return beside.Start(t, name, cmd, patience, nil)
}
