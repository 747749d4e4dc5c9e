// Package calls measures signaling: calls from sipp to sipp through a gateway that has its media set up on a relay for each,
// everything under test on one CPU, both sipps on the other. Tandem is `tandem sip` with `tandem relay`; its rival is a
// stateful Kamailio with rtpengine.
//
// The failures it prevents are three. The figure that belongs to sipp: it has a CPU of its own, whose use stands beside
// every figure, and a rate that sipp could not offer is no result. The cheap call: the relay must count a session for every
// call, or the run is void. The figure of a good moment: sides take turns, each with fresh processes, and ratios are taken
// within a round. A rate that is not carried, whatever an overload does to a side, is an answer and no error; only a rate that
// was carried must leave nothing behind. CPU time is the scheduler's account of every process of a side and of the kernel
// thread that receives for it, not ticks.
//
// Files in the order things happen: gateway (what a side is), tandem and kamailio (the two), sipp (the load) and tables (what it
// writes), account (CPU and memory), run (one rate for a while), search, trial (the rounds), rest (what is left afterwards), result (medians, JSON,
// the table). What does not live here: packets (bench/load, bench/trial), long runs with media (bench/soak).
package calls
