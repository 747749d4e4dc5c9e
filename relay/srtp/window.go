package srtp

import "tandem/relay/verdict"

const windowSize = 128 // indices; RFC 3711 section 3.3.2 asks for 64 at least, and 128 is 2.5 s of speech

// window remembers the highest index and which of the last 128 were used. Zero value: nothing was.
// It serves both directions: an index opened twice is a replay, an index sealed twice is a broken key.
type window struct {
	next uint64    // one beyond the highest used index; 0: none yet
	used [2]uint64 // bit n: index next-1-n was used
}

// check reports whether index may be used: Forward, Replayed, or TooOld when nobody can tell any more.
func (w *window) check(index uint64) verdict.Verdict {
	if index >= w.next {
		return verdict.Forward
	}
	age := w.next - 1 - index
	switch {
	case age >= windowSize:
		return verdict.TooOld
	case w.used[age/64]>>(age%64)&1 == 1:
		return verdict.Replayed
	}
	return verdict.Forward
}

// mark notes that index was used. The caller has checked it.
func (w *window) mark(index uint64) {
	if index >= w.next {
		w.shift(index + 1 - w.next)
		w.next = index + 1
	}
	age := w.next - 1 - index
	w.used[age/64] |= 1 << (age % 64)
}

// shift ages every index by n.
func (w *window) shift(n uint64) {
	switch {
	case n >= windowSize:
		w.used = [2]uint64{}
	case n >= 64:
		w.used = [2]uint64{0, w.used[0] << (n - 64)}
	default:
		w.used = [2]uint64{w.used[0] << n, w.used[1]<<n | w.used[0]>>(64-n)}
	}
}
