// Package log holds the log beside its peers and beside the floors of the machine, in one run.
//
//	scenario ─┬─ ours             package mmaplog, in this process
//	          ├─ Go peers         tidwall/wal, raft-wal, Prometheus' wlog, Pebble's record log, NATS
//	          │                   JetStream's file store, NATS JetStream through its own client
//	          ├─ + group commit   the same behind one goroutine that appends and syncs for many
//	          ├─ Chronicle Queue  java/LogPeer.java, one JVM per round; the jars come through Maven
//	          └─ floors           memcpy into a prefaulted map, pwrite, pwrite + fdatasync
//
// Every record is the same bytes for all: a record of ours, which the others take as a value. They write
// every byte of it; what they read is compared in number, order and sum of all bytes. A peer that cannot do
// what a scenario asks is left out of it, and where it promises less than the level the row says so.
//
// What is measured goes to the folder of Options.Dir: it is the disk that decides most rows.
//
// Ownership: a store belongs to its case, from the warm-up to the end of the scenario, which closes it and
// removes its files.
package log
