package mmaplog

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// crashRun appends to a log on a simulated disk, cuts the power at some moment, recovers and goes on,
// for a few lives. The rules it checks: every record reported durable is there with its content;
// what is there is a prefix of what was added; nothing cut ever comes back.
type crashRun struct {
	seed  uint64
	level core.Ack
	noMap bool
	dice  dice
	fs    *MemFS

	model    []uint64 // content of every offset: the number of the life that wrote it
	life     uint64
	trimmed  int64
	durable  atomic.Int64
	api      sync.Mutex // held by the test while it is inside the log
	cutAfter atomic.Int64
	after    atomic.Pointer[crashed]
	previous *crashed
	tell     func(*MemFS) // switches a lie on, nil for an honest disk
}

type crashed struct {
	fs      *MemFS
	durable int64
	where   string
}

func newCrashRun(seed uint64, level core.Ack) *crashRun {
	return &crashRun{seed: seed, level: level, dice: dice(seed), fs: Heap(), noMap: seed%5 == 4}
}

// hook cuts the power when the countdown ends, if no writer may be storing into a map meanwhile.
func (c *crashRun) hook(op, name string) {
	if c.cutAfter.Add(-1) > 0 || c.after.Load() != nil {
		return
	}
	// Only the writer renames, and it is the one that holds the lock then.
	if op != "rename" {
		if !c.api.TryLock() {
			return
		}
		defer c.api.Unlock()
	}
	c.cut(op + " " + name)
}

func (c *crashRun) cut(where string) {
	durable := c.durable.Load() // before the crash: all of it must survive
	c.after.CompareAndSwap(nil, &crashed{c.fs.Crash(c.seed<<8 | c.life), durable, where})
}

// value is the content of a record: its offset, the life that wrote it and noise of any length.
func (c *crashRun) value(offset int64, life uint64) string {
	d := dice(uint64(offset)<<8 ^ life ^ c.seed<<32)
	size := int(d.next() % 600)
	if d.next()%16 == 0 {
		size = int(d.next() % 50_000)
	}
	b := make([]byte, 16+size)
	binary.LittleEndian.PutUint64(b, uint64(offset))
	binary.LittleEndian.PutUint64(b[8:], life)
	for i := 16; i+8 <= len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], d.next())
	}
	return string(b)
}

// run lives a few lives and answers the first broken rule.
func (c *crashRun) run() error {
	for c.life = 1; c.life <= 3; c.life++ {
		if err := c.live(); err != nil {
			return fmt.Errorf("seed %d, level %v, life %d: %w", c.seed, c.level, c.life, err)
		}
	}
	return nil
}

func (c *crashRun) live() error {
	c.after.Store(nil)
	if c.tell != nil {
		c.tell(c.fs)
	}
	c.cutAfter.Store(int64(1 + c.dice.next()%400))
	if c.previous != nil {
		c.durable.Store(c.previous.durable)
		if c.dice.next()%4 == 0 {
			c.cutAfter.Store(int64(1 + c.dice.next()%12)) // inside recovery
		}
	}
	c.fs.Hook(c.hook)
	s, err := Open(c.fs, "data", Options{Clock: clock.NewManual(1), NoMap: c.noMap, HotBytes: 100_000})
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	woken := make(chan struct{}, 1)
	l, err := s.OpenLog(16, 3, LogOptions{Level: c.level, SegmentBytes: core.MinSegmentBytes,
		Durable: func(end int64, err error) {
			c.durable.Store(end)
			select {
			case woken <- struct{}{}:
			default:
			}
		}})
	if err != nil {
		_ = s.Close()
		return fmt.Errorf("recover: %w", err)
	}
	if err := c.check(l); err != nil {
		_ = s.Close()
		return err
	}
	c.model = c.model[:l.End()]
	c.durable.Store(l.End())
	err = c.work(l, woken)
	if c.after.Load() == nil {
		c.cut("between calls")
	}
	c.fs.Hook(nil)
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	c.previous = c.after.Load()
	c.fs = c.previous.fs
	return err
}

// work appends, waits for syncs and trims until the power is cut.
func (c *crashRun) work(l *Log, woken <-chan struct{}) error {
	for range 60 {
		if c.after.Load() != nil {
			return nil
		}
		c.api.Lock()
		l.Begin(int64(c.life))
		for range 1 + c.dice.next()%8 {
			offset := int64(len(c.model))
			base, err := c.add(l, offset)
			if err != nil || base != offset {
				c.api.Unlock()
				return fmt.Errorf("add: offset %d, want %d, error %w", base, offset, err)
			}
			c.model = append(c.model, c.life)
		}
		end, err := l.Publish()
		c.api.Unlock()
		if err != nil || end != int64(len(c.model)) {
			return fmt.Errorf("publish: end %d, want %d, error %w", end, len(c.model), err)
		}
		switch c.dice.next() % 4 {
		case 0:
			l.RequestSync()
		case 1:
			l.RequestSync()
			for l.DurableEnd() < end {
				<-woken
			}
		case 2:
			if c.dice.next()%8 == 0 && l.Segments() > 2 {
				_ = l.TrimTo(l.DurableEnd() / 2)
				c.trimmed = l.Start()
			}
		}
	}
	return nil
}

