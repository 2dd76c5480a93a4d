package node

import (
	"cmp"
	"context"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
)

// minUnsyncedMax leaves room for a full ring and for buffers.
const minUnsyncedMax = 4 << 20

// Open opens the bus in a folder, which it creates if absent, and recovers what is there. ctx
// bounds opening only. A partition that cannot be recovered refuses publishes and reads with its
// own error; the others work.
//
// Errors: ErrLocked if another process has the folder, ErrVersionTooNew if a newer version wrote it,
// ErrConfigMismatch if a topic differs from its WithTopic, ErrWrongNode if the folder belongs to another
// node of a cluster.
func Open(ctx context.Context, dir string, opts ...Option) (*leat.Bus, error) {
	o := options{clock: clock.System, fs: mmaplog.OS(), log: mmaplog.Options{
		UnsyncedMax: 256 << 20, ScrubEvery: scrubEvery}}
	for _, opt := range opts {
		opt(&o)
	}
	n, err := open(ctx, cmp.Or(o.dir, dir), o)
	if err != nil {
		return nil, err
	}
	return leat.NewBus(n), nil
}

func open(ctx context.Context, dir string, o options) (*Node, error) {
	for i := range o.topics {
		t := &o.topics[i]
		if err := core.ValidateName("topic", t.name); err != nil {
			return nil, err
		}
		if err := t.cfg.WithDefaults().Validate(t.name); err != nil {
			return nil, err
		}
	}
	if o.cluster != nil {
		if err := o.cluster.validate(); err != nil {
			return nil, err
		}
	}
	if o.log.UnsyncedMax < minUnsyncedMax {
		return nil, core.Errorf(core.CodeInvalidConfig, "open", "UnsyncedMax %d: want at least %d",
			o.log.UnsyncedMax, minUnsyncedMax)
	}
	o.syncs = newSyncStats()
	o.log.Clock, o.log.Logger, o.log.Synced = o.clock, o.logger, o.syncs.synced
	store, err := mmaplog.Open(o.fs, dir, o.log)
	if err != nil {
		return nil, err
	}
	n, err := newNode(o)
	if err != nil {
		_ = store.Close() // the error that matters is the first
		return nil, err
	}
	n.store = store
	if err := n.start(ctx, o); err != nil {
		_ = n.Close() // the error that matters is the first
		return nil, err
	}
	return n, nil
}

// start brings the node up: shards, actors, catalogue, commits, topics.
func (n *Node) start(ctx context.Context, o options) error {
	defer n.noteRecovery(n.clock.Mono())
	n.system = actors.NewSystem(actors.SystemOptions{Logger: o.logger, Clock: o.clock})
	n.notifier.start()
	for _, s := range n.shards {
		s.start()
	}
	records, groups, err := n.openMeta(o)
	if err != nil {
		return err
	}
	if err := n.openGroups(groups); err != nil {
		return err
	}
	if err := n.openDelays(); err != nil {
		return err
	}
	if err := n.restoreTopics(ctx, records); err != nil {
		return err
	}
	if err := n.commits.restore(); err != nil {
		return err
	}
	for _, t := range o.topics {
		if err := n.ensureTopic(ctx, t.name, t.cfg); err != nil {
			return err
		}
	}
	n.delays.start()
	return nil
}

// ensureTopic creates a topic if it is absent, and compares it if it is there. Without a word on its age a
// topic is what it is: those of builds that had no ages are kept for ever.
func (n *Node) ensureTopic(ctx context.Context, name string, cfg core.TopicConfig) error {
	if t := n.topicNamed(name); t != nil {
		stored := t.config()
		cfg.Retention = cmp.Or(cfg.Retention, stored.Retention)
		if diff := stored.Differs(cfg.WithDefaults()); diff != "" {
			return core.Errorf(core.CodeConfigMismatch, t.op("open"), "%s", diff)
		}
		return nil
	}
	return n.CreateTopic(ctx, name, cfg)
}
