package sdp

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
)

// Why an a=crypto line cannot be used. Every error of ParseCrypto and every Crypto.Err wraps one of them.
var (
	ErrCryptoSyntax = errors.New("malformed")
	ErrSuite        = errors.New("unknown suite")
	ErrKey          = errors.New("unusable key")
	ErrSeveralKeys  = errors.New("several master keys, one is supported")
	ErrParam        = errors.New("unsupported session parameter")
)

// Bounds of RFC 4568 sections 6.1 and 9.2, and of our own.
const (
	maxLifetime = 1 << 48 // packets under one master key (RFC 3711 section 9.2)
	maxMKI      = 128     // bytes
	maxTag      = 999_999_999
)

// Crypto is one a=crypto attribute (RFC 4568). It prints without its key in every way of printing; Line has the key.
type Crypto struct {
	Tag      int
	Suite    string   // RFC name in capitals
	Key      []byte   // master key, then master salt
	Lifetime uint64   // packets; 0: not given
	MKI      []byte   // big-endian, MKILen long; nil: packets carry none
	MKILen   int      // bytes
	Params   []string // session parameters as written; of a parameter that holds a key, the name alone

	UnencryptedSRTP     bool
	UnencryptedSRTCP    bool
	UnauthenticatedSRTP bool

	Err error // why the line cannot be used; nil: it can
}

// suites are the eight we speak, with the bytes of master key and salt (RFC 4568 section 6.2, RFC 6188, RFC 7714).
var suites = [...]struct {
	name string
	key  int
}{
	{"AES_CM_128_HMAC_SHA1_80", 16 + 14},
	{"AES_CM_128_HMAC_SHA1_32", 16 + 14},
	{"AES_192_CM_HMAC_SHA1_80", 24 + 14},
	{"AES_192_CM_HMAC_SHA1_32", 24 + 14},
	{"AES_256_CM_HMAC_SHA1_80", 32 + 14},
	{"AES_256_CM_HMAC_SHA1_32", 32 + 14},
	{"AEAD_AES_128_GCM", 16 + 12},
	{"AEAD_AES_256_GCM", 32 + 12},
}

// Suites returns the names of the suites we speak.
func Suites() []string {
	names := make([]string, len(suites))
	for i, s := range suites {
		names[i] = s.name
	}
	return names
}

// KeyLength returns the bytes of master key and salt of a suite; ok is false for one we do not speak.
func KeyLength(suite string) (n int, ok bool) {
	for _, s := range suites {
		if s.name == suite {
			return s.key, true
		}
	}
	return 0, false
}

// NewCrypto makes a crypto line of ours with a fresh key from rand. It carries neither lifetime nor MKI.
func NewCrypto(tag int, suite string, rand io.Reader) (Crypto, error) {
	n, ok := KeyLength(suite)
	if !ok {
		return Crypto{}, fmt.Errorf("sdp: new key: %w %s", ErrSuite, printable(suite))
	}
	if tag < 0 || tag > maxTag {
		return Crypto{}, fmt.Errorf("sdp: new key: tag %d: want 0 to %d", tag, maxTag)
	}
	key := make([]byte, n)
	if _, err := io.ReadFull(rand, key); err != nil {
		return Crypto{}, fmt.Errorf("sdp: new key: read %d random bytes: %w", n, err)
	}
	return Crypto{Tag: tag, Suite: suite, Key: key}, nil
}

// Reply makes the crypto line of an answer that accepts c: its tag and suite, a fresh key of ours, and the negotiated
// session parameters repeated as RFC 4568 section 6.3.2 asks. It fails on a line that cannot be used.
func (c Crypto) Reply(rand io.Reader) (Crypto, error) {
	if c.Err != nil {
		return Crypto{}, c.Err
	}
	r, err := NewCrypto(c.Tag, c.Suite, rand)
	if err == nil && c.UnencryptedSRTCP {
		r.UnencryptedSRTCP, r.Params = true, []string{"UNENCRYPTED_SRTCP"}
	}
	return r, err
}

// SameKey tells whether two lines carry the same suite, key and MKI: a refreshed session goes on under the old key.
func (c Crypto) SameKey(o Crypto) bool {
	return c.Suite == o.Suite && len(c.Key) > 0 && subtle.ConstantTimeCompare(c.Key, o.Key) == 1 && string(c.MKI) == string(o.MKI)
}

// Line returns the attribute as an SDP line without line end. The key is in it.
func (c Crypto) Line() string {
	return string(c.appendLine(make([]byte, 0, roomCrypto)))
}

// appendLine writes Line.
func (c *Crypto) appendLine(b []byte) []byte {
	b = strconv.AppendInt(append(b, "a=crypto:"...), int64(c.Tag), 10)
	b = append(append(append(b, ' '), c.Suite...), " inline:"...)
	return c.appendSuffix(base64.StdEncoding.AppendEncode(b, c.Key))
}

// appendSuffix writes what follows the key: lifetime, MKI, session parameters.
func (c *Crypto) appendSuffix(b []byte) []byte {
	if c.Lifetime > 0 {
		b = strconv.AppendUint(append(b, '|'), c.Lifetime, 10)
	}
	if c.MKILen > 0 {
		b = new(big.Int).SetBytes(c.MKI).Append(append(b, '|'), 10)
		b = strconv.AppendInt(append(b, ':'), int64(c.MKILen), 10)
	}
	for _, p := range c.Params {
		b = append(append(b, ' '), p...)
	}
	return b
}

