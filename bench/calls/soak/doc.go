// Package soak keeps calls going through the built Tandem for as long as it is told: hundreds up at any time with audio both
// ways, dozens begun and ended a second, some held, some renegotiated or transferred by either side, and in the end nothing may be left.
//
// The failure it prevents is the one that an hour shows and a test does not: a session that nobody closes, a goroutine a
// call, a table that only grows, one packet in a million that no counter knows. The phones are not Tandem's (internal/phone);
// every frame is compared byte for byte at the far end, and at the end the relay's counters and the phones' must tell one
// story.
//
// Files in the order things happen: soak (options, the whole run), stage (both planes and two phones), churn (when calls
// begin), life and transfer (what a call does), watch (memory), verdict (what must hold). What does not live here: rates and CPU per call
// (bench/calls).
package soak
