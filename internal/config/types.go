// Package config reads the one YAML file of Tandem into validated structs.
//
// Every error names the key, the value, what is wrong, what to do, and the line and column; a misspelt key gets a
// suggestion. Nothing here opens a socket or a certificate: check tells what the file says, opening tells what the machine
// has. deploy/tandem.yaml is the commented example of everything below.
package config

import (
	"net/netip"
	"regexp"
	"time"
)

// Config is the whole file.
type Config struct {
	Node    string  `yaml:"node"` // name of this node: begins every local tag; letters, digits, dash; default: host name
	Log     Log     `yaml:"log"`
	Control Control `yaml:"control"`
	Metrics Metrics `yaml:"metrics"`
	Media   Media   `yaml:"media"`
	SIP     SIP     `yaml:"sip"`
	Records Records `yaml:"records"`

	Policy    Policy                  `yaml:"policy"` // of every trunk: the widest of the three scopes
	Sites     map[string]Site         `yaml:"sites"`  // places that trunks belong to: the middle one
	Trunks    map[string]Trunk        `yaml:"trunks"` // each with a policy of its own: the narrowest, it wins
	Groups    map[string]Group        `yaml:"groups"` // trunks that a route may name together
	DialPlans map[string][]NumberRule `yaml:"dial_plans"`
	Routes    []Route                 `yaml:"routes"`

	source *source // where the file says it; nil in a Config that no file made
}

// Log says what is written to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info (default), warn, error
	Format string `yaml:"format"` // text (default), json
}

// Control is the relay's control socket, and who may speak to it.
type Control struct {
	Socket string   `yaml:"socket"` // default /run/tandem/relay.sock
	Mode   string   `yaml:"mode"`   // octal permissions; default "0660"
	Group  string   `yaml:"group"`  // group of the socket; default: none set
	Users  []string `yaml:"users"`  // users (names or ids) whose processes may connect, beside root and our own; by SO_PEERCRED
	Groups []string `yaml:"groups"` // groups likewise
}

// Metrics are the listening addresses of the two Prometheus endpoints; "off" disables one.
type Metrics struct {
	Relay string `yaml:"relay"` // default 127.0.0.1:9640
	SIP   string `yaml:"sip"`   // default 127.0.0.1:9641
}

// Media configures the relay.
type Media struct {
	Engine   string             `yaml:"engine"`   // auto (default), sockets, funnel, xdp
	Workers  int                `yaml:"workers"`  // default: number of CPUs - 1, at least 1
	Sessions int                `yaml:"sessions"` // most sessions at once; default 10000
	Networks map[string]Network `yaml:"networks"`
	Buffer   int                `yaml:"receive_buffer"` // bytes of a receive socket's buffer; 0 (default): the engine's own
	Poll     time.Duration      `yaml:"poll"`           // a worker with steady traffic looks at its devices itself, at most so far apart; 0 (default): it is woken
	Timeouts MediaTimeouts      `yaml:"timeouts"`
	Ports    PortRest           `yaml:"ports"`
}

// Network is a named set of local addresses that media of one side uses.
type Network struct {
	Addresses []netip.Addr `yaml:"addresses"`
	Ports     PortRange    `yaml:"ports"`     // "40000-49999"
	Advertise netip.Addr   `yaml:"advertise"` // written into SDP instead of the address: static NAT in front of us
	DSCP      *int         `yaml:"dscp"`      // default 46
	Send      string       `yaml:"send"`      // auto (default); udp: by UDP sockets even where the engine has a faster way
}

// PortRange is an inclusive range of UDP ports.
type PortRange struct{ Low, High uint16 }

// MediaTimeouts say when silence is reported.
type MediaTimeouts struct {
	Initial time.Duration `yaml:"initial"` // after the answer, before the first packet; default 30s
	Running time.Duration `yaml:"running"` // after the last accepted packet; default 60s
	Orphan  time.Duration `yaml:"orphan"`  // without a controller, close a silent session; default 10m
}

// PortRest is how long a released port rests.
type PortRest struct {
	Prefer time.Duration `yaml:"prefer"` // default 60s
	Never  time.Duration `yaml:"never"`  // not even in need before this; default 5s
}

