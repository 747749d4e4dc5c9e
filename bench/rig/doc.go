// Package rig is the place in which relays are measured: two network namespaces joined by a veth pair, the relay's on one
// CPU, the load's on another, and an account of the CPU time that was spent on the relay's side.
//
//	td-<pid>-load                              td-<pid>-relay
//	peers' addresses 198.18.1.x, fd00::1:x     relay's addresses 198.18.0.x, fd00::x
//	device td-<pid>-l ------------ veth ------------ device td-<pid>-r
//	NAPI thread on LoadCPU                     NAPI thread and the relay's process on RelayCPU
//
// The failure it prevents is a number that belongs to somebody else: on a veth pair the receive work of the relay runs on
// the CPU of the generator unless NAPI is on, and the ticks of /proc/stat miss what comes in short bursts. Here the
// receive work has a thread, the thread has a CPU, the account is in nanoseconds, and Usage.Check says so when a run was
// otherwise. The second failure is what a measurement leaves behind: everything goes with Close, with the context, and
// what a killed run left goes with the next Build.
//
// Files in the order things happen: place (Build and Close), stale (what a killed run left), warden (a thread inside a
// namespace), wire (the veth pair), ethtool and napi (the receive work's thread), cpu (whose CPU it is), process (a program
// in the place), sample and usage (the account). What does not live here: packets (bench/load), what a relay is told (bench/subject).
package rig
