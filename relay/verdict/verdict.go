// Package verdict names every fate of a packet.
//
// A step of the packet path returns a Verdict: Forward means "go on", anything else ends the packet's way and is
// counted under its name. Errors are for people and never travel with packets. The sum is an invariant of the relay:
// received == forwarded + sum of all other verdicts.
package verdict

// Verdict is the fate of one packet. The zero value lets the packet go on.
type Verdict uint8

// The verdicts, in the order of the steps that return them.
const (
	Forward Verdict = iota // not dropped: the packet goes on, and at the end it was sent

	// netio and the lookup of the leg.
	TooLong  // longer than a receive buffer: the kernel cut it off
	Unleased // no leg owns the port (a late packet after the release)

	// rtp: demultiplexing (RFC 7983, RFC 5761) and header checks (RFC 3550 section 5.1).
	TooShort
	STUN      // RFC 7983 first byte 0..3; no use for it yet
	DTLS      // RFC 7983 first byte 20..63; no use for it yet
	NotRTP    // RFC 7983: any other first byte outside 128..191
	BadHeader // CSRC list, extension or padding reaches past the end
	BadRTCP   // a compound packet whose lengths do not add up

	// pin: who may speak (Stranger and those after it cost no crypto).
	Stranger   // a source this leg does not accept
	OverBudget // a source that might be right, beyond its budget of tag checks
	WrongSSRC  // plain RTP from the pinned tuple under another SSRC while the pinned one is alive
	Contested  // learn mode: two live candidates, nobody is accepted until one falls silent

	// leg: state of the call.
	Held          // the leg's direction does not allow media from this side
	NoKey         // the leg expects SRTP but signalling has not given the key yet
	NoDestination // the other leg has no address to send to yet

	// srtp, opening.
	BadTag      // authentication failed
	Replayed    // index already seen (RFC 3711 section 3.3.2)
	TooOld      // index left of the replay window
	SSRCFull    // the SSRC table under this key is full: refused, never evicted
	BadMKI      // MKI negotiated and different
	Unencrypted // SRTCP with E=0 where encryption was negotiated
	KeyExpired  // beyond 2^48 SRTP or 2^31 SRTCP packets under one key

	// srtp, sealing.
	AlreadySealed // this index was sealed before (a duplicate input): no nonce twice
	SealFull      // the send SSRC table under this key is full

	// netio, sending.
	SendFailed // the kernel refused the datagram

	// queues beside the path.
	Diverted          // handed to the divert queue
	DivertFull        // the divert queue was full
	Count      = iota // number of verdicts
)

var names = [Count]string{
	Forward: "forward", TooLong: "too_long", Unleased: "unleased", TooShort: "too_short", STUN: "stun", DTLS: "dtls",
	NotRTP: "not_rtp", BadHeader: "bad_header", BadRTCP: "bad_rtcp", Stranger: "stranger", OverBudget: "over_budget",
	WrongSSRC: "wrong_ssrc", Contested: "contested", Held: "held", NoKey: "no_key", NoDestination: "no_destination",
	BadTag: "bad_tag", Replayed: "replayed", TooOld: "too_old", SSRCFull: "ssrc_full", BadMKI: "bad_mki",
	Unencrypted: "unencrypted", KeyExpired: "key_expired", AlreadySealed: "already_sealed", SealFull: "seal_full",
	SendFailed: "send_failed", Diverted: "diverted", DivertFull: "divert_full",
}

// String returns the verdict's name as metrics, control messages and the demo's report use it.
func (v Verdict) String() string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// Counters counts packets by verdict. One writer; readers copy it in the writer's thread.
type Counters [Count]uint64

// Drops returns the counted packets that were not forwarded, by name. Verdicts never seen are left out.
func (c *Counters) Drops() map[string]uint64 {
	drops := make(map[string]uint64)
	for v := Forward + 1; int(v) < len(c); v++ {
		if c[v] != 0 {
			drops[v.String()] = c[v]
		}
	}
	return drops
}

// Add adds o to c.
func (c *Counters) Add(o *Counters) {
	for i := range c {
		c[i] += o[i]
	}
}
