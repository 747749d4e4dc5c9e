package phone

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/pion/srtp/v2"
)

// suite is an SRTP suite that pion knows.
type suite struct {
	name      string // as in a=crypto (RFC 4568, RFC 6188, RFC 7714)
	profile   srtp.ProtectionProfile
	key, salt int // bytes
}

func suites() []suite {
	return []suite{
		{"AES_CM_128_HMAC_SHA1_80", srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
		{"AES_CM_128_HMAC_SHA1_32", srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14},
		{"AES_256_CM_HMAC_SHA1_80", srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14},
		{"AES_256_CM_HMAC_SHA1_32", srtp.ProtectionProfileAes256CmHmacSha1_32, 32, 14},
		{"AEAD_AES_128_GCM", srtp.ProtectionProfileAeadAes128Gcm, 16, 12},
		{"AEAD_AES_256_GCM", srtp.ProtectionProfileAeadAes256Gcm, 32, 12},
	}
}

func suiteNames() []string {
	var names []string
	for _, s := range suites() {
		names = append(names, s.name)
	}
	return names
}

func suiteNamed(name string) *suite {
	for _, s := range suites() {
		if s.name == name {
			return &s
		}
	}
	return nil
}

// newKey makes a master key and salt in the form that follows "inline:".
func (s *suite) newKey() string {
	b := make([]byte, s.key+s.salt)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// context makes pion's state for one direction. inline is a master key and salt, as after "inline:".
func (s *suite) context(inline string) (*srtp.Context, error) {
	b, err := base64.StdEncoding.DecodeString(inline)
	if err != nil {
		b, err = base64.RawStdEncoding.DecodeString(inline) // some leave the padding out
	}
	if err != nil || len(b) != s.key+s.salt {
		return nil, fmt.Errorf("the key of %s is not %d bytes in base64", s.name, s.key+s.salt)
	}
	return srtp.CreateContext(b[:s.key], b[s.key:], s.profile)
}
