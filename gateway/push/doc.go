// Package push delivers the messages of topics to HTTP endpoints.
//
//	topic ──▶ queue group, or key-shared group ──▶ runner ──▶ worker ──▶ POST ──▶ receiver
//	              ▲ lease, attempts, dead letters               │
//	              └────────────── ack, nack ◀── verdict ◀───────┘ status
//
// A Subscription names a topic, a group and a URL. Its runner is a member of the group; one message is one
// POST in binary mode of CloudEvents 1.0.2, signed as Standard Webhooks 1.0.0 has it. Retries with their
// delays, attempts and dead letters are those of the group: this package has none of its own, and keeps no
// progress.
//
// Invariant: a message is acked only after a receiver answered 2xx. It is delivered at least once.
//
// Invariant: a connection is made only to an address that Guard takes, looked at after names are resolved
// and before anything is sent; redirects are not followed, and no proxy is asked.
//
// Secrets are in the file of subscriptions, which only its owner may read, and are given out once, when they
// are made. Nothing logs or lists them.
//
// Ownership. Open starts a goroutine for each subscription that is not paused, which starts one per POST
// under way, at most Concurrency, and waits for them; Close waits for all. Close it before its bus.
//
// Failure behaviour. A topic or group that cannot be read is tried again with a growing pause, and told as
// the state stalled. A file of subscriptions that is damaged is not opened, so that none is lost silently.
package push