// SIP configures the signaling plane.
type SIP struct {
	FQDN      string              `yaml:"fqdn"`       // our name in Contact where a trunk wants a name
	UserAgent string              `yaml:"user_agent"` // User-Agent and Server header; default "Tandem"
	Socket    string              `yaml:"socket"`     // of the signaling plane itself: ctl, top, live explain; default /run/tandem/sip.sock
	Profiles  string              `yaml:"profiles"`   // directory with profiles (NAME.yaml) beside those built in; default: none
	Listeners map[string]Listener `yaml:"listeners"`
	Limits    SIPLimits           `yaml:"limits"`
}

// Listener is a SIP address of ours.
type Listener struct {
	Node      string         `yaml:"node"`      // the node of the pool that has it, the others leave it out; default: whichever reads the file
	Transport string         `yaml:"transport"` // udp, tcp, tls
	Address   netip.AddrPort `yaml:"address"`   // a concrete IP, never 0.0.0.0: SIP writes it into Via and Contact
	Advertise string         `yaml:"advertise"` // host or host:port to write instead
	TLS       *TLS           `yaml:"tls"`       // required with transport tls
}

// TLS is one identity and whom it trusts.
type TLS struct {
	Certificate string `yaml:"certificate"` // PEM file, chain included
	Key         string `yaml:"key"`         // PEM file
	CA          string `yaml:"ca"`          // PEM file of the authorities that peers' certificates must chain to; default: the system's
	Client      string `yaml:"client"`      // require (mutual TLS, default), request (without a certificate sources decide), none
	MinVersion  string `yaml:"min_version"` // "1.2" (default), "1.3"
}

// Records are the call records, one JSON object a line.
type Records struct {
	File string `yaml:"file"` // default: none is written
	Size int    `yaml:"size"` // bytes after which a new file begins; default 100 MB, 0 without File
	Keep int    `yaml:"keep"` // how many full files are kept; default 10, 0 without File
}

// Site is a place with a policy for its trunks.
type Site struct {
	Policy Policy `yaml:"policy"`
}

// Trunk is {one of our listeners : one peer} and its policy.
type Trunk struct {
	Listener string         `yaml:"listener"`  // by name
	Peer     string         `yaml:"peer"`      // host or IP, with an optional port: where calls go. A name without a port is looked up by SRV
	Site     string         `yaml:"site"`      // whose policy holds where the trunk has none of its own
	Sources  []netip.Prefix `yaml:"sources"`   // whose requests enter by this trunk; default: the addresses of Peer
	TLSNames []string       `yaml:"tls_names"` // names of which the peer's certificate must carry one; default: the host of Peer
	TLS      *TLS           `yaml:"tls"`       // identity and trust of connections that we open; what it leaves out, or all, is the listener's
	Network  string         `yaml:"network"`   // media network, by name; default: the only one
	Domain   string         `yaml:"domain"`    // host part of From and To towards the peer; default: ours and the peer's

	Auth      *Auth      `yaml:"auth"`      // who we are when the peer asks (digest)
	Challenge *Challenge `yaml:"challenge"` // whom we ask before a call enters (digest); default: nobody
	Register  *Register  `yaml:"register"`  // bind our Contact at the peer; default: not

	Policy `yaml:",inline"`
}

