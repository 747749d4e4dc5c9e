package control

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestLinesAreCutAtNewlinesAndOverlongOnesSkipped(t *testing.T) {
	const limit = 3 * readBuffer
	long, exact := strings.Repeat("x", limit), strings.Repeat("y", limit-1)
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"nothing", "", nil},
		{"two lines", "a\nbc\n", []string{"a\n", "bc\n"}},
		{"the last without its newline", "a\nbc", []string{"a\n", "bc"}},
		{"an empty line", "\n\n", []string{"\n", "\n"}},
		{"a line as long as the limit", exact + "\nb\n", []string{exact + "\n", "b\n"}},
		{"one byte too many", long + "\nb\n", []string{"too long", "b\n"}},
		{"much too many", strings.Repeat(long, 9) + "\nb\n", []string{"too long", "b\n"}},
		{"too long and without an end", long + "x", []string{"too long"}},
		{"two too long ones", long + "\n" + long + "\n", []string{"too long", "too long"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for kind, r := range map[string]io.Reader{
				"whole":      strings.NewReader(c.in),
				"in halves":  iotest.HalfReader(strings.NewReader(c.in)),
				"data & EOF": iotest.DataErrReader(strings.NewReader(c.in)),
			} {
				l := newLines(r, limit)
				var got []string
				for {
					line, err := l.next()
					if err == io.EOF {
						break
					}
					if err == errLineTooLong {
						line = []byte("too long")
					} else if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(line))
				}
				if strings.Join(got, "|") != strings.Join(c.want, "|") {
					t.Errorf("%s: got %d lines, want %d", kind, len(got), len(c.want))
				}
			}
		})
	}
}

func TestALongLineIsNotHeldForTheRestOfTheConnection(t *testing.T) {
	in := append(bytes.Repeat([]byte("x"), MaxLine-1), '\n', 'a', '\n')
	l := newLines(bytes.NewReader(in), MaxLine)
	if _, err := l.next(); err != nil {
		t.Fatal(err)
	}
	if cap(l.long) > 2*MaxLine {
		t.Errorf("a line of %d bytes took a buffer of %d", MaxLine, cap(l.long))
	}
	if _, err := l.next(); err != nil || cap(l.long) > keepBuffer {
		t.Errorf("%d bytes are held for a short line (%v)", cap(l.long), err)
	}
}

func TestAReadErrorIsToldAsItIs(t *testing.T) {
	l := newLines(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("abc\n"))), 10)
	if _, err := l.next(); err != iotest.ErrTimeout {
		t.Errorf("got %v", err)
	}
}
