package mill

import (
	"slices"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// openDelays opens the logs of a world of delays.
func (d *disk) openDelays() {
	d.delay = d.openLog(core.DelayTopicID, 0, mmaplog.LogOptions{Level: core.AckPage, Compact: true})
	for i, level := range d.w.plan.delays.levels {
		o := mmaplog.LogOptions{Level: level}
		if level == core.AckPage {
			o.Reserve = d.w.plan.delays.reserve
		}
		d.targets = append(d.targets, d.openLog(dueTopic, int32(i), o))
	}
}

// compact has what was superseded in __delay removed.
func (d *disk) compact() {
	w := d.w
	w.counts.snapshots++
	w.say("__delay is compacted")
	log := d.delay
	if err := log.log.Roll(); err != nil {
		w.broken("disk", "roll: %v", err)
	}
	log.log.RequestSync()
	w.quiet()
}

// storedAt is whenStored at a level that is not below the log's. Nobody is answered before those whose
// records come before: so does the node.
func (l *simLog) storedAt(level core.Ack, run func()) {
	switch {
	case level > core.AckPage || l.level > core.AckPage:
		l.whenDurable(run)
	case len(l.waiting) == 0 || l.w.plan.delays.plant == answersMixed:
		l.w.inLife(0, run)
	default:
		l.waiting = append(l.waiting, storedWaiter{0, run})
	}
}

// storedRecord is a record and where it is.
type storedRecord struct {
	core.Record
	offset, time int64
}

// collect gives copies of the records of [lo, hi).
func (l *simLog) collect(lo, hi int64) (list []storedRecord) {
	l.readTimes(max(lo, l.log.Start()), min(hi, l.log.End()), func(offset, time int64, r *core.Record) {
		c := storedRecord{Record: *r, offset: offset, time: time}
		c.Key, c.Value = slices.Clone(r.Key), slices.Clone(r.Value)
		c.RawHeaders = slices.Clone(r.RawHeaders)
		list = append(list, c)
	})
	return list
}
