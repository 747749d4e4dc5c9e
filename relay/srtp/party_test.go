package srtp

import (
	"bytes"

	"tandem/relay/verdict"
)

// party is one end of a stream: its keys and how it works. In batches each of its packets travels among three of strangers: a
// genuine one before it, a forged one and a malformed one behind it. They must fare as they would alone, every time.
type party struct {
	way
	keys      Keys
	rtp, rtcp Schedule
	scratch   *Scratch

	genuine, forged []byte // sealed with other
	other           Schedule
	opening         [4]OpenJob
	sealing         [4]SealJob
	bufs            [3][]byte
	nows            [3]RXNow
	sents           [3]TXNow
}

func (w way) party(k *Keys) *party {
	c := &party{way: w, keys: *k, scratch: w.scratch()}
	Derive(w.tier, k, &c.rtp, &c.rtcp)
	if !w.batch {
		return c
	}
	var unused Schedule
	Derive(w.tier, &Keys{suite: AES192CM32, key: [maxKey]byte{7}}, &c.other, &unused)
	c.genuine = rtpPacket(testSSRC, 9, 25)
	j := SealJob{Key: &c.other, Sent: new(txState).both(), Packet: c.genuine, Header: headerRTP}
	SealRTP(&j, c.scratch)
	c.genuine = c.genuine[:j.N]
	c.forged = clone(c.genuine)
	c.forged[len(c.forged)-1] ^= 1
	for i := range c.bufs {
		c.bufs[i] = make([]byte, 0, 200)
	}
	return c
}

// asBefore panics unless the strangers of a batch fared as ever.
func asBefore(ok ...bool) {
	for i, good := range ok {
		if !good {
			panic([]string{"the genuine neighbour", "the forged neighbour", "the malformed neighbour"}[i] + " fared otherwise in the batch")
		}
	}
}

func (c *party) OpenRTP(rx *rxState, pkt []byte, hdr int) (n int, index uint64, v verdict.Verdict) {
	j := OpenJob{Key: &c.rtp, Keys: &c.keys, Received: rx.both(), Packet: pkt, Header: hdr}
	if !c.batch {
		OpenRTP(&j, c.scratch)
		return j.N, j.Index, j.Verdict
	}
	for i, from := range [][]byte{c.genuine, c.forged, c.genuine[:headerRTP+3]} {
		c.bufs[i] = append(c.bufs[i][:0], from...)
		c.nows[i] = RXNow{}
	}
	b := &c.opening
	for i, at := range []int{0, 2, 3} {
		b[at] = OpenJob{Key: &c.other, Received: Received{Now: &c.nows[i]}, Packet: c.bufs[i], Header: headerRTP}
	}
	b[1] = j
	OpenBatch(b[:], c.scratch)
	asBefore(
		b[0].Verdict == verdict.Forward && b[0].N == headerRTP+25 && b[0].Index == 9 && b[0].Fresh && c.nows[0].opened == 1,
		b[2].Verdict == verdict.BadTag && b[2].N == 0 && c.nows[1] == RXNow{} && bytes.Equal(c.bufs[1], c.forged),
		b[3].Verdict == verdict.TooShort && c.nows[2] == RXNow{},
	)
	return b[1].N, b[1].Index, b[1].Verdict
}

func (c *party) SealRTP(tx *txState, pkt []byte, hdr int) (n int, v verdict.Verdict) {
	j := SealJob{Key: &c.rtp, Keys: &c.keys, Sent: tx.both(), Packet: pkt, Header: hdr}
	if !c.batch {
		SealRTP(&j, c.scratch)
		return j.N, j.Verdict
	}
	b := &c.sealing
	for i, at := range []int{0, 2, 3} {
		c.bufs[i] = append(c.bufs[i][:0], c.genuine[:headerRTP]...)
		c.bufs[i] = c.bufs[i][:headerRTP+25]
		for n := range 25 {
			c.bufs[i][headerRTP+n] = byte(n) ^ 9 // as rtpPacket has it
		}
		c.sents[i] = TXNow{}
		b[at] = SealJob{Key: &c.other, Sent: Sent{Now: &c.sents[i]}, Packet: c.bufs[i], Header: headerRTP}
	}
	c.sents[1] = TXNow{n: 1, ssrc: testSSRC, rtp: window{next: 10, used: [2]uint64{1}}}
	b[3].Header = 5
	b[1] = j
	SealBatch(b[:], c.scratch)
	asBefore(
		b[0].Verdict == verdict.Forward && bytes.Equal(b[0].Packet[:b[0].N], c.genuine),
		b[2].Verdict == verdict.AlreadySealed && b[2].N == 0 && c.sents[1].sealed == 0,
		b[3].Verdict == verdict.BadHeader && b[3].N == 0 && c.sents[2] == TXNow{},
	)
	return b[1].N, b[1].Verdict
}

func (c *party) OpenRTCP(rx *rxState, pkt []byte) (n int, v verdict.Verdict) {
	j := [1]OpenJob{{RTCP: true, Key: &c.rtcp, Keys: &c.keys, Received: rx.both(), Packet: pkt}}
	if !c.batch {
		OpenRTCP(&j[0], c.scratch)
	} else {
		OpenBatch(j[:], c.scratch)
	}
	return j[0].N, j[0].Verdict
}

func (c *party) SealRTCP(tx *txState, pkt []byte) (n int, v verdict.Verdict) {
	j := [1]SealJob{{RTCP: true, Key: &c.rtcp, Keys: &c.keys, Sent: tx.both(), Packet: pkt}}
	if !c.batch {
		SealRTCP(&j[0], c.scratch)
	} else {
		SealBatch(j[:], c.scratch)
	}
	return j[0].N, j[0].Verdict
}
