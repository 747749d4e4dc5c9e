package control

import (
	"bytes"
	"math"
	"slices"
	"strconv"
)

// A SessionState is the answer to each step of every call, so it is written and read here without reflection. Its twins, which
// do the same for any message, are appendJSON and decodeAnswer: what is out of the ordinary is left to them.

// appendState appends what json.Marshal(s) returns. false: the twin has to do it, and b may have grown.
func appendState(b []byte, s *SessionState) (_ []byte, ok bool) {
	b = appendText(append(b, `{"id":`...), s.ID)
	b = strconv.AppendUint(append(b, `,"generation":`...), s.Generation, 10)
	b = appendGiven(b, `,"owner":`, s.Owner)
	b = appendGiven(b, `,"opaque":`, s.Opaque)
	b = strconv.AppendInt(append(b, `,"age_ms":`...), s.AgeMS, 10)
	if s.Closed {
		b = append(b, `,"closed":true`...)
	}
	if s.Streams == nil {
		return b, false
	}
	b = append(b, `,"streams":[`...)
	for i := range s.Streams {
		st := &s.Streams[i]
		if st.Legs == nil {
			return b, false
		}
		b = appendText(append(b, `{"name":`...), st.Name)
		b = appendText(append(b, `,"kind":`...), st.Kind)
		b = append(b, `,"legs":[`...)
		for k := range st.Legs {
			if b, ok = appendLeg(b, &st.Legs[k]); !ok {
				return b, false
			}
		}
		b = append(endList(b), "},"...)
	}
	return append(endList(b), '}'), true
}

// endList closes a list whose every element is followed by a comma.
func endList(b []byte) []byte {
	if last := len(b) - 1; b[last] == ',' {
		b[last] = ']'
		return b
	}
	return append(b, ']')
}

// appendGiven appends a member unless it is empty.
func appendGiven(b []byte, label, s string) []byte {
	if s == "" {
		return b
	}
	return appendText(append(b, label...), s)
}

// appendLeg appends a leg and a comma.
func appendLeg(b []byte, l *LegState) (_ []byte, ok bool) {
	q := &l.Quality
	if !(plainDecimal(q.JitterMS) && plainDecimal(q.MaxJitter) && plainDecimal(q.MOS)) {
		return b, false
	}
	b = appendText(append(b, `{"name":`...), l.Name)
	b = appendText(append(b, `,"network":`...), l.Network)
	b = appendText(append(b, `,"local":`...), l.Local)
	b = appendText(append(b, `,"local_rtcp":`...), l.LocalRTCP)
	b = appendGiven(b, `,"advertise":`, l.Advertise)
	b = appendGiven(b, `,"remote":`, l.Remote)
	b = appendGiven(b, `,"pinned":`, l.Pinned)
	b = appendText(append(b, `,"pin":`...), l.Pin)
	b = appendText(append(b, `,"direction":`...), l.Direction)
	b = appendText(append(b, `,"rx_suite":`...), l.RXSuite)
	b = appendText(append(b, `,"tx_suite":`...), l.TXSuite)
	if l.SSRC != 0 {
		b = strconv.AppendUint(append(b, `,"ssrc":`...), uint64(l.SSRC), 10)
	}
	b = appendTraffic(append(b, `,"in":`...), &l.In)
	b = appendTraffic(append(b, `,"out":`...), &l.Out)
	if len(l.Drops) > 0 {
		b = appendCounts(append(b, `,"drops":`...), l.Drops)
	}
	b = strconv.AppendUint(append(b, `,"quality":{"expected":`...), q.Expected, 10)
	b = strconv.AppendInt(append(b, `,"lost":`...), q.Lost, 10)
	b = strconv.AppendFloat(append(b, `,"jitter_ms":`...), q.JitterMS, 'f', -1, 64)
	b = strconv.AppendFloat(append(b, `,"jitter_max_ms":`...), q.MaxJitter, 'f', -1, 64)
	b = strconv.AppendFloat(append(b, `,"mos":`...), q.MOS, 'f', -1, 64)
	b = strconv.AppendInt(append(b, `},"silent_ms":`...), l.SilentMS, 10)
	return append(b, "},"...), true
}

func appendTraffic(b []byte, t *Traffic) []byte {
	b = strconv.AppendUint(append(b, `{"packets":`...), t.Packets, 10)
	b = strconv.AppendUint(append(b, `,"bytes":`...), t.Bytes, 10)
	b = strconv.AppendUint(append(b, `,"rtcp_packets":`...), t.RTCP, 10)
	if t.Opaque != 0 {
		b = strconv.AppendUint(append(b, `,"opaque_packets":`...), t.Opaque, 10)
	}
	return append(b, '}')
}

// appendCounts appends a map, sorted by name.
func appendCounts(b []byte, counts map[string]uint64) []byte {
	const usual = 32 // names, so that they need no memory of their own: the relay has fewer verdicts
	names := make([]string, 0, usual)
	for name := range counts {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, name), ':')
		b = strconv.AppendUint(b, counts[name], 10)
	}
	return append(b, '}')
}

// stateReader reads what appendState writes, in that order and without white space. What differs is odd: not wrong, but for
// the twin to judge.
type stateReader struct {
	scanner
	odd bool
}

