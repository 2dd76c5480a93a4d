package mmaplog

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/core"
)

// Log is one partition's sequence of frames. It has one writer at a time (Begin, Add, Publish) and
// any number of concurrent readers; the other methods may be called by any goroutine.
// Invariant: start <= durableEnd <= end.
type Log struct {
	store     *Store
	topic     uint64
	partition int32
	dir       string
	opts      LogOptions
	retention atomic.Pointer[Retention] // as of now
	idSeed    uint64                    // of the ids of segments started from now on
	recovery  Recovery

	marks     logMarks
	fence     atomic.Pointer[core.Error]
	closed    atomic.Bool
	recovered atomic.Bool

	segs segmentList // ascending by offset
	mu   sync.Mutex  // held while segs is replaced; never across I/O

	_     [128]byte // readers poll what is above
	w     writer    // owned by the writer
	_     [64]byte
	prep  prepState // shared by writer and preparer
	round syncState // owned by the syncer

	state     atomic.Pointer[savedState] // to be written when it is durable; nil mostly
	keep      stateKeeper
	keptAt    atomic.Int64 // 1 + the Mono at which the state file was written last; 0 if it was not
	keepAsked atomic.Bool  // the janitor is asked to write a checkpoint
	produced  atomic.Bool  // writer.produced for others
	quiet     quietState
	ceiling   atomic.Int64            // offsets below it may be given; moved by the janitor
	raising   atomic.Bool             // the janitor is asked to raise it
	cuts      atomic.Pointer[[]int64] // where the log was truncated since it was opened; nil mostly

	cooling    cooling
	compaction compaction
	trimStuck  bool // a trimmed file could not be removed; owned by the janitor
}

// logMarks are the log's public positions, written by the writer (the first line) and by the sync
// round (the second), which therefore do not share a cache line.
type logMarks struct {
	end      atomic.Int64  // first offset not yet readable
	endIndex atomic.Uint64 // index of the last readable frame
	_        [112]byte

	durableEnd   atomic.Int64  // first offset not known durable
	durableIndex atomic.Uint64 // index of a frame known durable, as are all before it
	durableBytes atomic.Int64  // bytes written to the log before durableEnd, as segment.cum counts
	start        atomic.Int64  // first kept offset
	retaining    atomic.Bool   // the janitor was asked to enforce retention
	_            [88]byte
}

// Recovery tells what opening a log found.
type Recovery struct {
	Frames    int64  // frames scanned and accepted
	Bytes     int64  // and their bytes
	CutBytes  int64  // bytes after the last accepted frame that were zeroed or removed
	CutReason string // why, empty if nothing was cut
	Gap       Gap    // the log goes on behind it, because its offsets may have been given to lost records
	// Damaged lists what cannot be read, ascending, as far as opening met it; with SkipWithGap only.
	Damaged []Damaged
	Took    time.Duration
}

// Start is the first kept offset.
func (l *Log) Start() int64 { return l.marks.start.Load() }

// End is the offset the next record gets, as far as readers know: they may read all below it.
func (l *Log) End() int64 { return l.marks.end.Load() }

// DurableEnd is the first offset not known to survive a power cut.
func (l *Log) DurableEnd() int64 { return l.marks.durableEnd.Load() }

// UnsyncedBytes is how many published bytes no completed sync covers.
func (l *Log) UnsyncedBytes() int64 {
	// Durable first: it may move behind our back, and the difference must not be below zero.
	durable := l.marks.durableBytes.Load()
	return l.writtenBytes() - durable
}

// AppendedBytes counts what was published since the log was opened, frame headers and padding included.
func (l *Log) AppendedBytes() int64 { return l.writtenBytes() }

// writtenBytes counts the published bytes since the log was opened.
func (l *Log) writtenBytes() int64 {
	list := l.segs.recent()
	if len(list) == 0 {
		return 0
	}
	// A segment that was started in a batch not yet published counts nothing.
	i := len(list) - 1
	for i > 0 && list[i].published.Load() == headerSize {
		i--
	}
	return list[i].cum + list[i].published.Load()
}

// Saturated reports whether the unsynced bytes reached Options.UnsyncedMax, where producers wait.
func (l *Log) Saturated() bool { return l.UnsyncedBytes() >= l.store.opts.UnsyncedMax }

// Bytes is what the log's segment files take on disk, reserved room included.
func (l *Log) Bytes() int64 {
	_, bytes := l.segs.size()
	return bytes
}

// Segments is the number of the log's segments.
func (l *Log) Segments() int {
	n, _ := l.segs.size()
	return n
}

// Fenced is the error that fenced the log, or nil. A fenced log takes no more appends; what is
// published can still be read. Only opening the store again, which reads the disk, clears it.
func (l *Log) Fenced() error {
	if f := l.fence.Load(); f != nil {
		return f
	}
	return nil
}

// Recovery tells what opening the log found.
func (l *Log) Recovery() Recovery { return l.recovery }

// fenceWith stops all appends for good, with cause. After a failed sync the kernel calls the lost
// pages clean, so that a second sync would succeed and lie. The Durable callback hears of it.
func (l *Log) fenceWith(cause error) {
	if l.fence.CompareAndSwap(nil, core.NewError(core.CodeLogFenced, l.name(), cause)) {
		l.store.opts.Logger.Error("log fenced", "topic", l.topic, "partition", l.partition, "err", cause)
		l.store.syncer.request(l)
	}
}

func (l *Log) name() string { return fmt.Sprintf("log %d/%d", l.topic, l.partition) }

// appendSegment puts s at the end of the list.
func (l *Log) appendSegment(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segs.change(func(old []*segment) []*segment { return append(old[:len(old):len(old)], s) })
}

// segmentPath is the path of the log's segment with this header.
func (l *Log) segmentPath(h *segmentHeader) string {
	return filepath.Join(l.dir, segmentName(h.base.offset, h.id))
}

func logDir(root string, topic uint64, partition int32) string {
	return filepath.Join(topicDir(root, topic), fmt.Sprint(partition))
}

func topicDir(root string, topic uint64) string {
	return filepath.Join(root, "t", fmt.Sprint(topic))
}
