package load

import (
	"fmt"

	"github.com/pion/srtp/v2"
)

// A suite as pion's SRTP knows it, with the bytes of its keys and tags.
type suite struct {
	name      string
	profile   srtp.ProtectionProfile
	key, salt int
	tag       int
}

// suites returns the suites that the load can speak.
func suites() []suite {
	return []suite{
		{"AES_CM_128_HMAC_SHA1_80", srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14, 10},
		{"AES_CM_128_HMAC_SHA1_32", srtp.ProtectionProfileAes128CmHmacSha1_32, 16, 14, 4},
		{"AES_256_CM_HMAC_SHA1_80", srtp.ProtectionProfileAes256CmHmacSha1_80, 32, 14, 10},
		{"AES_256_CM_HMAC_SHA1_32", srtp.ProtectionProfileAes256CmHmacSha1_32, 32, 14, 4},
		{"AEAD_AES_128_GCM", srtp.ProtectionProfileAeadAes128Gcm, 16, 12, 16},
		{"AEAD_AES_256_GCM", srtp.ProtectionProfileAeadAes256Gcm, 32, 12, 16},
	}
}

// maxTag is the longest tag of all suites, in bytes.
const maxTag = 16

func cipherOf(name string) (suite, error) {
	for _, s := range suites() {
		if s.name == name {
			return s, nil
		}
	}
	return suite{}, fmt.Errorf("load: SRTP suite %q is not known", name)
}

// newContext returns pion's context for one direction under one key; nil for plain RTP.
func newContext(name string, keyAndSalt []byte) (*srtp.Context, error) {
	if name == "" {
		return nil, nil
	}
	s, err := cipherOf(name)
	if err != nil {
		return nil, err
	}
	if len(keyAndSalt) != s.key+s.salt {
		return nil, fmt.Errorf("load: %s: key and salt of %d bytes, %d are needed", name, len(keyAndSalt), s.key+s.salt)
	}
	return srtp.CreateContext(keyAndSalt[:s.key], keyAndSalt[s.key:], s.profile, srtp.SRTPNoReplayProtection())
}
