package guard

import "bytes"

const (
	maxFirstLine   = 8192 // bytes of a request line: a Request-URI with embedded headers stays below
	maxMethod      = 64   // bytes of a method; the longest registered one has 9, that of RFC 4475 section 3.1.1.2 has 43
	maxHeaders     = 256  // header lines; a long Record-Route and History-Info set stays below 100
	maxParams      = 64   // separators in one structured header; the parser's work is quadratic in them
	maxParamsTotal = 1024 // separators in all structured headers of one message
)

// glance is what one linear look at the head of a message tells.
type glance struct {
	length int    // Content-Length in bytes, -1 if there is none
	callID []byte // part of the input; nil if there is none
	lines  int    // of headers, continuations counted
	size   int    // bytes up to and with the empty line
}

// inspect looks at the head of one message, from the first byte of its first line to the end of its empty line, and
// tells whether the parser may see it: Delivered, or why not. It is linear, allocates nothing and keeps nothing.
func inspect(head []byte) (glance, Outcome) {
	g := glance{length: -1}
	line, rest, ok := cutLine(head)
	if !ok {
		return g, BadLineBreak
	}
	if !firstLine(line) {
		return g, BadFirstLine
	}
	name := header(0)
	var headers, total, params int
	var q quotes
	for {
		if line, rest, ok = cutLine(rest); !ok {
			return g, BadLineBreak
		}
		if len(line) == 0 {
			break
		}
		g.lines++
		if bytes.IndexByte(line, 0) >= 0 {
			return g, BadHeader
		}
		if isBlank(line[0]) { // a continuation counts with its header (RFC 3261 section 7.3.1)
			if headers == 0 || name == contentLength {
				return g, BadHeader
			}
		} else {
			var value []byte
			if name, value, ok = cutHeader(line); !ok {
				return g, BadHeader
			}
			if headers++; headers > maxHeaders {
				return g, TooManyHeaders
			}
			params, q = 0, quotes{}
			switch {
			case name == callID && g.callID == nil:
				g.callID = bytes.Trim(value, " \t")
			case name == contentLength && !g.frame(value):
				return g, BadLength
			}
		}
		if name < structured {
			continue
		}
		n, inURI, split := q.read(line)
		params, total = params+n, total+n
		if params > maxParams || total > maxParamsTotal {
			return g, TooManyParams
		}
		if inURI || split && name == tagged {
			return g, Smuggled
		}
	}
	g.size = len(head) - len(rest)
	return g, Delivered
}

// cutLine splits at the first CRLF. It fails where a CR or an LF stands alone, or nothing ends the line.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, false
	}
	line = b[:i-1]
	return line, b[i+1:], bytes.IndexByte(line, '\r') < 0
}

// firstLine tells whether a line begins a SIP message (RFC 3261 sections 7.1 and 7.2). The version may be any here: the
// validation answers a wrong one with 505.
func firstLine(b []byte) bool {
	if len(b) > maxFirstLine || bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	first, rest, ok := bytes.Cut(b, []byte{' '})
	if !ok {
		return false
	}
	second, third, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return false
	}
	if isVersion(first) {
		return len(second) == 3 && second[0] >= '1' && second[0] <= '6' && isDigits(second)
	}
	return len(first) <= maxMethod && isToken(first) && len(second) > 0 && bytes.IndexByte(second, '"') < 0 && isVersion(third)
}

