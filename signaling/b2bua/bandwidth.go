package b2bua

import (
	"math"
	"strings"

	"tandem/signaling/sdp"
)

// What a packet of media carries besides the codec's bytes, and how often one is sent.
const (
	headIP4  = 20 // bytes
	headIP6  = 40
	headUDP  = 8
	headRTP  = 12 // RFC 3550 section 5.1, without CSRC and extensions
	tag80    = 10 // bytes of the SRTP authentication tag (RFC 3711 section 5.2)
	tag32    = 4
	tagGCM   = 16 // RFC 7714 section 14.2
	perFrame = 20 // ms between packets where the body does not say (RFC 3551 section 4.2)
)

// rateUnknown is what a codec that is not in the table is taken for: none that telephony uses needs more than G.711.
const rateUnknown = 64_000

// rates are the bit rates of codecs without any overhead, the highest where there are several modes: of the static and the
// usual dynamic ones (RFC 3551 section 4.5, and the payload format of each of the others).
var rates = map[string]int{
	"PCMU": 64_000, "PCMA": 64_000, "G722": 64_000, "G729": 8_000, "G723": 6_400, "G728": 16_000, "GSM": 13_200,
	"G726-16": 16_000, "G726-24": 24_000, "G726-32": 32_000, "G726-40": 40_000, "G7221": 32_000, "SIREN": 16_000,
	"ILBC": 15_200, "AMR": 12_200, "AMR-WB": 23_850, "EVS": 24_400, "SPEEX": 24_600, "OPUS": 40_000, "SILK": 40_000,
	"X-MSRTA": 29_000, "L16": 256_000,
}

// notMedia are payload types beside the codec: they take its place for a moment and add nothing.
var notMedia = map[string]bool{"TELEPHONE-EVENT": true, "CN": true, "RED": true}

// bandwidth estimates what the audio of a peer's body takes in one direction, in kbit/s on the wire (IP and above): that of
// the first codec of the list, which is the one that answers take. b=AS and b=TIAS of the body cap it (RFC 8866 section 5.8,
// RFC 3890 section 6.2). suite is that of SRTP, empty for RTP. A body that cannot be read counts like an unknown codec.
func bandwidth(m *Media, suite string, v6 bool) int {
	rate, every, most := rateUnknown, perFrame, math.MaxInt
	if audio := m.mline(); audio != nil {
		rate = rateOf(audio.Payloads)
		if audio.PTime > 0 {
			every = audio.PTime
		}
		if audio.TIAS > 0 {
			rate = min(rate, audio.TIAS)
		}
		if audio.AS > 0 {
			most = audio.AS
		}
	}
	head := headUDP + headRTP + tagOfSuite(suite) + headIP4
	if v6 {
		head += headIP6 - headIP4
	}
	return min((rate+head*8*1000/every+999)/1000, most)
}

// rateOf is the rate of the first codec, in bit/s.
func rateOf(list []sdp.Payload) int {
	for i := range list {
		name := strings.ToUpper(list[i].Name)
		if notMedia[name] {
			continue
		}
		if r, ok := rates[name]; ok {
			return r
		}
		break
	}
	return rateUnknown
}

func tagOfSuite(suite string) int {
	switch {
	case suite == "":
		return 0
	case strings.Contains(suite, "GCM"):
		return tagGCM
	case strings.HasSuffix(suite, "_32"):
		return tag32
	}
	return tag80
}
