package relay

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"tandem/internal/control"
	"tandem/relay/pin"
	"tandem/relay/srtp"
)

// keys are the expanded keys of a leg. They are Go objects, rebuilt from the raw keys in the arena, and so live beside it.
type keys struct {
	rx, tx  *srtp.Cipher
	retired *retired
	past    []*retired // replaced receive keys; their windows refuse replays if one comes back
}

// retired is a receive key that was replaced, and lives on for packets in flight.
type retired struct {
	cipher *srtp.Cipher
	keys   srtp.Keys
	rx     srtp.RX
	from   pin.Addr // where we sent while it was in force
	until  int64
}

// wipe overwrites the expanded keys.
func (k *keys) wipe() {
	for _, c := range []*srtp.Cipher{k.rx, k.tx} {
		if c != nil {
			c.Wipe()
		}
	}
	if k.retired != nil {
		k.retired.cipher.Wipe()
	}
	*k = keys{}
}

// planKeys takes new keys. Keys that are not new change nothing: rollover counters and windows stay.
func planKeys(c *change, m *control.Leg) error {
	w := &c.next
	if m.RX != nil {
		keys, err := parseKeys(m.RX)
		if err != nil {
			return fmt.Errorf("rx.%w", err)
		}
		if keys != w.rx && keys != (srtp.Keys{}) {
			if c.rx, err = srtp.NewCipher(&keys); err != nil {
				return fmt.Errorf("rx: %w", err)
			}
		}
		if keys != w.rx {
			w.rx = keys
			w.policy.Epoch++
		}
	}
	if m.TX != nil {
		keys, err := parseKeys(m.TX)
		if err != nil {
			return fmt.Errorf("tx.%w", err)
		}
		if keys != w.tx && keys != (srtp.Keys{}) {
			if slices.ContainsFunc(w.used, func(u srtp.Keys) bool { return u.SameSecret(&keys) }) {
				return errors.New("tx.key: this leg has used this key before; its packet indices are spent, so make a new key")
			}
			if len(w.used) == maxUsedKeys {
				return fmt.Errorf("tx.key: this leg has gone through %d keys; open a new session", maxUsedKeys)
			}
			if c.tx, err = srtp.NewCipher(&keys); err != nil {
				return fmt.Errorf("tx: %w", err)
			}
			w.used = append(w.used, keys)
		}
		w.tx, w.carry = keys, m.TX.ROC == "carry"
	}
	return nil
}

// parseKeys decodes one direction's keys; suite "none" gives the zero value. An error never shows the key.
func parseKeys(m *control.Crypto) (srtp.Keys, error) {
	suite, ok := srtp.ParseSuite(m.Suite)
	if !ok {
		return srtp.Keys{}, fmt.Errorf("suite: %q is unknown; relay.hello lists the suites, and none means plain RTP", m.Suite)
	}
	if m.ROC != "" && m.ROC != "reset" && m.ROC != "carry" {
		return srtp.Keys{}, fmt.Errorf("roc: %q; use reset or carry", m.ROC)
	}
	if suite == srtp.None {
		if m.Key != "" {
			return srtp.Keys{}, errors.New("key: given with suite none")
		}
		return srtp.Keys{}, nil
	}
	encoding := base64.StdEncoding
	if len(m.Key)%4 != 0 {
		encoding = base64.RawStdEncoding
	}
	raw, err := encoding.DecodeString(m.Key)
	if err != nil {
		return srtp.Keys{}, errors.New("key: not base64; it is master key and salt as after inline: in a=crypto")
	}
	mki, err := hex.DecodeString(m.MKI)
	if err != nil {
		return srtp.Keys{}, errors.New("mki: not hexadecimal")
	}
	keys, err := srtp.NewKeys(suite, raw, mki, m.UnencryptedRTCP)
	if err != nil {
		return srtp.Keys{}, fmt.Errorf("key: %w", err)
	}
	return keys, nil
}
