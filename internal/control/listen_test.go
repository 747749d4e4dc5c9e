package control

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhoMaySpeak(t *testing.T) {
	s := newServer(ServerOptions{AllowUIDs: []uint32{50}, AllowGIDs: []uint32{60}})
	s.uid = 1000
	s.groupsOf = func(uid uint32) []uint32 { return map[uint32][]uint32{70: {1, 60}, 80: {1, 61}}[uid] }
	for _, c := range []struct {
		name string
		peer Peer
		want bool
	}{
		{"root", Peer{UID: 0, GID: 9}, true},
		{"our own user", Peer{UID: 1000, GID: 9}, true},
		{"a listed user", Peer{UID: 50, GID: 9}, true},
		{"somebody with a listed group", Peer{UID: 51, GID: 60}, true},
		{"a member of a listed group", Peer{UID: 70, GID: 9}, true},
		{"a member of others", Peer{UID: 80, GID: 9}, false},
		{"somebody unknown", Peer{UID: 90, GID: 9}, false},
		{"a user numbered like our group", Peer{UID: 60, GID: 50}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s.allowed(c.peer) != c.want {
				t.Errorf("%+v: want %v", c.peer, c.want)
			}
		})
	}
	if bare := newServer(ServerOptions{}); bare.allowed(Peer{UID: bare.uid + 1, GID: bare.uid}) {
		t.Error("without lists, a stranger may speak")
	}
}

func TestAStrangerGetsOneLineAndTheDoor(t *testing.T) {
	s := listen(t, ServerOptions{}, func(s *Server) {
		s.uid = 1000
		s.whois = func(*net.UnixConn) (Peer, error) { return Peer{UID: 65534, GID: 65534, PID: 1}, nil }
	})
	p := connect(t, s)
	r := parse(t, p.hear())
	if r.Error == nil || r.Error.Code != CodeRefused || !strings.HasPrefix(r.Error.Message, "refused: user 65534 (group 65534) may not use this socket") {
		t.Errorf("got %+v", r)
	}
	if _, err := p.r.ReadByte(); err != io.EOF {
		t.Errorf("the door is open: %v", err)
	}
	if s.Conns() != 0 {
		t.Errorf("%d connections", s.Conns())
	}
	blind := listen(t, ServerOptions{}, func(s *Server) {
		s.whois = func(*net.UnixConn) (Peer, error) { return Peer{}, errors.New("no idea") }
	})
	if r := parse(t, connect(t, blind).hear()); r.Error == nil || r.Error.Message != "refused: your credentials cannot be read: no idea" {
		t.Errorf("got %+v", r)
	}
}

func TestASocketOfTheDeadIsReplacedAndOneOfTheLivingIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "on", "the", "way", "s")
	s := listen(t, ServerOptions{Path: path})
	if _, err := Listen(ServerOptions{Path: path, Handler: echo}); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("a second server on a living socket: %v", err)
	}
	connect(t, s).ask(getX) // and the first one lives on

	dead := filepath.Join(t.TempDir(), "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	connect(t, listen(t, ServerOptions{Path: dead})).ask(getX)

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(ServerOptions{Path: file, Handler: echo}); err == nil || !strings.Contains(err.Error(), "no socket is in the way") {
		t.Errorf("a file in the way: %v", err)
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file in the way was harmed")
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]ServerOptions{
		"Handler is nil":      {Path: filepath.Join(dir, "a")},
		"1 to 107 bytes":      {Handler: echo},
		"not a directory":     {Handler: echo, Path: filepath.Join(blocked, "s")},
		"control socket \"/x": {Handler: echo, Path: "/" + strings.Repeat("x", 107)},
		`group "no-such-gro`:  {Handler: echo, Path: filepath.Join(dir, "b"), Group: "no-such-group"},
	} {
		if s, err := Listen(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v and %v, want %s", s, err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 1 {
		t.Errorf("a failed Listen left %v", left)
	}
}

func TestTheSocketHasItsModeAndGroup(t *testing.T) {
	gid := os.Getgid()
	s := listen(t, ServerOptions{Mode: 0o600, Group: fmt.Sprint(gid)})
	info, err := os.Stat(s.o.Path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if !s.allowed(Peer{UID: 4242, GID: uint32(gid)}) {
		t.Error("a member of the socket's group may not speak")
	}
	if other := listen(t, ServerOptions{}); other.o.Mode != 0o660 {
		t.Errorf("default mode %04o", other.o.Mode)
	}
}

func TestCloseLeavesTheSocketOfASuccessorAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := Listen(ServerOptions{Path: path, Handler: echo})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next := listen(t, ServerOptions{Path: path})
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	connect(t, next).ask(getX)
}
