package mmaplog

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
)

// Compaction keeps the newest record of each key. A round, one at a time per store, covers the sealed,
// durable segments of one log:
//
//	keys of the dirty ones ──▶ newest offset of each, up to CompactBytes of memory
//	each segment, oldest first ──▶ spare-<id>.tmp without what is superseded ──sync, rename──▶ its own name
//
// What is superseded leaves a stub of 24 bytes, so that offsets never change, and a frame keeps all but its
// payload; the checksums that chain frames are made anew. The last frame of a segment stays as it is, because
// the next segment goes on from its checksum: a compacted segment is whole and sound by itself, and a power
// cut at any moment leaves the one or the other under the one name.
//
// The header tells up to which offset a segment is clean: no record below is superseded by another below,
// but in last frames. A tombstone may go when it is old enough, all below it is clean and no older last frame
// has a record of its key.
const (
	cleanToAt = 136 // in the header of a compacted segment

	defaultDeleteRetention = 24 * time.Hour
	defaultCompactBytes    = 64 << 20
)

// compaction is what a compacting log knows of itself.
type compaction struct {
	busy      sync.Mutex   // held for a round; whoever closes the log waits for it
	queued    atomic.Bool  // the cleaner was asked
	cleanTo   atomic.Int64 // records below it are clean; -1 until the first round has looked
	tombstone atomic.Int64 // time of the oldest tombstone that may go when it is old enough; 0 for none
	failed    atomic.Bool  // a round met damage: none follows until the log is opened again
}

// cleaner does rounds. One goroutine per store.
type cleaner struct {
	store *Store
	wake  chan struct{} // capacity 1
	quit  chan struct{}

	mu    sync.Mutex
	queue []*Log // guarded by mu; a log is in it at most once
}

func newCleaner(s *Store) *cleaner {
	return &cleaner{store: s, wake: make(chan struct{}, 1), quit: make(chan struct{})}
}

// ask queues a round of l. It does not block.
func (c *cleaner) ask(l *Log) {
	if !l.compaction.queued.CompareAndSwap(false, true) {
		return
	}
	c.mu.Lock()
	c.queue = append(c.queue, l)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *cleaner) pop() *Log {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil
	}
	l := c.queue[0]
	c.queue = append(c.queue[:0], c.queue[1:]...)
	l.compaction.queued.Store(false)
	return l
}

// run does rounds until the store closes.
func (c *cleaner) run() {
	for {
		select {
		case <-c.wake:
		case <-c.quit:
			return
		}
		for l := c.pop(); l != nil && !c.ended(); l = c.pop() {
			l.compact()
		}
	}
}

func (c *cleaner) ended() bool {
	select {
	case <-c.quit:
		return true
	default:
		return false
	}
}

// compactDue reports whether a round is worth its reading and writing: at least half of the bytes is dirty,
// or something dirty, or a tombstone, is older than DeleteRetention.
func (l *Log) compactDue(now int64) bool {
	c := &l.compaction
	if !l.opts.Compact || c.failed.Load() {
		return false
	}
	list, ends := l.cleanable()
	if len(list) == 0 {
		return false
	}
	cleanTo, old := c.cleanTo.Load(), now-int64(l.opts.DeleteRetention)
	if t := c.tombstone.Load(); cleanTo < 0 || t != 0 && t < old {
		return true
	}
	clean, dirty := int64(0), int64(0)
	for i, s := range list {
		if ends[i] <= cleanTo {
			clean += s.published.Load()
			continue
		}
		dirty += s.published.Load()
		if s.sealed.Load() && s.last.index != 0 && s.last.time < old {
			return true
		}
	}
	return dirty > 0 && dirty >= clean
}

// cleanable gives the segments a round may replace: all that were left and are durable, as is the start of
// the next one; and where their records end. The last segment of the log is never among them. Damaged ones,
// and those before, are left as they are.
func (l *Log) cleanable() (list []*segment, ends []int64) {
	all := *l.segs.Load()
	n := 0
	for n+1 < len(all) && all[n].sealed.Load() && all[n].entrySynced.Load() && l.expendable(all, n) {
		n++
		ends = append(ends, all[n].header.from())
	}
	first := 0
	for i, s := range all[:n] {
		if s.damaged() {
			first = i + 1
		}
	}
	return all[first:n:n], ends[first:]
}

