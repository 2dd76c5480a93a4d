package mmaplog

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/leatbus/leat/core"
)

// crashStyle is what a scene does besides appending, syncing and trimming.
type crashStyle uint8

const (
	plainStyle   crashStyle = iota
	followStyle             // copies frames of another log, and truncates its end
	compactStyle            // has keys and tombstones, and does rounds; truncates, too
	recycleStyle            // fills segments and trims them, so that their files go round
)

// crashStyles are the styles of the seeds, in turn.
var crashStyles = []crashStyle{plainStyle, followStyle, compactStyle, recycleStyle, plainStyle, followStyle}

// styleOf gives a seed its style.
func styleOf(seed uint64) crashStyle { return crashStyles[seed%uint64(len(crashStyles))] }

// copied marks the generation of a record of a verbatim frame.
const copied = 1 << 30

// prologue does what the style is about once in any case, whatever the dice say.
func (c *crashScene) prologue() error {
	switch c.style {
	case followStyle:
		return cmp.Or(c.batch(3, 0), c.copyFrames(4), c.truncate(2))
	case compactStyle:
		return cmp.Or(c.batch(80, 0), c.fill(), c.batch(30, 0), c.compact())
	case recycleStyle:
		return cmp.Or(c.goRound(), c.goRound(), c.goRound())
	}
	return nil
}

func (c *crashScene) styled() error {
	switch c.style {
	case followStyle:
		switch c.dice.next() % 8 {
		case 0, 1:
			return c.truncate(int64(c.dice.next() % 30))
		case 2:
			return c.truncate(int64(c.dice.next() % 1000))
		case 3:
			return cmp.Or(c.fill(), c.copyFrames(2))
		}
		return c.copyFrames(int(1 + c.dice.next()%6))
	case compactStyle:
		switch c.dice.next() % 6 {
		case 0:
			return c.compact()
		case 1:
			return cmp.Or(c.fill(), c.batch(2, 0))
		case 2:
			return c.truncate(int64(c.dice.next() % 30))
		case 3:
			return c.sync()
		}
		return c.batch(int(1+c.dice.next()%60), 0)
	}
	return c.goRound()
}

// goRound fills a segment, and trims those before.
func (c *crashScene) goRound() error {
	if err := cmp.Or(c.fill(), c.batch(1, 0)); err != nil {
		return err
	}
	if c.dice.next()%2 == 0 {
		c.log.RequestSync()
	}
	err := c.log.TrimTo(c.log.DurableEnd())
	if c.dice.next()%2 == 0 {
		settle(c.store, c.log)
	}
	for _, s := range c.log.segs.recent() {
		if s.header.recycled {
			c.tally.recycled++
		}
	}
	return err
}

// compact does a round.
func (c *crashScene) compact() error {
	drainJanitor(c.store)
	err := compactNow(c.log)
	for _, s := range c.log.segs.recent() {
		if s.header.compacted {
			c.tally.compacted++
		}
	}
	return err
}

func compactNow(l *Log) error {
	if l.compact(); l.compaction.failed.Load() {
		return errors.New("a round met damage")
	}
	return nil
}

// copyFrames appends n frames as another log may have them, with a term of their own, in one batch.
func (c *crashScene) copyFrames(n int) error {
	for range n {
		if err := c.copyFrame(int(1 + c.dice.next()%4)); err != nil {
			return err
		}
	}
	c.inMap.Lock()
	defer c.inMap.Unlock()
	end, err := c.log.Publish()
	if want := int64(len(c.witness.Load().records)); err != nil || end != want {
		return fmt.Errorf("publish: end %d, want %d, error %w", end, want, err)
	}
	return nil
}

func (c *crashScene) copyFrame(records int) error {
	next := c.log.w.next
	now := *c.witness.Load()
	for range records {
		now.records = append(now.records, now.generation|copied)
	}
	var payload []byte
	for i := range int64(records) {
		payload = append(payload, now.encode(next.offset+i)...)
	}
	h := core.FrameHeader{
		Length: uint32(core.FrameHeaderSize + len(payload)), Index: next.index, BaseOffset: next.offset,
		Time: max(next.time, int64(now.generation)), Term: now.generation, PrevCRC: next.prevCRC,
		PayloadCRC: core.Checksum(payload), Records: uint16(records), Version: core.FrameVersion,
	}
	if next.offset%2 == 0 {
		h.ProducerID, h.ProducerEpoch, h.BaseSeq = 9, 2, int32(next.offset)
	}
	now.copies = append(now.copies, h)
	c.witness.Store(&now)
	c.tally.copied++
	c.inMap.Lock()
	defer c.inMap.Unlock()
	if err := c.log.AppendFrame(&h, payload); err != nil {
		return fmt.Errorf("append %+v: %w", h, err)
	}
	return nil
}

