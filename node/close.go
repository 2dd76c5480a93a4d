package node

import (
	"context"
	"errors"

	"github.com/leatbus/leat/actors"
	"github.com/leatbus/leat/core"
)

// Close implements leat.Backend. The order is that of the data: users' actors and subscriptions
// first, so that their acks are committed; then producers; then the rings, the logs and the rest.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		n.closeServer()
		ctx, cancel := n.closeContext()
		defer cancel()
		n.closeErr = n.close(ctx)
		close(n.done)
	})
	return n.closeErr
}

func (n *Node) close(ctx context.Context) error {
	var errs []error
	n.calls.close()
	errs = append(errs, n.system.StopUserActors(ctx))
	for _, s := range n.subscriptions(nil) {
		errs = append(errs, s.Close())
	}
	errs = append(errs, n.queues.close(ctx))
	if n.groups != nil {
		errs = append(errs, n.groups.Close(ctx))
	}
	if n.delays != nil {
		n.delays.stop(ctx)
	}
	drained := n.drainProducers(ctx)
	errs = append(errs, drained)
	close(n.closing) // whoever still waits for room gives up
	if drained != nil {
		n.failWaiting() // a disk that hangs: their callbacks must come before the actors go
	}
	if n.commits != nil {
		n.commits.close()
	}
	n.retireProducers()
	stopped := n.system.Close(ctx) // before the shards, which run the partition actors
	errs = append(errs, stopped)
	if stopped == nil {
		n.callBackLeft()
	}
	for _, s := range n.shards {
		s.stop()
	}
	n.saveProducers()
	errs = append(errs, n.store.Close()) // syncs, which answers those that wait for the disk
	n.failWaiting()
	if n.delays != nil {
		n.delays.changes.Wait()
	}
	n.notifier.close()
	return errors.Join(errs...)
}

// drainProducers refuses new publishes and waits until those in flight are answered.
func (n *Node) drainProducers(ctx context.Context) error {
	var errs []error
	list := n.ownProducers()
	for _, p := range list {
		p.closed.Store(true)
	}
	for _, p := range list {
		errs = append(errs, p.Flush(ctx))
	}
	return errors.Join(errs...)
}

// retireProducers makes publishers that come from now on answer themselves, and fails flushes that
// still wait: what they wait for may hang in the disk.
func (n *Node) retireProducers() {
	for _, p := range n.ownProducers() {
		p.answers.retire(true)
		if p.answers.pid != nil {
			n.system.Send(p.answers.pid, actors.CloseProducer{})
		}
	}
}

// callBackLeft calls back what was put aside after the last flush. The actors have stopped.
func (n *Node) callBackLeft() {
	for _, p := range n.ownProducers() {
		p.answers.takeAside()
	}
}

// failWaiting answers what no sync has covered: the log is fenced, or the drain took too long.
func (n *Node) failWaiting() {
	for _, p := range *n.partitions.Load() {
		if p.log == nil {
			continue
		}
		p.setFault(core.NewError(core.CodeClosed, p.op("publish to"), nil))
		p.shard.spinLock() // the Syncer's last news may be being settled; it takes microseconds
		p.shard.journal.answerWaiting(p, p.log.DurableEnd())
		p.shard.unlock()
	}
}