// compact does one round.
func (l *Log) compact() {
	c := &l.compaction
	c.busy.Lock()
	defer c.busy.Unlock()
	if l.closed.Load() || c.failed.Load() {
		return
	}
	round := &cleaning{log: l, keys: newKeyTable(l.store.opts.CompactBytes),
		now: l.store.opts.Clock.Now(), cuts: l.cutCount(), edges: map[uint64]struct{}{}}
	round.list, round.ends = l.cleanable()
	round.list = slices.Clone(round.list)
	// Nobody knows which keys there are before: tombstones stay.
	round.anyEdge = len(round.list) > 0 && round.list[0].header.base.offset > l.Start()
	err := round.do()
	switch {
	case err == nil, l.closed.Load(), l.cutCount() != round.cuts, errors.Is(err, errRoundEnded):
	case errors.Is(err, core.ErrStorageFull):
		l.store.opts.Logger.Warn("no room to compact a log; it is tried again", "topic", l.topic,
			"partition", l.partition, "err", err)
	default:
		c.failed.Store(true)
		l.store.opts.Logger.Error("a log is not compacted until it is opened again", "topic", l.topic,
			"partition", l.partition, "err", err)
	}
}

// errRoundEnded ends a round whose store or log is closed, whose segment was trimmed away, or whose log was
// truncated, after which neither its segments nor its keys are those of the log.
var errRoundEnded = errors.New("the round has ended")

// cleaning is one round.
type cleaning struct {
	log     *Log
	list    []*segment // as of the beginning
	ends    []int64    // of each, the offset behind its last record
	cleanTo []int64    // of each, as its header says
	keys    *keyTable
	to      int64 // below it the round looks at all records
	now     int64
	cuts    int // how often the log had been truncated

	edges    map[uint64]struct{} // hashes of the keys in last frames of the segments that are done
	anyEdge  bool                // and of keys nobody knows
	oldest   int64               // time of the oldest tombstone kept that may go later
	removed  int64
	replaced int
}

// maxEdges bounds the memory of edges: with more no tombstone goes.
const maxEdges = 1 << 20

func (c *cleaning) do() error {
	l := c.log
	if len(c.list) == 0 {
		return nil
	}
	from, err := c.look()
	if err != nil {
		return err
	}
	if err := c.gather(from); err != nil {
		return err
	}
	for i := range c.list {
		if c.list[i].header.base.offset >= c.to {
			break
		}
		if err := c.ended(c.list[i]); err != nil {
			return err
		}
		if err := c.clean(i); err != nil {
			return err
		}
	}
	l.compaction.tombstone.Store(c.oldest)
	l.compaction.cleanTo.Store(c.to)
	if c.replaced > 0 {
		l.store.opts.Logger.Debug("compacted", "topic", l.topic, "partition", l.partition,
			"segments", c.replaced, "removed", c.removed, "clean_to", c.to)
	}
	return nil
}

// ended gives the reason to stop before segment s.
func (c *cleaning) ended(s *segment) error {
	if c.log.store.cleaner.ended() || c.outdated(s) {
		return errRoundEnded
	}
	return nil
}

// outdated reports whether what the round knows of segment s is of no use any more.
func (c *cleaning) outdated(s *segment) bool {
	l := c.log
	return l.closed.Load() || s.header.base.offset < l.Start() || l.cutCount() != c.cuts
}

// look reads how far each segment is clean, and gives the first offset that is not.
func (c *cleaning) look() (from int64, err error) {
	from = -1
	for i, s := range c.list {
		page, err := c.log.headerPage(s)
		if err != nil {
			return 0, err
		}
		clean := int64(0)
		if binary.LittleEndian.Uint32(page[20:])&featureCompacted != 0 {
			clean = int64(binary.LittleEndian.Uint64(page[cleanToAt:]))
		}
		c.cleanTo = append(c.cleanTo, clean)
		if from < 0 && clean < c.ends[i] {
			from = max(s.header.base.offset, clean)
		}
	}
	if from < 0 {
		from = c.ends[len(c.ends)-1]
	}
	return from, nil
}