// ParseCrypto reads the value of an a=crypto attribute, with or without "a=crypto:" in front (RFC 4568 section 9.1).
// What could be read is returned beside the error, which Crypto.Err repeats. Base64 may lack its padding. Honoured:
// UNENCRYPTED_SRTCP. Without effect on a relay and so accepted: WSH, FEC_ORDER=FEC_SRTP, and extensions marked optional by a
// leading dash. Refused: KDR, UNENCRYPTED_SRTP, UNAUTHENTICATED_SRTP, FEC_KEY, FEC_ORDER=SRTP_FEC, unknown ones, more than one key.
func ParseCrypto(line string) (Crypto, error) {
	line = strings.TrimPrefix(line, "a=")
	line = strings.TrimPrefix(line, "crypto:")
	c := Crypto{}
	c.Err = c.parse(strings.Fields(line))
	if c.Err != nil {
		c.Err = fmt.Errorf("a=crypto:%d: %w", c.Tag, c.Err)
	}
	return c, c.Err
}

// parse reads tag, suite, key parameters, session parameters. No error quotes what may be a key.
func (c *Crypto) parse(fields []string) error {
	if len(fields) < 3 {
		return fmt.Errorf("%w: want tag, suite, inline:key", ErrCryptoSyntax)
	}
	tag, err := strconv.ParseUint(fields[0], 10, 32)
	if err != nil || tag > maxTag {
		return fmt.Errorf("%w: the tag is not a number up to %d", ErrCryptoSyntax, maxTag)
	}
	c.Tag, c.Suite = int(tag), strings.ToUpper(fields[1])
	for _, p := range fields[3:] {
		c.Params = append(c.Params, keyless(p))
	}
	want, ok := KeyLength(c.Suite)
	if !ok {
		return fmt.Errorf("%w %s", ErrSuite, printable(c.Suite))
	}
	key, others, several := strings.Cut(strings.TrimSuffix(fields[2], ";"), ";")
	if err := c.parseKey(key, want); err != nil {
		return err
	}
	if several {
		return fmt.Errorf("%w (%d given)", ErrSeveralKeys, 2+strings.Count(others, ";"))
	}
	return c.parseParams(fields[3:])
}

// parseKey reads "inline:key[|lifetime][|mki:length]". Lifetime and MKI are told apart by the colon.
func (c *Crypto) parseKey(param string, want int) error {
	const method = "inline:"
	if len(param) < len(method) || !strings.EqualFold(param[:len(method)], method) {
		return fmt.Errorf("%w: the key method is not inline", ErrCryptoSyntax)
	}
	parts := strings.Split(param[len(method):], "|")
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "="))
	if err != nil {
		return fmt.Errorf("%w: not base64", ErrKey)
	}
	if len(key) != want {
		return fmt.Errorf("%w: %d bytes, %s has %d of key and salt", ErrKey, len(key), c.Suite, want)
	}
	c.Key = key
	if len(parts) > 3 {
		return fmt.Errorf("%w: more than lifetime and MKI behind the key", ErrCryptoSyntax)
	}
	for i, part := range parts[1:] {
		value, length, isMKI := strings.Cut(part, ":")
		switch {
		case isMKI && i == len(parts)-2:
			err = c.parseMKI(value, length)
		case part == "": // an empty field, as in key||1:4
		case i == 0 && !isMKI:
			err = c.parseLifetime(part)
		default:
			err = fmt.Errorf("%w: want key|lifetime|MKI:length", ErrCryptoSyntax)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// parseLifetime reads "2^31" or "1048576". Too long a life makes the whole line invalid (RFC 4568 section 6.1).
func (c *Crypto) parseLifetime(text string) error {
	power, isPower := strings.CutPrefix(text, "2^")
	n, err := strconv.ParseUint(power, 10, 64)
	if isPower && err == nil && n < 64 {
		n = 1 << n
	} else if isPower {
		n = 0
	}
	if err != nil || n == 0 || n > maxLifetime {
		return fmt.Errorf("%w: the lifetime is not 1 to 2^48 packets", ErrCryptoSyntax)
	}
	c.Lifetime = n
	return nil
}

// parseMKI reads a decimal value and the bytes it takes in every packet.
func (c *Crypto) parseMKI(value, length string) error {
	n, err := strconv.ParseUint(length, 10, 8)
	if err != nil || n < 1 || n > maxMKI {
		return fmt.Errorf("%w: the MKI length is not 1 to %d bytes", ErrCryptoSyntax, maxMKI)
	}
	// 128 bytes are 309 decimal digits; more need not be multiplied out to be refused.
	if value == "" || len(value) > 309 || strings.ContainsFunc(value, func(r rune) bool { return r < '0' || r > '9' }) {
		return fmt.Errorf("%w: the MKI is not a decimal number", ErrCryptoSyntax)
	}
	mki, ok := new(big.Int).SetString(value, 10)
	if !ok || mki.BitLen() > int(n)*8 {
		return fmt.Errorf("%w: the MKI does not fit its %d bytes", ErrCryptoSyntax, n)
	}
	c.MKI, c.MKILen = mki.FillBytes(make([]byte, n)), int(n)
	return nil
}

// parseParams reads the session parameters (RFC 4568 section 6.3).
func (c *Crypto) parseParams(params []string) error {
	var refused error
	for _, p := range params {
		name, value, _ := strings.Cut(strings.ToUpper(p), "=")
		supported := false
		switch name {
		case "UNENCRYPTED_SRTCP":
			c.UnencryptedSRTCP, supported = true, true
		case "UNENCRYPTED_SRTP":
			c.UnencryptedSRTP = true
		case "UNAUTHENTICATED_SRTP":
			c.UnauthenticatedSRTP = true
		case "WSH": // a hint; our replay window is at least as large as any that is asked for
			supported = true
		case "FEC_ORDER":
			supported = value == "FEC_SRTP"
		default:
			supported = strings.HasPrefix(name, "-")
		}
		if !supported && refused == nil {
			refused = fmt.Errorf("%w %s", ErrParam, printable(name))
		}
	}
	return refused
}