// Policy is what may differ from trunk to trunk and has three scopes: global, site, trunk. Of each key the narrowest that
// the file gives holds; a list replaces the wider one. Where none of them says anything the profile does, before the default.
type Policy struct {
	Profile string `yaml:"profile"` // what kind of peer it is: generic (default), lync, teams, or a name in sip.profiles

	SRTP     string         `yaml:"srtp"`            // required (default on tls), optional, off (default elsewhere)
	Suites   []string       `yaml:"suites"`          // offered in this order; default AES_CM_128_HMAC_SHA1_80
	ROC      string         `yaml:"roc_tx"`          // reset (default), carry: rollover counter of a new key
	Pin      string         `yaml:"pin"`             // exact (default without srtp), learn, auth (default with srtp)
	AnyPort  bool           `yaml:"any_source_port"` // exact: any source port of the signalled address
	Prefixes []netip.Prefix `yaml:"media_prefixes"`  // further addresses whose media may be accepted
	RTCPMux  bool           `yaml:"rtcp_mux"`        // offer rtcp-mux; an offered one is always accepted

	// What may be demanded of the peer. Who is silent for media.timeouts where it should be heard loses the call.
	RTCPActive bool `yaml:"rtcp_active"` // it sends RTCP while media flows; default true. false: silence ends no call of it
	RTCPHeld   bool `yaml:"rtcp_held"`   // it sends RTCP in held calls: silence ends those too; default false

	// Headers are told to the peer re-encoded, with our host in place of any other.
	Trusted   bool `yaml:"trusted"`           // its word on who calls is believed, and it is told who asks to stay hidden (RFC 3325); default: on tls with client require
	History   bool `yaml:"forward_history"`   // leaving calls: History-Info (RFC 7044) and Referred-By
	PAI       bool `yaml:"forward_pai"`       // P-Asserted-Identity that a trusted peer gave: of who calls, and of who answers
	Diversion bool `yaml:"forward_diversion"` // leaving calls: Diversion (RFC 5806)
	PIDFLO    bool `yaml:"pidf_lo"`           // leaving calls: the caller's place (RFC 6442), byte for byte
	Identity  bool `yaml:"identity"`          // leaving calls: STIR Identity (RFC 8224), byte for byte; default: as trusted

	// What happens inside a call.
	Refer        string `yaml:"refer"`             // transfers of the other side: consume (default: we make the new call), forward (told to this peer)
	SessionTimer string `yaml:"session_timer"`     // off (default: only what the peer asks for), on: we ask for 30 minutes (RFC 4028)
	Prack        string `yaml:"prack"`             // reliable 18x (RFC 3262): supported (default), required, off
	MaxEarly     int    `yaml:"max_early_dialogs"` // branches of one call that may ring at once; default 20
	Fax          string `yaml:"fax"`               // T.38 in a call: refuse (default: it stays on G.711), passthrough (where both trunks say so; not in place of SRTP), passthrough_clear (in place of SRTP too)
	Bypass       bool   `yaml:"bypass"`            // media goes past us where both trunks of a call say so: SDP crosses, no relay

	Failover     Failover `yaml:"failover"`
	Options      Options  `yaml:"options"`
	MaxCalls     int      `yaml:"max_calls"`     // at once, in both directions; 0: no cap. A full trunk is skipped
	MaxCPS       int      `yaml:"max_cps"`       // calls that leave or enter by it in any second; 0: no cap
	MaxBandwidth int      `yaml:"max_bandwidth"` // of media, one way, kbit/s on the wire (IP and above); 0: no cap

	DialPlan   string         `yaml:"dial_plan"`       // entering calls: makes the dialled number what routes expect; empty (default): none
	Usages     []string       `yaml:"usages"`          // entering calls: the usages whose routes they may take, in this order; none: only routes that name the trunk
	Called     []NumberRule   `yaml:"called_numbers"`  // leaving calls: the called number towards the peer; the first match holds
	Calling    []NumberRule   `yaml:"calling_numbers"` // leaving calls: the caller's number, likewise
	RemovePlus bool           `yaml:"remove_plus"`     // leaving calls: the leading + of numbers is cut off, after the rules
	Responses  []ResponseRule `yaml:"responses"`       // failures that the peer answers, translated before anything else sees them
}

// Auth are credentials for digest (RFC 8760).
type Auth struct {
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
	File     string `yaml:"password_file"` // first line of this file, instead
	Realm    string `yaml:"realm"`         // answer only this realm; default: any
}

// Challenge makes the peer prove who it is by digest.
type Challenge struct {
	Realm string            `yaml:"realm"` // default: SIP.FQDN
	Users map[string]Secret `yaml:"users"` // user -> password
}

// Register binds our Contact at the peer, for providers that send calls to whoever registered (RFC 3261 section 10).
type Register struct {
	User    string        `yaml:"user"`    // user part of the address of record; default: Auth.User
	Domain  string        `yaml:"domain"`  // of the address of record; default: the host of Peer
	Expires time.Duration `yaml:"expires"` // asked for; default 1h. Renewed after half of what was granted
}

