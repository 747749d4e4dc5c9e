package kernel

import "unsafe"

// HMAC returns the room of a hash key as the room of an HMAC key: a suite has the one or the other, and what is kept for a key has
// room for the larger. It is used where it lies, so that no copy of it is left elsewhere.
func (g *GHASH) HMAC() *HMAC { return (*HMAC)(unsafe.Pointer(g)) }

const _ = unsafe.Sizeof(GHASH{}) - unsafe.Sizeof(HMAC{}) // it fits: a constant of this type is not below zero
