// Package control is the language between the planes: JSON-RPC 2.0, one JSON object a line, over a Unix stream socket.
//
// The messages are here, with their codec, a client and a server. What a session is belongs to relay, what a call is
// belongs to signaling; this package only carries the words. docs/control.md describes the same for a reader who drives
// the relay by hand. Keys are write-only: they travel to the relay and never back.
package control

// Protocol is the version of the messages. A server refuses a client that asks for another one.
const Protocol = 1

// Bounds of the protocol.
const (
	MaxLine     = 256 << 10 // bytes of one JSON object with its newline: room for a page of sessions with opaque state
	MaxOpaque   = 8 << 10   // bytes of a session's Opaque
	MaxID       = 128       // bytes of a session id, owner, stream or leg name
	MaxPage     = 500       // sessions in one answer of session.list
	MaxStreams  = 4         // streams of one session
	MaxLegs     = 2         // legs of one stream
	MaxPrefixes = 8         // allowed prefixes of one leg
	MaxPayloads = 32        // payload types of one leg
)

// Methods of the relay's socket.
const (
	MethodHello  = "relay.hello"
	MethodOpen   = "session.open"
	MethodUpdate = "session.update"
	MethodClose  = "session.close"
	MethodGet    = "session.get"
	MethodList   = "session.list"
	MethodStats  = "relay.stats"
	MethodDrain  = "relay.drain"
)

// Events: JSON-RPC notifications from the relay to every controller that said relay.hello with Events set and whose Owner
// is empty or the session's.
const (
	EventTimeout   = "media.timeout"   // a leg that should be heard was not
	EventPinned    = "media.pinned"    // a leg sends to a new address from now on
	EventContested = "media.contested" // learn mode: two sources claim to be the peer
	EventSSRC      = "media.ssrc"      // a leg's peer speaks under a new SSRC
	EventExpiring  = "key.expiring"    // a key nears the end of its life: negotiate a new one
)

// Error codes. The first four are JSON-RPC's own.
const (
	CodeParse       = -32700 // the line is not JSON
	CodeInvalid     = -32600 // the line is JSON but no request
	CodeNoMethod    = -32601
	CodeParams      = -32602 // a parameter is missing or wrong; the message names it
	CodeInternal    = -32603
	CodeNotFound    = 1 // no such session, nor one closed within the last 60 s
	CodeExists      = 2 // another session lives under this id (another owner, or a newer generation)
	CodeStale       = 3 // the generation is older than the session's
	CodeNoPorts     = 4 // the network has no free port left
	CodeFull        = 5 // the relay's limit of sessions is reached
	CodeDraining    = 6 // the relay takes no new sessions
	CodeUnsupported = 7 // known, but not by this version or engine
)

// Hello is what a controller says first. Events asks for notifications; Owner limits them to its own sessions. A
// connection that said hello with an owner counts as that owner's controller: while one is there, the relay ends none of
// the owner's sessions by itself.
type Hello struct {
	Protocol int    `json:"protocol,omitempty"` // 0 means "whatever you speak"
	Client   string `json:"client,omitempty"`   // for the log
	Owner    string `json:"owner,omitempty"`
	Events   bool   `json:"events,omitempty"`
}

// HelloResult describes the relay.
type HelloResult struct {
	Protocol int       `json:"protocol"`
	Version  string    `json:"version"`
	Boot     string    `json:"boot"` // changes whenever the relay lost its sessions
	Engine   string    `json:"engine"`
	Paths    []string  `json:"paths,omitempty"` // how packets get from each device, where the engine has several ways
	Workers  int       `json:"workers"`
	Suites   []string  `json:"suites"` // SRTP suites by their RFC names
	Networks []Network `json:"networks"`
	Limits   Limits    `json:"limits"`
	Draining bool      `json:"draining"`
}

// Network is a named set of local media addresses with one port range.
type Network struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Ports     string   `json:"ports"` // "40000-49999"
	Free      int      `json:"free"`  // ports that could be leased now
}

// Limits are the relay's bounds.
type Limits struct {
	Sessions int `json:"sessions"`
	Streams  int `json:"streams"`
	Legs     int `json:"legs"`
	Line     int `json:"line_bytes"`
	Opaque   int `json:"opaque_bytes"`
	Page     int `json:"page"`
}

// Open asks for a session. Sending the same Open again (same id, owner and generation) returns the same answer.
type Open struct {
	ID         string   `json:"id"`
	Generation uint64   `json:"generation,omitempty"` // 0 is 1
	Owner      string   `json:"owner,omitempty"`
	Opaque     string   `json:"opaque,omitempty"`
	Streams    []Stream `json:"streams"`
}

// Update changes a session. What is absent stays as it was. The same generation again returns the current state without
// applying anything; an older one is refused.
type Update struct {
	ID         string   `json:"id"`
	Generation uint64   `json:"generation"`
	Opaque     *string  `json:"opaque,omitempty"`
	Streams    []Stream `json:"streams,omitempty"`
}

