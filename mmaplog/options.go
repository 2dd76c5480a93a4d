package mmaplog

import (
	"log/slog"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// Options are the settings of a Store. The zero value is valid.
type Options struct {
	Clock        clock.Clock   // default clock.System
	FlushEvery   time.Duration // a sync starts at most this long after the first unsynced byte; 50 ms
	FlushBytes   int64         // or when a log has this many unsynced bytes; 8 MiB
	UnsyncedMax  int64         // where Log.Saturated turns true, of each log; its producers wait then; 256 MiB
	HotBytes     int64         // mapped window behind the end of each log; 64 MiB
	IndexBytes   int64         // memory for the indexes of segments that were left, of all logs; 16 MiB
	MapBudget    int64         // mapped segments of all logs; half of what the system lets a process have
	FileBudget   int64         // files of all logs open at a time; what the process may have but for a quarter
	NoMap        bool          // write and read by system calls only
	CompactBytes int64         // memory for the keys of a compaction; 64 MiB
	Logger       *slog.Logger  // nil is silent
	// ScrubEvery is how long a pass over all sealed segments may take, which reads and checks them in the
	// background, and the time between the beginnings of two; 0 is never. It takes longer where more than 128
	// MiB would have to be read in a second.
	ScrubEvery time.Duration
	// OnScrub is called once for each place of a sealed segment that turned out to be damaged; d.From and d.To
	// are equal if no records are hit. Nothing is deleted, and the log goes on. It must not block.
	OnScrub func(topic uint64, partition int32, d *Damaged)
	// Synced is called after each round that moved the durable end of a log, with how long its sync took, in
	// nanoseconds, and the records it made durable. Calls of different logs overlap. It must not block.
	Synced func(took, records int64)
	// Point is for tests of crashes: it is called at the moments that Points lists, by whatever goroutine
	// gets there, and may end the process. Calls overlap.
	Point func(name string)
}

func (o Options) withDefaults() (Options, error) {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = 50 * time.Millisecond
	}
	const op = "open data folder"
	if o.FlushEvery < 2*time.Millisecond {
		return o, core.Errorf(core.CodeInvalidConfig, op, "FlushEvery %v: want at least 2ms", o.FlushEvery)
	}
	if o.ScrubEvery < 0 || o.ScrubEvery > 0 && o.ScrubEvery < leastScrubEvery {
		return o, core.Errorf(core.CodeInvalidConfig, op, "ScrubEvery %v: want 0 or at least %v", o.ScrubEvery,
			leastScrubEvery)
	}
	for _, f := range []struct {
		name  string
		value *int64
		def   int64
	}{
		{"FlushBytes", &o.FlushBytes, 8 << 20},
		{"UnsyncedMax", &o.UnsyncedMax, 256 << 20},
		{"CompactBytes", &o.CompactBytes, defaultCompactBytes},
		{"HotBytes", &o.HotBytes, 64 << 20},
		{"MapBudget", &o.MapBudget, mapLimit() / 2},
		{"FileBudget", &o.FileBudget, fileLimit()},
		{"IndexBytes", &o.IndexBytes, 16 << 20},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < 0 {
			return o, core.Errorf(core.CodeInvalidConfig, op, "%s %d: want 0 or more", f.name, *f.value)
		}
	}
	return o, nil
}

// LogOptions are the settings of one Log.
type LogOptions struct {
	// Level up to page writes through a map where the file system allows it; disk, the default,
	// writes by system call. The bytes are the same.
	Level core.Ack
	// SegmentBytes is the size of a full segment, a power of two from 256 KiB to 64 MiB; default 64
	// MiB. The first segment has 256 KiB, each next one twice the size until SegmentBytes.
	SegmentBytes int64
	// RetentionBytes, RetentionAge and RetentionRecords let whole segments go, see Retention; 0 keeps all.
	RetentionBytes   int64
	RetentionAge     time.Duration
	RetentionRecords int64
	// Compact keeps only the newest record of each key, and of keys whose newest record is a tombstone
	// nothing once that is older than DeleteRetention; 24 h by default. Records without a key stay. It
	// happens in the background, to segments that were left. What goes leaves its offset behind.
	Compact         bool
	DeleteRetention time.Duration
	// RollDue is called by a goroutine of the store when nothing was appended for RetentionAge, or
	// DeleteRetention if the log compacts: the writer should call Roll, so that the last segment can go. It
	// must not block. If it is nil, the last segment of an idle log stays.
	RollDue func()
	// Reserve is for a log that alone has its records, at a level up to page, where a power cut may take
	// records that others have read: how many offsets are reserved durably in advance, so that none is given
	// twice. When the machine was started anew without an orderly close before, the log goes on behind all that
	// was reserved (Recovery.Gap). 0 reserves nothing; at other levels it means nothing.
	Reserve int64
	// OnDamage says what happens when durable records cannot be read; default Fail.
	OnDamage OnDamage
	// Durable is called after DurableEnd moved, and once with the error that fenced the log, by a goroutine
	// of the syncer or by one that is inside Sync. Calls of one log do not overlap. It must not block.
	Durable func(end int64, err error)
	// Ready is called once after Log.Await, by a goroutine of the store. It must not block.
	Ready func()
}

func (o LogOptions) withDefaults() (LogOptions, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = core.MaxSegmentBytes
	}
	if o.Durable == nil {
		o.Durable = func(int64, error) {}
	}
	if o.Ready == nil {
		o.Ready = func() {}
	}
	o.Level = o.Level.Or(core.AckDisk)
	if o.DeleteRetention == 0 {
		o.DeleteRetention = defaultDeleteRetention
	}
	const op = "open log"
	n := o.SegmentBytes
	if n < core.MinSegmentBytes || n > core.MaxSegmentBytes || n&(n-1) != 0 {
		return o, core.Errorf(core.CodeInvalidConfig, op, "SegmentBytes %d: want a power of two from %d to %d",
			n, core.MinSegmentBytes, core.MaxSegmentBytes)
	}
	if o.OnDamage > SkipWithGap {
		return o, core.Errorf(core.CodeInvalidConfig, op, "OnDamage %d: want Fail or SkipWithGap", o.OnDamage)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"RetentionBytes", o.RetentionBytes},
		{"RetentionAge", int64(o.RetentionAge)},
		{"DeleteRetention", int64(o.DeleteRetention)},
		{"RetentionRecords", o.RetentionRecords},
		{"Reserve", o.Reserve},
	} {
		if f.value < 0 {
			return o, core.Errorf(core.CodeInvalidConfig, op, "%s %d: want 0 or more", f.name, f.value)
		}
	}
	return o, nil
}

// retention gives the limits.
func (o *LogOptions) retention() Retention {
	return Retention{Bytes: o.RetentionBytes, Age: o.RetentionAge, Records: o.RetentionRecords}
}

// mapped reports whether the level allows the map sink.
func (o *LogOptions) mapped() bool { return o.Level <= core.AckPage }
