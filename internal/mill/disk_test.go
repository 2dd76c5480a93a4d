package mill

import (
	"context"
	"fmt"
	"slices"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
)

// disk is the data folder of the node: the logs of the topic, of __groups, and of the dead letters of each
// group, on a simulated disk.
type disk struct {
	w        *world
	fs       *mmaplog.MemFS
	store    *mmaplog.Store
	topic    *simLog
	groups   *simLog
	dead     []*simLog
	delay    *simLog   // __delay, and the partitions that messages wait for
	targets  []*simLog // of a world of delays, which has no others
	slowTill int64
}

// simLog is a log whose syncs take virtual time.
type simLog struct {
	w       *world
	log     *mmaplog.Log
	level   core.Ack
	syncing bool
	waiting []storedWaiter // in the order of end
	reader  *mmaplog.Reader
}

type storedWaiter struct {
	end int64
	run func()
}

// Topic ids.
const (
	groupsTopic = 2
	dataTopic   = core.FirstTopicID
	deadTopic   = core.FirstTopicID + 1
	dueTopic    = core.FirstTopicID + 2
)

// reserved is the step in which offsets of a topic at page are reserved: a power cut leaves such a gap.
const reserved = 100

func newDisk(w *world) *disk { return &disk{w: w, fs: mmaplog.Heap()} }

// open opens all logs with what is on the disk.
func (d *disk) open() {
	store, err := mmaplog.Open(d.fs, "data", mmaplog.Options{Clock: clock.NewManual(d.w.wall + d.w.mono)})
	if err != nil {
		d.w.broken("disk", "open: %v", err)
		return
	}
	d.store, d.dead, d.targets = store, nil, nil
	if d.w.delays != nil {
		d.openDelays()
		return
	}
	d.groups = d.openLog(groupsTopic, 0, mmaplog.LogOptions{Level: d.w.level})
	d.topic = d.openLog(dataTopic, 0, mmaplog.LogOptions{Level: d.w.level, Reserve: reserved})
	for i := range d.w.groups {
		d.dead = append(d.dead, d.openLog(deadTopic, int32(i), mmaplog.LogOptions{Level: d.w.level}))
	}
}

func (d *disk) openLog(topic uint64, partition int32, o mmaplog.LogOptions) *simLog {
	o.SegmentBytes = core.MinSegmentBytes
	log, err := d.store.OpenLog(topic, partition, o)
	d.w.quiet()
	if err != nil {
		d.w.broken("disk", "open log %d: %v", topic, err)
	}
	return &simLog{w: d.w, log: log, level: o.Level}
}

// crash ends the node, and leaves what a power cut or the end of the process leaves of the disk.
func (d *disk) crash(power bool) {
	d.w.quiet()
	if power {
		d.w.counts.cuts++
		d.fs = d.fs.Crash(d.w.dice.Uint64())
	} else {
		d.w.counts.kills++
	}
	// After the end of the process everything is there; a store that closes leaves the same.
	d.close()
}

func (d *disk) close() {
	if d.store == nil {
		return
	}
	for _, l := range append(slices.Concat(d.dead, d.targets), d.topic, d.groups, d.delay) {
		if l != nil && l.reader != nil {
			_ = l.reader.Close() // it only read
		}
	}
	if err := d.store.Close(); err != nil {
		d.w.broken("disk", "close: %v", err)
	}
	d.store = nil
}

// slowDown has syncs take long for a while.
func (d *disk) slowDown() {
	d.slowTill = d.w.mono + d.w.until(10*second)
	d.w.say("the disk is slow")
}

// append adds records in one batch and gives the offset of the first.
func (l *simLog) append(list [][]byte) int64 {
	return l.appendAt(l.w.wall+l.w.mono, list)
}

// appendAt is append by a clock that was read before.
func (l *simLog) appendAt(now int64, list [][]byte) int64 {
	l.log.Begin(now)
	base, n, err := l.log.AddEach(list)
	if err == nil {
		_, err = l.log.Publish()
	}
	l.w.quiet()
	if err != nil || n != len(list) {
		l.w.broken("disk", "append: %d of %d: %v", n, len(list), err)
	}
	return base
}

// visible is the first offset that may not be read yet.
func (l *simLog) visible() int64 {
	if l.level == core.AckPage {
		return l.log.End()
	}
	return l.log.DurableEnd()
}

// whenStored calls run when what the log has now is stored at its level, unless the node ends before.
func (l *simLog) whenStored(run func()) {
	if l.level == core.AckPage {
		l.w.inLife(0, run)
		return
	}
	l.waiting = append(l.waiting, storedWaiter{l.log.End(), run})
	l.sync()
}

