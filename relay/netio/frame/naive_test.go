package frame

// naive is RFC 1071 section 4.1 word for word: the slow twin of Checksum and Fold.
func naive(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
		sum = sum>>16 + sum&0xffff
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// pseudoHeader is what RFC 768 and RFC 8200 section 8.1 put before the datagram for its checksum.
func pseudoHeader(src, dst []byte, length int) []byte {
	b := append([]byte(nil), src...)
	b = append(b, dst...)
	if len(src) == 4 {
		return append(b, 0, 17, byte(length>>8), byte(length))
	}
	return append(b, byte(length>>24), byte(length>>16), byte(length>>8), byte(length), 0, 0, 0, 17)
}
