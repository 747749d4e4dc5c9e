package kernel

import (
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func address(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// guarded returns memory of n bytes between two pages that nobody may touch: a read or write beyond ends the test binary.
func guarded(t *testing.T, n int) []byte {
	t.Helper()
	page := os.Getpagesize()
	all, err := unix.Mmap(-1, 0, 2*page+n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatalf("mmap: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(all); err != nil {
			t.Errorf("munmap: %v", err)
		}
	})
	for _, guard := range [][]byte{all[:page], all[page+n:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatalf("mprotect: %v", err)
		}
	}
	return all[page : page+n]
}

// against returns a T that begins at the start of guarded memory, or ends with it.
func against[T any](room []byte, end bool) *T {
	var value T
	at := 0
	if end {
		at = len(room) - int(unsafe.Sizeof(value))
	}
	p := (*T)(unsafe.Pointer(&room[at]))
	*p = value
	return p
}

// TestNothingBeyondThePacketIsTouched puts each argument against the guard page behind it, then against the one before it.
func TestNothingBeyondThePacketIsTouched(t *testing.T) {
	page := os.Getpagesize()
	var rooms [9][]byte
	for i := range rooms {
		rooms[i] = guarded(t, page)
	}
	data, side := guarded(t, page), guarded(t, page)
	eachTier(t, func(t *testing.T, tier Tier) {
		for _, n := range lengths() {
			if n > page {
				continue
			}
			aad := n % 60
			touch(tier, data[page-n:], side[page-aad:], &rooms, true)
			touch(tier, data[:n:n], side[:aad:aad], &rooms, false)
		}
	})
}

// touch runs every operation over p and aad, with keys, nonces and tags in rooms.
func touch(tier Tier, p, aad []byte, rooms *[9][]byte, end bool) {
	rk, g, mac := against[RoundKeys](rooms[0], end), against[GHASH](rooms[1], end), against[HMAC](rooms[2], end)
	iv, nonce, tag := against[[16]byte](rooms[3], end), against[[12]byte](rooms[4], end), against[[16]byte](rooms[5], end)
	one, two := against[[20]byte](rooms[6], end), against[[20]byte](rooms[7], end)
	mac.Init(tier, one)
	for _, keyLen := range []int{16, 24, 32} {
		key := rooms[8][:keyLen]
		if end {
			key = rooms[8][len(rooms[8])-keyLen:]
		}
		rounds := Expand(tier, rk, key)
		g.Init(tier, rk, rounds)
		CTR(tier, rk, rounds, iv, p)
		SealGCM(tier, rk, rounds, g, nonce, aad, p, tag)
		OpenGCM(tier, rk, rounds, g, nonce, aad, p, tag)
	}
	HMAC1(tier, mac, p, 1, true, one)
	long, short := Lane{Key: mac, Msg: p, Tag: one}, Lane{Key: mac, Msg: aad, Tag: two, WithSuffix: true}
	HMAC2(tier, &long, &short)
	var lanes [Wide]*Lane
	for i := range lanes {
		lanes[i] = []*Lane{&long, &short, &short}[i%3]
	}
	HMAC16(tier, lanes[:1+len(p)%Wide])
}
