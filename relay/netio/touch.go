package netio

import "unsafe"

// cacheLine is the unit in which memory reaches a processor, in bytes.
const cacheLine = 64

// Touch reads a byte of every cache line of x, which begins one, and returns their sum so that the reads are not left out. Reads of
// many x in a loop overlap where a computation, which needs one after the other, would wait for each.
func Touch[T any](x *T) (sum byte) {
	for at := uintptr(0); at < unsafe.Sizeof(*x); at += cacheLine {
		sum += *(*byte)(unsafe.Add(unsafe.Pointer(x), at))
	}
	return sum
}
