package crypto

import (
	"encoding/binary"
	"fmt"

	"tandem/relay/srtp"
	"tandem/relay/srtp/kernel"
	"tandem/relay/verdict"
)

// leg is one call's direction: keys, what was sent and received under them, a packet in the clear and the same sealed.
type leg struct {
	keys   srtp.Keys
	rtp    srtp.Schedule
	rtcp   srtp.Schedule
	txNow  srtp.TXNow
	txRest srtp.TXRest
	rxNow  srtp.RXNow
	rxRest srtp.RXRest
	sealed []byte
	buffer []byte
}

// measureTandem measures every tier that the processor has.
func measureTandem(o *Options, suite srtp.Suite) (results []Result, err error) {
	for _, tier := range kernel.Tiers() {
		for _, batch := range o.Batches {
			legs, err := newLegs(tier, suite, batch)
			if err != nil {
				return nil, err
			}
			b := &bundle{legs: legs, scratch: srtp.NewScratch(tier), seals: make([]srtp.SealJob, batch), opens: make([]srtp.OpenJob, batch)}
			for _, op := range []struct {
				name string
				do   func() error
			}{{"seal", b.seal}, {"open", b.open}} {
				var failed error
				ns, allocs := median(o, batch, func(n int) {
					for range n {
						if err := op.do(); err != nil {
							failed = err
						}
					}
				})
				if failed != nil {
					return nil, fmt.Errorf("%s, %s, batch of %d: %w", op.name, tier, batch, failed)
				}
				results = append(results, Result{"tandem", suite.String(), op.name, tier.String(), batch, ns, allocs})
			}
		}
	}
	return results, nil
}

// bundle is the packets that are worked on together.
type bundle struct {
	legs    []*leg
	scratch *srtp.Scratch
	seals   []srtp.SealJob
	opens   []srtp.OpenJob
	seq     uint16
}

// newLegs makes count legs with keys of their own, each with its packet number 1 sealed.
func newLegs(tier kernel.Tier, suite srtp.Suite, count int) ([]*leg, error) {
	legs := make([]*leg, count)
	scratch := srtp.NewScratch(tier)
	for i := range legs {
		keys, err := srtp.NewKeys(suite, secret(suite, byte(i)), nil, false)
		if err != nil {
			return nil, err
		}
		l := &leg{keys: keys, buffer: packet(1), sealed: packet(1)}
		srtp.Derive(tier, &l.keys, &l.rtp, &l.rtcp)
		job := srtp.SealJob{Key: &l.rtp, Keys: &l.keys, Sent: srtp.Sent{Now: &l.txNow, Rest: &l.txRest}, Packet: l.sealed, Header: headerLen}
		if v := srtp.SealRTP(&job, scratch); v != verdict.Forward {
			return nil, fmt.Errorf("seal: %s", v)
		}
		l.sealed, l.txNow = l.sealed[:job.N], srtp.TXNow{}
		legs[i] = l
	}
	return legs, nil
}

// secret is a master key and salt that tells one leg from another.
func secret(suite srtp.Suite, leg byte) []byte {
	key := make([]byte, suite.KeyLen()+suite.SaltLen())
	for i := range key {
		key[i] = byte(i)*7 + leg
	}
	return key
}

// packet is an RTP packet in the clear with room for a tag.
func packet(seq uint16) []byte {
	p := make([]byte, headerLen+payloadLen, headerLen+payloadLen+srtp.MaxOverhead)
	p[0] = 0x80
	binary.BigEndian.PutUint16(p[2:], seq)
	binary.BigEndian.PutUint32(p[8:], 0xcafebabe)
	return p
}

// seal seals the next packet of every leg.
func (b *bundle) seal() error {
	b.seq++
	for i, l := range b.legs {
		binary.BigEndian.PutUint16(l.buffer[2:], b.seq)
		b.seals[i] = srtp.SealJob{Key: &l.rtp, Keys: &l.keys, Sent: srtp.Sent{Now: &l.txNow, Rest: &l.txRest}, Packet: l.buffer, Header: headerLen}
	}
	srtp.SealBatch(b.seals, b.scratch)
	for i := range b.seals {
		if v := b.seals[i].Verdict; v != verdict.Forward {
			return fmt.Errorf("packet %d: %s", i, v)
		}
	}
	return nil
}

// open opens the same packet of every leg once more, each time as the first of its SSRC.
func (b *bundle) open() error {
	for i, l := range b.legs {
		l.rxNow = srtp.RXNow{}
		pkt := l.buffer[:len(l.sealed)]
		copy(pkt, l.sealed)
		b.opens[i] = srtp.OpenJob{Key: &l.rtp, Keys: &l.keys, Received: srtp.Received{Now: &l.rxNow, Rest: &l.rxRest}, Packet: pkt, Header: headerLen}
	}
	srtp.OpenBatch(b.opens, b.scratch)
	for i := range b.opens {
		if v := b.opens[i].Verdict; v != verdict.Forward {
			return fmt.Errorf("packet %d: %s", i, v)
		}
	}
	return nil
}