func isVersion(b []byte) bool {
	return len(b) >= 7 && len(b) <= 12 && bytes.EqualFold(b[:4], []byte("SIP/")) && bytes.IndexByte(b, ' ') < 0
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// isToken reports whether b is a token (RFC 3261 section 25.1).
func isToken(b []byte) bool {
	for _, c := range b {
		if !isTokenByte(c) {
			return false
		}
	}
	return len(b) > 0
}

// isTokenByte looks c up in the two halves of ASCII; a shift beyond a half is nothing.
func isTokenByte(c byte) bool {
	const (
		low  = 1<<'!' | 1<<'%' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.' | (1<<10-1)<<'0'
		high = 1<<('_'-64) | 1<<('`'-64) | 1<<('~'-64) | (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)
	)
	return uint64(1)<<c&low|uint64(1)<<(c-64)&high != 0
}

// header is what the filter needs to know about a header's name.
type header uint8

const (
	plain         header = iota // kept as text by the parser
	contentLength               // frames the message
	callID                      // chooses the worker
	structured                  // parsed into parameters
	tagged                      // structured, and carries a tag or a branch
)

// cutHeader splits a header line and classifies its name, compact or long, in any case (RFC 3261 section 7.3.3). Of the value
// nothing is trimmed.
func cutHeader(line []byte) (header, []byte, bool) {
	end := 0
	for end < len(line) && isTokenByte(line[end]) {
		end++
	}
	colon := end
	for colon < len(line) && isBlank(line[colon]) {
		colon++
	}
	if end == 0 || colon == len(line) || line[colon] != ':' {
		return plain, nil, false
	}
	return classify(line[:end]), line[colon+1:], true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func classify(name []byte) header {
	if len(name) == 1 {
		switch name[0] | 0x20 {
		case 'l':
			return contentLength
		case 'i':
			return callID
		case 'v', 'f', 't':
			return tagged
		case 'm', 'r', 'b':
			return structured
		}
		return plain
	}
	is := func(long string) bool { return len(name) == len(long) && bytes.EqualFold(name, []byte(long)) }
	switch {
	case is("content-length"):
		return contentLength
	case is("call-id"):
		return callID
	case is("via"), is("from"), is("to"):
		return tagged
	case is("contact"), is("route"), is("record-route"), is("refer-to"), is("referred-by"):
		return structured
	}
	return plain
}

// frame reads a Content-Length. A second, different one is an attempt to smuggle a message.
func (g *glance) frame(value []byte) bool {
	value = bytes.Trim(value, " \t")
	if !isDigits(value) || len(value) > 9 {
		return false
	}
	n := 0
	for _, c := range value {
		n = n*10 + int(c-'0')
	}
	if g.length >= 0 && g.length != n {
		return false
	}
	g.length = n
	return true
}

// quotes is how far a header has come, over its folded lines.
type quotes struct{ quoted, params, angle bool }

// marked are the bytes that mean something to quotes: most mean nothing and are passed over at one look.
var marked = [256]bool{';': true, ',': true, '&': true, '"': true, '\\': true, '<': true, '>': true}

// read goes on with a line. separators is the number of bytes in it that can begin another parameter or another element; so does
// the end of a quoted value: the parser takes whatever follows it for the next name, separated or not. inURI reports a quote
// inside a URI, where RFC 3261 section 25.1 has none: the parser takes all that follows such a value for a parameter's name, so
// that a URI of 8 KB written anew has 8 MB, and read again never ends. split reports a separator inside the quoted value of a
// header parameter: the parser would split there and take a tag from inside the quotes. A quoted display name, which stands
// before the address, may hold anything.
func (q *quotes) read(line []byte) (separators int, inURI, split bool) {
	escaped := -1 // where the byte after a backslash is
	for i, c := range line {
		if !marked[c] {
			continue
		}
		if c != '\\' && c != '<' && c != '>' {
			separators++
		}
		switch {
		case i == escaped:
		case q.quoted && c == '\\':
			escaped = i + 1
		case c == '"' && q.angle:
			inURI = true
		case c == '"':
			q.quoted = !q.quoted
		case q.quoted:
			split = split || q.params && (c == ';' || c == ',')
		case c == '<':
			q.angle = true
		case c == '>':
			q.angle, q.params = false, true
		case c == ';' && !q.angle:
			q.params = true
		}
	}
	return separators, inURI, split
}
