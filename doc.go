// Package leat is the public API of the Leat event bus.
//
//	bus ── Producer ── PublishAsync / Publish / TryPublish / PublishBatch
//	 │        └─────── Claim ── Bytes ── Publish / PublishAsync / Abort
//	 │
//	 └──── Subscription ── Messages (range) ── Ack ── Commit
//
// A Bus has topics, a topic has partitions, and a partition is an ordered log of records numbered
// from 0. A message goes to the partition its key hashes to, so messages with one key stay in
// order. What is acknowledged survives what its level promises: AckPage survives the death of the
// process, AckDisk a power cut too.
//
// Ownership: a Message handed to a publish call may be reused when the call returns; the bytes of a
// Claim are its owner's until it is published or aborted; a message delivered by
// Subscription.Messages is reused by the next step of the loop. Errors are *Error with a stable
// code, a hint and a page in docs/errors.md.
//
// This package links no actor framework and no metrics library. Package node opens a bus inside the
// process, package actors runs actors on it.
package leat
