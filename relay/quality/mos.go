package quality

import (
	"strings"
	"time"
)

// impairment is what a codec costs (ITU-T G.113 appendix I): ie without loss, bpl its robustness against random loss.
type impairment struct {
	name    string
	ie, bpl float64
}

// Codec says which impairment counts. The zero value is G.711, as which a codec that is not known counts.
type Codec uint8

// CodecOf returns the codec of an encoding name of a=rtpmap, in any case.
func CodecOf(name string) Codec {
	for i := range impairments {
		if strings.EqualFold(impairments[i].name, name) {
			return Codec(i)
		}
	}
	return 0
}

// g711 is G.711 with packet loss concealment (G.711 appendix I), which every current telephone has: without it bpl is 4.3.
var g711 = impairment{"PCMU", 0, 25.1}

// impairments are the planning values of G.113 appendix I on the narrowband scale. G.722 counts as G.711: its bandwidth has
// no place on a scale that ends at 4.5. Where G.113 gives an ie and no bpl, bpl is that of the least robust codec listed.
var impairments = [...]impairment{
	g711,
	{"PCMA", 0, 25.1},
	{"G722", 0, 25.1},
	{"G729", 11, 19.0},   // G.729A with VAD
	{"G723", 15, 16.1},   // G.723.1 at 6.3 kbit/s with VAD
	{"GSM-EFR", 5, 10.0}, // 12.2 kbit/s
	{"AMR", 5, 10.0},     // its 12.2 kbit/s mode is GSM-EFR
	{"G726-32", 7, 10.0}, // no bpl in G.113
	{"G728", 7, 10.0},    // no bpl in G.113
	{"GSM", 20, 10.0},    // full rate; no bpl in G.113
}

// Constants of the E-model (ITU-T G.107).
const (
	transparent   = 93.2  // R with all default values, without loss and delay (G.107 table 3)
	lossSaturates = 95.0  // the impairment that loss tends to (equation 7-29)
	delaySlope    = 0.024 // of R by one-way delay in ms, below 177 ms (the usual linearisation of G.107's Idd)
)

// bufferDepth is the playout delay of a jitter buffer in units of jitter: what adaptive buffers commonly settle at.
const bufferDepth = 2

// mos estimates the mean opinion score from random loss and from the playout delay that jitter makes necessary. The delay of
// the network is unknown here and counts as none.
func mos(codec Codec, expected uint64, lost int64, jitter time.Duration) float64 {
	c := g711
	if int(codec) < len(impairments) {
		c = impairments[codec]
	}
	percent := 100 * float64(max(lost, 0)) / float64(expected)
	loss := c.ie + (lossSaturates-c.ie)*percent/(percent+c.bpl)
	delay := delaySlope * bufferDepth * float64(jitter) / float64(time.Millisecond)
	return opinion(transparent - loss - delay)
}

// opinion turns a rating R into a mean opinion score (G.107 annex B). The cubic dips below 1 for very small R.
func opinion(r float64) float64 {
	switch {
	case r <= 0:
		return 1
	case r >= 100:
		return 4.5
	}
	return max(1, 1+0.035*r+r*(r-60)*(100-r)*7e-6)
}
