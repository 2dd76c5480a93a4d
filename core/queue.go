package core

import "slices"

// QueueInputKind says what happened to a queue.
type QueueInputKind uint8

// The inputs of Queue.Step.
const (
	// QueueReadable: records below Offset may be delivered.
	QueueReadable QueueInputKind = iota + 1
	// QueueKeys: answers a QueueRead; the records from Offset on have the key hashes Keys, and those of Skip are
	// left out.
	QueueKeys
	// QueueJoin: Member takes up to Max records at a time.
	QueueJoin
	// QueueLeave: Member goes in order; what it has is delivered again, and not counted as an attempt.
	QueueLeave
	// QueueLost: Member is gone without a word; what it has is delivered again, as after a QueueNack.
	QueueLost
	// QueueAck: the records of Grant are done.
	QueueAck
	// QueueNack: the records of Grant failed; each comes again after Delay, −1 for that of the policy.
	QueueNack
	// QueueReject: the records of Grant failed and are not to be tried again.
	QueueReject
	// QueueExtend: the lease of Grant begins anew.
	QueueExtend
	// QueueBuried: answers a QueueBury; the record is a dead letter now.
	QueueBuried
	// QueueBuryFailed: answers a QueueBury; it is asked for again after Delay.
	QueueBuryFailed
	// QueueTrimmed: the log starts at Offset now; what lies before is settled, if nobody has it.
	QueueTrimmed
	// QueueTick: time passed.
	QueueTick
	// QueueAbsent: no offset from Queue.Next up to Offset has a record, as behind a power cut that took some.
	QueueAbsent
)

// QueueGrant names records that were handed out: those of the bits of Left, bit i for offset Lo+i. A
// member answers with the grant it got, or with fewer bits of it. Slot and Epoch make it good for this
// delivery only: what is answered after the lease ended is stale, and never settles a later delivery.
type QueueGrant struct {
	Lo    int64
	Left  uint64
	Epoch int64
	Slot  int32
}

// QueueInput is one step's input.
type QueueInput struct {
	Kind   QueueInputKind
	Member int64
	Max    int32
	Offset int64
	Delay  int64 // nanoseconds
	Grant  QueueGrant
	Keys   []uint64 // hashes by KeyHash, 0 for no key; the queue does not keep the slice
	// Skip, with Keys, has a bit for each record that a filter leaves out, bit i%64 of element i/64 for the one
	// at Offset+i: it is settled without being handed out. Elements that are missing leave nothing out.
	Skip []uint64
}

// QueueEffectKind says what the shell has to do for a queue.
type QueueEffectKind uint8

// The effects of Queue.Step.
const (
	// QueueDeliver: hand Grant to Member; it is delivery number Attempt of these records, from 1 on.
	QueueDeliver QueueEffectKind = iota + 1
	// QueueRead: find the keys of up to Count records from Offset on, and which of them a filter leaves out,
	// then step QueueKeys.
	QueueRead
	// QueueBury: make Grant's record a dead letter after Attempt deliveries, then step QueueBuried or
	// QueueBuryFailed. Code is why: CodeRejected, or CodeAttemptsExhausted.
	QueueBury
	// QueueStale: the answer of Member came too late, or names what it never got: nothing was done.
	QueueStale
	// QueueStore: store Attempt and Due of the record at Offset, which failed.
	QueueStore
	// QueueErase: the stored attempts of the record at Offset are of no use any more.
	QueueErase
)

// QueueEffect is one thing the shell has to do after a step.
type QueueEffect struct {
	Kind    QueueEffectKind
	Code    Code
	Attempt int32
	Count   int32
	Member  int64
	Offset  int64
	Due     int64 // of QueueStore
	Grant   QueueGrant
}

// QueueEffects is where steps leave their effects, in the order in which they happen. It is owned by the
// caller and reused.
type QueueEffects struct{ List []QueueEffect }

