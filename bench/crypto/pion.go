package crypto

import (
	"encoding/binary"
	"fmt"

	"github.com/pion/rtp"
	pion "github.com/pion/srtp/v2"

	"tandem/relay/srtp"
)

// profiles are the suites that pion/srtp/v2 has.
var profiles = map[srtp.Suite]pion.ProtectionProfile{
	srtp.AES128CM80: pion.ProtectionProfileAes128CmHmacSha1_80,
	srtp.AES128CM32: pion.ProtectionProfileAes128CmHmacSha1_32,
	srtp.AES256CM80: pion.ProtectionProfileAes256CmHmacSha1_80,
	srtp.AES256CM32: pion.ProtectionProfileAes256CmHmacSha1_32,
	srtp.AES128GCM:  pion.ProtectionProfileAeadAes128Gcm,
	srtp.AES256GCM:  pion.ProtectionProfileAeadAes256Gcm,
}

// measurePion measures the same packet with pion/srtp/v2, one at a time: it takes no batches. It has no replay window unless asked
// for one, so that opening the same packet again is the same work.
func measurePion(o *Options, suite srtp.Suite) ([]Result, error) {
	profile, ok := profiles[suite]
	if !ok {
		return nil, nil
	}
	key := secret(suite, 0)
	context := func() (*pion.Context, error) {
		return pion.CreateContext(key[:suite.KeyLen()], key[suite.KeyLen():], profile)
	}
	sealer, err := context()
	if err != nil {
		return nil, err
	}
	opener, err := context()
	if err != nil {
		return nil, err
	}
	clear, out, header := packet(1), make([]byte, 0, 2048), new(rtp.Header)
	sealed, err := sealer.EncryptRTP(nil, clear, header)
	if err != nil {
		return nil, err
	}
	seq, failed := uint16(1), error(nil)
	sealing, sealingAllocs := median(o, 1, func(n int) {
		for range n {
			seq++
			binary.BigEndian.PutUint16(clear[2:], seq)
			if _, err := sealer.EncryptRTP(out, clear, header); err != nil {
				failed = fmt.Errorf("seal: %w", err)
			}
		}
	})
	opening, openingAllocs := median(o, 1, func(n int) {
		for range n {
			if _, err := opener.DecryptRTP(out, sealed, header); err != nil {
				failed = fmt.Errorf("open: %w", err)
			}
		}
	})
	return []Result{
		{"pion", suite.String(), "seal", "v2", 1, sealing, sealingAllocs},
		{"pion", suite.String(), "open", "v2", 1, opening, openingAllocs},
	}, failed
}
