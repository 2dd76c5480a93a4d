package mmaplog

import (
	"github.com/leatbus/leat/core"
)

// OffsetAt is the offset of the first record whose frame was appended at or after t, nanoseconds
// since 1970, and End if there is none. It scans one segment, reading from the disk what is cold.
func (l *Log) OffsetAt(t int64) (int64, error) {
	list := *l.segs.Load()
	i := len(list) - 1
	for i > 0 && list[i].header.created >= t {
		i--
	}
	if i < 0 {
		return l.End(), nil
	}
	r := l.Reader(list[i].header.base.offset)
	defer r.Close()
	end := l.End()
	for r.Offset() < end {
		run, err := r.Next(end)
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
