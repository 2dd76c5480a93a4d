package mmaplog

import (
	"sort"

	"github.com/leatbus/leat/core"
)

// OffsetAt is the offset of the first record whose frame was appended at or after t, nanoseconds
// since 1970, and End if there is none. It finds the segment by its time and the place by its index, and
// reads the 16 KiB of frames behind that, from the disk if they are cold; more where a segment has no index.
func (l *Log) OffsetAt(t int64) (int64, error) {
	list := *l.segs.Load()
	// The last segment that was started before t: all frames of the next one are at or after t.
	i := max(0, sort.Search(len(list), func(i int) bool { return list[i].header.created >= t })-1)
	if len(list) == 0 {
		return l.End(), nil
	}
	r := l.Reader(list[i].header.base.offset)
	defer r.Close()
	r.seg, r.pos = list[i], headerSize
	if b := l.indexOf(r.seg, r.open); b != nil {
		if b.known && b.maxTime < t {
			if i+1 < len(list) {
				return min(list[i+1].header.base.offset, l.End()), nil
			}
			return l.End(), nil
		}
		if e, ok := b.placeBefore(t); ok {
			r.pos, r.offset = int64(e.position), r.offset+int64(e.offset)
		}
	}
	return r.firstAt(t)
}

// firstAt is the offset of the first record from the cursor on whose frame has time t or a later one, or
// the log's end.
func (r *Reader) firstAt(t int64) (int64, error) {
	end := r.log.End()
	for r.Offset() < end {
		run, err := r.Next(end)
		if err != nil && r.log.skips() && r.seekBehind(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if run == nil {
			break
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if h.Time >= t {
				return h.BaseOffset, nil
			}
			run = run[h.Size():]
		}
	}
	return end, nil
}
