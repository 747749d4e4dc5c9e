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
	Engine   string             `yaml:"engine"`   // auto (default), sockets, funnel
	Workers  int                `yaml:"workers"`  // default: number of CPUs - 1, at least 1
	Sessions int                `yaml:"sessions"` // most sessions at once; default 10000
	Networks map[string]Network `yaml:"networks"`
	Buffer   int                `yaml:"receive_buffer"` // bytes of a receive socket's buffer; 0 (default): the engine's own
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
	Listeners map[string]Listener `yaml:"listeners"`
	Trunks    map[string]Trunk    `yaml:"trunks"`
	Routes    []Route             `yaml:"routes"`
	Limits    SIPLimits           `yaml:"limits"`
}

// Listener is a SIP address of ours.
type Listener struct {
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

// Trunk is {one of our listeners : one peer} and its policy.
type Trunk struct {
	Listener string         `yaml:"listener"`  // by name
	Peer     string         `yaml:"peer"`      // host or IP, with an optional port: where calls go
	Sources  []netip.Prefix `yaml:"sources"`   // whose requests enter by this trunk; default: the addresses of Peer
	TLSNames []string       `yaml:"tls_names"` // names of which the peer's certificate must carry one; default: the host of Peer
	Network  string         `yaml:"network"`   // media network, by name; default: the only one
	Domain   string         `yaml:"domain"`    // host part of From and To towards the peer; default: ours and the peer's

	SRTP     string         `yaml:"srtp"`            // required (default on tls), optional, off (default elsewhere)
	Suites   []string       `yaml:"suites"`          // offered in this order; default AES_CM_128_HMAC_SHA1_80
	ROC      string         `yaml:"roc_tx"`          // reset (default), carry: rollover counter of a new key
	Pin      string         `yaml:"pin"`             // exact (default without srtp), learn, auth (default with srtp)
	AnyPort  bool           `yaml:"any_source_port"` // exact: any source port of the signalled address
	Prefixes []netip.Prefix `yaml:"media_prefixes"`  // further addresses whose media may be accepted
	RTCPMux  bool           `yaml:"rtcp_mux"`        // offer rtcp-mux; an offered one is always accepted

	Failover Failover `yaml:"failover"`
	Options  Options  `yaml:"options"`
	MaxCalls int      `yaml:"max_calls"` // 0: no cap; a full trunk is skipped
}

// Failover says when the next trunk of a route is tried.
type Failover struct {
	Timeout time.Duration `yaml:"timeout"` // no 18x within this; default 10s
	Codes   []int         `yaml:"codes"`   // final answers that move on; default 408, 503, 504; 503 always does, 603 never
}

// Options is the keep-alive by OPTIONS.
type Options struct {
	Every time.Duration `yaml:"every"` // default 60s; 0 after "off"
	Off   bool          `yaml:"off"`
}

// Route sends calls of some trunks to others. Routes are tried in the order of the file; the first that matches decides.
type Route struct {
	Name  string         `yaml:"name"`
	From  []string       `yaml:"from"`  // trunks by which the call entered; empty: none (never a toll loop by accident)
	Match *regexp.Regexp `yaml:"match"` // on the called number or user; absent: any
	To    []string       `yaml:"to"`    // trunks in the order of trying
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
