package phone

import (
	"bytes"
	"hash/fnv"
	"math"
)

// G.711 in 20 ms packets.
const (
	clock        = 8000 // Hz, of samples and RTP timestamps
	frameSamples = 160  // and bytes: 20 ms
)

// The two ends of a call say different tones: an echo of one's own voice is not taken for the other's.
const (
	callerTone = 440 // Hz
	calleeTone = 554 // Hz, a major third above
)

const loudness = 0.25 // of full scale: -12 dB, the ordinary level of speech

// voice says one direction of one call: a tone, with the lowest bit of each sample stirred by what the call is and when the
// sample is said. The tone is for people, the stirring (a faint hiss) makes every frame of every call different.
type voice struct {
	tone *[clock]byte // one second of mu-law: a whole number of periods of any whole number of Hz
	seed uint64
}

// tone is one second of mu-law at so many Hz.
func tone(hz int) *[clock]byte {
	t := new([clock]byte)
	for i := range t {
		t[i] = muLaw(int(math.MaxInt16 * loudness * math.Sin(2*math.Pi*float64(hz)*float64(i)/clock)))
	}
	return t
}

// voices are the two tones of every call that a phone has.
type voices struct{ caller, callee *[clock]byte }

func newVoices() voices { return voices{tone(callerTone), tone(calleeTone)} }

// of returns how the caller and the callee of a call to number sound.
func (v voices) of(number string) (caller, callee voice) {
	h := fnv.New64a()
	h.Write([]byte(number))
	return voice{v.caller, stir(h.Sum64() + callerTone)}, voice{v.callee, stir(h.Sum64() + calleeTone)}
}

// say fills frame with the samples that begin at an RTP timestamp.
func (v voice) say(frame *[frameSamples]byte, timestamp uint32) {
	at := int(timestamp % clock)
	n := copy(frame[:], v.tone[at:])
	copy(frame[n:], v.tone[:])
	const bits = 64
	for i := 0; i < frameSamples; i += bits {
		noise := stir(v.seed + uint64(timestamp) + uint64(i))
		for j := i; j < min(i+bits, frameSamples); j++ {
			frame[j] ^= byte(noise & 1)
			noise >>= 1
		}
	}
}

// is tells whether payload is what this voice says at timestamp.
func (v voice) is(payload []byte, timestamp uint32) bool {
	var frame [frameSamples]byte
	v.say(&frame, timestamp)
	return bytes.Equal(payload, frame[:])
}

// stir is the finalizer of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
func stir(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// muLaw encodes one 16-bit sample (ITU-T G.711 table 2a, in the form of the 14-bit scale with bias 33, here times 4).
func muLaw(sample int) byte {
	const bias, clip = 132, 32635
	sign := byte(0)
	if sample < 0 {
		sample, sign = -sample, 0x80
	}
	sample = min(sample, clip) + bias
	exponent := byte(7)
	for mask := 0x4000; sample&mask == 0 && exponent > 0; mask >>= 1 {
		exponent--
	}
	mantissa := byte(sample>>(exponent+3)) & 0x0f
	return ^(sign | exponent<<4 | mantissa)
}
