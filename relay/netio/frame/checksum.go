package frame

import (
	"encoding/binary"
	"math/bits"
)

// Checksum adds b to a partial Internet checksum (RFC 1071) and returns it; a checksum starts with sum 0. When one is
// made of several pieces, only the last may have an odd length.
//
// The sum is kept in 64 bits with the carry brought round, over words read in little-endian order: RFC 1071 section 2
// shows that neither the width nor the byte order changes the result, as long as Fold swaps at the end.
func Checksum(sum uint64, b []byte) uint64 {
	var carry uint64
	for len(b) >= 64 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[24:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[32:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[40:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[48:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[56:]), carry)
		sum += carry // cannot overflow: a sum that carried is below the maximum
		b = b[64:]
	}
	if len(b) >= 32 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[24:]), carry)
		sum += carry
		b = b[32:]
	}
	if len(b) >= 16 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:]), carry)
		sum += carry
		b = b[16:]
	}
	if len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), 0)
		sum += carry
		b = b[8:]
	}
	sum, carry = bits.Add64(sum, lastBytes(b), 0)
	return sum + carry
}

// lastBytes reads the at most 7 bytes that are left as one little-endian word. An odd last byte is the first of its
// pair, as RFC 1071 wants it: the other is 0.
func lastBytes(b []byte) uint64 {
	var word uint64
	if len(b) >= 4 {
		word = uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
		switch len(b) {
		case 1:
			return word | uint64(b[0])<<32
		case 2:
			return word | uint64(binary.LittleEndian.Uint16(b))<<32
		case 3:
			return word | uint64(binary.LittleEndian.Uint16(b))<<32 | uint64(b[2])<<48
		}
		return word
	}
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 3:
		return uint64(binary.LittleEndian.Uint16(b)) | uint64(b[2])<<16
	}
	return 0
}

// Fold ends a sum of Checksum: it returns the checksum as a header carries it, the complement of the 16-bit sum, to be
// written in network byte order.
func Fold(sum uint64) uint16 { return bits.ReverseBytes16(^fold(sum)) }

// fold brings a sum to 16 bits, in the byte order it was made in. Two halves of a word never carry twice.
func fold(sum uint64) uint16 {
	low, carry := bits.Add32(uint32(sum>>32), uint32(sum), 0)
	low += carry
	half := low>>16 + low&0xffff
	return uint16(half>>16 + half)
}
