package mmaplog

import (
	"fmt"

	"github.com/leatbus/leat/core"
)

// What the owner of a log derives from the headers of its frames, the state of producers, is kept in one
// file beside the segments, so that a log with many of them need not be read as a whole when it is opened:
//
//	writer: SaveState ──▶ durable end reaches it ──▶ janitor: state.tmp, sync, rename to state
//	opening: state, if it agrees with the log ──▶ headers of the frames behind it
//
// It is never trusted over the log. It covers durable frames only, which no crash takes away, so that it
// cannot tell of a frame that is not there; without it all headers are read. The same file has what
// statekeeper.go keeps.

// savedState is a state and the place in the log it covers everything before.
type savedState struct {
	at    logState // offset, index and prevCRC
	bytes []byte
}

// StateDue reports whether it is time for SaveState: a segment was started since the last one, and
// there are frames of producers. It belongs to the writer.
func (l *Log) StateDue() bool { return l.w.stateDue }

// SaveState keeps a state that covers all that is published, for RestoreProducers after the next
// opening. It belongs to the writer, between two batches, and does not block: the janitor writes the
// file once all that it covers is durable. state belongs to the log from now on; a newer one replaces
// one that is not written yet.
func (l *Log) SaveState(state []byte) {
	l.w.stateDue = false
	l.state.Store(&savedState{at: l.w.next, bytes: state})
	l.askState(l.DurableEnd())
}

// askState has the kept state written if it is durable up to end. Called after the state was kept and
// after the durable end moved, so that one of the two sees both.
func (l *Log) askState(end int64) {
	if s := l.state.Load(); s != nil && s.at.offset <= end {
		l.store.janitor.do(l.writeProducers)
	}
}

// writeProducers replaces the state file if there are newer producers. It runs on the janitor.
func (l *Log) writeProducers() {
	if s := l.state.Load(); s == nil || s.at.offset > l.DurableEnd() {
		return // written by another job, or replaced by a newer one, whose job will come
	}
	l.keepState("producers", l.checkpointAtRoll)
}

// RestoreProducers gives the log's owner back what it derived from frames: a saved state, if there is
// one that agrees with the log, and then the headers of all frames behind it, in order; else those of all
// frames. load may refuse a state, and then has nothing of it. A log that never had a frame of a producer
// is not read at all. It is called once, after OpenLog and before the first batch. Errors: CodeCorrupt if
// the header of a frame is damaged, after which nothing is known; CodeIO.
func (l *Log) RestoreProducers(load func(state []byte) error, frame func(*core.FrameHeader)) error {
	list := l.segs.recent()
	if !l.w.produced || len(list) == 0 { // a crash before the first frame leaves the word of it, but no segment
		return nil
	}
	from := l.Start()
	file, _, err := l.readState()
	if saved := file.saved; err == nil && saved != nil {
		if err = l.agrees(saved); err == nil {
			err = load(saved.bytes)
		}
		if err == nil {
			from = saved.at.offset
		}
	}
	if err != nil {
		l.store.opts.Logger.Warn("the state of producers is not usable; the log is read instead",
			"topic", l.topic, "partition", l.partition, "err", err)
	}
	l.w.stateDue = from < list[len(list)-1].header.base.offset
	return l.walkFrom(from, frame)
}

// agrees reports whether a frame of the log ends where the state does: that index, offset and checksum.
func (l *Log) agrees(s *savedState) error {
	if s.at.offset < l.Start() || s.at.offset > l.End() {
		return fmt.Errorf("it covers frames up to offset %d, the log is [%d, %d)", s.at.offset, l.Start(), l.End())
	}
	list := l.segs.from(s.at.offset)
	seg := list[findSegment(list, s.at.offset)]
	at := checkpoint{pos: headerSize, at: seg.start()}
	err := l.walkHeaders(seg, &at, func(h *core.FrameHeader) bool { return h.BaseOffset < s.at.offset })
	if err != nil {
		return err
	}
	if at.at.offset != s.at.offset || at.at.index != s.at.index || at.at.prevCRC != s.at.prevCRC {
		return fmt.Errorf("it covers %d frames up to offset %d and checksum %08x, the log has %d up to %d and %08x",
			s.at.index-1, s.at.offset, s.at.prevCRC, at.at.index-1, at.at.offset, at.at.prevCRC)
	}
	return nil
}
