package mill

import "github.com/leatbus/leat/core"

// outbox brings what the steps of a Queue ask for into an order that is safe whenever the process ends.
// Whoever runs a queue has one of it. Like the queue it has neither I/O nor clock.
//
//	Step ──▶ Take ──▶ first deliveries, reads, stale answers ─────────────▶ done at once
//	           ├────▶ failures ───────────────▶ Appends ──▶ __groups ──▶ Stored
//	           ├────▶ erasures ──▶ Fold ──────────▲                        │
//	           │                   progress ──────┘                        ▼
//	           └────▶ redeliveries and dead letters, which wait ─────▶ done now
//
// A log keeps the beginning of what was appended. So after a crash:
//   - a record that failed is in the progress, or has its attempts stored: these are appended before any
//     progress that leaves it out;
//   - the attempts of a record that is settled go only behind a progress that says so, else it would come
//     again as a new one;
//   - what was handed out as attempt n, or is a dead letter after n, has its failures stored: attempts do not
//     go back, and no dead letter is delivered;
//   - no grant is as one from before: the epoch at which the queue went on is stored before the first.
type outbox struct {
	of       core.QueueRecord
	todo     []core.QueueRecord
	erasures []int64
	held     []heldEffect
	asked    int64 // records that Appends gave or is going to give
	done     int64 // of them, in order
}

// heldEffect waits until so many records are stored.
type heldEffect struct {
	behind int64
	effect core.QueueEffect
}

// newOutbox makes the outbox of a queue that is new or Restored, and appends the progress that its first
// deliveries wait for. Group, TopicID and Partition of its records are those of like.
func newOutbox(q *core.Queue, like core.QueueRecord) *outbox {
	o := &outbox{of: core.QueueRecord{Group: like.Group, TopicID: like.TopicID, Partition: like.Partition}}
	o.fold(q)
	return o
}

// take takes out of the effects of a step what is to be stored, and what has to wait for that. The rest may
// be done at once.
func (o *outbox) take(out *core.QueueEffects) {
	now := out.List[:0]
	for i := range out.List {
		switch e := &out.List[i]; {
		case e.Kind == core.QueueStore:
			r := o.record(e.Offset)
			r.Attempts, r.Due, r.Code = e.Attempt, e.Due, e.Code
			o.append(r)
		case e.Kind == core.QueueErase:
			o.erasures = append(o.erasures, e.Offset)
		case o.waits(e):
			o.held = append(o.held, heldEffect{o.asked, *e})
		default:
			now = append(now, *e)
		}
	}
	out.List = now
}

func (o *outbox) waits(e *core.QueueEffect) bool {
	switch e.Kind {
	case core.QueueBury:
		return o.done < o.asked
	case core.QueueDeliver:
		return o.done == 0 || e.Attempt > 1 && o.done < o.asked
	}
	return false
}

func (o *outbox) record(offset int64) core.QueueRecord {
	r := o.of
	r.Offset = offset
	return r
}

func (o *outbox) append(r core.QueueRecord) {
	o.todo = append(o.todo, r)
	o.asked++
}

// Fold appends the progress of the queue, if there is any, and then what is of no use any more behind it. It
// is called every few milliseconds, or every so many acks: what was settled since the last one that is
// stored, a crash delivers again.
func (o *outbox) Fold(q *core.Queue) {
	if q.Dirty() || len(o.erasures) > 0 {
		o.fold(q)
	}
}

func (o *outbox) fold(q *core.Queue) {
	r := o.record(-1)
	r.Progress = q.EncodeProgress(nil)
	o.append(r)
	for _, offset := range o.erasures {
		r := o.record(offset)
		r.Removed = true
		o.append(r)
	}
	o.erasures = o.erasures[:0]
}

// appends gives the records that are to be appended to __groups, in this order and behind those of earlier
// calls. They are valid until the next Take or Fold.
func (o *outbox) appends() []core.QueueRecord {
	list := o.todo
	o.todo = o.todo[:0]
	return list
}

// stored tells that n more of the records that Appends gave are stored, in its order, and appends to out what
// waited for them. A delivery is left out if its lease ended meanwhile.
func (o *outbox) stored(n int64, granted func(*core.QueueEffect) bool, out *core.QueueEffects) {
	o.done += n
	if o.done > o.asked-int64(len(o.todo)) {
		panic("mill: more records of a queue stored than appended")
	}
	done := 0
	for ; done < len(o.held) && o.held[done].behind <= o.done; done++ {
		if e := &o.held[done].effect; e.Kind != core.QueueDeliver || granted(e) {
			out.List = append(out.List, *e)
		}
	}
	o.held = append(o.held[:0], o.held[done:]...)
}
