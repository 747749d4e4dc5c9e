package control

import (
	"bufio"
	"errors"
	"io"
)

// errLineTooLong is returned by lines.next for a line over the limit, after it was skipped: reading may go on.
var errLineTooLong = errors.New("the line is too long")

const (
	readBuffer = 8 << 10  // bytes: a session.open of two SRTP legs is below 2 KB, so most lines are never copied
	keepBuffer = 64 << 10 // bytes of a long line's buffer that are kept for the next one; more goes back
)

// lines cuts a stream into lines of at most max bytes, newline included. Whatever arrives, it holds no more than that.
type lines struct {
	r    *bufio.Reader
	max  int
	long []byte // a line that did not fit into r's buffer
}

func newLines(r io.Reader, max int) *lines {
	return &lines{r: bufio.NewReaderSize(r, readBuffer), max: max}
}

// next returns one line, valid until the next call. The last line may lack its newline; then comes io.EOF.
func (l *lines) next() ([]byte, error) {
	l.long = l.long[:0]
	if cap(l.long) > keepBuffer {
		l.long = nil
	}
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.long)+len(part) > l.max {
			return nil, l.skip(err)
		}
		if err == nil && len(l.long) == 0 {
			return part, nil
		}
		l.long = append(l.long, part...)
		switch {
		case err == nil:
			return l.long, nil
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(l.long) > 0:
			return l.long, nil
		}
		return nil, err
	}
}

// skip reads up to the end of a line that is too long; err is how its last read ended.
func (l *lines) skip(err error) error {
	for err == bufio.ErrBufferFull {
		_, err = l.r.ReadSlice('\n')
	}
	if err != nil && err != io.EOF {
		return err
	}
	return errLineTooLong
}
