package guard

import (
	"bytes"
	"slices"
	"time"
)

// framer cuts a byte stream into messages (RFC 3261 section 18.3). Each byte is looked at once, however it arrives.
type framer struct {
	limit int
	buf   []byte
	off   int       // where the next message begins
	seen  int       // bytes after off that hold no end of a head
	whole int       // bytes of the message at off once its head was judged, else 0
	as    Outcome   // what its head was judged to be
	began time.Time // when the message at off began; zero between messages
}

// next returns one whole message that may be parsed. Keepalive means that more bytes are needed; any other outcome comes
// with the message if only that one is bad, and with nil if the boundary is lost. pings counts the CRLF CRLF before it.
func (f *framer) next() (msg []byte, pings int, out Outcome) {
	pings = f.skipCRLF()
	b := f.buf[f.off:]
	if f.whole == 0 {
		from := max(0, f.seen-3)
		i := bytes.Index(b[from:], []byte("\r\n\r\n"))
		if i < 0 {
			if f.seen = len(b); len(b) > f.limit {
				return nil, pings, TooLarge
			}
			return nil, pings, Keepalive
		}
		if from+i+4 > f.limit {
			return nil, pings, TooLarge
		}
		if f.whole, f.as = judgeHead(b[:from+i+4]); f.whole == 0 {
			return nil, pings, f.as
		}
		if f.whole > f.limit {
			return nil, pings, TooLarge
		}
	}
	if len(b) < f.whole {
		return nil, pings, Keepalive
	}
	msg, out = b[:f.whole], f.as
	f.off += f.whole
	f.seen, f.whole, f.began = 0, 0, time.Time{}
	return msg, pings, out
}

// skipCRLF passes what may stand before a first line, and counts the pings in it.
func (f *framer) skipCRLF() int {
	if f.whole != 0 {
		return 0
	}
	n := 0
	for b := f.buf[f.off:]; len(b) >= 2 && b[0] == '\r' && b[1] == '\n'; b = b[2:] {
		n++
	}
	if n > 0 {
		f.off, f.seen, f.began = f.off+2*n, 0, time.Time{}
	}
	return n / 2
}

// judgeHead inspects a head and returns the size of its message, 0 where that cannot be told for certain.
func judgeHead(head []byte) (int, Outcome) {
	g, out := inspect(head)
	switch out {
	case Delivered:
		if g.length < 0 {
			return 0, BadLength // a stream needs it (RFC 3261 section 20.14)
		}
	case TooManyHeaders, TooManyParams, Smuggled:
		if g = lengthOf(head); g.length < 0 {
			return 0, out
		}
	default:
		return 0, out
	}
	return len(head) + g.length, out
}

// lengthOf reads the framing of a head that is refused for something else, and -1 where it is not certain.
func lengthOf(head []byte) glance {
	g := glance{length: -1}
	_, rest, ok := cutLine(head)
	for ok {
		var line []byte
		if line, rest, ok = cutLine(rest); !ok || len(line) == 0 {
			break
		}
		name, value, fine := cutHeader(line)
		if fine && name == contentLength && !g.frame(value) {
			return glance{length: -1}
		}
	}
	if !ok {
		g.length = -1
	}
	return g
}

// partial reports that a message has begun and is not whole.
func (f *framer) partial() bool { return len(f.buf) > f.off }

// room makes space for the next read: what is left moves to the front, and the buffer grows up to the limit.
func (f *framer) room() {
	f.buf = slices.Delete(f.buf, 0, f.off)
	f.off = 0
	if len(f.buf) == cap(f.buf) {
		f.buf = slices.Grow(f.buf, len(f.buf))
	}
	if len(f.buf) == 0 && cap(f.buf) > 8*readChunk {
		f.buf = make([]byte, 0, readChunk)
	}
}