// Reset forgets the effects and keeps the memory.
func (e *QueueEffects) Reset() { e.List = e.List[:0] }

func (e *QueueEffects) add(effect QueueEffect) { e.List = append(e.List, effect) }

// queueMember is one that records are handed to.
type queueMember struct {
	id    int64
	max   int32
	held  int32 // records it has
	offer int32 // what Offer left it; −1 where max says how many it may have
}

func (m *queueMember) room() int64 {
	if m.offer >= 0 {
		return int64(m.offer)
	}
	return int64(m.max - m.held)
}

// Queue is the policy of one queue group, or key-shared group, on one partition: it hands each record to
// one member at a time under a lease, delivers again what failed, and says what is settled. It is a state
// machine without I/O or clock, owned by the shell's actor. Equal inputs give equal effects.
//
//	            ┌────────── nack, expired, lost ──────────┐
//	            ▼                                         │
//	next ──▶ ready ──deliver──▶ leased ──ack──▶ settled   │
//	            ▲                  │                      │
//	            └── due ── delayed ◀──────────────────────┘
//	                               └── too often ──▶ dying ──buried──▶ settled
//
// Invariant: every offset below next is settled, unless an entry has it; an offset is in one entry at
// most. Of a key-shared group, of each key one entry is ready, leased, delayed or dying, and the later ones
// wait behind it: records of a key are settled in order, and a failing one holds up its own key only.
type Queue struct {
	cfg  QueueConfig
	now  int64
	dice uint64

	highWater int64 // the first record that may not be delivered yet
	start     int64 // of the log
	next      int64 // the first record that no entry ever had
	reading   bool  // a QueueRead is not answered
	unread    []unreadRecord
	unsettled int64 // records in entries
	epoch     int64 // of the last grant

	members map[int64]*queueMember
	roomy   []*queueMember // those that can take more
	turn    int            // of roomy: who is next
	entries queueEntries
	keys    map[uint64]queueKey
	bucket  *tokenBucket
	dirty   bool // progress was made since it was encoded
}

// NewQueue makes the queue of a group that has settled nothing and starts at offset next. seed feeds the
// jitter of delays. epoch must be higher than that of any grant handed out before: nanoseconds since 1970
// serve, beside what RestoreProgress brings.
func NewQueue(cfg QueueConfig, next, epoch int64, seed uint64) *Queue {
	cfg = cfg.WithDefaults()
	q := &Queue{cfg: cfg, next: next, start: next, highWater: next, epoch: epoch, dice: seed,
		members: map[int64]*queueMember{}, bucket: new(tokenBucket)}
	if cfg.Ordered {
		q.keys = map[uint64]queueKey{}
	}
	q.entries.init()
	q.bucket.set(cfg.Rate)
	return q
}

// ShareRate makes q's rate that of other: both together hand out no more.
func (q *Queue) ShareRate(other *Queue) { q.bucket = other.bucket }

// Next is the first offset that was never handed out.
func (q *Queue) Next() int64 { return q.next }

// Unsettled is the number of records below Next that are not settled.
func (q *Queue) Unsettled() int64 { return q.unsettled }

// Lag is the number of readable records that are not settled.
func (q *Queue) Lag() int64 { return q.highWater - q.next + q.unsettled }

// Ready is at least 1 if there are records that a member could be handed, or whose keys a step could ask for:
// about how many.
func (q *Queue) Ready() int64 {
	n := int64(len(q.entries.ready))
	if !q.reading || !q.cfg.readsAhead() {
		n += q.fresh()
	}
	if !q.reading {
		n += int64(len(q.unread))
	}
	return n
}

// Ending calls f with the slot of every grant whose lease is over at now: those that a Step at that time
// ends.
func (q *Queue) Ending(now int64, f func(slot int32)) {
	for slot := q.entries.leases.first; slot >= 0; slot = q.entries.at(slot).later {
		if q.entries.at(slot).time > now {
			return
		}
		f(slot)
	}
}

