package sdp

import (
	"strconv"
	"strings"
	"testing"
)

// A body of telephony takes what is kept of it and nothing beside: the session, its text, its lines, its m-lines, the lines, the
// formats and the payload types of the one m-line. What is written takes the body.
func TestReadingAndWritingAllocateOnlyWhatTheyReturn(t *testing.T) {
	in := []byte(corpus["asterisk"].body)
	if n := testing.AllocsPerRun(100, func() { _, _ = Read(in) }); n != 7 {
		t.Errorf("Read: %v allocations, want 7", n)
	}
	s, side := mustReadNamed(t, "asterisk"), ours(true)
	for name, write := range map[string]func() []byte{
		"Offer":  func() []byte { return Offer(s, 0, side) },
		"Answer": func() []byte { return Answer(s, 0, s, 0, side) },
		"Update": func() []byte { return Update(s, 0, side, s, 0) },
		"Bytes":  func() []byte { return s.Bytes() },
	} {
		if n := testing.AllocsPerRun(100, func() { write() }); n != 1 {
			t.Errorf("%s: %v allocations, want 1", name, n)
		}
	}
}

func TestNumbersAndBlanksAreThoseOfTheStandardLibrary(t *testing.T) {
	for _, text := range []string{
		"", "0", "7", "007", "127", "128", "255", "256", "65535", "65536", "4294967295", "4294967296", "18446744073709551616",
		"99999999999999999999999999", "-1", "+1", "1_0", "0x1", "1.5", " 1", "1 ", "a", "\t", "\t a\t b \t", "\u00a01", "\xff",
	} {
		for _, bits := range []int{7, 8, 16, 31, 32} {
			want, err := strconv.ParseUint(text, 10, bits)
			if got, ok := decimal(text, bits); ok != (err == nil) || ok && got != want {
				t.Errorf("%q in %d bits: %d, %v, want %d, %v", text, bits, got, ok, want, err)
			}
		}
		if got, want := trim(text), strings.Trim(text, " \t"); got != want {
			t.Errorf("%q trimmed: %q, want %q", text, got, want)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, name := range []string{"teams", "asterisk"} {
		in := []byte(corpus[name].body)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if _, err := Read(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOffer(b *testing.B) {
	from, side := mustReadNamed(b, "teams"), ours(true)
	b.ReportAllocs()
	for b.Loop() {
		if Offer(from, 0, side) == nil {
			b.Fatal("no offer")
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	offer, answer, side := mustReadNamed(b, "teams"), mustReadNamed(b, "asterisk"), ours(true)
	b.ReportAllocs()
	for b.Loop() {
		if Answer(offer, 0, answer, 0, side) == nil {
			b.Fatal("no answer")
		}
	}
}

func BenchmarkRedact(b *testing.B) {
	in := []byte(corpus["teams"].body)
	b.ReportAllocs()
	for b.Loop() {
		Redact(in)
	}
}
