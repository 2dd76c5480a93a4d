// Package queue holds queue groups beside their peers and beside floors, in one run.
//
//	publisher ──▶ system ──▶ workers ──▶ tally: a bit per message, sum of its bytes
//	                ▲           │
//	                └── acks ───┘  one for each message
//
//	scenario ─┬─ embedded    a bus in this process; floor: a Go channel to as many workers
//	          ├─ network     leat serve, NATS JetStream, Redis Streams, RabbitMQ: each server a process of its
//	          │              own, plain TCP for the peers, QUIC with TLS for ours
//	          ├─ the rest    dead letters, times to live, memory of what is pending
//	          └─ HTTP        the HTTP door beside a bare net/http echo, and beside QUIC
//
// All systems get the same number of messages of the same size from one publisher, have as many workers, and
// are bounded by the same backlog. The clock runs from the first publish until everything is confirmed,
// handled and acked, and the server knows of the acks. A peer whose server is not installed is left out, and
// the report says what to install.
//
// A queue stays from round to round, so that what only a new one costs is in the warm-up; publisher and
// workers connect anew. Servers that are not measured are stopped (SIGSTOP), so that what they do in the
// background is not charged to others.
//
// Ownership: processes and folders belong to the stage of a scenario, which ends them with it.
package queue
