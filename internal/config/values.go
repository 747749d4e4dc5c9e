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

	EngineAuto    = "auto"
	EngineSockets = "sockets"

	MetricsOff = "off" // in place of an address
)
