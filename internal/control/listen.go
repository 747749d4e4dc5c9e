package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// The socket as a file, and who may open it. Nothing here reads a message.

const (
	defaultMode  = 0o660           // owner and group may connect
	directory    = 0o755           // of a parent directory that we have to make: the socket's own mode decides who connects
	maxPath      = 107             // bytes of a Unix socket's path (unix(7): sun_path holds 108 with its NUL)
	probeTimeout = 2 * time.Second // a live server's backlog answers at once
)

// bind makes the listening socket. The file of a server that is gone is replaced; that of a living one is an error.
func bind(o *ServerOptions) (*net.UnixListener, error) {
	if o.Path == "" || len(o.Path) > maxPath {
		return nil, fmt.Errorf("control socket %q: the path must have 1 to %d bytes", o.Path, maxPath)
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), directory); err != nil {
		return nil, fmt.Errorf("control socket %s: %w", o.Path, err)
	}
	if err := clearStale(o.Path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: o.Path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", o.Path, err)
	}
	l.SetUnlinkOnClose(false) // a successor's file may stand there by then: Server.Close looks first
	if err := setAccess(o); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(o.Path))
	}
	return l, nil
}

// clearStale removes a socket file that nobody listens on.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("control socket %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("control socket %s: a file that is no socket is in the way: move it or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, probeTimeout)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("control socket %s: another process listens there: stop it or choose another path", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("control socket %s: remove what a dead process left: %w", path, err)
	}
	return nil
}

// setAccess gives the file its group and mode, and takes the group's members among those who may speak.
func setAccess(o *ServerOptions) error {
	if o.Group != "" {
		gid, err := groupID(o.Group)
		if err != nil {
			return fmt.Errorf("control socket %s: group %q: %w", o.Path, o.Group, err)
		}
		if err := os.Chown(o.Path, -1, int(gid)); err != nil {
			return fmt.Errorf("control socket %s: give it to group %q: %w", o.Path, o.Group, err)
		}
		o.AllowGIDs = append(slices.Clone(o.AllowGIDs), gid)
	}
	if err := os.Chmod(o.Path, o.Mode.Perm()); err != nil {
		return fmt.Errorf("control socket %s: set mode %04o: %w", o.Path, o.Mode.Perm(), err)
	}
	return nil
}

// groupID resolves a group's name or number.
func groupID(group string) (uint32, error) {
	if n, err := strconv.ParseUint(group, 10, 32); err == nil {
		return uint32(n), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(n), err
}

// credentials asks the kernel who connected (SO_PEERCRED, unix(7)): the process as it was when it called connect.
func credentials(nc *net.UnixConn) (Peer, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *syscall.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, inner = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err = errors.Join(err, inner); err != nil {
		return Peer{}, err
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}

// allowed decides whether a peer may speak: root, our own user, and whom the options name. SO_PEERCRED knows one group of
// a process; the others that its user is a member of count as well, or `usermod -aG` would not do.
func (s *Server) allowed(p Peer) bool {
	o := &s.o
	if p.UID == 0 || p.UID == s.uid || slices.Contains(o.AllowUIDs, p.UID) || slices.Contains(o.AllowGIDs, p.GID) {
		return true
	}
	if len(o.AllowGIDs) == 0 {
		return false
	}
	return slices.ContainsFunc(s.groupsOf(p.UID), func(g uint32) bool { return slices.Contains(o.AllowGIDs, g) })
}

// groupsOf lists the groups of a user as the system's database has them; nobody's for a user it does not know.
func groupsOf(uid uint32) []uint32 {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var groups []uint32
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			groups = append(groups, uint32(n))
		}
	}
	return groups
}