// Stream is one flow of media between two legs.
type Stream struct {
	Name  string `json:"name"`            // "audio"
	Kind  string `json:"kind,omitempty"`  // "rtp" (the default) or "opaque": datagrams cross as they are, for UDPTL (T.38)
	Watch *bool  `json:"watch,omitempty"` // report media.timeout; default true. Turn it off while a call rings
	Legs  []Leg  `json:"legs"`
}

// Leg is one end of a stream: our leased port towards one peer. Network, Family and RTCP are for session.open only.
type Leg struct {
	Name    string `json:"name"`              // "a", "b"
	Network string `json:"network,omitempty"` // of the relay's networks
	Family  string `json:"family,omitempty"`  // "ip4" or "ip6"; default: that of the network's first address
	RTCP    string `json:"rtcp,omitempty"`    // "pair" (default: even and odd port) or "mux" (one port)

	Remote     string     `json:"remote,omitempty"`      // ip:port that signalling gave for RTP
	RemoteRTCP string     `json:"remote_rtcp,omitempty"` // default: Remote with port+1, or Remote with rtcp_mux
	RTCPMux    *bool      `json:"rtcp_mux,omitempty"`    // RFC 5761, once both sides agreed
	Pin        string     `json:"pin,omitempty"`         // "exact", "learn", "auth"; default auth with rx, else exact
	AnyPort    *bool      `json:"any_port,omitempty"`    // exact: accept any source port of the signalled address
	Signaling  string     `json:"signaling,omitempty"`   // IP of the signalling peer (learn mode)
	Prefixes   *[]string  `json:"prefixes,omitempty"`    // further sources that may be accepted, CIDR
	Direction  string     `json:"direction,omitempty"`   // as the relay sees the peer: sendrecv, sendonly (we only send to it), recvonly, inactive
	DSCP       *int       `json:"dscp,omitempty"`        // 0..63; default 46 (EF)
	RTCPActive *bool      `json:"rtcp_active,omitempty"` // the peer sends RTCP while media flows (default true); false: its silence is not reported then
	RTCPHeld   *bool      `json:"rtcp_held,omitempty"`   // it sends RTCP while held as well: its silence is reported then too; default false
	RX         *Crypto    `json:"rx,omitempty"`          // what the peer seals with; suite "none" means plain RTP
	TX         *Crypto    `json:"tx,omitempty"`          // what we seal with
	Payloads   *[]Payload `json:"payloads,omitempty"`    // negotiated payload types
}

// Crypto is one direction's SRTP parameters. It is write-only: answers carry the suite alone.
type Crypto struct {
	Suite           string `json:"suite"`                       // RFC name, e.g. AES_CM_128_HMAC_SHA1_80, or "none"
	Key             string `json:"key,omitempty"`               // base64 of master key and salt, as after "inline:" in a=crypto
	MKI             string `json:"mki,omitempty"`               // hex of the master key identifier that every packet of the peer carries
	UnencryptedRTCP bool   `json:"unencrypted_srtcp,omitempty"` // RFC 4568 UNENCRYPTED_SRTCP was negotiated
	ROC             string `json:"roc,omitempty"`               // a new key starts with rollover "reset" (default) or "carry"
}

// Payload is one negotiated payload type.
type Payload struct {
	Type  uint8  `json:"type"`
	Name  string `json:"name,omitempty"`  // encoding name as in a=rtpmap
	Clock uint32 `json:"clock,omitempty"` // Hz; default 8000
}

// SessionState is the answer to open, update, get, close and, in a page, list.
type SessionState struct {
	ID         string        `json:"id"`
	Generation uint64        `json:"generation"`
	Owner      string        `json:"owner,omitempty"`
	Opaque     string        `json:"opaque,omitempty"`
	AgeMS      int64         `json:"age_ms"`
	Closed     bool          `json:"closed,omitempty"`
	Streams    []StreamState `json:"streams"`
}

// StreamState is one stream and its legs.
type StreamState struct {
	Name string     `json:"name"`
	Kind string     `json:"kind"`
	Legs []LegState `json:"legs"`
}

// LegState is what the relay knows of a leg. In counts what came from the peer, Out what was sent to it.
type LegState struct {
	Name      string            `json:"name"`
	Network   string            `json:"network"`
	Local     string            `json:"local"`               // our ip:port, the one to write into SDP
	LocalRTCP string            `json:"local_rtcp"`          // the same as Local with mux
	Advertise string            `json:"advertise,omitempty"` // ip to write into SDP instead of Local's, behind static NAT
	Remote    string            `json:"remote,omitempty"`    // as signalled
	Pinned    string            `json:"pinned,omitempty"`    // where we send, once evidence decided
	Pin       string            `json:"pin"`
	Direction string            `json:"direction"`
	RXSuite   string            `json:"rx_suite"`
	TXSuite   string            `json:"tx_suite"`
	SSRC      uint32            `json:"ssrc,omitempty"` // of the peer, the latest
	In        Traffic           `json:"in"`
	Out       Traffic           `json:"out"`
	Drops     map[string]uint64 `json:"drops,omitempty"` // by verdict: packets from this peer that were not forwarded
	Quality   Quality           `json:"quality"`         // of what the peer sends, as it reached us
	SilentMS  int64             `json:"silent_ms"`       // since the last accepted packet; -1: none yet
}

