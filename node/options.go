package node

import (
	"log/slog"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
)

// options is the sum of the options of Open.
type options struct {
	topics []namedTopic
	logger *slog.Logger
	clock  clock.Clock
	fs     mmaplog.FS
	dir    string // instead of the folder given to Open, if not empty
	log    mmaplog.Options
	syncs  syncStats

	onDamage mmaplog.OnDamage

	cluster *ClusterConfig // nil for a node that is alone
}

type namedTopic struct {
	name string
	cfg  leat.TopicConfig
}

// Option is one option of Open.
type Option func(*options)

// WithTopic makes sure that a topic exists: it is created if absent. If it exists with another
// configuration, Open fails with ErrConfigMismatch and names the field.
func WithTopic(name string, cfg leat.TopicConfig) Option {
	return func(o *options) { o.topics = append(o.topics, namedTopic{name, cfg}) }
}

// InMemory keeps everything in memory instead of the folder, whose name means nothing then: no file is
// written, every level costs the same, and all is lost when the bus is closed. It is for tests, see
// package leattest, and for buses that only pass messages on.
func InMemory() Option {
	return func(o *options) { o.fs, o.dir, o.log.ScrubEvery = mmaplog.Heap(), "memory", 0 }
}

// WithLogger makes the node report changes of state: failed partitions, retried commits, failing
// handlers. Without it the node is silent; nothing is ever logged per message.
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithUnsyncedMax bounds, per partition, what the page cache may hold that is not yet on the disk;
// publishers wait before it is exceeded; only one record or batch larger than a quarter of it may go
// beyond. The default is 256 MiB, the least 4 MiB.
func WithUnsyncedMax(bytes int64) Option { return func(o *options) { o.log.UnsyncedMax = bytes } }

// WithFlushEvery sets how long a record at level page may wait until a sync for it starts. The
// default is 50 ms.
func WithFlushEvery(d time.Duration) Option { return func(o *options) { o.log.FlushEvery = d } }

// WithScrubEvery sets how often everything that is stored, but for the segments that are written to, is read
// and checked in the background, in a pass that takes at most as long; 0 is never. The default is 24 hours,
// the least 50 ms. What is damaged is logged and counted (Stats.Scrub); nothing is deleted.
func WithScrubEvery(d time.Duration) Option { return func(o *options) { o.log.ScrubEvery = d } }

// WithOnDamage says what becomes of a partition of a user's topic of which durable records cannot be read.
// The default, mmaplog.Fail, refuses publishes and reads of it, with CodeCorrupt. With mmaplog.SkipWithGap
// it goes on: a subscription that comes to the place ends with CodeCorrupt and the range of offsets, and one
// that starts behind it, by From or after ResetGroup, reads the rest. Nothing is deleted either way.
func WithOnDamage(policy mmaplog.OnDamage) Option { return func(o *options) { o.onDamage = policy } }

// scrubEvery is the default of WithScrubEvery.
const scrubEvery = 24 * time.Hour
