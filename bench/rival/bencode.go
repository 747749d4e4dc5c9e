package rival

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bencode is the encoding of the ng protocol (rtpengine, docs/ng_control_protocol.md; BEP 3 of BitTorrent): byte strings
// "3:abc", integers "i-7e", lists "l...e" and dictionaries "d...e" of string keys. Here they are string, int64, []any and
// map[string]any.

// maxDepth bounds how deeply lists and dictionaries may nest: rtpengine's deepest answer has seven levels.
const maxDepth = 32

// Encode appends the bencode of v, which is made of string, int, int64, []string, []any and map[string]any; anything else
// is a programming error and panics. Keys are written in sorted order.
func Encode(to []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		to = strconv.AppendInt(to, int64(len(v)), 10)
		return append(append(to, ':'), v...)
	case int:
		return Encode(to, int64(v))
	case int64:
		return append(strconv.AppendInt(append(to, 'i'), v, 10), 'e')
	case []string:
		to = append(to, 'l')
		for _, s := range v {
			to = Encode(to, s)
		}
		return append(to, 'e')
	case []any:
		to = append(to, 'l')
		for _, e := range v {
			to = Encode(to, e)
		}
		return append(to, 'e')
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		to = append(to, 'd')
		for _, k := range keys {
			to = Encode(Encode(to, k), v[k])
		}
		return append(to, 'e')
	}
	panic(fmt.Sprintf("bencode: no encoding for %T", v))
}

// Decode reads one value that fills s entirely. It takes dictionaries in any order of keys, as rtpengine writes them, and
// refuses a key that comes twice, numbers with leading zeros, and nesting beyond 32 levels.
func Decode(s string) (any, error) {
	v, rest, err := decode(s, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("bencode: byte %d: %w", len(s)-len(rest), err)
	}
	if rest != "" {
		return nil, fmt.Errorf("bencode: byte %d: %d bytes after the end of the value", len(s)-len(rest), len(rest))
	}
	return v, nil
}

// decode reads the value that s begins with, and returns what follows it; with an error, where it was found.
func decode(s string, depth int) (v any, rest string, err error) {
	if s == "" {
		return nil, s, errors.New("ends where a value should begin")
	}
	if depth == 0 {
		return nil, s, fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch c := s[0]; {
	case c == 'i':
		digits, rest, found := strings.Cut(s[1:], "e")
		if !found {
			return nil, s, errors.New("an integer without an end")
		}
		n, err := canonical(digits)
		if err != nil {
			return nil, s, err
		}
		return n, rest, nil
	case c >= '0' && c <= '9':
		return decodeString(s)
	case c == 'l':
		return decodeList(s[1:], depth-1)
	case c == 'd':
		return decodeDict(s[1:], depth-1)
	default:
		return nil, s, fmt.Errorf("%q begins no value", c)
	}
}

func decodeString(s string) (v any, rest string, err error) {
	digits, after, found := strings.Cut(s, ":")
	if !found {
		return nil, s, errors.New("a string's length without a colon")
	}
	n, err := canonical(digits)
	if err != nil {
		return nil, s, err
	}
	if n > int64(len(after)) {
		return nil, s, fmt.Errorf("a string of %d bytes, but %d are left", n, len(after))
	}
	return after[:n], after[n:], nil
}

func decodeList(s string, depth int) (v any, rest string, err error) {
	list := []any{}
	for !strings.HasPrefix(s, "e") {
		var element any
		if element, s, err = decode(s, depth); err != nil {
			return nil, s, err
		}
		list = append(list, element)
	}
	return list, s[1:], nil
}

func decodeDict(s string, depth int) (v any, rest string, err error) {
	dict := map[string]any{}
	for !strings.HasPrefix(s, "e") {
		key, after, err := decode(s, depth)
		if err != nil {
			return nil, after, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, s, errors.New("a dictionary's key that is no string")
		}
		if _, twice := dict[name]; twice {
			return nil, s, fmt.Errorf("key %q comes twice", name)
		}
		if dict[name], s, err = decode(after, depth); err != nil {
			return nil, s, err
		}
	}
	return dict, s[1:], nil
}

// canonical reads a number that is written the only way it may be: no sign but minus, no leading zero, no minus zero.
func canonical(digits string) (int64, error) {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != digits {
		return 0, fmt.Errorf("%.24q is no integer", digits)
	}
	return n, nil
}
