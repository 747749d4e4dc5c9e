package rig

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/vishvananda/netns"
)

// errGone is what a closed place answers.
var errGone = errors.New("rig: the place is closed")

// warden is a thread that entered a namespace and stays in it: sockets and processes come from there. It never returns to
// Go's pool of threads. It lives as long as the place, since a process that is to die with its parent dies with the thread
// that started it (prctl(2), PR_SET_PDEATHSIG).
type warden struct {
	namespace netns.NsHandle
	errands   chan errand
	left      chan struct{} // closed when the thread is about to end
}

type errand struct {
	do   func() error
	done chan error
}

// newWarden makes a namespace and a thread in it.
func newWarden(name string) (*warden, error) {
	w := &warden{errands: make(chan errand), left: make(chan struct{})}
	made := make(chan error)
	go w.serve(name, made)
	if err := <-made; err != nil {
		return nil, err
	}
	return w, nil
}

func (w *warden) serve(name string, made chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with this function
	defer close(w.left)
	var err error
	if w.namespace, err = netns.NewNamed(name); err != nil {
		err = errors.Join(fmt.Errorf("rig: make namespace %s: %w", name, err), removeNamespace(name))
	}
	made <- err
	if err != nil {
		return
	}
	for e := range w.errands {
		if e.do == nil {
			e.done <- w.namespace.Close()
			return
		}
		e.done <- e.do()
	}
}

// run does f in the namespace.
func (w *warden) run(f func() error) error {
	e := errand{f, make(chan error, 1)}
	select {
	case w.errands <- e:
		return <-e.done
	case <-w.left:
		return errGone
	}
}

// leave ends the thread.
func (w *warden) leave() error {
	err := w.run(nil)
	<-w.left
	return err
}
