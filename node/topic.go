package node

import (
	"fmt"
	"sync/atomic"

	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
	"github.com/leatbus/leat/routing"
)

// topic is the data plane of a topic.
type topic struct {
	id         uint64
	name       string
	cfg        core.TopicConfig                 // as of the opening; see config
	changed    atomic.Pointer[core.TopicConfig] // cfg as of now
	maxRecord  atomic.Int64                     // MaxRecordBytes as of now
	table      routing.Table
	placement  core.Placement
	partitions []*partition
	local      []*partition // those this node leads
	opening    atomic.Int32 // partitions whose log is not open yet; nobody finds the topic before
	deleted    atomic.Bool
	letters    bool         // it is one of dead letters
	expired    atomic.Int64 // records that readers were not given, because their time to live was over
}

var (
	_ actors.TopicShell     = (*topic)(nil)
	_ actors.PartitionShell = (*partition)(nil)
)

func newTopic(info *core.Topic, table routing.Table) *topic {
	t := &topic{id: info.ID, name: info.Name, cfg: info.Config, table: table, placement: info.Placement,
		letters: core.TakesLetters(info.Name)}
	t.changed.Store(&t.cfg)
	t.maxRecord.Store(int64(t.cfg.MaxRecordBytes))
	return t
}

// config is the configuration as of now. What cannot change is read from cfg.
func (t *topic) config() core.TopicConfig { return *t.changed.Load() }

// retention is what the log of a partition keeps, as of now.
func (t *topic) retention() mmaplog.Retention {
	c := t.changed.Load()
	return mmaplog.Retention{Age: max(c.Retention, 0), Bytes: c.RetentionBytes, Records: c.RetentionRecords}
}

// ChangeTopic implements actors.NodeShell: producers and logs that are open follow at once.
func (n *Node) ChangeTopic(shell actors.TopicShell, cfg core.TopicConfig) {
	t := shell.(*topic) // AddTopic made it
	t.changed.Store(&cfg)
	t.maxRecord.Store(int64(cfg.MaxRecordBytes))
	for _, p := range t.partitions {
		if p.log != nil {
			p.log.SetRetention(t.retention())
		}
	}
}

// op says what was tried on the topic, for errors.
func (t *topic) op(verb string) string { return verb + " topic " + core.Quote(t.name) }

// op says what was tried on the partition, for errors.
func (p *partition) op(verb string) string {
	return fmt.Sprintf("%s partition %d of topic %s", verb, p.number, core.Quote(p.topic.name))
}

// Name implements actors.TopicShell.
func (t *topic) Name() string { return t.name }

// ID implements actors.TopicShell.
func (t *topic) ID() uint64 { return t.id }

// Partitions implements actors.TopicShell.
func (t *topic) Partitions() int32 { return int32(len(t.partitions)) }

// Partition implements actors.TopicShell.
func (t *topic) Partition(number int32) actors.PartitionShell { return t.partitions[number] }

// Dispatcher implements actors.TopicShell.
func (t *topic) Dispatcher(number int32) actors.Dispatcher { return t.partitions[number].shard }
