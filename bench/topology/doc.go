// Package topology holds the tests of direct SIP's topologies, 1:1, 1:N, M:1 and M:N: the tandem that was built, one process
// a node, between PBX, gateway and SBC, every one of them in a network namespace of its own, and all on one wire.
//
// The failure it prevents is a trunk that works as long as its peer does. Peers are killed before the call, while it rings and
// while it talks, cut off the wire or made to fall silent; nodes are killed, reloaded and given new certificates under load.
// Each time two things are asserted: what became of the calls, as the far ends saw it, and that the call record says exactly
// that.
//
// Where things are: wire (namespaces and what joins them), process, node (a tandem), sipp and phone (the peers), story (what a
// record must say). configs/ are configurations as an operator would write them: a host's /run/tandem is its own.
// scenarios/ are sipp's parts. All that a test makes is anonymous and held by threads of this process: it cannot outlive it.
//
// What does not live here: one peer's peculiarities (bench/peers), timers by a fake clock (beside what they belong to).
package topology
