package sdp

import "testing"

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
