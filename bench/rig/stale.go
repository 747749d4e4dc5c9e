package rig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The names of namespaces tell whose they are: td-<pid>-load and td-<pid>-relay.
const (
	namePrefix  = "td-"
	loadSuffix  = "-load"
	relaySuffix = "-relay"
	namedIn     = "/run/netns" // where ip-netns(8) and netns.NewNamed keep the names
)

// owner returns the process whose place a namespace belongs to.
func owner(namespace string) (pid int, ours bool) {
	rest, ours := strings.CutPrefix(namespace, namePrefix)
	if !ours {
		return 0, false
	}
	number, ours := strings.CutSuffix(rest, loadSuffix)
	if !ours {
		if number, ours = strings.CutSuffix(rest, relaySuffix); !ours {
			return 0, false
		}
	}
	pid, err := strconv.Atoi(number)
	return pid, err == nil && pid > 0 && number[0] != '0' && number[0] != '+'
}

// removeStale removes the places of processes that are gone. This process's own are stale too if Build has just begun: its
// number was somebody else's before.
func removeStale() error {
	entries, err := os.ReadDir(namedIn)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rig: list namespaces: %w", err)
	}
	var errs []error
	for _, e := range entries {
		pid, ours := owner(e.Name())
		if ours && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			errs = append(errs, removeNamespace(e.Name()))
		}
	}
	return errors.Join(errs...)
}

// Neighbours returns the namespaces of other processes' places that are there now. Two measurements at a time falsify each
// other: both take the same CPUs and go before everything else on them.
func (p *Place) Neighbours() ([]string, error) {
	entries, err := os.ReadDir(namedIn)
	if err != nil {
		return nil, fmt.Errorf("rig: list namespaces: %w", err)
	}
	var others []string
	for _, e := range entries {
		if pid, ours := owner(e.Name()); ours && pid != os.Getpid() && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			others = append(others, e.Name())
		}
	}
	return others, nil
}

// removeNamespace takes a namespace's name away; the kernel removes it, and the devices in it, with its last user.
func removeNamespace(name string) error {
	if err := netns.DeleteNamed(name); err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// A run that died between making the file and mounting the namespace leaves a plain file.
	path := filepath.Join(namedIn, name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rig: remove namespace %s: %w", path, err)
	}
	return nil
}
