// Package mill runs queue groups on a log, or delayed messages, in a simulation: one goroutine, virtual
// time, a simulated disk and simulated members, all of it from a seed. All of it is tests.
//
//	seed ──▶ plan ──▶ events by virtual time ──▶ publisher ──▶ log of the topic ─┐
//	                    │  ▲                                                     ▼
//	                    │  └── deadlines ── shell of a group: core.Queue, outbox ◀──▶ members
//	                    ▼                       │         │
//	              crashes, clock steps,     __groups    dead letters            every delivery, answer
//	              slow disk, retention      (logs of mmaplog on MemFS)          and restart ──▶ oracle
//
// What is real: core.Queue and core.QueueRecord, which are the policy and the bytes that are stored, and the
// logs, with their recovery. What is simulated: the shell around them, of which outbox has the order in which
// effects are to be done; the node has a shell of its own (node/queue*.go). So are the members with all their
// mistakes (slow, crashing, late, twice, about what they never had), the time and the disk, which keeps any
// subset of the sectors that were not synced when the power is cut.
//
// A world of delays has __delay and the partitions that messages are for in place of the groups: the policy
// is core.Delay with core.DelayLane and core.DelayEndings, the shell is delayShell, and users publish,
// cancel and reschedule.
//
// The oracle keeps an account of each record of its own, and of each lease, from what was delivered and
// answered, and compares: docs/testing.md has the list. That it can see what it is there for is shown by
// planted defects, each of which has to be found within a few seeds.
//
// Ownership: a world owns its logs, shells and members. The logs have goroutines of their own, which are
// waited for after each call, so that a seed always does the same.
// Failure behaviour: a finding names the seed, and the number of events that suffice to make it.
package mill