// readState reads a state into s, which is empty. false: the twin has to do it, and s may be half full.
func readState(raw []byte, s *SessionState) (ok bool) {
	r := stateReader{scanner: scanner{text: raw}}
	s.ID = r.text(`{"id":`)
	s.Generation = r.count(`,"generation":`)
	s.Owner = r.given(`,"owner":`)
	s.Opaque = r.given(`,"opaque":`)
	s.AgeMS = r.signed(`,"age_ms":`)
	s.Closed = r.has(`,"closed":true`)
	r.must(`,"streams":[`)
	s.Streams = make([]StreamState, 0, 1)
	for r.another(len(s.Streams)) {
		s.Streams = append(s.Streams, StreamState{})
		r.stream(&s.Streams[len(s.Streams)-1])
	}
	r.must(`}`)
	return !r.odd && r.ended()
}

func (r *stateReader) stream(st *StreamState) {
	st.Name = r.text(`{"name":`)
	st.Kind = r.text(`,"kind":`)
	r.must(`,"legs":[`)
	st.Legs = make([]LegState, 0, MaxLegs)
	for r.another(len(st.Legs)) {
		st.Legs = append(st.Legs, LegState{})
		r.leg(&st.Legs[len(st.Legs)-1])
	}
	r.must(`}`)
}

func (r *stateReader) leg(l *LegState) {
	l.Name = r.text(`{"name":`)
	l.Network = r.text(`,"network":`)
	l.Local = r.text(`,"local":`)
	l.LocalRTCP = r.text(`,"local_rtcp":`)
	l.Advertise = r.given(`,"advertise":`)
	l.Remote = r.given(`,"remote":`)
	l.Pinned = r.given(`,"pinned":`)
	l.Pin = r.text(`,"pin":`)
	l.Direction = r.text(`,"direction":`)
	l.RXSuite = r.text(`,"rx_suite":`)
	l.TXSuite = r.text(`,"tx_suite":`)
	if r.has(`,"ssrc":`) {
		ssrc := r.count("")
		l.SSRC = uint32(ssrc)
		r.odd = r.odd || ssrc > math.MaxUint32
	}
	r.traffic(`,"in":`, &l.In)
	r.traffic(`,"out":`, &l.Out)
	if r.has(`,"drops":{`) {
		r.counts(&l.Drops)
	}
	q := &l.Quality
	q.Expected = r.count(`,"quality":{"expected":`)
	q.Lost = r.signed(`,"lost":`)
	q.JitterMS = r.decimal(`,"jitter_ms":`)
	q.MaxJitter = r.decimal(`,"jitter_max_ms":`)
	q.MOS = r.decimal(`,"mos":`)
	l.SilentMS = r.signed(`},"silent_ms":`)
	r.must(`}`)
}

func (r *stateReader) traffic(label string, t *Traffic) {
	r.must(label)
	t.Packets = r.count(`{"packets":`)
	t.Bytes = r.count(`,"bytes":`)
	t.RTCP = r.count(`,"rtcp_packets":`)
	if r.has(`,"opaque_packets":`) {
		t.Opaque = r.count("")
	}
	r.must(`}`)
}

// counts reads a map behind its bracket.
func (r *stateReader) counts(into *map[string]uint64) {
	*into = map[string]uint64{}
	for n := 0; !r.odd && !r.has(`}`); n++ {
		if n > 0 {
			r.must(`,`)
		}
		name := r.text("")
		(*into)[name] = r.count(`:`)
	}
}

// has takes what it says, if that comes next.
func (r *stateReader) has(label string) bool {
	rest := r.scanner.text[r.at:]
	if len(rest) < len(label) || string(rest[:len(label)]) != label {
		return false
	}
	r.at += len(label)
	return true
}

func (r *stateReader) must(label string) {
	if !r.has(label) {
		r.odd = true
	}
}

// another steps to the next element of a list that has had n, or over its end.
func (r *stateReader) another(n int) bool {
	if r.odd || r.has(`]`) {
		return false
	}
	if n > 0 {
		r.must(`,`)
	}
	return !r.odd
}

// text reads a member that is a string.
func (r *stateReader) text(label string) string {
	r.must(label)
	if r.odd {
		return ""
	}
	token, plain, ok := r.quoted()
	if !ok {
		r.odd = true
		return ""
	}
	return unquote(token, plain)
}

// given is text of a member that may be absent.
func (r *stateReader) given(label string) string {
	if !r.has(label) {
		return ""
	}
	return r.text("")
}

// count reads a member that is a natural number of few digits.
func (r *stateReader) count(label string) uint64 {
	r.must(label)
	if r.odd {
		return 0
	}
	token, ok := r.number()
	n, few := fewDigits(token)
	r.odd = !ok || !few
	return n
}

// signed is count of a number that may be below zero.
func (r *stateReader) signed(label string) int64 {
	r.must(label)
	if r.odd {
		return 0
	}
	token, ok := r.number()
	digits, negative := bytes.CutPrefix(token, []byte("-"))
	n, few := fewDigits(digits)
	r.odd = !ok || !few
	if negative {
		return -int64(n)
	}
	return int64(n)
}

// decimal reads a member that is a decimal number.
func (r *stateReader) decimal(label string) float64 {
	r.must(label)
	if r.odd {
		return 0
	}
	token, ok := r.number()
	if n, few := fewDigits(token); ok && few {
		return float64(n)
	}
	f, err := strconv.ParseFloat(string(token), 64)
	r.odd = !ok || err != nil || bytes.IndexByte(token, '-') == 0
	return f
}
