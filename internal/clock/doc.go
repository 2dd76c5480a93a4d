// Package clock is the only place of the module that reads the time or starts a timer.
//
// Everything else takes a Clock as a parameter, so that a whole node runs under a clock that a test
// or a simulation moves by hand.
//
//	       Clock ── Now, Mono, NewTimer
//	      ╱     ╲
//	System       Manual
//	package time  moves only in Advance
//
// Invariants: Mono never goes back; Now may, because people and NTP set wall clocks. A timer fires
// once per NewTimer or Reset and never before its duration has passed on Mono.
//
// Ownership: a Timer belongs to the goroutine that made it, which stops it. A Clock may be shared by
// any number of goroutines.
//
// Failure behaviour: nothing here fails; Sleep ends early, with the context's error, when its context
// does. Inside a testing/synctest bubble package time itself is faked, so System may be used there.
package clock
