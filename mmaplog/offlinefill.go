package mmaplog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/leatbus/leat/core"
)

// gapFrames encodes frames of type empty that take the place of records given up: as many frames as were
// lost, because the index goes on, and as many offsets. The last one is made longer so that all take span
// bytes, if span is not 0. ok is false where that is not possible. It gives the state behind them.
func gapFrames(state, to logState, seed uint32, span int64) (frames []byte, _ logState, ok bool) {
	offsets, count := to.offset-state.offset, int64(to.index-state.index)
	if offsets < 0 || to.index < state.index || count > gapFramesMax || offsets > count*core.MaxBatchRecords {
		return nil, state, false
	}
	if count == 0 {
		return bridge(state, seed, span)
	}
	if span != 0 && span < count*core.FrameHeaderSize {
		return nil, state, false
	}
	for ; count > 0; count-- {
		records := min(offsets, core.MaxBatchRecords)
		payload := int64(0)
		if count == 1 && span != 0 {
			payload = span - int64(len(frames)) - core.FrameHeaderSize
		}
		body := make([]byte, core.FrameHeaderSize+payload)
		h := core.FrameHeader{
			Length: uint32(len(body)), Index: state.index, BaseOffset: state.offset, Time: state.time,
			Term: state.term, PrevCRC: state.prevCRC, PayloadCRC: core.Checksum(body[core.FrameHeaderSize:]),
			Records:    uint16(records),
			DurableLag: 1<<16 - 1, Attrs: uint8(core.FrameEmpty), Version: core.FrameVersion,
		}
		if payload > core.MaxBatchBytes {
			return nil, state, false
		}
		h.Encode(body, seed)
		frames = append(frames, body...)
		state = logState{offset: h.NextOffset(), index: h.Index + 1, prevCRC: h.PayloadCRC, time: h.Time,
			term: h.Term}
		offsets -= records
	}
	return frames, state, true
}

// gapFramesMax bounds what one damage may take: the frames of the largest segment.
const gapFramesMax = core.MaxSegmentBytes / core.FrameHeaderSize

// bridge covers bytes between two frames that follow each other.
func bridge(state logState, seed uint32, span int64) ([]byte, logState, bool) {
	if span == 0 {
		return nil, state, true
	}
	if span < core.FrameHeaderSize || span > core.MaxSegmentBytes {
		return nil, state, false
	}
	body := make([]byte, span)
	h := core.FrameHeader{Length: uint32(span), Term: state.term,
		PayloadCRC: core.Checksum(body[core.FrameHeaderSize:]),
		Attrs:      uint8(core.FrameFiller), Version: core.FrameVersion}
	h.Encode(body, seed)
	return body, state, true
}

// target is the state behind what a damage makes unreadable.
func (d *offlineDamage) target() (logState, bool) {
	switch {
	case d.resume != nil:
		return logState{offset: d.resume.BaseOffset, index: d.resume.Index}, true
	case d.next != nil:
		return logState{offset: d.next.header.from(), index: d.next.header.base.index}, true
	case d.until.end > d.state.offset:
		frames := (d.until.end - d.state.offset + core.MaxBatchRecords - 1) / core.MaxBatchRecords
		return logState{offset: d.until.end, index: max(d.until.index+1, d.state.index+uint64(frames))}, true
	}
	return logState{}, false
}

// giveUp overwrites what cannot be read in a segment with frames that have no records, and makes what follows
// continue them.
func (r *repairer) giveUp(s *offlineScan, d *offlineDamage) (bool, error) {
	to, ok := d.target()
	if !ok {
		return false, nil
	}
	seed, span, room := core.HeaderSeed(d.seg.header.id), int64(0), d.seg.header.dataEnd-d.pos
	if d.resume != nil {
		span = d.resumeAt - d.pos
	}
	frames, behind, ok := gapFrames(d.state, to, seed, span)
	if !ok || int64(len(frames)) > room || span == 0 && d.resume != nil && len(frames) > 0 {
		return false, nil
	}
	end, err := r.lastByte(d.seg.path, d.pos, d.seg.header.dataEnd)
	if err != nil {
		return false, err
	}
	if d.resume != nil {
		end = d.resumeAt + core.FrameHeaderSize
	}
	end = max(end, d.pos+int64(len(frames)))
	kept := r.free(fmt.Sprintf("%s.%d", d.seg.path, d.pos))
	if !r.step(RepairStep{Log: s.report.Log.Name(), Action: "give up records", Path: d.seg.path, Kept: kept,
		Position: d.pos, From: d.state.offset, To: to.offset}) {
		return true, nil
	}
	if err := r.keep(d.seg.path, d.pos, end, kept); err != nil {
		return false, err
	}
	err = r.write(d.seg.path, func(f File) error {
		if d.resume != nil {
			return errors.Join(writeAll(f, frames, d.pos), restamp(f, d.resumeAt, d.resume, behind.prevCRC, seed),
				dropFooter(f, &d.seg.header))
		}
		return errors.Join(writeZeros(f, d.pos, end), writeAll(f, frames, d.pos), dropFooter(f, &d.seg.header))
	})
	if err == nil && d.resume == nil && d.next != nil {
		err = r.follow(d.next, d.seg.header.id, behind.prevCRC)
	}
	return true, err
}

