package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// terminal is a screen of our own: what stood there before comes back with restore.
type terminal struct {
	in, out *os.File
	before  *unix.Termios // nil: the input is no terminal, and there are no keys
}

// Sequences of ECMA-48 and xterm that every terminal of this century understands.
const (
	screenOpen  = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J" // another screen, no cursor, no wrapping, nothing on it
	screenClose = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
	screenHome  = "\x1b[H"
)

// openTerminal takes the screen. Keys come one by one from then on, Ctrl-C among them.
func openTerminal(in, out *os.File) (*terminal, error) {
	if _, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS); err != nil {
		return nil, errors.New("standard output is no terminal: use --once or --json")
	}
	t := &terminal{in: in, out: out}
	if before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS); err == nil {
		raw := *before
		raw.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
		raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
		if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &raw); err != nil {
			return nil, fmt.Errorf("terminal: %w", err)
		}
		t.before = before
	}
	t.out.WriteString(screenOpen)
	return t, nil
}

// restore gives the terminal back as it was.
func (t *terminal) restore() {
	t.out.WriteString(screenClose)
	if t.before != nil {
		unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETS, t.before) //nolint:errcheck // a terminal that is gone needs none
	}
}

// color tells whether to use colors (no-color.org).
func (t *terminal) color() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }

// The size of a terminal that does not tell.
const (
	usualColumns = 80
	usualRows    = 24
)

// size reads the size anew: it may change at any moment.
func (t *terminal) size() (columns, rows int) {
	s, err := unix.IoctlGetWinsize(int(t.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || s.Col == 0 || s.Row == 0 {
		return usualColumns, usualRows
	}
	return int(s.Col), int(s.Row)
}

// draw replaces the screen by lines, which fill it, in one write.
func (t *terminal) draw(lines []string) {
	t.out.WriteString(screenHome + strings.Join(lines, "\r\n"))
}

// Keys that are no character.
const (
	keyUp = -iota - 1
	keyDown
	keyPageUp
	keyPageDown
	keyEscape
	keyEnter
	keyErase
	keyInterrupt
)

// keys reads keys until the input ends. The goroutine stays in its read until then: only the end of the process ends it.
func (t *terminal) keys() <-chan int {
	if t.before == nil {
		return nil
	}
	out := make(chan int)
	go func() {
		b := make([]byte, 64)
		for {
			n, err := t.in.Read(b)
			if err != nil {
				return
			}
			for _, k := range readKeys(b[:n]) {
				out <- k
			}
		}
	}()
	return out
}

// sequences are the keys that send more than a byte.
var sequences = []struct {
	text string
	key  int
}{
	{"\x1b[A", keyUp}, {"\x1bOA", keyUp}, {"\x1b[B", keyDown}, {"\x1bOB", keyDown}, {"\x1b[5~", keyPageUp}, {"\x1b[6~", keyPageDown},
}

// readKeys takes apart what one read brought.
func readKeys(b []byte) (keys []int) {
next:
	for len(b) > 0 {
		for _, s := range sequences {
			if bytes.HasPrefix(b, []byte(s.text)) {
				keys, b = append(keys, s.key), b[len(s.text):]
				continue next
			}
		}
		switch c := b[0]; {
		case c == 0x1b && len(b) > 1: // a key that we do not know: none of it is text
			return keys
		case c == 0x1b:
			keys = append(keys, keyEscape)
		case c == '\r' || c == '\n':
			keys = append(keys, keyEnter)
		case c == 0x7f || c == 0x08:
			keys = append(keys, keyErase)
		case c == 0x03 || c == 0x04: // Ctrl-C, Ctrl-D
			keys = append(keys, keyInterrupt)
		case c >= ' ' && c <= '~':
			keys = append(keys, int(c))
		}
		b = b[1:]
	}
	return keys
}
