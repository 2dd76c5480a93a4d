package leat

import (
	"context"
	"iter"
	"time"

	"github.com/leatbus/leat/core"
)

// Batch is a run of messages of one partition, in order, as the log holds them. It stays valid until Release,
// whatever becomes of the subscription, the topic and the bus, and may be handled by other goroutines, by one
// at a time.
//
// In the process a batch that was published lately is a part of the log's memory map: nothing is copied, and
// what messages point to must not be written to. The log keeps the room on its disk until Release. As a page
// of a map can be lost to a disk that fails meanwhile, which ends the process, a batch is nothing to keep for
// minutes: Clone messages, or copy what is needed.
type Batch struct {
	Topic     string
	Partition int32
	First     int64 // offset of the first message
	Next      int64 // offset behind the last one

	run BatchRun
	sub *Subscription
}

// BatchRun is what a Backend gives for a Batch: whole frames of the log, all readable, that hold the offsets
// from First to Next and perhaps some before.
type BatchRun struct {
	Topic     string
	Partition int32
	First     int64
	Next      int64
	Frames    []byte
	Release   func() // gives Frames back, called once; nil if they are the receiver's to keep
	// Leaves, if not nil, is asked whether a record, at an offset and appended at a time, is left out.
	Leaves func(r *core.Record, offset, appended int64) bool
}

// Batches delivers the messages of Messages in runs, each with Release to be called when it is done with. As
// many of them as are wanted may be kept; in the process at most 16 per partition are parts of the map, and
// others are copies. Ends and errors are those of Messages. With AutoAck a batch is acked as a whole when the
// next one is asked for.
func (s *Subscription) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		for {
			b := &Batch{sub: s}
			err := s.backend.NextBatch(ctx, &b.run)
			if err == nil {
				b.Topic, b.Partition, b.First, b.Next = b.run.Topic, b.run.Partition, b.run.First, b.run.Next
				if !yield(b, nil) {
					return
				}
				if s.autoAck {
					err = b.Ack()
				}
			}
			if err != nil {
				if !ended(err) {
					yield(nil, err)
				}
				return
			}
		}
	}
}

// Ack acknowledges all messages of the batch, and those before it in its partition: see Message.Ack. It may
// be called before Release and after it.
func (b *Batch) Ack() error { return b.sub.backend.Ack(b.Partition, b.Next-1) }

// Release gives the batch up: none of its messages may be touched any more. A second call does nothing.
func (b *Batch) Release() {
	release := b.run.Release
	b.run.Frames, b.run.Release = nil, nil
	if release != nil {
		release()
	}
}

// Messages gives the messages of the batch, none after Release. The message is reused by the next step; what
// it points to is valid until Release. ErrCorrupt is delivered once and ends the loop.
func (b *Batch) Messages() iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		m := &Message{Topic: b.Topic, Partition: b.Partition, sub: b.sub}
		var headers core.HeaderDecoder
		for run := b.run.Frames; len(run) > 0; {
			h := core.ParseFrameHeader(run)
			if h.Length < core.FrameHeaderSize || h.Size() > int64(len(run)) {
				yield(nil, core.Errorf(core.CodeInternal, "read batch", "frame of %d bytes, %d left", h.Length, len(run)))
				return
			}
			if h.Type() == core.FrameData && !b.messages(&h, run[core.FrameHeaderSize:h.Length], m, &headers, yield) {
				return
			}
			run = run[h.Size():]
		}
	}
}

// messages gives those of one frame. It reports whether the loop goes on.
func (b *Batch) messages(h *core.FrameHeader, records []byte, m *Message, headers *core.HeaderDecoder,
	yield func(*Message, error) bool) bool {
	m.Time = time.Unix(0, h.Time)
	for at := h.BaseOffset; len(records) > 0; at++ {
		r, n, err := core.DecodeRecord(records)
		m.Headers = m.Headers[:0]
		if err == nil && len(r.RawHeaders) > 0 {
			m.Headers, err = headers.Decode(r.RawHeaders, m.Headers)
		}
		if err != nil {
			yield(nil, core.NewError(core.CodeOf(err), "read batch", err))
			return false
		}
		records = records[n:]
		if at < b.First || r.Removed() || b.run.Leaves != nil && b.run.Leaves(&r, at, h.Time) {
			continue
		}
		m.Key, m.Value, m.TTL, m.ID, m.Offset = r.Key, r.Value, r.TTL, string(r.ID), at
		if !yield(m, nil) {
			return false
		}
	}
	return true
}
