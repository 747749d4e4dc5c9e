package kernel

import "encoding/binary"

// HMAC is a key of HMAC-SHA1 as the two hash values after its padded block: SHA-1 resumes from them (RFC 2104 section 4).
type HMAC struct{ Inner, Outer [5]uint32 }

// Init fills h from a key of 20 bytes, which SRTP's session keys have (RFC 3711 section 5.2).
func (h *HMAC) Init(t Tier, key *[20]byte) { hmacKey(t, h, key) }

// hmacKeyGeneric hashes the two padded blocks of the key (RFC 2104 section 2, steps 1, 2 and 5).
func hmacKeyGeneric(h *HMAC, key *[20]byte) {
	var inner, outer [shaBlock]byte
	copy(inner[:], key[:])
	copy(outer[:], key[:])
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5C
	}
	h.Inner, h.Outer = shaStart, shaStart
	sha1Generic(&h.Inner, inner[:])
	sha1Generic(&h.Outer, outer[:])
	clear(inner[:])
	clear(outer[:])
}

// Lane is one message of HMAC2 or HMAC16: HMAC-SHA1 under Key over Msg and, if WithSuffix, the four bytes of Suffix in big-endian order,
// which SRTP hashes without sending them (the rollover counter, RFC 3711 section 4.2). The tag goes to Tag. Nothing is
// kept after the call.
type Lane struct {
	Key        *HMAC
	Msg        []byte
	Tag        *[20]byte
	Suffix     uint32
	WithSuffix bool
}

// HMAC1 writes to tag the HMAC-SHA1 of msg and, if withSuffix, of suffix as four big-endian bytes after it.
func HMAC1(t Tier, h *HMAC, msg []byte, suffix uint32, withSuffix bool, tag *[20]byte) {
	a := stream{key: h, tag: tag, msg: msg}
	a.pad(suffix, withSuffix)
	hmac1(t, &a)
}

// HMAC2 does what HMAC1 does on two messages of any two lengths. Where the processor hashes two streams side by side, it does so
// as far as the shorter one goes. The lanes may share a key.
func HMAC2(t Tier, a, b *Lane) {
	// Filled in where they are: a copy would wait for what was just written.
	var x, y stream
	x.key, x.tag, x.msg = a.Key, a.Tag, a.Msg
	y.key, y.tag, y.msg = b.Key, b.Tag, b.Msg
	x.pad(a.Suffix, a.WithSuffix)
	y.pad(b.Suffix, b.WithSuffix)
	if x.blocks < y.blocks {
		hmac2(t, &y, &x)
		return
	}
	hmac2(t, &x, &y)
}

const (
	Wide   = 16 // messages that HMAC16 takes
	narrow = 4  // up to so many do with less room
)

// HMAC16 does what HMAC1 does on up to Wide messages of any lengths; more panic. SideBySide says how many of them the tier hashes
// together, in the time that as many of the longest would take: the caller puts those of about one length next to each other.
func HMAC16(t Tier, lanes []*Lane) {
	if len(lanes) <= narrow {
		hashFew(t, lanes)
		return
	}
	if len(lanes) > Wide {
		panic("kernel: HMAC16 over more than 16 messages")
	}
	var streams [Wide]stream
	var spare HMAC // for the streams that no message takes: they have no blocks, but a key and a place for a tag
	var nowhere [shaSize]byte
	longest := 0
	for i, l := range lanes {
		streams[i].key, streams[i].tag, streams[i].msg = l.Key, l.Tag, l.Msg
		streams[i].pad(l.Suffix, l.WithSuffix)
		longest = max(longest, streams[i].blocks)
	}
	for i := len(lanes); i < Wide; i++ {
		streams[i].key, streams[i].tag = &spare, &nowhere
	}
	hmac16(t, &streams, longest)
}

// hashFew is HMAC16 of up to narrow messages, for which clearing the room of sixteen would take a good part of the time.
func hashFew(t Tier, lanes []*Lane) {
	var streams [narrow]stream
	var spare HMAC
	var nowhere [shaSize]byte
	longest := 0
	for i, l := range lanes {
		streams[i].key, streams[i].tag, streams[i].msg = l.Key, l.Tag, l.Msg
		streams[i].pad(l.Suffix, l.WithSuffix)
		longest = max(longest, streams[i].blocks)
	}
	for i := len(lanes); i < narrow; i++ {
		streams[i].key, streams[i].tag = &spare, &nowhere
	}
	if longest > 0 {
		hmac4(t, &streams, longest)
	}
}

// Side is a way to hash: Lanes messages side by side, which pays from From messages of one length on.
type Side struct{ Lanes, From int }

// SideBySide returns the ways that tier t has beside hashing two messages or one, the widest first.
func SideBySide(t Tier) []Side { return sideBySide(t) }

// stream is a message laid out for SHA-1: its whole blocks where they are, the rest with suffix and padding in tail. The pointers
// are set where the stream is made and not by a method: stored through a pointer, they would count as kept, and what they point to
// would move to the heap.
type stream struct {
	key    *HMAC
	tag    *[20]byte
	msg    []byte             // only whole blocks of it are read from there
	blocks int                // of msg and tail together, at least 1
	tail   [2 * shaBlock]byte // one block or two
}

// pad lays out what follows the whole blocks and pads it (FIPS 180-4 section 5.1.1). The key's block counts for the length.
func (s *stream) pad(suffix uint32, withSuffix bool) {
	n := len(s.msg)
	rest := n % shaBlock
	copy(s.tail[:shaBlock], s.msg[n-rest:])
	if withSuffix {
		binary.BigEndian.PutUint32(s.tail[rest:], suffix)
		rest += 4
		n += 4
	}
	s.tail[rest] = 0x80
	end := shaBlock
	if rest > shaBlock-9 { // no room for the first byte of padding and the eight of the length
		end = 2 * shaBlock
	}
	binary.BigEndian.PutUint64(s.tail[end-8:], uint64(shaBlock+n)*8)
	s.blocks = len(s.msg)/shaBlock + end/shaBlock
}

// hmacGeneric is RFC 2104 section 2 from the two saved states.
func hmacGeneric(s *stream) {
	whole := len(s.msg) / shaBlock
	state := s.key.Inner
	sha1Generic(&state, s.msg)
	sha1Generic(&state, s.tail[:(s.blocks-whole)*shaBlock])
	var last [shaBlock]byte
	putDigest(last[:], &state)
	last[shaSize] = 0x80
	binary.BigEndian.PutUint64(last[shaBlock-8:], (shaBlock+shaSize)*8)
	state = s.key.Outer
	sha1Generic(&state, last[:])
	putDigest(s.tag[:], &state)
}
