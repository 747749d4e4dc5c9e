package sdp

import "strings"

// Direction is the flow of media that the author of a body wants, seen from the author (RFC 3264 section 5.1).
type Direction uint8

// The zero value is what a body without a direction attribute means.
const (
	Sendrecv Direction = iota
	Sendonly
	Recvonly
	Inactive
)

var directions = [...]string{Sendrecv: "sendrecv", Sendonly: "sendonly", Recvonly: "recvonly", Inactive: "inactive"}

// String returns the attribute's name.
func (d Direction) String() string {
	if int(d) < len(directions) {
		return directions[d]
	}
	return "unknown"
}

// ParseDirection reads an attribute's name; ok is false when it names no direction.
func ParseDirection(name string) (d Direction, ok bool) {
	for i, known := range directions {
		if strings.EqualFold(name, known) {
			return Direction(i), true
		}
	}
	return Sendrecv, false
}

// Sends tells whether the author sends.
func (d Direction) Sends() bool { return d == Sendrecv || d == Sendonly }

// Receives tells whether the author wants to receive.
func (d Direction) Receives() bool { return d == Sendrecv || d == Recvonly }

// Reverse returns the same flow seen from the other end.
func (d Direction) Reverse() Direction { return flow(d.Receives(), d.Sends()) }

// Answer returns the direction of the answer to an offer of d by a side that itself wants local: it sends only what the
// offerer receives and receives only what the offerer sends (RFC 3264 section 6.1).
func (d Direction) Answer(local Direction) Direction {
	return flow(local.Sends() && d.Receives(), local.Receives() && d.Sends())
}

func flow(sends, receives bool) Direction {
	switch {
	case sends && receives:
		return Sendrecv
	case sends:
		return Sendonly
	case receives:
		return Recvonly
	}
	return Inactive
}