// headerPage reads and checks the header of a segment.
func (l *Log) headerPage(s *segment) ([]byte, error) {
	f, err := l.store.fs.Open(s.path, ReadOnly)
	if err != nil {
		return nil, ioError("compact "+l.name(), err)
	}
	defer f.Close()
	page := make([]byte, headerSize)
	if _, err := f.ReadAt(page, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, ioError("compact "+l.name(), err)
	}
	h, err := decodeSegmentHeader(page)
	if err == nil && h.id != s.header.id {
		err = errRoundEnded
	}
	return page, err
}

// gather puts the keys of all records from offset from on into the table, as long as there is room.
func (c *cleaning) gather(from int64) error {
	c.to = c.ends[len(c.ends)-1]
	for i, s := range c.list {
		if c.ends[i] <= from {
			continue
		}
		if err := c.ended(s); err != nil {
			return err
		}
		full := false
		err := c.eachFrame(i, func(h *core.FrameHeader, payload []byte) error {
			if full || h.Type() != core.FrameData {
				return nil
			}
			return eachRecord(h, payload, func(offset int64, r *core.Record, _ []byte) {
				if full || offset < from || r.Key == nil || r.Removed() {
					return
				}
				if full = !c.keys.put(r.KeyHash, r.Key, offset); full {
					c.to = offset
				}
			})
		})
		if err != nil || full {
			return err
		}
	}
	return nil
}

// eachRecord hands out the records of a frame with their offsets and encoded bytes.
func eachRecord(h *core.FrameHeader, payload []byte, f func(offset int64, r *core.Record, raw []byte)) error {
	offset := h.BaseOffset
	for ; len(payload) > 0; offset++ {
		r, n, err := core.DecodeRecord(payload)
		if err != nil {
			return err
		}
		f(offset, &r, payload[:n])
		payload = payload[n:]
	}
	if offset != h.NextOffset() {
		return core.Errorf(core.CodeCorrupt, "read frame", "%d records, the header tells %d",
			offset-h.BaseOffset, h.Records)
	}
	return nil
}

// eachFrame hands out the frames of a segment, fillers left out. They are checked as recovery checks them.
// The payload is valid until f returns.
func (c *cleaning) eachFrame(i int, f func(h *core.FrameHeader, payload []byte) error) error {
	l, s := c.log, c.list[i]
	err := l.frames(s, c.ends[i], f)
	if ended := c.ended(s); err != nil && ended != nil {
		return ended // what was trimmed meanwhile may be anything
	}
	return err
}

// frames hands out the frames of a sealed segment up to offset end.
func (l *Log) frames(s *segment, end int64, f func(h *core.FrameHeader, payload []byte) error) error {
	file, err := l.store.fs.Open(s.path, ReadOnly)
	if err != nil {
		return ioError("compact "+l.name(), err)
	}
	defer file.Close()
	buf := scanBufs.Get().(*scanBuf)
	defer scanBufs.Put(buf)
	buf.reset(file, s.published.Load())
	at := s.start()
	for pos := int64(headerSize); at.offset < end; {
		h, err := buf.frameAt(pos, s.seed)
		if err == nil {
			err = at.accept(&h)
		}
		if err != nil && l.foundDamaged(s) {
			return errRoundEnded // the next round leaves the segment alone
		}
		if err != nil {
			return core.NewError(core.CodeCorrupt, "compact "+l.name(), err)
		}
		if h.Type() != core.FrameFiller {
			whole, err := buf.view(pos, h.Size())
			if err == nil {
				err = f(&h, whole[core.FrameHeaderSize:h.Length])
			}
			if err != nil {
				return ioError("compact "+l.name(), err)
			}
		}
		pos += h.Size()
	}
	return nil
}
