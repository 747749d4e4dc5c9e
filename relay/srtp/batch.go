package srtp

import "tandem/relay/verdict"

// A batch gives what its packets give one by one, in order. What is done ahead, and side by side, depends on nothing that another
// packet of the batch could change: the HMAC of a packet under one rollover counter.

const (
	shaBlock  = 64
	maxBlocks = (maxPacket + 4 + 9 + shaBlock - 1) / shaBlock
)

// OpenBatch opens each job as OpenRTP or OpenRTCP does, in order: packets of one stream may come several times in it, and duplicates
// too. The HMACs of SRTP are computed first, side by side, under the rollover counter that each packet probably has; then each
// packet is judged on the state that the ones before it left, and if that asks for another counter, hashed again. SRTCP, one packet
// in hundreds, is opened in its turn.
func OpenBatch(jobs []OpenJob, s *Scratch) {
	for len(jobs) > MaxBatch {
		openSome(jobs[:MaxBatch], s)
		jobs = jobs[MaxBatch:]
	}
	openSome(jobs, s)
}

func openSome(jobs []OpenJob, s *Scratch) {
	for i := range jobs {
		j, p, tag := &jobs[i], &s.plans[i], &s.tags[i]
		if tag.ready = false; j.RTCP {
			continue
		}
		if j.look(p); p.verdict == verdict.Forward && !j.Key.Suite().isGCM() {
			s.add(i, j.Key, j.Packet[:p.end], uint32(p.index>>16))
		}
	}
	s.hash()
	for i := range jobs {
		j, p := &jobs[i], &s.plans[i]
		if j.RTCP {
			OpenRTCP(j, s)
			continue
		}
		if p.opened != j.Now.all() { // by a packet before it
			j.look(p)
		}
		j.open(s, p, &s.tags[i])
	}
}

// SealBatch seals each job as SealRTP or SealRTCP does, in order. Each packet's index is spent and its payload encrypted in turn; the
// HMACs of SRTP come last, side by side.
func SealBatch(jobs []SealJob, s *Scratch) {
	for len(jobs) > MaxBatch {
		sealSome(jobs[:MaxBatch], s)
		jobs = jobs[MaxBatch:]
	}
	sealSome(jobs, s)
}

func sealSome(jobs []SealJob, s *Scratch) {
	for i := range jobs {
		j := &jobs[i]
		if s.tags[i].ready = false; j.RTCP {
			SealRTCP(j, s)
			continue
		}
		l, ssrc, index := j.spend()
		switch {
		case j.Verdict != verdict.Forward:
		case j.Key.Suite().isGCM():
			j.Key.sealRTP(s, j.Packet[:j.N], j.Header, l, ssrc, index)
		default:
			j.Key.crypt(s, ssrc, index, j.Packet[j.Header:l.end])
			s.add(i, j.Key, j.Packet[:l.end], uint32(index>>16))
		}
	}
	s.hash()
	for i := range jobs {
		if j := &jobs[i]; s.tags[i].ready {
			putTag(j.Packet[j.N-j.Key.tagRTP():j.N], &s.tags[i].tag)
		}
	}
}
