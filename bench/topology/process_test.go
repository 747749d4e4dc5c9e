package topology

import (
	"os"
	"os/exec"
	"syscall"

	"tandem/internal/beside"
)

// process is a program that runs on a host. It ends with the test, and with this process at the latest.
type process = beside.Process

// start runs a program on the host, in dir. The test's name for it is name.
func (h *host) start(dir, name string, env []string, program string, args ...string) *process {
	h.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), append(env, "TERM=dumb", "HOME="+dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // whatever becomes of this process
	return beside.Start(h.t, name+" on "+h.name, cmd, patience, h.do)  // a child is where the thread is that forked it
}
