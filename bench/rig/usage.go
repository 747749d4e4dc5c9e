package rig

import (
	"fmt"
	"time"
)

// leastNAPI is the least that receiving a packet costs a NAPI thread. Measured: 500 ns up to an AF_XDP socket, more up to
// others. A run below it received by polls of the relay itself, on its CPU, or elsewhere.
const leastNAPI = 50 * time.Nanosecond

// Usage is what a run cost the relay's side.
type Usage struct {
	Wall          time.Duration
	Process, NAPI time.Duration // exact run-times
	Steal, Idle   time.Duration // of the relay's CPU, in ticks
	User, System  time.Duration // of the relay's CPU, in ticks
	SoftIRQ       time.Duration // of the relay's CPU, in ticks; NAPI threads count as System
	Home, Abroad  uint64        // packets handed to the protocols on the relay's CPU, and on all others
	Polled        uint64        // packets that the relay's own polls received, at least half of them
	RSS           uint64        // bytes, at the end
	NAPIHome      bool          // the NAPI threads were pinned all the time and are on the relay's CPU
}

// Since returns what happened from an earlier sample of the same process to this one.
func (s Sample) Since(before Sample, relayCPU int) Usage {
	u := Usage{
		Wall: s.At - before.At, Process: s.Process - before.Process, NAPI: s.NAPI - before.NAPI,
		Steal: s.Steal - before.Steal, Idle: s.Idle - before.Idle, User: s.User - before.User, System: s.System - before.System,
		SoftIRQ: s.SoftIRQ - before.SoftIRQ, Polled: s.Polled - before.Polled, RSS: s.RSS, NAPIHome: before.NAPIPinned && s.NAPIPinned && (s.NAPIHome || s.NAPI == before.NAPI),
	}
	for cpu := range min(len(s.Softnet), len(before.Softnet)) {
		processed := uint64(uint32(s.Softnet[cpu] - before.Softnet[cpu])) // the kernel's counters have 32 bits
		if cpu == relayCPU {
			u.Home += processed
		} else {
			u.Abroad += processed
		}
	}
	return u
}

// Busy returns the CPU time that the relay's work took: its process and its receive work.
func (u Usage) Busy() time.Duration { return u.Process + u.NAPI }

// NsPer returns nanoseconds of CPU per packet, 0 for no packets.
func (u Usage) NsPer(packets uint64) float64 {
	if packets == 0 {
		return 0
	}
	return float64(u.Busy()) / float64(packets)
}

// Check returns why the account of a run in which the relay received so many packets is not to be believed, or nil.
func (u Usage) Check(received uint64) error {
	switch {
	case !u.NAPIHome:
		return fmt.Errorf("rig: the NAPI thread of the relay's device left its CPU")
	case u.NAPI < time.Duration(received)*leastNAPI && u.Home < received && 2*u.Polled < received:
		return fmt.Errorf("rig: the relay's NAPI thread ran %s for %d packets, its polls took %d: they were received elsewhere (is GRO on, TSO off?)",
			u.NAPI, received, u.Polled)
	case received > 0 && u.Abroad > received/2:
		return fmt.Errorf("rig: %d packets were handed to protocols on other CPUs, %d on the relay's, %d were its own: something else uses this machine's network, or the relay received elsewhere",
			u.Abroad, u.Home, received)
	}
	return nil
}
