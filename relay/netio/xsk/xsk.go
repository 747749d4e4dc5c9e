// Package xsk is AF_XDP: packets of leased UDP ports from a network device's queue into memory of ours and back, past the
// kernel's IP, UDP and socket code (kernel document networking/af_xdp.rst).
//
// A Program decides in the driver, for each packet, whether it is ours; what is not (ARP, ICMP, TCP, other ports, fragments, IP
// options, extension headers) goes on to the kernel as if nobody had looked. A Socket is one queue's rings and frames: a packet
// is received in a frame, its headers are rewritten there, and it is sent from the same frame.
//
// The failure it prevents is the slow leak. A frame that is lost is a packet less for ever, and a frame in two places is two
// packets in one; so a frame's way is one file, packet.go, and TestEveryFrameIsInOnePlace counts them. Nothing outlives the
// process: program and link are descriptors, the kernel takes them back however it ends.
//
// What does not live here: which ports are leased (package steer, whose tables the program reads), what the headers say (package
// frame), which devices have the addresses and what happens to a packet that finds no room (the engine in package netio).
package xsk