// truncate drops the frame that has the record n before the end, and what follows it. A log that compacts
// keeps what a round may have looked at.
func (c *crashScene) truncate(n int64) error {
	from := max(c.log.Start(), c.log.End()-n)
	if list := c.log.segs.recent(); c.style == compactStyle && len(list) > 0 {
		from = max(from, list[len(list)-1].header.base.offset)
	}
	if from < c.log.End() {
		r := c.log.Reader(from)
		run, err := r.Next(c.log.End())
		if err != nil || run == nil {
			return fmt.Errorf("read offset %d of [%d, %d): %w", from, c.log.Start(), c.log.End(), err)
		}
		from = core.ParseFrameHeader(run).BaseOffset
		_ = r.Close()
	}
	if from < c.log.Start() {
		return nil // a trim moved the start into a frame
	}
	w := *c.witness.Load()
	w.truncating, w.truncated = true, from
	c.witness.Store(&w)
	if err := c.log.TruncateSuffix(from, w.generation+1); err != nil {
		return fmt.Errorf("truncate at %d: %w", from, err)
	}
	after := w
	after.endAt(from)
	after.truncating = false
	c.witness.Store(&after)
	if from < int64(len(w.records)) && c.log.DurableEnd() != from || c.log.End() != from {
		return fmt.Errorf("truncated at %d, the log ends at %d, durable %d", from, c.log.End(), c.log.DurableEnd())
	}
	c.report(c.log.DurableEnd())
	c.tally.truncated++
	return nil
}

// endAt begins a generation at an end of the log.
func (w *crashWitness) endAt(end int64) {
	w.records = w.records[:end:end]
	kept, _ := slices.BinarySearchFunc(w.copies, end, compareBase)
	w.copies = w.copies[:kept:kept]
	w.generation++
}

func compareBase(h core.FrameHeader, base int64) int { return cmp.Compare(h.BaseOffset, base) }

// compareHeader checks a header: of a verbatim frame all that is not each log's own, and that a compaction of
// the frame, or of one before it, does not change.
func (w *crashWitness) compareHeader(h *core.FrameHeader) error {
	want := core.FrameHeader{}
	if w.records[h.BaseOffset]&copied != 0 {
		i, found := slices.BinarySearchFunc(w.copies, h.BaseOffset, compareBase)
		if !found {
			return fmt.Errorf("no verbatim frame begins at offset %d", h.BaseOffset)
		}
		want = w.copies[i]
		want.DurableLag, want.HeaderCRC = h.DurableLag, h.HeaderCRC
		if w.compact {
			want.Length, want.PayloadCRC, want.PrevCRC = h.Length, h.PayloadCRC, h.PrevCRC
		}
		if *h != want {
			return fmt.Errorf("frame %+v, was copied as %+v", *h, want)
		}
		return nil
	}
	if h.BaseOffset%3 == 0 {
		want = produced(1+h.BaseOffset%5, int32(h.BaseOffset), nil, 1)
		want.PayloadCRC, want.Length = h.PayloadCRC, h.Length
	}
	if !sameProducer(h, &want) || h.Term > w.generation {
		return fmt.Errorf("frame %+v, was added as %+v", *h, want)
	}
	return nil
}

// note notes the record at offset as the newest of its key; a tombstone leaves none.
func (w *crashWitness) note(live map[string]int64, offset int64) {
	switch key, tombstone := w.key(offset); {
	case !w.compact || key == "":
	case tombstone:
		delete(live, key)
	default:
		live[key] = offset
	}
}

// live gives the newest records of the keys in a part of the log.
func (w *crashWitness) live(start, end int64) map[string]int64 {
	live := map[string]int64{}
	for offset := start; offset < end; offset++ {
		w.note(live, offset)
	}
	return live
}