// add appends the record of an offset; every third one is a frame of a producer.
func (c *crashRun) add(l *Log, offset int64) (base int64, err error) {
	record := encodeRecord(c.value(offset, c.life))
	if offset%3 > 0 {
		return l.Add(record, 1)
	}
	h := produced(1+offset%5, int32(offset), record, 1)
	return l.AddFrame(&h, record)
}

// checkProducers tells whether the frames of producers are those that add made.
func (c *crashRun) checkProducers(l *Log) error {
	return eachFrame(l, func(h *core.FrameHeader) error {
		want := core.FrameHeader{}
		if h.BaseOffset%3 == 0 {
			want = produced(1+h.BaseOffset%5, int32(h.BaseOffset), nil, 1)
			want.PayloadCRC, want.Length = h.PayloadCRC, h.Length
		}
		if !sameProducer(h, &want) {
			return fmt.Errorf("frame %+v, was added as %+v", *h, want)
		}
		return nil
	})
}

// check compares a recovered log with what the life before left.
func (c *crashRun) check(l *Log) error {
	before := c.previous
	if before == nil {
		before = &crashed{}
	}
	if l.End() < before.durable {
		return fmt.Errorf("cut at %s: recovered up to %d, but %d was durable (%+v)",
			before.where, l.End(), before.durable, l.Recovery())
	}
	if l.End() > int64(len(c.model)) || l.Start() > c.trimmed {
		return fmt.Errorf("recovered [%d, %d), added were %d, trimmed %d",
			l.Start(), l.End(), len(c.model), c.trimmed)
	}
	records, err := readValues(l)
	if err != nil {
		return fmt.Errorf("cut at %s: %w", before.where, err)
	}
	if int64(len(records)) != l.End()-l.Start() {
		return fmt.Errorf("read %d records of [%d, %d)", len(records), l.Start(), l.End())
	}
	if err := c.checkProducers(l); err != nil {
		return fmt.Errorf("cut at %s: %w", before.where, err)
	}
	for i, value := range records {
		offset := l.Start() + int64(i)
		if want := c.value(offset, c.model[offset]); value != want {
			return fmt.Errorf("cut at %s: offset %d of [%d, %d) is not what life %d wrote there", before.where,
				offset, l.Start(), l.End(), c.model[offset])
		}
	}
	return nil
}

// readValues reads the whole log.
func readValues(l *Log) ([]string, error) {
	r := l.Reader(l.Start())
	defer r.Close()
	var values []string
	for {
		run, err := r.Next(l.End())
		if err != nil || run == nil {
			return values, err
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if due := l.Start() + int64(len(values)); h.BaseOffset != due {
				return values, fmt.Errorf("frame of offset %d where %d is due", h.BaseOffset, due)
			}
			payload := run[core.FrameHeaderSize:h.Length]
			for range h.Records {
				record, n, err := core.DecodeRecord(payload)
				if err != nil {
					return values, err
				}
				values = append(values, string(record.Value))
				payload = payload[n:]
			}
			run = run[h.Size():]
		}
	}
}

func TestCrashLosesNothingDurable(t *testing.T) {
	for _, level := range []core.Ack{core.AckPage, core.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(scaled(500)) {
				if err := newCrashRun(seed, level).run(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestCrashFindsMissingSync is the negative control: a disk that lies about syncs must be caught.
func TestCrashFindsMissingSync(t *testing.T) {
	for name, lie := range map[string]struct {
		level core.Ack
		tell  func(*MemFS)
	}{
		"page without sync":        {core.AckPage, func(m *MemFS) { m.IgnoreSync(true) }},
		"page with async map sync": {core.AckPage, func(m *MemFS) { m.IgnoreMapSync(true) }},
		"page without folder sync": {core.AckPage, func(m *MemFS) { m.IgnoreDirSync(true) }},
		"disk without sync":        {core.AckDisk, func(m *MemFS) { m.IgnoreSync(true) }},
		"disk without folder sync": {core.AckDisk, func(m *MemFS) { m.IgnoreDirSync(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(scaled(500)) {
				c := newCrashRun(seed, lie.level)
				c.tell = lie.tell
				if err := c.run(); err != nil {
					t.Log("found:", err)
					return
				}
			}
			t.Fatalf("%d seeds passed on a disk that lies", scaled(500))
		})
	}
}
