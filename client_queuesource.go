package leat

import (
	"context"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// queueSource is the membership on one node. Its goroutine opens a stream, reads it, and opens another when
// it is lost.
type queueSource struct {
	queue  *remoteQueue
	node   *clientNode
	opened chan error // what the first stream came to; capacity 1

	// The following is guarded by the queue's lock.
	told    bool // opened has its value
	session *queueSession
	window  int64 // bytes of GRANT frames on the way or buffered
	share   int32 // of what the member may hold
}

func (f *queueSource) unavailable() error {
	c := f.queue.client
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.node.unavailableLocked()
}

// firstAnswer waits for what the first stream came to.
func (f *queueSource) firstAnswer(ctx context.Context) error {
	select {
	case err := <-f.opened:
		return err
	default:
	}
	select {
	case err := <-f.opened:
		return err
	case <-ctx.Done():
		return f.unavailable()
	}
}

// tell says what the first stream came to.
func (f *queueSource) tell(err error) {
	f.queue.mu.Lock()
	defer f.queue.mu.Unlock()
	if !f.told {
		f.told = true
		f.opened <- err
	}
}

// run is the source's goroutine.
func (f *queueSource) run() {
	q, attempt := f.queue, 0
	since := q.client.clock.Mono()
	for q.ctx.Err() == nil {
		began := q.client.clock.Mono()
		err := f.serve()
		if q.ctx.Err() != nil || q.closed.Load() {
			return
		}
		now := q.client.clock.Mono()
		if now-began > int64(time.Second) {
			attempt, since = 0, now
		}
		if !f.goOn(err, now-since > int64(q.client.options.unreachableAfter)) {
			return
		}
		if q.client.sleep(q.ctx, attempt) != nil {
			return
		}
		attempt++
	}
}

// goOn decides after a stream has ended, or did not open.
func (f *queueSource) goOn(err error, long bool) bool {
	q := f.queue
	switch core.CodeOf(err) {
	case core.CodeTopicNotFound, core.CodeNotLeader, core.CodePartitionUnknown:
		ctx, cancel := q.client.patient(q.ctx)
		defer cancel()
		if core.CodeOf(q.client.refresh(ctx, q.topic)) != core.CodeTopicNotFound {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.startLocked()
			return true
		}
		err = core.NewError(core.CodeTopicNotFound, q.topic.op("read"), nil)
	case core.CodeConfigMismatch:
		err = f.mismatch(err)
	case core.CodeUnauthenticated, core.CodeDenied, core.CodeUnsupported, core.CodeInvalidConfig,
		core.CodeInvalidName, core.CodeGroupActive, core.CodeOffsetOutOfRange:
	default:
		if long {
			f.tell(f.unavailable())
		}
		return true
	}
	q.end(err)
	f.tell(err)
	return false
}

// serve opens a stream and serves it until it ends.
func (f *queueSource) serve() error {
	q := f.queue
	conn, err := f.node.connection(q.ctx)
	if err != nil {
		return err
	}
	if conn.welcome.Features&wire.FeatureQueues == 0 {
		return core.Errorf(core.CodeUnsupported, q.topic.op("subscribe to"),
			"the node at %s is of version %q, which has no queue groups", conn.address, conn.welcome.Server)
	}
	if err := conn.filters(q.topic.op("subscribe to"), q.options.Filter); err != nil {
		return err
	}
	stream, err := conn.open(q.ctx, func() bool { return true })
	if err != nil {
		return err
	}
	stop := context.AfterFunc(q.ctx, func() { stream.Reset(0) })
	defer stop()
	s := &queueSession{source: f, stream: stream, wake: make(chan struct{}, 1), stop: make(chan struct{}),
		ended: make(chan struct{}), reasons: conn.welcome.Features&wire.FeatureReasons != 0}
	if err = s.open(); err == nil {
		f.tell(nil)
		err = s.run()
	}
	stream.drop(err)
	return err
}
