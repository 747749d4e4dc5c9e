package frame

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestChecksumIsThatOfRFC1071AtEveryLength(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	buffer := make([]byte, 400)
	for i := range buffer {
		buffer[i] = byte(random.Uint32())
	}
	for length := range buffer {
		for offset := range min(9, len(buffer)-length) {
			b := buffer[offset:][:length]
			if got, want := Fold(Checksum(0, b)), naive(b); got != want {
				t.Fatalf("%d bytes at %d: %#04x; want %#04x", length, offset, got, want)
			}
		}
	}
}

func TestChecksumCarriesWhereEveryAdditionOverflows(t *testing.T) {
	for length := range 300 {
		b := bytes.Repeat([]byte{0xff}, length)
		if got, want := Fold(Checksum(0, b)), naive(b); got != want {
			t.Errorf("%d bytes of 0xff: %#04x; want %#04x", length, got, want)
		}
		if got, want := Fold(Checksum(^uint64(0), b)), naive(b); length > 1 && got != want {
			t.Errorf("%d bytes of 0xff on a full sum: %#04x; want %#04x", length, got, want)
		}
	}
}

func TestChecksumExampleOfRFC1071(t *testing.T) {
	// Section 3: the sum is ddf2, the checksum its complement.
	if got := Fold(Checksum(0, []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7})); got != ^uint16(0xddf2) {
		t.Errorf("%#04x; want %#04x", got, ^uint16(0xddf2))
	}
}

func FuzzChecksum(f *testing.F) {
	f.Add([]byte(nil), uint8(0))
	f.Add([]byte{0xff}, uint8(0))
	f.Add(bytes.Repeat([]byte{0xff}, 191), uint8(64))
	f.Add(make([]byte, 64), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, at uint8) {
		want := naive(b)
		if got := Fold(Checksum(0, b)); got != want {
			t.Errorf("%d bytes: %#04x; want %#04x", len(b), got, want)
		}
		cut := min(int(at)&^1, len(b)&^1)
		if got := Fold(Checksum(Checksum(0, b[:cut]), b[cut:])); got != want {
			t.Errorf("%d bytes in pieces, cut at %d: %#04x; want %#04x", len(b), cut, got, want)
		}
	})
}

func BenchmarkChecksum(b *testing.B) {
	for _, size := range []int{20, 172, 182, 1200} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			data := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				Checksum(0, data)
			}
		})
	}
}
