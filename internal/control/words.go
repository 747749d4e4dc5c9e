package control

// words are what most members of most messages say. They are here once, so that each of the thousands of sessions that says
// them again needs no memory for it. A word that is missing costs an allocation and nothing else.
var words = sorted(
	MethodHello, MethodOpen, MethodUpdate, MethodClose, MethodGet, MethodList, MethodStats, MethodDrain,
	EventTimeout, EventPinned, EventContested, EventSSRC, EventExpiring,
	"a", "b", "audio", "rtp", "opaque", // streams and legs
	"ip4", "ip6", "pair", "mux",
	"exact", "learn", "auth",
	"sendrecv", "sendonly", "recvonly", "inactive",
	"none", "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM", // suites
	"reset", "carry", "initial", "running", "rx", "tx",
	"PCMU", "PCMA", "G722", "opus", "telephone-event", // payloads
)

const longestWord = 24 // bytes

// sorted puts words by their length: of one length there are few.
func sorted(words ...string) (byLength [longestWord + 1][]string) {
	for _, w := range words {
		byLength[len(w)] = append(byLength[len(w)], w)
	}
	return byLength
}

// familiar is string(b), without an allocation if it is one of the words.
func familiar(b []byte) string {
	if n := len(b); n > 0 && n <= longestWord {
		for _, w := range words[n] {
			if w[n/2] == b[n/2] && string(b) == w { // the middle tells most apart
				return w
			}
		}
	}
	return string(b)
}