// replaceSegment makes a segment of frames without records where one is missing, or has neither header nor
// frames that could tell one.
func (r *repairer) replaceSegment(s *offlineScan, d *offlineDamage) (bool, error) {
	before, state, err := s.beforeGap(d)
	if before == nil && err == nil && d.next != nil {
		return true, r.startLater(s, d)
	}
	if err != nil || d.next == nil || before.header.ordinal+1 >= d.next.header.ordinal {
		return false, err
	}
	to, _ := d.target()
	h := before.header
	h.id, h.previousID, h.ordinal = d.next.header.previousID, before.header.id, before.header.ordinal+1
	h.base = segmentBase{offset: state.offset, index: state.index, term: state.term, prevCRC: state.prevCRC}
	h.gap, h.gapFrom = false, 0
	h.created, h.produced, h.recycled, h.durable = state.time, true, false, mark{state.offset, state.index - 1}
	frames, behind, ok := gapFrames(state, to, core.HeaderSeed(h.id), 0)
	if !ok {
		return false, nil
	}
	h.size = classFor(core.MinSegmentBytes, int64(len(frames)))
	h.dataEnd = classDataEnd(h.size)
	path := filepath.Join(s.report.Log.Dir, segmentName(h.base.offset, h.id))
	step := RepairStep{Log: s.report.Log.Name(), Action: "give up records", Path: path, From: state.offset,
		To: to.offset}
	if d.broken != nil {
		step.Kept = r.free(d.broken.path)
	}
	if !r.step(step) {
		return true, nil
	}
	if d.broken != nil {
		if err := r.fs.Rename(d.broken.path, step.Kept); err != nil {
			return false, err
		}
	}
	f, err := r.fs.Open(path, Create)
	if err != nil {
		return false, err
	}
	page := make([]byte, headerSize)
	h.encode(page)
	err = errors.Join(f.Allocate(h.size), writeAll(f, frames, headerSize), writeAll(f, page, 0), f.Sync(),
		f.Close(), r.fs.SyncDir(s.report.Log.Dir))
	if err == nil {
		err = r.follow(d.next, h.id, behind.prevCRC)
	}
	return true, err
}

// startLater sets a log's first file aside, which tells of no header: the log starts with the next one.
func (r *repairer) startLater(s *offlineScan, d *offlineDamage) error {
	kept := r.free(d.broken.path)
	if !r.step(RepairStep{Log: s.report.Log.Name(), Action: "set aside", Path: d.broken.path, Kept: kept,
		From: d.broken.base, To: d.next.header.base.offset}) {
		return nil
	}
	return errors.Join(r.fs.Rename(d.broken.path, kept), r.fs.SyncDir(s.report.Log.Dir))
}

// follow makes a segment continue what is before it now: in its header and in its first frame.
func (r *repairer) follow(next *segmentFile, id uint64, prevCRC uint32) error {
	h := next.header
	h.previousID, h.base.prevCRC = id, prevCRC
	page := make([]byte, headerSize)
	h.encode(page)
	return r.write(next.path, func(f File) error {
		var head [core.FrameHeaderSize]byte
		if _, err := f.ReadAt(head[:], headerSize); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		seed := core.HeaderSeed(h.id)
		first, err := core.DecodeFrameHeader(head[:], seed)
		if err == nil && first.Type() != core.FrameFiller && first.Index == h.base.index {
			err = restamp(f, headerSize, &first, prevCRC, seed)
		} else {
			err = nil // it is damaged, and has its own turn
		}
		return errors.Join(err, writeAll(f, page, 0))
	})
}

// restamp makes the frame at pos continue another one.
func restamp(f File, pos int64, h *core.FrameHeader, prevCRC, seed uint32) error {
	stamped := *h
	stamped.PrevCRC = prevCRC
	var head [core.FrameHeaderSize]byte
	stamped.Encode(head[:], seed)
	return writeAll(f, head[:], pos)
}

func writeAll(f File, p []byte, at int64) error {
	_, err := f.WriteAt(p, at)
	return err
}

// dropFooter removes the footer, which the next opening makes anew.
func dropFooter(f File, h *segmentHeader) error {
	size, err := f.Size()
	if err != nil || size < h.size {
		return err
	}
	return writeZeros(f, h.size-footerSize, h.size)
}

// write changes a file and makes that durable.
func (r *repairer) write(path string, change func(f File) error) error {
	f, err := r.fs.Open(path, ReadWrite)
	if err != nil {
		return err
	}
	err = change(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// lastByte is the position behind the last byte of [lo, hi) that is not zero.
func (r *repairer) lastByte(path string, lo, hi int64) (int64, error) {
	f, err := r.fs.Open(path, ReadOnly)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := &scanBuf{}
	buf.reset(f, hi)
	return buf.lastNonZero(lo)
}
