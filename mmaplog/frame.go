package mmaplog

import (
	"runtime/debug"

	"github.com/leatbus/leat/core"
)

// AddFrame appends one frame of an identified producer to the batch and returns the offset of its
// first record: the payload verbatim, without padding, in a frame of its own that keeps the producer's
// id, epoch, sequence and the payload's checksum, which the caller has checked (core.CheckProduced). All
// other fields of h are the log's own. Errors and blocking are those of Add.
func (l *Log) AddFrame(h *core.FrameHeader, payload []byte) (base int64, err error) {
	if err := l.admitFrame(h, payload); err != nil {
		return 0, err
	}
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	w := &l.w
	if h.KeepsState() && !w.produced { // before a segment may be started, which says so
		l.setProduced()
	}
	if w.open.records > 0 {
		l.seal()
	}
	if err := l.reserve(w.next.offset+int64(h.Records), int64(h.Length)); err != nil {
		return 0, err
	}
	need := int64(core.FrameHeaderSize + core.Align8(len(payload)))
	if w.pos+need > w.dataEnd {
		if err := l.room(need); err != nil {
			return 0, err
		}
	}
	if !w.mapped {
		l.growArena(w.pos + need - w.bufAt)
	}
	frame := w.buf[w.pos-w.bufAt:][:need]
	clear(frame[core.FrameHeaderSize+copy(frame[core.FrameHeaderSize:], payload):])
	base = w.next.offset
	w.next.offset += int64(h.Records)
	w.open = frameDraft{
		records: int(h.Records), fill: len(payload), offset: base, summed: true, crc: h.PayloadCRC,
	}
	w.head.ProducerID, w.head.ProducerEpoch, w.head.BaseSeq = h.ProducerID, h.ProducerEpoch, h.BaseSeq
	w.head.Attrs = h.Attrs
	l.seal()
	w.head.ProducerID, w.head.ProducerEpoch, w.head.BaseSeq, w.head.Attrs = 0, 0, 0, 0
	return base, nil
}

// admitFrame refuses what the log cannot take, whatever room there is.
func (l *Log) admitFrame(h *core.FrameHeader, payload []byte) error {
	if f := l.fence.Load(); f != nil {
		return f
	}
	if h.Records < 1 || h.Records > core.MaxBatchRecords || h.ProducerID < 0 ||
		int64(h.Length) != int64(core.FrameHeaderSize+len(payload)) ||
		len(payload) > core.MaxBatchBytes+core.MaxRecordBytes ||
		h.Type() != core.FrameData && h.Type() != core.FrameKafka || h.Attrs&^core.AttrIDs != uint8(h.Type()) {
		return core.Errorf(core.CodeInvalidRecord, l.name(),
			"frame of %d bytes with %d records in %d bytes, attrs %#02x", h.Length, h.Records, len(payload), h.Attrs)
	}
	return nil
}
