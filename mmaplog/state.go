package mmaplog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"github.com/leatbus/leat/core"
)

// What the owner of a log derives from the headers of its frames, the state of producers, is kept in one
// file beside the segments, so that a log with many of them need not be read as a whole when it is opened:
//
//	writer: SaveState ──▶ durable end reaches it ──▶ janitor: state.tmp, sync, rename to state
//	opening: state, if it agrees with the log ──▶ headers of the frames behind it
//
// The file is never trusted over the log. It covers durable frames only, which no crash takes away, so
// that it cannot tell of a frame that is not there; without it all headers are read.
const (
	stateName    = "state"
	stateTmpName = "state.tmp"
	stateMagic   = "LEATSTAT"
	stateVersion = 1
	stateHead    = 64
	maxStateFile = 64 << 20
)

// savedState is a state and the place in the log it covers everything before.
type savedState struct {
	at    logState // time is not stored
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
		l.store.janitor.do(l.writeState)
	}
}

// writeState replaces the state file. It runs on the janitor.
func (l *Log) writeState() {
	s := l.state.Load()
	if s == nil || s.at.offset > l.DurableEnd() || !l.state.CompareAndSwap(s, nil) {
		return // written by another job, or replaced by a newer one, whose job will come
	}
	if err := l.replaceStateFile(l.encodeState(s)); err != nil {
		l.store.opts.Logger.Warn("cannot write the state of producers", "topic", l.topic,
			"partition", l.partition, "err", err)
	}
}

func (l *Log) replaceStateFile(content []byte) error {
	fs, tmp := l.store.fs, filepath.Join(l.dir, stateTmpName)
	if err := fs.Remove(tmp); err != nil && !errors.Is(err, errNotExist) {
		return err
	}
	f, err := fs.Open(tmp, Create)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync() // before it has the name that is believed
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	l.store.point("state.before-rename")
	if err := fs.Rename(tmp, filepath.Join(l.dir, stateName)); err != nil {
		return err
	}
	return fs.SyncDir(l.dir)
}

// encodeState makes the file's content; docs/format.md has the layout.
func (l *Log) encodeState(s *savedState) []byte {
	le := binary.LittleEndian
	b := make([]byte, stateHead, stateHead+len(s.bytes))
	copy(b, stateMagic)
	le.PutUint32(b[8:], stateVersion)
	le.PutUint64(b[16:], l.topic)
	le.PutUint32(b[24:], uint32(l.partition))
	le.PutUint32(b[28:], s.at.prevCRC)
	le.PutUint64(b[32:], uint64(s.at.offset))
	le.PutUint64(b[40:], s.at.index)
	le.PutUint64(b[48:], uint64(len(s.bytes)))
	b = append(b, s.bytes...)
	le.PutUint32(b[12:], stateCRC(b))
	return b
}

func stateCRC(b []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(b[:12], table), table, b[16:])
}

// decodeState reads and checks a state file of this log. It keeps src.
func (l *Log) decodeState(src []byte) (*savedState, error) {
	le := binary.LittleEndian
	switch {
	case len(src) < stateHead || string(src[:8]) != stateMagic:
		return nil, fmt.Errorf("%d bytes that are no state", len(src))
	case stateCRC(src) != le.Uint32(src[12:]):
		return nil, fmt.Errorf("checksum %08x, computed %08x", le.Uint32(src[12:]), stateCRC(src))
	case le.Uint32(src[8:]) != stateVersion:
		return nil, fmt.Errorf("version %d, this build reads %d", le.Uint32(src[8:]), stateVersion)
	case le.Uint64(src[16:]) != l.topic || le.Uint32(src[24:]) != uint32(l.partition):
		return nil, fmt.Errorf("it belongs to log %d/%d", le.Uint64(src[16:]), le.Uint32(src[24:]))
	case le.Uint64(src[48:]) != uint64(len(src)-stateHead) || !allZero(src[56:stateHead]):
		return nil, fmt.Errorf("%d bytes of state, the header says %d", len(src)-stateHead, le.Uint64(src[48:]))
	}
	s := &savedState{bytes: src[stateHead:]}
	s.at = logState{offset: int64(le.Uint64(src[32:])), index: le.Uint64(src[40:]), prevCRC: le.Uint32(src[28:])}
	return s, nil
}

// RestoreProducers gives the log's owner back what it derived from frames: a saved state, if there is
// one that agrees with the log, and then the headers of all frames behind it, in order; else those of all
// frames. load may refuse a state, and then has nothing of it. A log that never had a frame of a producer
// is not read at all. It is called once, after OpenLog and before the first batch. Errors: CodeCorrupt if
// the header of a frame is damaged, after which nothing is known; CodeIO.
func (l *Log) RestoreProducers(load func(state []byte) error, frame func(*core.FrameHeader)) error {
	if !l.w.produced {
		return nil
	}
	from := l.Start()
	saved, err := l.readState()
	if err == nil && saved != nil {
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
	list := *l.segs.Load()
	l.w.stateDue = from < list[len(list)-1].header.base.offset
	return l.walkFrom(from, frame)
}

// readState reads the state file; nil if there is none.
func (l *Log) readState() (*savedState, error) {
	f, err := l.store.fs.Open(filepath.Join(l.dir, stateName), ReadOnly)
	if errors.Is(err, errNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxStateFile {
		return nil, fmt.Errorf("a file of %d bytes, at most %d", size, maxStateFile)
	}
	content := make([]byte, size)
	if _, err := f.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return l.decodeState(content)
}

// agrees reports whether a frame of the log ends where the state does: that index, offset and checksum.
func (l *Log) agrees(s *savedState) error {
	if s.at.offset < l.Start() || s.at.offset > l.End() {
		return fmt.Errorf("it covers frames up to offset %d, the log is [%d, %d)", s.at.offset, l.Start(), l.End())
	}
	list := *l.segs.Load()
	seg := list[findSegment(list, s.at.offset)]
	at := seg.start()
	err := l.walkHeaders(seg, &at, func(h *core.FrameHeader) bool { return h.BaseOffset < s.at.offset })
	if err != nil {
		return err
	}
	if at.offset != s.at.offset || at.index != s.at.index || at.prevCRC != s.at.prevCRC {
		return fmt.Errorf("it covers %d frames up to offset %d and checksum %08x, the log has %d up to %d and %08x",
			s.at.index-1, s.at.offset, s.at.prevCRC, at.index-1, at.offset, at.prevCRC)
	}
	return nil
}
