package mmaplog

import (
	"runtime/debug"

	"github.com/leatbus/leat/core"
)

// AppendFrame adds one frame of another replica's log to the batch, verbatim: all of its header but the
// header's checksum and DurableLag, which are this log's own, and the payload, without padding. It must
// continue the log in index, offset, chain and time, and have no lower term; its checksum is compared. On
// an error the log is as it was: CodeInvalidRecord for a frame that does not fit here, CodeCorrupt for
// one that is damaged, else the errors of Add. It belongs to the writer and must not share a batch with
// Add; Publish makes it readable.
func (l *Log) AppendFrame(h *core.FrameHeader, payload []byte) (err error) {
	if err := l.admitCopy(h, payload); err != nil {
		return err
	}
	defer l.endFault(debug.SetPanicOnFault(true), &err)
	w := &l.w
	if h.KeepsState() && !w.produced {
		l.setProduced()
	}
	need := int64(core.FrameHeaderSize + core.Align8(len(payload)))
	if w.pos+need > w.dataEnd {
		if err := l.room(need); err != nil {
			return err
		}
	}
	if !w.mapped {
		l.growArena(w.pos + need - w.bufAt)
	}
	frame := w.buf[w.pos-w.bufAt:][:need]
	clear(frame[core.FrameHeaderSize+copy(frame[core.FrameHeaderSize:], payload):])
	w.now, w.next.term = h.Time, h.Term
	w.next.offset += int64(h.Records)
	w.open = frameDraft{
		records: int(h.Records), fill: len(payload), offset: h.BaseOffset, summed: true, crc: h.PayloadCRC,
	}
	w.head.ProducerID, w.head.ProducerEpoch, w.head.BaseSeq = h.ProducerID, h.ProducerEpoch, h.BaseSeq
	w.head.Attrs = h.Attrs
	l.seal()
	w.head.ProducerID, w.head.ProducerEpoch, w.head.BaseSeq, w.head.Attrs = 0, 0, 0, 0
	return nil
}

// admitCopy refuses a frame that does not continue the log.
func (l *Log) admitCopy(h *core.FrameHeader, payload []byte) error {
	if f := l.fence.Load(); f != nil {
		return f
	}
	op := "append to " + l.name()
	next := l.w.next
	switch {
	case l.w.open.records > 0:
		return core.Errorf(core.CodeInternal, op, "records of this log's own are in the batch")
	case h.Type() >= core.FrameFiller || h.Attrs&^core.AttrIDs != uint8(h.Type()) ||
		h.Version != core.FrameVersion ||
		h.Records > core.MaxBatchRecords || h.ProducerID < 0 || h.BaseOffset < 0 ||
		int64(h.Length) != int64(core.FrameHeaderSize+len(payload)) ||
		len(payload) > core.MaxBatchBytes+core.MaxRecordBytes:
		return core.Errorf(core.CodeInvalidRecord, op, "frame of %d bytes with %d records in %d bytes, attrs %#02x",
			h.Length, h.Records, len(payload), h.Attrs)
	}
	if err := next.accept(h); err != nil {
		return core.NewError(core.CodeInvalidRecord, op, err)
	}
	return h.CheckPayload(payload)
}
