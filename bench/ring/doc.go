// Package ring holds the ring against its peers and against the floors of the machine, in the scenarios
// of internal/benchkit/handoff and in one run.
//
//	scenario ─┬─ ours           in this process, or in a worker: GOMAXPROCS=1, -tags leat_noasm
//	          ├─ Go channel     in this process
//	          ├─ xsync          in this process: SPSC where there is one of each, else MPMC
//	          ├─ LMAX           java/RingPeer.java, one JVM per round; the jar comes through Maven
//	          ├─ C              c/ring.c, one process per round: the floor
//	          └─ others         programs named in LEAT_RING_PEERS, one process per round
//
// Every peer has rings of 65,536 slots and the wait strategy that its own documentation or tests use for
// throughput, writes and reads every byte of every message, and checks number, order and sum.
//
// A program gets SCENARIO MILLISECONDS and prints a line of JSON with the keys of benchkit.Sample.
// What is not installed is left out, and the report says so.
//
// Ownership: what is built lies in a folder of the user's cache, named after the hash of its source.
package ring
