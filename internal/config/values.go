package config

// Values of the keys that take one of a few words.
const (
	UDPTransport = "udp"
	TCPTransport = "tcp"
	TLSTransport = "tls"

	ClientRequire = "require" // a peer without a valid certificate does not connect
	ClientRequest = "request" // a certificate is checked if there is one; else sources alone decide
	ClientNone    = "none"    // no certificate is asked for

	SRTPRequired = "required" // offer SRTP only, refuse RTP
	SRTPOptional = "optional" // offer SRTP, accept RTP
	SRTPOff      = "off"      // offer RTP, refuse SRTP

	PinExact = "exact"
	PinLearn = "learn"
	PinAuth  = "auth"

	ROCReset = "reset"
	ROCCarry = "carry"

	EngineAuto    = "auto"    // the best one that proves itself at start
	EngineSockets = "sockets" // one UDP socket a port: needs no privilege
	EngineFunnel  = "funnel"  // sk_lookup steering and ready-made frames: needs capabilities
	EngineXDP     = "xdp"     // AF_XDP on the devices that have the addresses, beside a funnel: needs capabilities

	SendAuto = "auto" // as the engine does it best
	SendUDP  = "udp"  // by UDP sockets: the kernel's output rules (nftables, IPsec) see every packet

	MetricsOff = "off" // in place of an address

	BalanceShuffle = "shuffle" // a new order for every call, all orders equally often
	BalanceOrder   = "order"   // as listed
	BalanceWeight  = "weight"  // a new order for every call, the first by weight

	FromAny = "*" // in Route.From of an emergency route: whatever trunk the call entered by

	ProfileGeneric = "generic" // of a trunk that names none

	ReferConsume = "consume" // a REFER is answered here: we make the new call and join it
	ReferForward = "forward" // a REFER is told to the peer

	TimerOff = "off" // session timers only where the peer asks for them
	TimerOn  = "on"  // we ask for them

	PrackSupported = "supported" // reliable where the peer wants it
	PrackRequired  = "required"  // nobody without it
	PrackOff       = "off"       // never

	FaxRefuse      = "refuse"      // 488: the fax goes on in G.711
	FaxPassthrough = "passthrough" // UDPTL crosses, where audio is plain RTP

	FaxClear = "passthrough_clear" // UDPTL crosses, and is in clear where audio is SRTP

	AnyCause = -1 // in ResponseRule.Cause: any cause, or none told
)
