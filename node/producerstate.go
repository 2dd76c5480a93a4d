package node

import (
	"errors"
	"time"

	"github.com/leatbus/leat/core"
)

// The state of a partition's producers is saved after its log started a segment, but not so often that
// encoding it would be felt: not more than once a second, and for about one part in a hundred of the time.
const (
	stateEvery            = int64(time.Second)
	stateEveryPerProducer = int64(10 * time.Microsecond)
	stateEveryPerID       = int64(time.Microsecond)
)

// saveProducers is called under the shard's lock, or after the shards have stopped.
func (p *partition) saveProducers(now int64) {
	if now-p.stateAt < stateEvery+stateEveryPerProducer*int64(p.state.ProducerCount())+
		stateEveryPerID*int64(p.state.IDCount()) {
		return // the log goes on saying that it is due
	}
	p.stateAt = now
	p.log.SaveState(p.state.EncodeProducers(nil))
}

// restoreProducers rebuilds the state of producers when the partition is opened. If part of the log
// cannot be read, no producer is known: each may go on, but what it sends again may be stored again.
func (p *partition) restoreProducers() error {
	p.state.SetDedupWindow(p.topic.cfg.DedupWindow)
	ids := int64(-1)
	err := p.log.RestoreProducers(p.state.LoadProducers, p.idsFrom(&ids))
	if err == nil && ids >= 0 {
		err = p.restoreIDs(ids)
	}
	if errors.Is(err, core.ErrCorrupt) {
		p.state.ForgetProducers()
		p.shard.journal.node.report("the producers are not known; what they send again may be stored again", p, err)
		err = nil
	}
	p.state.Resume(p.shard.clock.Now())
	return err
}

// saveProducers saves what became due and was put off. The shards have stopped.
func (n *Node) saveProducers() {
	for _, p := range *n.partitions.Load() {
		if p.log == nil {
			continue
		}
		p.shard.spinLock()
		if p.log.StateDue() {
			p.stateAt = 0
			p.saveProducers(n.clock.Now())
		}
		p.shard.unlock()
	}
}
