package kernel

import (
	"bytes"
	"testing"
)

// FuzzEveryTierComputesWhatTheTwinDoes cuts the input into two messages and takes keys and nonce from seed.
func FuzzEveryTierComputesWhatTheTwinDoes(f *testing.F) {
	for _, n := range []int{0, 1, 12, 32, 55, 64, 172, 300, 1212} {
		f.Add(uint64(n), uint16(n/3), uint8(n), random(uint64(n), n))
	}
	f.Fuzz(func(t *testing.T, seed uint64, cut uint16, choice uint8, data []byte) {
		if len(data) > 4096 {
			data = data[:4096]
		}
		at := int(cut) % (len(data) + 1)
		keyLen := []int{16, 24, 32}[int(choice)%3]
		material := [materialSize]byte(random(seed, materialSize))
		want := digest(Generic, &material, keyLen, data[:at], data[at:])
		for _, tier := range Tiers()[1:] {
			if got := digest(tier, &material, keyLen, data[:at], data[at:]); !bytes.Equal(got, want) {
				t.Fatalf("%s, key of %d bytes, %d and %d bytes: byte %d of the results differs",
					tier, keyLen, at, len(data)-at, mismatch(got, want))
			}
		}
	})
}