// sync has what the log has now on the disk in a while.
func (l *simLog) sync() {
	if l.syncing {
		return
	}
	l.syncing = true
	end := l.log.End()
	took := l.w.until(l.w.syncs)
	if l.w.mono < l.w.disk.slowTill {
		took += l.w.until(5 * second)
	}
	l.w.inLife(took, func() {
		l.syncing = false
		if err := l.log.SyncTo(context.Background(), end); err != nil {
			l.w.broken("disk", "sync: %v", err)
			return
		}
		l.w.quiet()
		durable := l.log.DurableEnd()
		n := 0
		for n < len(l.waiting) && l.waiting[n].end <= durable {
			n++
		}
		due := l.waiting[:n:n]
		l.waiting = l.waiting[n:]
		if len(l.waiting) > 0 {
			l.sync()
		}
		for _, each := range due {
			each.run()
		}
	})
}

// trim takes the beginning of the topic's log away, somewhere before what may be read.
func (d *disk) trim() {
	w := d.w
	if !w.running {
		return
	}
	if err := d.topic.log.Roll(); err != nil {
		w.broken("disk", "roll: %v", err)
	}
	w.quiet()
	w.counts.trims++
	log := d.topic
	target := log.log.End()
	later := w.until(w.duration / 2)
	log.sync()
	w.inLife(later, func() {
		if err := log.log.TrimTo(min(target, log.visible())); err != nil {
			w.broken("disk", "trim: %v", err)
		}
		w.quiet()
		start := log.log.Start()
		w.say("the log starts at %d", start)
		w.topic.trimmed(start)
		for _, s := range w.shells {
			s.trimmed(start)
		}
	})
}

// snapshot writes all that counts of __groups again, and then takes away what was there before.
func (d *disk) snapshot() {
	w := d.w
	if !w.running {
		return
	}
	if w.delays != nil {
		d.compact()
		return
	}
	log := d.groups
	if err := log.log.Roll(); err != nil {
		w.broken("disk", "roll: %v", err)
	}
	w.quiet()
	from := log.log.End()
	w.counts.snapshots++
	w.say("snapshot of __groups at %d", from)
	write := func() {
		for _, s := range w.shells {
			s.snapshot()
		}
	}
	cut := func() {
		if err := log.log.TrimTo(from); err != nil {
			w.broken("disk", "trim: %v", err)
		}
		w.quiet()
	}
	if w.plant == trimmedFirst {
		log.log.RequestSync()
		w.quiet()
		cut()
		w.inLife(2*second, write)
		return
	}
	write()
	log.whenDurable(cut)
}

// whenDurable is whenStored on the disk, whatever the level of the log is.
func (l *simLog) whenDurable(run func()) {
	l.waiting = append(l.waiting, storedWaiter{l.log.End(), run})
	l.sync()
}

// firstFrom is the offset of the first record that may be read from offset on, or the end.
func (l *simLog) firstFrom(offset int64) int64 {
	reader := l.readFrom(max(offset, l.log.Start()))
	run, err := reader.Next(l.visible())
	switch {
	case err != nil:
		l.w.broken("disk", "read from %d on: %v", offset, err)
	case run != nil:
		h := core.ParseFrameHeader(run)
		return max(h.BaseOffset, offset)
	}
	return max(l.visible(), offset)
}

// readFrom gives a reader at offset.
func (l *simLog) readFrom(offset int64) *mmaplog.Reader {
	if l.reader == nil {
		l.reader = l.log.Reader(offset)
	}
	l.reader.Seek(offset)
	return l.reader
}

// largestBatch is more records than are ever appended together: a frame is read as a whole.
const largestBatch = 100

// read gives the records of [lo, hi) that are there, by offset.
func (l *simLog) read(lo, hi int64, each func(offset int64, r *core.Record)) {
	l.readTimes(lo, hi, func(offset, _ int64, r *core.Record) { each(offset, r) })
}

// readTimes is read with the times at which the records were appended.
func (l *simLog) readTimes(lo, hi int64, each func(offset, time int64, r *core.Record)) {
	if lo >= hi {
		return
	}
	reader := l.readFrom(lo)
	for {
		run, err := reader.Next(min(l.log.End(), hi+largestBatch))
		if err != nil || run == nil {
			if err != nil {
				l.w.broken("disk", "read [%d, %d): %v", lo, hi, err)
			}
			return
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			records := run[core.FrameHeaderSize:h.Length]
			for offset := h.BaseOffset; offset < h.NextOffset(); offset++ {
				r, n, err := core.DecodeRecord(records)
				if err != nil {
					l.w.broken("disk", "record %d: %v", offset, err)
					return
				}
				if offset >= hi {
					return
				}
				if offset >= lo && !r.Removed() {
					each(offset, h.Time, &r)
				}
				records = records[n:]
			}
			run = run[h.Size():]
		}
	}
}

// encodeRecord makes the bytes of a record; a nil value makes a tombstone.
func encodeRecord(key, value []byte, headers ...core.Header) []byte {
	size, err := core.EncodedRecordSize(key, value, headers)
	if err != nil {
		panic(fmt.Sprint("mill: a record that is none: ", err))
	}
	dst := make([]byte, size)
	core.PutRecord(dst, key, value, headers, core.KeyHash(key), 0)
	return dst
}
