// Package netfault is a relay for UDP that loses, delays, reorders and repeats packets, for tests of what
// runs over real sockets:
//
//	client ──▶ Relay (Addr) ──▶ target
//	       ◀──              ◀──
//
// Each direction has its faults and decides by a generator of its own, seeded, packet by packet in the order
// of arrival. Counts tell how often each fault has struck, so that a test can show that it was tested
// at all. A client keeps its own socket towards the target, which therefore tells clients apart.
//
// FreeAddress is for tests whose servers go and come back on one address.
//
// Ownership: a Relay has one goroutine per client and two more; Close ends them and waits. What waits to be
// delivered is bounded; beyond the bound packets are lost, and counted as Overflowed.
package netfault
