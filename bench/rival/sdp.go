package rival

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// media is one audio line of an SDP body: where media is wanted, and under which key it will come.
type media struct {
	address netip.AddrPort
	cryptos []crypto // none: plain RTP/AVP; else RTP/SAVP
}

// crypto is an a=crypto attribute (RFC 4568): what the author of the SDP seals with.
type crypto struct {
	tag   int
	suite string
	key   []byte // master key and salt
}

// String never shows the key.
func (c crypto) String() string { return fmt.Sprintf("crypto %d %s", c.tag, c.suite) }

// text returns the SDP body: one stream of G.711 with rtcp-mux.
func (m *media) text() string {
	family, profile := "IP4", "RTP/AVP"
	if m.address.Addr().Is6() {
		family = "IP6"
	}
	if len(m.cryptos) > 0 {
		profile = "RTP/SAVP"
	}
	host := m.address.Addr().String()
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- 1 1 IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\n", family, host, family, host)
	fmt.Fprintf(&b, "m=audio %d %s 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\na=rtcp-mux\r\n", m.address.Port(), profile)
	for _, c := range m.cryptos {
		fmt.Fprintf(&b, "a=crypto:%d %s inline:%s\r\n", c.tag, c.suite, base64.StdEncoding.EncodeToString(c.key))
	}
	return b.String()
}

// parseMedia reads what rtpengine wrote: the first c= and m= line and the a=crypto lines. Anything else is passed over.
func parseMedia(body string) (*media, error) {
	var m media
	var host netip.Addr
	port, secure := uint64(0), false
	for line := range strings.SplitSeq(body, "\n") {
		line = strings.TrimRight(line, "\r")
		kind, value, _ := strings.Cut(line, "=")
		fields := strings.Fields(value)
		var err error
		switch {
		case kind == "c" && len(fields) == 3 && !host.IsValid():
			host, err = netip.ParseAddr(fields[2])
		case kind == "m" && port != 0:
			err = errors.New("a second medium")
		case kind == "m" && len(fields) >= 4:
			port, err = strconv.ParseUint(fields[1], 10, 16)
			secure = strings.Contains(fields[2], "SAVP")
		case kind == "a" && strings.HasPrefix(value, "crypto:"):
			var c crypto
			c, err = parseCrypto(strings.TrimPrefix(value, "crypto:"))
			m.cryptos = append(m.cryptos, c)
		}
		if err != nil {
			return nil, fmt.Errorf("sdp: %s= line: %w", kind, err)
		}
	}
	switch {
	case !host.IsValid():
		return nil, errors.New("sdp: no c= line with an address")
	case port == 0:
		return nil, errors.New("sdp: no m= line with a port: the medium was refused")
	case secure != (len(m.cryptos) > 0):
		return nil, fmt.Errorf("sdp: secure profile: %t, but %d a=crypto lines", secure, len(m.cryptos))
	}
	m.address = netip.AddrPortFrom(host, uint16(port))
	return &m, nil
}

// parseCrypto reads "1 AES_CM_128_HMAC_SHA1_80 inline:<base64>". Errors do not quote the line: it has the key. rtpengine
// writes the base64 without padding unless told otherwise.
func parseCrypto(value string) (crypto, error) {
	fields := strings.Fields(value)
	if len(fields) < 3 {
		return crypto{}, errors.New("a crypto attribute of fewer than three words")
	}
	tag, err := strconv.ParseUint(fields[0], 10, 30)
	if err != nil {
		return crypto{}, errors.New("a crypto attribute whose tag is no number")
	}
	inline, ok := strings.CutPrefix(fields[2], "inline:")
	if !ok || strings.Contains(inline, "|") {
		return crypto{}, errors.New("a crypto attribute with key parameters other than one plain inline key")
	}
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(inline, "="))
	if err != nil || len(key) == 0 {
		return crypto{}, errors.New("a crypto attribute whose key is no base64")
	}
	return crypto{tag: int(tag), suite: fields[1], key: key}, nil
}

// choose returns the crypto of a suite.
func (m *media) choose(suite string) (crypto, error) {
	for _, c := range m.cryptos {
		if c.suite == suite {
			return c, nil
		}
	}
	return crypto{}, fmt.Errorf("sdp: %s was not offered, only %v", suite, m.cryptos)
}
