package mmaplog

import (
	"fmt"
	"maps"
	"sync"

	"github.com/leatbus/leat/core"
)

// verifyImages opens what the cuts left. One image in deep is cut again, at every operation of its recovery.
func (c *crashScene) verifyImages(deep uint64) error {
	c.imagesMu.Lock()
	images := c.images
	c.images = nil
	c.imagesMu.Unlock()
	for i := range images {
		image := &images[i]
		nested := deep > 0 && c.dice.next()%deep == 0
		if err := c.verify(image, nested); err != nil {
			return c.failed(image, err)
		}
	}
	return nil
}

func (c *crashScene) failed(image *crashImage, err error) error {
	return fmt.Errorf("LEAT_SEED=%d, level %v, generation %d, cut at %s, durable up to %d, added up to %d: %w",
		c.seed, c.level, image.witness.generation, image.where, image.must, len(image.witness.records), err)
}

// verify recovers an image, compares it with its witness, cuts the power again and recovers the rest:
// what was readable once must be there for good.
func (c *crashScene) verify(image *crashImage, nested bool) error {
	c.tally.crashes++
	if image.must > 0 {
		c.tally.durable++
	}
	var inside []crashImage
	var mu sync.Mutex
	closed := false
	if nested {
		image.fs.Hook(func(op, name string) {
			mu.Lock()
			defer mu.Unlock()
			if closed {
				return
			}
			again := *image
			again.fs, again.where = image.fs.Crash(c.dice.next()), image.where+", then at "+op+" "+name
			inside = append(inside, again)
		})
	}
	s, l, err := c.reopen(image.fs)
	if err != nil {
		return err
	}
	mu.Lock()
	closed = true
	mu.Unlock()
	image.fs.Hook(nil)
	err = image.compare(l)
	if err == nil && c.style == compactStyle && c.dice.next()%4 == 0 {
		if err = compactNow(l); err == nil {
			err = image.compare(l)
		}
	}
	if err != nil {
		_ = s.Close()
		return err
	}
	start, end := l.Start(), l.End()
	after := image.fs.Crash(c.dice.next())
	if err := s.Close(); err != nil {
		return err
	}
	c.tally.crashes++
	s, l, err = c.reopen(after)
	if err != nil {
		return fmt.Errorf("recovered again: %w", err)
	}
	defer func() { _ = s.Close() }()
	if r := l.Recovery(); l.Start() != start || l.End() != end || r.CutBytes > 0 {
		return fmt.Errorf("recovered [%d, %d), and again [%d, %d): %+v", start, end, l.Start(), l.End(), r)
	}
	for i := range inside {
		c.tally.nested++
		if err := c.verify(&inside[i], false); err != nil {
			return fmt.Errorf("%s: %w", inside[i].where, err)
		}
	}
	return nil
}

func (c *crashScene) reopen(fs *MemFS) (*Store, *Log, error) {
	s, err := Open(fs, "data", c.options())
	if err != nil {
		return nil, nil, fmt.Errorf("open store: %w", err)
	}
	l, err := s.OpenLog(16, 3, c.logOptions())
	if err != nil {
		_ = s.Close()
		return nil, nil, fmt.Errorf("recover: %w", err)
	}
	return s, l, nil
}

// compare checks that a recovered log is a prefix of what was added, with all that was durable, and that
// every record of it is as it was written last.
func (i *crashImage) compare(l *Log) error {
	w := i.witness
	if l.End() < i.must || l.End() > int64(len(w.records)) || l.Start() > i.start {
		return fmt.Errorf("recovered [%d, %d), trimmed up to %d: %+v", l.Start(), l.End(), i.start, l.Recovery())
	}
	r := l.Reader(l.Start())
	defer r.Close()
	offset, live := l.Start(), map[string]int64{}
	for {
		run, err := r.Next(l.End())
		if err != nil {
			return fmt.Errorf("read [%d, %d): %w", l.Start(), l.End(), err)
		}
		if run == nil {
			break
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if err := w.compareFrame(&h, run[core.FrameHeaderSize:h.Length], offset, live); err != nil {
				return err
			}
			offset, run = h.NextOffset(), run[h.Size():]
		}
	}
	if offset != l.End() {
		return fmt.Errorf("records end at %d, the log is [%d, %d)", offset, l.Start(), l.End())
	}
	if want := w.live(l.Start(), l.End()); !maps.Equal(live, want) {
		return fmt.Errorf("the newest records of the keys are %v, want %v", live, want)
	}
	return nil
}

// compareFrame checks the frame whose first record must have offset, and notes its keys in live.
func (w *crashWitness) compareFrame(
	h *core.FrameHeader, payload []byte, offset int64, live map[string]int64,
) error {
	if h.BaseOffset != offset {
		return fmt.Errorf("frame of offset %d where %d is due", h.BaseOffset, offset)
	}
	if err := w.compareHeader(h); err != nil {
		return err
	}
	for ; offset < h.NextOffset(); offset++ {
		record, n, err := core.DecodeRecord(payload)
		if err != nil {
			return fmt.Errorf("offset %d: %w", offset, err)
		}
		if record.Removed() && w.compact {
			if key, _ := w.key(offset); key == "" {
				return fmt.Errorf("offset %d, which has no key, was removed", offset)
			}
		} else if w.note(live, offset); !w.wrote(offset, &record) {
			return fmt.Errorf("offset %d is not what generation %d wrote there", offset, w.records[offset])
		}
		payload = payload[n:]
	}
	return nil
}
