package mmaplog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// crashScene is a log on a simulated disk whose power is cut at many moments while it goes on: each cut
// gives an image of the disk, and a witness of what had been promised by then. The images are opened
// between two calls of the log.
//
//	calls of the log ──▶ operations of the disk ──hook──▶ images, each with its witness ──▶ verify
type crashScene struct {
	seed  uint64
	level core.Ack
	noMap bool
	style crashStyle
	dice  dice
	tell  func(*MemFS) // switches a lie of the disk on, nil for an honest one
	tally *crashTally

	fs    *MemFS
	store *Store
	log   *Log
	woken chan struct{}

	zeros   atomic.Int64  // operations that filled a spare
	durable atomic.Uint64 // generation << 40 | end the log reported
	witness atomic.Pointer[crashWitness]
	fateMu  sync.Mutex
	// fateMu guards the following: any goroutine of the store may meet a cut.
	fate dice
	cuts func(*crashScene) []cut // at one moment; none to go on

	inMap    sync.Mutex // held while records may be stored into a map
	imagesMu sync.Mutex
	images   []crashImage // guarded by imagesMu
}

// crashWitness is what is known at a moment. It is replaced, never changed.
type crashWitness struct {
	records    []uint32 // the generation that wrote each offset, also those being added; may have fills
	generation uint32   // counts the lives of the scene, and the truncations
	truncated  int64    // offset of the newest truncation
	truncating bool     // it is under way

	copies  []core.FrameHeader // of the verbatim frames, ascending
	compact bool               // a record may go when a newer one has its key
}

// crashImage is the disk after a power cut.
type crashImage struct {
	fs       *MemFS
	must     int64 // the records below it are there
	start    int64 // the records from it on were not trimmed
	witness  *crashWitness
	where    string
	recovery bool // cut while the log recovered
}

// crashTally counts what was done, for the minimum a run must reach.
type crashTally struct {
	crashes, nested, durable, skipped, boundaries int
	copied, truncated, compacted, recycled        int
}

func (t *crashTally) add(o *crashTally) {
	t.crashes += o.crashes
	t.nested += o.nested
	t.durable += o.durable
	t.skipped += o.skipped
	t.boundaries += o.boundaries
	t.copied += o.copied
	t.truncated += o.truncated
	t.compacted += o.compacted
	t.recycled += o.recycled
}

func newCrashScene(seed uint64, level core.Ack) *crashScene {
	c := &crashScene{seed: seed, level: level, dice: dice(seed), fate: dice(^seed), fs: Heap(),
		noMap: seed%5 == 4, tally: &crashTally{}}
	return c.as(plainStyle)
}

// as gives the scene a style, before anything happens in it.
func (c *crashScene) as(style crashStyle) *crashScene {
	c.style = style
	c.witness.Store(&crashWitness{compact: style == compactStyle})
	return c
}

// crashNoise is what records are filled with.
var crashNoise = func() []byte {
	d := dice(1)
	b := make([]byte, 1<<20)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], d.next())
	}
	return b
}()

// fills marks the generation of a record that nearly fills a segment.
const fills = 1 << 31

// fillBytes leaves room for one or two small records in a segment of the smallest class.
const fillBytes = 253_100

// encode makes the record at offset.
func (w *crashWitness) encode(offset int64) []byte {
	key, tombstone := w.key(offset)
	if tombstone {
		return encodeKeyed(key, "")
	}
	return encodeKeyed(key, w.value(offset))
}

// key is empty where a record has none. Few records of one generation have the same, so that little goes
// unless the log compacts.
func (w *crashWitness) key(offset int64) (key string, tombstone bool) {
	if !w.compact {
		return "k", false
	}
	d := dice(uint64(offset)<<20 ^ uint64(w.records[offset]) ^ 0xf00d)
	k := d.next() % 40
	if k == 0 {
		return "", false
	}
	return fmt.Sprint("key", k), d.next()%12 == 0
}

// value is the content of a record: its offset, the generation that wrote it, and noise of a length and
// from a place that follow from both.
func (w *crashWitness) value(offset int64) string {
	head, noise := w.parts(offset)
	return string(append(head[:], noise...))
}

// wrote reports whether r is the record at offset.
func (w *crashWitness) wrote(offset int64, r *core.Record) bool {
	key, tombstone := w.key(offset)
	if string(r.Key) != key || r.Key == nil != (key == "") || r.Value == nil != tombstone {
		return false
	}
	head, noise := w.parts(offset)
	value := r.Value
	return tombstone || len(value) == len(head)+len(noise) && bytes.Equal(value[:len(head)], head[:]) &&
		bytes.Equal(value[len(head):], noise)
}

func (w *crashWitness) parts(offset int64) (head [16]byte, noise []byte) {
	generation := w.records[offset]
	d := dice(uint64(offset)<<20 ^ uint64(generation))
	size := d.next() % 250
	switch d.next() % 64 {
	case 0:
		size = d.next() % 30_000
	case 1, 2, 3:
		size = d.next() % 3000
	}
	if generation&fills != 0 {
		size = fillBytes
	}
	binary.LittleEndian.PutUint64(head[:], uint64(offset))
	binary.LittleEndian.PutUint64(head[8:], uint64(generation))
	at := d.next() % uint64(len(crashNoise)-fillBytes)
	return head, crashNoise[at:][:size]
}

