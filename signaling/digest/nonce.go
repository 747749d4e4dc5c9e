package digest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// nonceLife is how long an answer may come after its challenge. A client that keeps a nonce longer is told stale=true and
// needs one round trip more.
const nonceLife = 5 * time.Minute

// A nonce is when it was made and its number, signed. The server need not remember what it handed out, so that a flood of
// challenges costs nothing.
const (
	nonceTime = 8 // bytes: Unix time in milliseconds
	nonceNum  = 8 // bytes: rises by one with each challenge of this server
	nonceMAC  = 16
	nonceLen  = nonceTime + nonceNum + nonceMAC
)

// nonce is one that this server made.
type nonce struct {
	made   time.Time
	number uint64
}

func (n nonce) text(key []byte) string {
	var b [nonceLen]byte
	binary.BigEndian.PutUint64(b[:], uint64(n.made.UnixMilli()))
	binary.BigEndian.PutUint64(b[nonceTime:], n.number)
	copy(b[nonceTime+nonceNum:], sign(key, b[:nonceTime+nonceNum]))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// readNonce is false for what this server did not make.
func readNonce(key []byte, text string) (nonce, bool) {
	if base64.RawURLEncoding.DecodedLen(len(text)) != nonceLen {
		return nonce{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || !hmac.Equal(b[nonceTime+nonceNum:], sign(key, b[:nonceTime+nonceNum])) {
		return nonce{}, false
	}
	return nonce{
		made:   time.UnixMilli(int64(binary.BigEndian.Uint64(b))),
		number: binary.BigEndian.Uint64(b[nonceTime:]),
	}, true
}

func sign(key, b []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(b)
	return mac.Sum(nil)[:nonceMAC]
}

// old reports that an answer comes too late, or from before the clock was set back.
func (n nonce) old(now time.Time) bool {
	age := now.Sub(n.made)
	return age > nonceLife || age < -nonceLife
}

// Sizes of what is remembered of answers.
const (
	usesKept = 4096 // nonces: 96 KiB a server. A nonce gives way to the one that is made so many later
	ncWindow = 64   // answers to one nonce may overtake one another by so many
)

// uses remembers which answers were given: for each nonce the highest nc and which of the ncWindow below it came. A nonce's
// place follows from its number, and a later nonce takes the place of an earlier one. The earlier one is stale from then
// on, never fresh again, so that forgetting opens no door.
type uses [usesKept]struct {
	number uint64 // of the nonce; 0: none yet
	high   uint32
	came   uint64 // bit i: high-i
}

// take notes an answer, once.
func (u *uses) take(number uint64, nc uint32) Result {
	e := &u[number%usesKept]
	switch {
	case e.number > number:
		return Stale
	case e.number < number:
		e.number, e.high, e.came = number, nc, 1
		return OK
	case nc > e.high:
		e.came = e.came<<min(nc-e.high, ncWindow) | 1
		e.high = nc
		return OK
	case e.high-nc >= ncWindow || e.came>>(e.high-nc)&1 != 0:
		return Replayed
	}
	e.came |= 1 << (e.high - nc)
	return OK
}
