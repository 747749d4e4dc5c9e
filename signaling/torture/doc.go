// Package torture holds what real peers do to a SIP gateway: one test for each item of the list that the project keeps (T01 to
// T35), each against the built program with peers that send their bytes exactly as written, and each with media afterwards.
//
// Nearly every complaint of users of SIP gateways is re-INVITE, hold, late offer, ACK, route set or NAT handling: the failure it
// prevents is a gateway that is right by its own understanding only. So nothing of Tandem's signaling is imported here: peers
// are sockets and text, media is UDP and, where it is secret, pion's SRTP. Every test asserts what both sides saw.
//
// In the order of reading: main (the program), world (a tandem between peers), peer and dialog (SIP by hand), body (SDP), ear
// (media), secret (SRTP), certificate; then the items by subject, and RFC 4475 byte for byte.
//
// What does not live here: rates and load (bench), real programs as peers (bench/peers), single functions (beside them).
package torture