// hook cuts the power if the scene wants it here, and goes on.
func (c *crashScene) hook(op, name string) {
	if op == "write" && isSpareName(filepath.Base(name)) && c.zeros.Add(1)%32 > 0 {
		return // a file that is filled with zeros, page by page
	}
	// The race detector would see a crash that reads what the writer is storing. A real disk does not mind.
	// The writer holds the lock where it gives a spare its name; others rename segments and states.
	if raceEnabled && !c.noMap && (op != "rename" || !isSpareName(filepath.Base(name))) {
		if !c.inMap.TryLock() {
			return
		}
		defer c.inMap.Unlock()
	}
	c.fateMu.Lock()
	defer c.fateMu.Unlock()
	if c.cuts == nil {
		return
	}
	for _, cut := range c.cuts(c) {
		image, ok := c.cut(cut, op+" "+name)
		if !ok {
			continue
		}
		c.imagesMu.Lock()
		c.images = append(c.images, image)
		c.imagesMu.Unlock()
	}
}

// cutWhere makes the scene take images where cuts says so.
func (c *crashScene) cutWhere(cuts func(*crashScene) []cut) {
	c.fateMu.Lock()
	defer c.fateMu.Unlock()
	c.cuts = cuts
}

// cut takes one image. What was reported durable is read before it, what was added after it. It is of no use
// if a truncation ended meanwhile: nobody knows what it may hold.
func (c *crashScene) cut(cut cut, where string) (image crashImage, ok bool) {
	durable, before := c.durable.Load(), c.witness.Load()
	image = crashImage{fs: c.fs.crash(cut), where: where}
	w := c.witness.Load()
	if w.generation != before.generation {
		return image, false
	}
	image.witness, image.must = w, int64(durable&(1<<40-1))
	if w.truncating || w.generation != uint32(durable>>40) {
		image.must = min(image.must, w.truncated)
	}
	image.start = image.must
	if l := c.log; l != nil {
		image.start = l.Start()
	}
	return image, true
}

// report notes what the log says is durable.
func (c *crashScene) report(end int64) {
	c.durable.Store(uint64(c.witness.Load().generation)<<40 | uint64(end))
}

func (c *crashScene) options() Options {
	return Options{Clock: clock.NewManual(1 << 30), NoMap: c.noMap, HotBytes: 100_000}
}

// logOptions let tombstones go at once.
func (c *crashScene) logOptions() LogOptions {
	return LogOptions{Level: c.level, SegmentBytes: core.MinSegmentBytes, Compact: c.style == compactStyle,
		DeleteRetention: 1}
}

// open recovers what is on the disk, which must be all that verify accepts, and starts a generation.
func (c *crashScene) open() error {
	var err error
	if c.store, err = Open(c.fs, "data", c.options()); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	woken := make(chan struct{}, 1)
	c.woken = woken
	o := c.logOptions()
	o.Durable = func(end int64, err error) {
		if err == nil {
			c.report(end)
		}
		select {
		case woken <- struct{}{}:
		default:
		}
	}
	c.log, err = c.store.OpenLog(16, 3, o)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	w := *c.witness.Load()
	w.endAt(c.log.End())
	w.truncating = false
	c.witness.Store(&w)
	c.report(c.log.End())
	c.fs.Hook(c.hook)
	if c.tell != nil {
		c.tell(c.fs)
	}
	return nil
}

func (c *crashScene) close() error {
	err := c.store.Close()
	c.fs.Hook(nil)
	c.log = nil
	return err
}

// announce adds n records to the witness, before any of their bytes can be on the disk.
func (c *crashScene) announce(n int, mark uint32) (first int64, w *crashWitness) {
	now := *c.witness.Load()
	first = int64(len(now.records))
	for range n {
		now.records = append(now.records, now.generation|mark)
	}
	c.witness.Store(&now)
	return first, &now
}

// batch appends n records in a batch of their own; every third one is a frame of a producer.
func (c *crashScene) batch(n int, mark uint32) error {
	offset, w := c.announce(n, mark)
	c.inMap.Lock()
	defer c.inMap.Unlock()
	c.log.Begin(int64(w.generation))
	for range n {
		base, err := c.add(w, offset)
		if err != nil || base != offset {
			return fmt.Errorf("add: offset %d, want %d, error %w", base, offset, err)
		}
		offset++
	}
	end, err := c.log.Publish()
	if err != nil || end != offset {
		return fmt.Errorf("publish: end %d, want %d, error %w", end, offset, err)
	}
	return nil
}

func (c *crashScene) add(w *crashWitness, offset int64) (base int64, err error) {
	record := w.encode(offset)
	if offset%3 > 0 {
		return c.log.Add(record, 1)
	}
	h := produced(1+offset%5, int32(offset), record, 1)
	return c.log.AddFrame(&h, record)
}

// fill appends a record that nearly fills a segment, and syncs it: what is appended next begins another
// one, with little on the disk that is not synced.
func (c *crashScene) fill() error {
	if err := c.batch(1, fills); err != nil {
		return err
	}
	return c.sync()
}

// sync waits until all that was published is durable.
func (c *crashScene) sync() error {
	end := c.log.End()
	c.log.RequestSync()
	for c.log.DurableEnd() < end {
		<-c.woken
		if err := c.log.Fenced(); err != nil {
			return err
		}
	}
	return nil
}
