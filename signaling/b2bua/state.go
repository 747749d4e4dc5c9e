package b2bua

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"

	"tandem/signaling/sdp"
)

// State is everything of a call that would have to outlive this process: two dialogs and the relay's session between them.
// It is plain data (no pointers into the stack, no clocks) and survives a round trip through JSON unchanged. Transactions
// in progress are not part of it: whoever takes a call over finds it between two transactions or not at all.
//
// Encoded in full it holds keys; Opaque is the part that may be shown.
type State struct {
	ID         string `json:"id"`
	Session    string `json:"session,omitempty"`    // of the relay; empty: none is open
	Generation uint64 `json:"generation,omitempty"` // of the session's latest update
	Phase      Phase  `json:"phase"`
	Called     string `json:"called"`
	Caller     string `json:"caller"`
	A          Dialog `json:"a"`
	B          Dialog `json:"b"`
}

// Phase is how far a call has come.
type Phase uint8

// The phases, in their order. A call never goes back.
const (
	Setup    Phase = iota // trunks are being tried
	Ringing               // one of them sent an 18x
	Answered              // the caller got its 200
	Over                  // only answers to our last requests are awaited
)

// String is the phase as call.list shows it.
func (p Phase) String() string {
	switch p {
	case Setup:
		return "setup"
	case Ringing:
		return "ringing"
	case Answered:
		return "answered"
	case Over:
		return "over"
	}
	return "unknown"
}

// Dialog is one leg as SIP sees it (RFC 3261 section 12) with what was agreed about its media. We are the UAS of the A leg
// and the UAC of the B leg, until a transfer joins two that began otherwise.
type Dialog struct {
	Trunk     string         `json:"trunk"`
	UAS       bool           `json:"uas"`
	Confirmed bool           `json:"confirmed"` // a 2xx was sent or received
	CallID    string         `json:"call_id"`
	LocalTag  string         `json:"local_tag"` // begins with the node's name; key of the dialog table
	RemoteTag string         `json:"remote_tag"`
	Local     string         `json:"local"`  // our From or To without its tag: "Name" <sip:user@host>
	Remote    string         `json:"remote"` // theirs
	LocalSeq  uint32         `json:"local_seq"`
	RemoteSeq uint32         `json:"remote_seq"`
	Target    string         `json:"target"` // remote target URI: their Contact
	Routes    []string       `json:"routes,omitempty"`
	Peer      netip.AddrPort `json:"peer"` // where the dialog's first message came from or went to
	Server    string         `json:"server,omitempty"`
	Media     Media          `json:"media"`
}

// Media is the offer/answer state of one leg and the port that the relay leased for it.
type Media struct {
	Local    netip.AddrPort `json:"local"`    // what we write into SDP: leased, or the address advertised for it
	RTCP     uint16         `json:"rtcp"`     // its RTCP port
	Origin   sdp.Origin     `json:"origin"`   // of our SDP: o= never shows the other side's
	Sent     string         `json:"sent"`     // our latest SDP to this peer
	Received string         `json:"received"` // the peer's latest
	Audio    int            `json:"audio"`    // index of the audio m-line in Received
	Slot     int            `json:"slot"`     // index of the audio m-line in Sent
	Secure   bool           `json:"secure"`   // SRTP is in use or on offer
	// Opportunistic: its keys stand in a body of profile RTP/AVP, and may be left out of the answer (RFC 8643).
	Opportunistic bool           `json:"opportunistic,omitempty"`
	Pass          bool           `json:"pass,omitempty"`   // bodies cross as they are, and the relay has no part in it
	Fax           bool           `json:"fax,omitempty"`    // T.38 has the place of the audio (fax.go)
	Sealed        bool           `json:"sealed,omitempty"` // with Fax: the audio was SRTP, and will be again
	Mux           bool           `json:"mux"`              // rtcp-mux was agreed
	Ours          sdp.Direction  `json:"ours"`             // the direction we told the peer
	Theirs        sdp.Direction  `json:"theirs"`           // the direction the peer told us
	Wants         sdp.Direction  `json:"wants"`            // the direction it told by itself: in an offer, or answering one that left all open
	TX            Crypto         `json:"tx"`               // what we seal with; Tag is that of the agreed line
	RX            Crypto         `json:"rx"`               // what the peer seals with
	Offered       []Crypto       `json:"offered"`          // our lines, until the peer took one
	Remote        netip.AddrPort `json:"remote"`           // where the peer wants RTP; zero: nowhere yet
	RemoteCt      netip.AddrPort `json:"remote_ctl"`       // where it wants RTCP, if it said so (RFC 3605)

	read *sdp.Session // Received as it was read, until it is agreed: see heard
}

// Crypto is one direction's SRTP parameters. The zero value means plain RTP.
type Crypto struct {
	Tag   int    `json:"tag,omitempty"`
	Suite string `json:"suite,omitempty"`
	Key   Key    `json:"key,omitempty"` // master key and salt
	MKI   []byte `json:"mki,omitempty"`
	Clear bool   `json:"clear_rtcp,omitempty"` // UNENCRYPTED_SRTCP was agreed (RFC 4568 section 6.3.2)
}

// Key is a secret that no verb of fmt and no logger prints. JSON carries it: see State.
type Key []byte

// redacted stands for a key wherever one is shown.
const redacted = "[key]"

// String hides the key.
func (Key) String() string { return redacted }

// Format hides the key from every verb of fmt, %x and %#v included.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue hides the key from slog.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// longest of each foreign string in Opaque: six of them, escaped six-fold at worst, stay below the protocol's 8 KB.
const opaqueText = 192

// Opaque is the public part of the state as JSON, at most a few kilobytes: what the relay keeps of a call for whoever asks
// session.get. It says who the call is, and has never a key and never an SDP.
//
//	{"id":"","phase":"","called":"","caller":"","a":leg,"b":leg}
//
// with a leg {"trunk":"","call_id":"","local_tag":"","remote_tag":""}. The relay is told of each step of a call, so this is
// written without reflection.
func (s *State) Opaque() string {
	return writeOpaque(s.ID, s.Phase, s.Called, s.Caller, &s.A, &s.B)
}

func writeOpaque(id string, phase Phase, called, caller string, x, y *Dialog) string {
	const usual = 512 // bytes
	b := make([]byte, 0, usual)
	b = appendText(append(b, `{"id":`...), id)
	b = appendText(append(b, `,"phase":`...), phase.String())
	b = appendText(append(b, `,"called":`...), clip(called, opaqueText))
	b = appendText(append(b, `,"caller":`...), clip(caller, opaqueText))
	b = x.appendOpaque(append(b, `,"a":`...))
	b = y.appendOpaque(append(b, `,"b":`...))
	return string(append(b, '}'))
}

func (d *Dialog) appendOpaque(b []byte) []byte {
	b = appendText(append(b, `{"trunk":`...), d.Trunk)
	b = appendText(append(b, `,"call_id":`...), clip(d.CallID, opaqueText))
	b = appendText(append(b, `,"local_tag":`...), d.LocalTag)
	b = appendText(append(b, `,"remote_tag":`...), clip(d.RemoteTag, opaqueText))
	return append(b, '}')
}

// appendText writes a string of JSON. All but plain ASCII is left to encoding/json.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c > '~', c == '"', c == '\\', c == '<', c == '>', c == '&':
			text, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...) // a string always has a JSON form: cannot happen
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// clip cuts a foreign string to n bytes.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
