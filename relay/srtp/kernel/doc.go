// Package kernel is the arithmetic of SRTP: AES counter mode and AES-GCM over one packet in place, HMAC-SHA1 over one, two or up to
// sixteen side by side, on memory that the caller owns. Keys are plain arrays without pointers, so that the caller can keep them
// in locked pages and wipe them.
//
// It prevents that a packet costs an allocation or a call through an interface for its cryptography, and that one byte beyond
// the packet is read or written: TestNothingBeyondThePacketIsTouched puts a guard page on either side of it.
//
// Each tier computes the same bytes. Generic is Go alone and the reference; the others are assembly that the module in
// ../_asm generates. All of them run in a time that depends on lengths and never on keys or contents. A tier is used only after it
// has computed what the reference does, once at the start: an instruction that a processor or a hypervisor gets wrong costs speed
// and no call.
//
// Other processors than amd64 have Generic alone. The standard library's ciphers are no substitute: they want an object on the heap
// for each key, outside the memory that is locked and wiped, and allocate for each packet.
//
// What does not live here: packet layouts, indices, replay, which packets go together, and the choice of a tier.
package kernel

//go:generate go -C ../_asm run . -kernel probe -pkg kernel -out ../kernel/probe_amd64.s -stubs ../kernel/stub_probe_amd64.go
//go:generate go -C ../_asm run . -kernel expand -pkg kernel -out ../kernel/expand_amd64.s -stubs ../kernel/stub_expand_amd64.go
//go:generate go -C ../_asm run . -kernel ctr -pkg kernel -out ../kernel/ctr_amd64.s -stubs ../kernel/stub_ctr_amd64.go
//go:generate go -C ../_asm run . -kernel hmac -pkg kernel -out ../kernel/hmac_amd64.s -stubs ../kernel/stub_hmac_amd64.go
//go:generate go -C ../_asm run . -kernel hmac16 -pkg kernel -out ../kernel/hmac16_amd64.s -stubs ../kernel/stub_hmac16_amd64.go
//go:generate go -C ../_asm run . -kernel ghash -pkg kernel -out ../kernel/ghash_amd64.s -stubs ../kernel/stub_ghash_amd64.go