// Failover says when the next trunk of a route is tried.
type Failover struct {
	Timeout time.Duration `yaml:"timeout"` // no 18x within this; default 10s
	Codes   []int         `yaml:"codes"`   // final answers that move on; default 408, 503, 504; 503 always does, 603 never
}

// Options is the keep-alive by OPTIONS, and what silence does.
type Options struct {
	Every  time.Duration `yaml:"every"`  // default 60s; 0 after "off"
	Off    bool          `yaml:"off"`    // no OPTIONS are sent
	Demote time.Duration `yaml:"demote"` // unanswered for this long: the trunk is tried last; default 3m
	Down   int           `yaml:"down"`   // unanswered so often in a row: not tried while another is left; default 5
}

// NumberRule rewrites a number: the first whose Match fits holds.
type NumberRule struct {
	Name  string         `yaml:"name"`  // for explanations; default: its place in the list
	Match *regexp.Regexp `yaml:"match"` // on the whole user part
	To    string         `yaml:"to"`    // with $1 ... for the groups of Match
}

// ResponseRule turns one failure of a peer into another. Of the rules that fit the lowest Priority holds, of equals the first.
type ResponseRule struct {
	Priority int `yaml:"priority"` // default 0
	Code     int `yaml:"code"`     // 400..699; 0 (default): any
	Cause    int `yaml:"cause"`    // Q.850 in the Reason header, 1..127; -1 (default): any or none
	To       int `yaml:"to"`       // 400..699
}

// Group is trunks that are equal.
type Group struct {
	Trunks  []string       `yaml:"trunks"`
	Balance string         `yaml:"balance"` // shuffle (default), order, weight
	Weights map[string]int `yaml:"weights"` // balance weight: by trunk, 1..1000; default 1
}

// Route sends calls of some trunks to others. A call looks first at the emergency routes; then at those that name its trunk
// in From, in the order of the file; then, usage by usage of its trunk, at those with that usage, by Priority and then in the
// order of the file. The first that matches decides, unless it says Continue. A route whose trunks are all on other nodes of
// the pool refuses with 503.
type Route struct {
	Name      string         `yaml:"name"`
	From      []string       `yaml:"from"`      // trunks or groups by which the call entered; "*" in an emergency route: any
	Usages    []string       `yaml:"usages"`    // or: calls whose trunk has one of these usages. Neither: nobody (never a toll loop by accident)
	Match     *regexp.Regexp `yaml:"match"`     // on the called number after the dial plan; absent: any
	Caller    *regexp.Regexp `yaml:"caller"`    // on the caller's number; absent: any
	Priority  int            `yaml:"priority"`  // among the routes of a usage, the lower first; default 0
	To        []string       `yaml:"to"`        // trunks and groups, in the order of trying
	Balance   string         `yaml:"balance"`   // of To: order (default), shuffle
	Reject    int            `yaml:"reject"`    // instead of To: refuse with this code, 400..699
	Continue  bool           `yaml:"continue"`  // when the trunks of To fail, go on with the next route that matches
	Emergency bool           `yaml:"emergency"` // looked at before all others; its calls are held back by no cap
}

// SIPLimits bound what strangers can cost.
type SIPLimits struct {
	Calls        int           `yaml:"calls"`                  // concurrent calls of this node; default 5000
	Message      int           `yaml:"message_bytes"`          // largest SIP message; default 65535
	Connections  int           `yaml:"connections"`            // stream connections in total; default 4096
	PerSource    int           `yaml:"connections_per_source"` // default 256
	Handshake    time.Duration `yaml:"handshake"`              // TLS handshake deadline; default 5s
	Idle         time.Duration `yaml:"idle"`                   // stream connection without traffic; default 15m
	StrangerRate int           `yaml:"stranger_rate"`          // messages per second from a source that is no trunk; default 10
	TrunkRate    int           `yaml:"trunk_rate"`             // messages per second from a trunk's source; default 5000
	RingTimeout  time.Duration `yaml:"ring_timeout"`           // INVITE without final answer; default 3m
}
