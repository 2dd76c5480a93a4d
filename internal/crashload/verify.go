package crashload

import (
	"errors"
	"fmt"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// Found is what Verify found.
type Found struct {
	Start, End int64
	CutBytes   int64 // what recovery cut
}

// Verify opens the log below dir and judges it: it holds what w says it must and nothing else, each record
// as it was written last. Then it is used: records are appended, and the log is opened once more and must
// hold all of that. The generation of those records is beyond all of the journal's.
func Verify(fs mmaplog.FS, dir string, level core.Ack, w *Witness) (Found, error) {
	found, err := w.open(fs, dir, level, func(l *mmaplog.Log) error { return nil })
	if err != nil {
		return found, err
	}
	after := *w
	after.bases = append(after.bases[:len(after.bases):len(after.bases)], found.End)
	more := func(l *mmaplog.Log) error {
		if r := l.Recovery(); l.End() != found.End || l.Start() != found.Start || r.CutBytes > 0 {
			return fmt.Errorf("opened as [%d, %d), and then as [%d, %d): %+v",
				found.Start, found.End, l.Start(), l.End(), r)
		}
		return appendSome(l, len(after.bases)-1)
	}
	if _, err := w.open(fs, dir, level, more); err != nil {
		return found, fmt.Errorf("opened again: %w", err)
	}
	after.Must, after.Max = found.End+someRecords, found.End+someRecords
	if _, err := after.open(fs, dir, level, func(*mmaplog.Log) error { return nil }); err != nil {
		return found, fmt.Errorf("opened after appending: %w", err)
	}
	return found, nil
}

const someRecords = 7

func appendSome(l *mmaplog.Log, generation int) error {
	for range someRecords {
		record, err := encode(l.End(), generation)
		if err != nil {
			return err
		}
		h := frameOf(l.End(), record)
		if _, _, ok := ofProducer(l.End()); ok {
			_, err = l.AddFrame(&h, record)
		} else {
			_, err = l.Add(record, 1)
		}
		if err != nil {
			return err
		}
		if _, err := l.Publish(); err != nil {
			return err
		}
	}
	return nil
}

// open opens the log, compares it, and hands it to use.
func (w *Witness) open(
	fs mmaplog.FS, dir string, level core.Ack, use func(*mmaplog.Log) error,
) (Found, error) {
	s, err := mmaplog.Open(fs, dir, mmaplog.Options{})
	if err != nil {
		return Found{}, err
	}
	l, err := s.OpenLog(Topic, Partition, options(level))
	if err != nil {
		return Found{}, errors.Join(err, s.Close())
	}
	found := Found{Start: l.Start(), End: l.End(), CutBytes: l.Recovery().CutBytes}
	if err = restore(l); err == nil {
		err = w.compare(l)
	}
	if err == nil {
		err = use(l)
	}
	return found, errors.Join(err, s.Close())
}

func (w *Witness) compare(l *mmaplog.Log) error {
	if l.End() < w.Must || l.End() > w.Max || l.Start() > w.Start {
		return fmt.Errorf("the log is [%d, %d): %d were promised, %d added, trimmed up to %d, generations from %d "+
			"(%+v)", l.Start(), l.End(), w.Must, w.Max, w.Start, w.bases, l.Recovery())
	}
	r := l.Reader(l.Start())
	defer r.Close()
	due := l.Start()
	for {
		run, err := r.Next(l.End())
		if err != nil {
			return err
		}
		if run == nil {
			break
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if err := w.compareFrame(&h, run[core.FrameHeaderSize:h.Length], due); err != nil {
				return err
			}
			due, run = h.NextOffset(), run[h.Size():]
		}
	}
	if due != l.End() {
		return fmt.Errorf("records end at %d, the log is [%d, %d)", due, l.Start(), l.End())
	}
	return nil
}

func (w *Witness) compareFrame(h *core.FrameHeader, payload []byte, due int64) error {
	if h.BaseOffset != due {
		return fmt.Errorf("a frame of offset %d where %d is due", h.BaseOffset, due)
	}
	id, sequence, ok := ofProducer(due)
	if ok && (h.ProducerID != id || h.BaseSeq != sequence || h.Records != 1) || !ok && h.ProducerID != 0 {
		return fmt.Errorf("offset %d: frame %+v", due, *h)
	}
	for ; due < h.NextOffset(); due++ {
		record, n, err := core.DecodeRecord(payload)
		if err != nil {
			return fmt.Errorf("offset %d: %w", due, err)
		}
		if !holds(record.Value, due, w.generation(due)) {
			return fmt.Errorf("offset %d is not what generation %d wrote there", due, w.generation(due))
		}
		payload = payload[n:]
	}
	return nil
}

func options(level core.Ack) mmaplog.LogOptions {
	return mmaplog.LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes}
}