// Traffic counts packets and bytes of UDP payload. The packets are all of them.
type Traffic struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	RTCP    uint64 `json:"rtcp_packets"`
	Opaque  uint64 `json:"opaque_packets,omitempty"` // of streams of that kind
}

// Quality is RFC 3550's view of a received stream, and the MOS estimated from it (ITU-T G.107).
type Quality struct {
	Expected  uint64  `json:"expected"`
	Lost      int64   `json:"lost"` // negative with duplicates (RFC 3550 appendix A.3)
	JitterMS  float64 `json:"jitter_ms"`
	MaxJitter float64 `json:"jitter_max_ms"`
	MOS       float64 `json:"mos"` // 1.0 to 4.5; 0: nothing heard
}

// Ref names a session. Session.close takes an optional Generation: a stale one is refused.
type Ref struct {
	ID         string `json:"id"`
	Generation uint64 `json:"generation,omitempty"`
}

// List asks for a page of sessions, in the order of their ids.
type List struct {
	Owner string `json:"owner,omitempty"`
	After string `json:"after,omitempty"` // the last id of the page before
	Limit int    `json:"limit,omitempty"` // default and at most MaxPage
}

// ListResult is one page. Next is empty on the last one.
type ListResult struct {
	Sessions []SessionState `json:"sessions"`
	Next     string         `json:"next,omitempty"`
}

// Stats are the relay's totals since its start. Received == Forwarded + the sum of Drops.
type Stats struct {
	Boot       string            `json:"boot"`
	UptimeMS   int64             `json:"uptime_ms"`
	Engine     string            `json:"engine"`
	Sessions   int               `json:"sessions"`
	Opened     uint64            `json:"opened"`
	Closed     uint64            `json:"closed"`
	Received   uint64            `json:"received"`
	Forwarded  uint64            `json:"forwarded"`
	Drops      map[string]uint64 `json:"drops"`
	InBytes    uint64            `json:"in_bytes"`
	OutBytes   uint64            `json:"out_bytes"`
	Overflows  uint64            `json:"overflows"` // lost in the kernel before the relay saw them: not in Received
	BatchIn    float64           `json:"batch_in"`  // mean packets a receive call
	BatchOut   float64           `json:"batch_out"`
	RecvCalls  uint64            `json:"recv_calls"` // that returned something; with Received: batch occupancy of an interval
	SendCalls  uint64            `json:"send_calls"`
	Sent       map[string]uint64 `json:"sent"`           // packets by the way they left: frame, socket, socket_unresolved ...
	Unmatched  uint64            `json:"unmatched"`      // reached a shared socket without naming one of our addresses: not in Received
	RcvBuf     int               `json:"receive_buffer"` // bytes of the smallest receive buffer in use, as the kernel gave it
	Allocs     uint64            `json:"allocs"`         // objects the process has allocated since its start
	EarlyReuse uint64            `json:"early_reuse"`    // ports leased again before their preferred rest
	EventsLost uint64            `json:"events_lost"`    // events that a slow controller did not take

	// Of the engines funnel and xdp; 0 with others.
	HandedOver  uint64 `json:"handed_over"`  // packets that one worker received for another
	XDPInvalid  uint64 `json:"xdp_invalid"`  // frames that the kernel refused to take from an AF_XDP socket
	XDPStarved  uint64 `json:"xdp_starved"`  // times that the kernel found no free frame of an AF_XDP socket
	HopResyncs  uint64 `json:"hop_resyncs"`  // times that news of routes and neighbours were lost, and all was asked again
	HopsRefused uint64 `json:"hops_refused"` // times that a way to a destination was not looked up: the table is full
}

// Drain stops new sessions from being opened (On) or lets them in again.
type Drain struct {
	On bool `json:"on"`
}

// DrainResult tells how many sessions are left.
type DrainResult struct {
	Draining bool `json:"draining"`
	Sessions int  `json:"sessions"`
}

// Event is the body of every notification.
type Event struct {
	Session   string `json:"session"`
	Owner     string `json:"owner,omitempty"`
	Stream    string `json:"stream"`
	Leg       string `json:"leg"`
	Address   string `json:"address,omitempty"` // media.pinned, media.contested
	SSRC      uint32 `json:"ssrc,omitempty"`    // media.ssrc
	After     string `json:"after,omitempty"`   // media.timeout: "initial" or "running"
	SilentMS  int64  `json:"silent_ms,omitempty"`
	Direction string `json:"direction,omitempty"` // key.expiring: "rx" or "tx"
}
