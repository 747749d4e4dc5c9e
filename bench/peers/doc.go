// Package peers holds the tests with real peers: the tandem that was built, run as an operator runs it, between SIP
// programs that others wrote. sipp plays the callers and the gateways, baresip the encrypted phone; its SRTP (libre's) is
// neither ours nor pion's.
//
// The failure it prevents is a gateway that only understands itself: everything here goes over sockets, and what is asserted
// is what the far end saw. scenarios/ are sipp's parts; the tests prompt them from outside (see sipp.prompt), so that
// nothing waits for a clock that an event can tell.
//
// What does not live here: tests of one package (beside it), and the phone of the demo (internal/phone).
package peers
