package node

import (
	"context"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// Bounds of one page of dead letters. A page has one letter at least, however large.
const (
	letterPageBytes = 1 << 20
	letterPageReads = 1 << 16 // letters looked at
)

// ReadDeadLetters implements leat.Backend.
func (n *Node) ReadDeadLetters(
	ctx context.Context, name string, r leat.DeadLetterRead,
) (page leat.DeadLetterPage, err error) {
	const verb = "read dead letters of"
	p, err := n.letterPartition(verb, name, r.Partition)
	if err != nil {
		return page, err
	}
	b := n.letters.box(letterKey{p.topic.id, p.number})
	if err := b.hold(r.Job, n.clock, p.op(verb)); err != nil {
		return page, err
	}
	visible := p.highWater.Load()
	page.End = visible
	if r.To > 0 {
		page.End = min(page.End, r.To)
	}
	b.mu.Lock()
	page.Next = max(r.From, b.state.Next(), p.log.Start())
	b.mu.Unlock()
	if page.Next >= page.End {
		page.Next = page.End
		return page, nil
	}
	reading := letterReading{ctx: ctx, read: &r, visible: visible, box: b, page: &page}
	reading.cursor.part = p
	reading.cursor.start(page.Next)
	defer reading.cursor.close()
	return page, reading.run()
}

// letterReading fills one page.
type letterReading struct {
	ctx     context.Context
	read    *leat.DeadLetterRead
	visible int64 // the end of the page may lie within a frame
	box     *letterbox
	page    *leat.DeadLetterPage
	cursor  cursor
	headers core.HeaderDecoder
	message leat.Message
	bytes   int
}

func (l *letterReading) run() error {
	c, page := &l.cursor, l.page
	for looked := 0; looked < letterPageReads && len(page.Letters) < l.read.Limit && l.bytes < letterPageBytes; {
		if !c.hasRecords() {
			found, err := c.fetch(l.visible, false)
			if err != nil {
				return err
			}
			if !found {
				page.Next = page.End
				return nil
			}
			if err := l.ctx.Err(); err != nil {
				return err
			}
		}
		if c.next >= page.End {
			page.Next = page.End
			return nil
		}
		if err := c.takeStored(&l.message, &l.headers); err != nil {
			return err
		}
		looked++
		page.Next = l.message.Offset + 1
		if l.settled() {
			continue
		}
		l.add()
	}
	return nil
}

func (l *letterReading) settled() bool {
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	return l.box.state.Settled(l.message.Offset)
}

// add makes the record under way part of the page, if it is asked for.
func (l *letterReading) add() {
	m := &l.message
	origin, value, own, err := core.UnwrapDeadLetter(m.Value, m.Headers)
	if !l.read.Filter.Matches(m.Key, m.Time.UnixNano(), &origin, own) {
		return
	}
	letter := leat.DeadLetter{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset, Died: m.Time,
		Size: len(value), Origin: origin, Known: err == nil}
	copied := leat.Message{Key: m.Key, Headers: own}
	if !l.read.Bare {
		copied.Value = value
	}
	kept := copied.Clone()
	letter.Key, letter.Value, letter.Headers = kept.Key, kept.Value, kept.Headers
	l.bytes += core.RecordHeaderSize + len(kept.Key) + len(kept.Value) + core.EncodedHeadersSize(kept.Headers)
	l.page.Letters = append(l.page.Letters, letter)
}

// takeStored fills m with the next record of the frame under way, whatever its time to live: dead letters
// have none, and what died before its time was over is buried after it.
func (c *cursor) takeStored(m *leat.Message, headers *core.HeaderDecoder) error {
	r, n, err := core.DecodeRecord(c.records)
	if err != nil {
		return err
	}
	m.Key, m.Value, m.Headers = r.Key, r.Value, m.Headers[:0]
	if len(r.RawHeaders) > 0 {
		if m.Headers, err = headers.Decode(r.RawHeaders, m.Headers); err != nil {
			return err
		}
	}
	m.Topic, m.Partition = c.part.topic.name, c.part.number
	m.Offset, m.Time = c.next, c.time
	c.records = c.records[n:]
	c.next++
	c.skipRemoved()
	return nil
}