// Step takes one input at time now, in nanoseconds of a clock that does not go back, and appends the
// effects to out, which it does not reset. It panics where the shell breaks an invariant, never because of
// what a member said.
func (q *Queue) Step(in *QueueInput, now int64, out *QueueEffects) {
	q.now = max(q.now, now)
	switch in.Kind {
	case QueueReadable:
		q.highWater = max(q.highWater, in.Offset)
	case QueueKeys:
		q.takeKeys(in, out)
	case QueueJoin:
		q.join(in.Member, in.Max)
	case QueueLeave, QueueLost:
		q.leave(in.Member, in.Kind == QueueLost, out)
	case QueueAck, QueueNack, QueueReject, QueueExtend:
		q.answer(in, out)
	case QueueBuried, QueueBuryFailed:
		q.buried(in, out)
	case QueueTrimmed:
		q.trimmed(in.Offset)
	case QueueAbsent:
		q.skip(in.Offset)
	case QueueTick:
	default:
		panic("core: unknown queue input")
	}
	q.expire(out)
	q.handOut(out)
}

// NextDeadline is when a QueueTick is due, on the clock of Step; 0 for never.
func (q *Queue) NextDeadline() int64 {
	at := int64(0)
	earlier := func(t int64) {
		if at == 0 || t < at {
			at = t
		}
	}
	if slot := q.entries.leases.first; slot >= 0 {
		earlier(q.entries.at(slot).time)
	}
	if len(q.entries.delayed) > 0 {
		earlier(q.entries.at(q.entries.delayed[0]).time)
	}
	if q.bucket.rate > 0 && q.bucket.tokens < 1 && q.hasWork() && len(q.roomy) > 0 {
		earlier(q.bucket.fullAt(1))
	}
	return at
}

func (q *Queue) join(id int64, most int32) {
	m := q.members[id]
	if m == nil {
		m = &queueMember{id: id}
		q.members[id] = m
	}
	m.max, m.offer = max(most, 0), -1
	q.listRoomy(m)
}

// Offer lets a member be handed so many records from the next Step on, whatever it has and whatever it
// answers; it replaces an older offer, and the bound of QueueJoin. It is for a shell that shares a member's
// room out among the queues of several partitions.
func (q *Queue) Offer(id int64, records int32) {
	m := q.members[id]
	if m == nil {
		m = &queueMember{id: id}
		q.members[id] = m
	}
	m.offer = max(records, 0)
	q.listRoomy(m)
}

// hold changes how many records a member has.
func (q *Queue) hold(id int64, records int64) {
	if m := q.members[id]; m != nil {
		m.held += int32(records)
		if records > 0 && m.offer >= 0 {
			m.offer -= int32(records)
		}
		q.listRoomy(m)
	}
}

// listRoomy keeps roomy right after a change of m.
func (q *Queue) listRoomy(m *queueMember) {
	i := slices.Index(q.roomy, m)
	switch {
	case m.room() > 0 && i < 0:
		q.roomy = append(q.roomy, m)
	case m.room() <= 0 && i >= 0:
		q.unlist(i)
	}
}

func (q *Queue) unlist(i int) {
	q.roomy = slices.Delete(q.roomy, i, i+1)
	if q.turn > i {
		q.turn--
	}
	if q.turn >= len(q.roomy) {
		q.turn = 0
	}
}

// leave has everything that a member has delivered again.
func (q *Queue) leave(id int64, lost bool, out *QueueEffects) {
	m := q.members[id]
	if m == nil {
		return
	}
	delete(q.members, id)
	if i := slices.Index(q.roomy, m); i >= 0 {
		q.unlist(i)
	}
	for slot := q.entries.leases.first; slot >= 0; {
		e := q.entries.at(slot)
		following := e.later
		if e.member == id {
			if lost {
				q.fail(slot, e.left, -1, 0, out)
			} else {
				q.release(slot, out)
			}
		}
		slot = following
	}
}
