// Package load is what a relay is loaded with and what judges it: an open-loop generator of RTP and SRTP streams and a sink
// that looks at every packet that came back. Both are one thread on the load's CPU of a rig.Place.
//
// The failures it prevents are those of most load generators: one that waits for its victim (the schedule here is
// absolute, and how late the generator was is in the result), one that is itself the limit (frames are made and sealed
// before the timed part, what arrives is only copied and stamped, and every place where the load may drop is counted and
// named in Result.Limit), one that counts packets without looking at them (afterwards each tag is verified by pion's
// SRTP, which is not ours, each payload compared with what its stream and number must hold, and each delay is arrival minus
// the recorded send time of that very packet), and one that measures itself: a packet that left or arrived while the load's own CPU
// was away, as a virtual one is for some percent of the time, is judged like all others but for its delay (Result.Untimed).
//
// The relay is billed for nothing of the load's: packets come to it as from a network card (card), and while a run lasts, the sink
// polls its device, so that no send of the relay has to wake anybody up.
//
// A packet carries its stream and number in the first 8 bytes of its 160-byte payload, the rest follows from them: a relay
// may renumber as it likes, the sink still knows what it sees.
//
// Files in the order things happen: call (who speaks to whom), stream and frame (the bytes of a packet), volley (those of a
// run, sealed), card (what feeds the relay), pump, sink and program (what catches), run (the timed part), judge (what came back),
// result. What does not live here: namespaces and CPU accounts (bench/rig), relays (bench/subject).
package load
