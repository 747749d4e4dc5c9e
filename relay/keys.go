package relay

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"tandem/internal/control"
	"tandem/relay/pin"
	"tandem/relay/srtp"
)

// retiredLife is how long a replaced receive key opens packets that were in flight.
const retiredLife = 2 * time.Second

// maxPastKeys bounds how many replaced receive keys are remembered with what they opened.
const maxPastKeys = 8

// maxUsedKeys bounds how many send keys one leg may go through.
const maxUsedKeys = 64

// keys are the receive keys that a leg had before. Few legs ever get a second one: these live beside the arena.
type keys struct {
	retired *retired   // the last one, while it opens packets in flight
	past    []*retired // their windows refuse replays if one comes back
}

// retired is a receive key that was replaced, and what it opened.
type retired struct {
	keys schedules // until its time is over
	said srtp.Keys
	now  srtp.RXNow
	rest srtp.RXRest
	from pin.Addr // where we sent while it was in force

	until int64 // when it opens nothing any more, CLOCK_MONOTONIC
}

// retiring is when the time of a leg's retired key is over.
type retiring struct {
	leg   uint32
	until int64 // CLOCK_MONOTONIC
}

func (r *retired) received() srtp.Received { return srtp.Received{Now: &r.now, Rest: &r.rest} }

// schedules are the expanded keys of one direction.
type schedules struct {
	rtp, rtcp srtp.Schedule
}

func (s *schedules) wipe() {
	if s != nil {
		s.rtp.Wipe()
		s.rtcp.Wipe()
	}
}

// retire takes a leg's receive key out of service, but for packets in flight.
func (w *worker) retire(index uint32, until int64) {
	l, k := &w.legs[index], &w.cold[index]
	r := &retired{keys: schedules{l.rxKey, w.reports[index].rxKey}, said: k.said.rx, until: until}
	r.received().Copy(w.rxOf(index))
	r.from, _ = l.pin.SendTo()
	before := w.keys[index]
	if before == nil {
		before = &keys{}
		w.keys[index] = before
	}
	if len(before.past) == maxPastKeys {
		before.past[0].said = srtp.Keys{}
		before.past = slices.Delete(before.past, 0, 1)
	}
	before.retired, before.past = r, append(before.past, r)
	l.flags |= renewed | retires
	w.retiring = append(w.retiring, retiring{index, until})
}

// forget ends the time of the key that was retired last. What it opened stays known.
func (w *worker) forget(index uint32) {
	if w.legs[index].flags&retires == 0 {
		return
	}
	w.legs[index].flags &^= retires
	w.keys[index].retired.keys.wipe()
	w.keys[index].retired = nil
}

// wipe empties the master keys of a leg that ends; forget has emptied the schedules.
func (k *keys) wipe() {
	for _, p := range k.past {
		p.said = srtp.Keys{}
	}
}

// recall returns what is known of a receive key that was replaced before, once; nil: nothing.
func (w *worker) recall(index uint32, again *srtp.Keys) *retired {
	if w.legs[index].flags&renewed == 0 {
		return nil
	}
	k := w.keys[index]
	i := slices.IndexFunc(k.past, func(p *retired) bool { return p.said.SameSecret(again) })
	if i < 0 {
		return nil
	}
	found := k.past[i]
	k.past = slices.Delete(k.past, i, i+1)
	return found
}

// planKeys takes new keys. Keys that are not new change nothing: rollover counters and windows stay.
func planKeys(c *change, m *control.Leg) error {
	if m.RX != nil {
		keys, err := parseKeys(m.RX)
		if err != nil {
			return fmt.Errorf("rx.%w", err)
		}
		if keys != c.said.rx {
			c.said.rx = keys
			c.policy.Epoch++
			c.rx = c.expand(&keys)
		}
	}
	if m.TX != nil {
		keys, err := parseKeys(m.TX)
		if err != nil {
			return fmt.Errorf("tx.%w", err)
		}
		if keys != c.said.tx {
			if err := c.spend(&keys); err != nil {
				return err
			}
			c.said.tx = keys
			c.tx = c.expand(&keys)
		}
		c.carry = m.TX.ROC == "carry"
	}
	return nil
}

// expand derives the session keys; plain RTP has none.
func (c *change) expand(k *srtp.Keys) *schedules {
	s := &schedules{}
	srtp.Derive(c.tier, k, &s.rtp, &s.rtcp)
	return s
}

// spend gives up the send key of now for another one, which must be new.
func (c *change) spend(next *srtp.Keys) error {
	var spent []srtp.Keys
	if c.spent != nil {
		spent = slices.Clone(*c.spent)
	}
	if c.said.tx != (srtp.Keys{}) {
		spent = append(spent, c.said.tx)
	}
	if slices.ContainsFunc(spent, func(k srtp.Keys) bool { return k.SameSecret(next) }) {
		return errors.New("tx.key: this leg has used this key before; its packet indices are spent, so make a new key")
	}
	if *next != (srtp.Keys{}) && len(spent) == maxUsedKeys {
		return fmt.Errorf("tx.key: this leg has gone through %d keys; open a new session", maxUsedKeys)
	}
	if c.spent = nil; len(spent) > 0 {
		c.spent = &spent
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
