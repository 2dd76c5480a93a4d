package node

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/ringbuf"
)

// Sizes of a shard.
const (
	slabBytes      = 128 << 10 // ingress ring: 1,000 small records, so that it stays in the cache of a core
	stepBytes      = 64 << 10  // entries journaled in one step, so that records become visible soon
	backlogBytes   = 32 << 10  // bytes in the slab from which a publisher journals them itself
	executorYields = 200       // turns without work before the executor sleeps
)

// shard is one ingress ring, the journal that drains it, and the executor that runs the journal and
// the partition actors of the shard.
//
//	producers ──claim/commit──▶ slab ──journal (lock held)──▶ logs of the shard's partitions
//
// Invariant: whoever has committed work then takes the free lock and does it, or sees the executor awake,
// or wakes it. An executor that goes to sleep says so first, and then looks for work, at the ring under
// the lock. Whoever frees the lock looks at what it leaves. All of these are sequentially consistent
// atomics, so work that is committed is done, or seen by the executor, or its committer sees it asleep.
type shard struct {
	index int
	slab  *ringbuf.Slab
	clock clock.Clock

	synced syncedQueue   // partitions whose durable end moved
	tasks  taskQueue     // activations of partition actors; only the executor runs them
	awake  atomic.Bool   // the executor looks for work by itself
	wake   chan struct{} // capacity 1
	closed atomic.Bool
	parked atomic.Int32 // partitions with entries that wait for a file; changed with the lock held
	done   sync.WaitGroup

	_       [128]byte
	lock    shardLock // held by whoever runs the journal or an actor of this shard
	_       [124]byte
	lookout lookout
	_       [64]byte
	journal journal // guarded by lock
}

func newShard(n *Node, index int) (*shard, error) {
	slab, err := ringbuf.NewSlab(slabBytes)
	if err != nil {
		return nil, err
	}
	s := &shard{index: index, slab: slab, clock: n.clock, wake: make(chan struct{}, 1)}
	s.journal = journal{node: n, shard: s}
	return s, nil
}

func (s *shard) start() {
	s.awake.Store(true)
	s.done.Go(s.run)
}

// stop ends the executor after everything committed has been journaled. No publish may be under way.
func (s *shard) stop() {
	s.slab.Close()
	s.closed.Store(true)
	s.wakeExecutor()
	s.done.Wait()
}

// Schedule makes the shard a dispatcher: an activation of a partition actor runs on the executor
// with the lock held, so that control and data of a partition never race.
func (s *shard) Schedule(activation func()) {
	s.tasks.push(activation)
	s.wakeExecutor()
}

// Throughput is how many messages an actor handles before it yields.
func (s *shard) Throughput() int { return 64 }

// run is the executor.
func (s *shard) run() {
	for idle := 0; ; idle++ {
		if s.turn() {
			idle = 0
			continue
		}
		if idle < executorYields {
			runtime.Gosched()
			continue
		}
		if s.closed.Load() && s.slab.Empty() && !s.tasks.any() && s.parked.Load() == 0 {
			return
		}
		s.sleep()
		idle = 0
	}
}

// sleep returns when there may be work.
func (s *shard) sleep() {
	s.awake.Store(false)
	if s.idle() {
		<-s.wake
	}
	s.awake.Store(true)
}

// turn does one round of everything and reports whether there was anything to do.
func (s *shard) turn() bool {
	if !s.due() || !s.tryLock() {
		return false
	}
	if s.lookout.urgent.Load() {
		s.lookout.urgent.Store(false) // before the step, so that what is committed later counts again
	}
	worked := s.journal.step()
	task := s.tasks.pop()
	if task != nil {
		task()
	}
	s.unlock()
	return worked || task != nil
}

// help journals one step on the caller's goroutine if nobody else does. It is for publishers and
// the Syncer: it never runs an actor, a handler or a sync. What is ready after that goes to the
// executor. It reports false if somebody else has the lock.
func (s *shard) help() bool {
	if !s.tryLock() {
		return false
	}
	s.journal.step()
	s.release()
	return true
}

// call runs f with the lock held, on the caller's goroutine if the lock is free, else on the executor
// some time later.
func (s *shard) call(f func()) {
	if !s.tryLock() {
		s.Schedule(f)
		return
	}
	f()
	s.release()
}

// release frees the lock and leaves what is ready by then to the executor. What is committed later is its
// committer's business.
func (s *shard) release() {
	more := s.slab.More()
	s.unlock()
	if more || s.synced.any() || s.tasks.any() {
		s.urge()
		s.wakeExecutor()
	}
}

// idle reports whether there is nothing to do. It looks at the ring under the lock; whoever has that
// now may leave something, so then the answer is no.
func (s *shard) idle() bool {
	if !s.tryLock() {
		return false
	}
	more := s.slab.More()
	s.unlock()
	ends := s.closed.Load() && s.parked.Load() == 0 // who parked something is woken when there is room
	return !more && !s.synced.any() && !s.tasks.any() && !ends
}

// shardLock counts: it is odd while it is held.
type shardLock struct{ turns atomic.Uint32 }

func (s *shard) tryLock() bool {
	turn := s.lock.turns.Load()
	return turn&1 == 0 && s.lock.turns.CompareAndSwap(turn, turn+1)
}

func (s *shard) unlock() { s.lock.turns.Add(1) }

// spinLock waits for the lock, for callers while the node closes, when nobody holds it for long.
func (s *shard) spinLock() {
	for !s.tryLock() {
		runtime.Gosched()
	}
}

func (s *shard) wakeExecutor() {
	if s.awake.Load() {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// taskQueue is a small queue of actor activations and calls. An actor has at most one activation
// queued, and a caller waits for its call, so its length is bounded by the partitions of the shard and
// the callers.
type taskQueue struct {
	count atomic.Int32
	mu    sync.Mutex // guards the following
	list  []func()
}

func (q *taskQueue) push(task func()) {
	q.mu.Lock()
	q.list = append(q.list, task)
	q.count.Store(int32(len(q.list)))
	q.mu.Unlock()
}

func (q *taskQueue) pop() func() {
	if q.count.Load() == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return nil
	}
	task := q.list[0]
	q.list[0] = nil
	q.list = q.list[1:]
	if len(q.list) == 0 {
		q.list = nil
	}
	q.count.Store(int32(len(q.list)))
	return task
}

func (q *taskQueue) any() bool { return q.count.Load() > 0 }

// syncedQueue holds partitions that the Syncer has news for. A partition is in it at most once.
type syncedQueue struct {
	count atomic.Int32
	mu    sync.Mutex // guards the following
	list  []*partition
	spare []*partition
}

func (q *syncedQueue) push(p *partition) {
	q.mu.Lock()
	q.list = append(q.list, p)
	q.count.Store(int32(len(q.list)))
	q.mu.Unlock()
}

// take gives all queued partitions; the slice is valid until the next call.
func (q *syncedQueue) take() []*partition {
	if q.count.Load() == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.list
	q.list, q.spare = q.spare[:0], taken
	q.count.Store(0)
	return taken
}

func (q *syncedQueue) any() bool { return q.count.Load() > 0 }

// claim reserves an entry. A full slab means that there is work: the caller helps before it waits.
func (s *shard) claim(ctx context.Context, size int, wait bool) (ringbuf.Entry, error) {
	if e, ok := s.slab.TryClaim(size); ok {
		return e, nil
	}
	s.help()
	if e, ok := s.slab.TryClaim(size); ok {
		return e, nil
	}
	if s.closed.Load() {
		return ringbuf.Entry{}, core.NewError(core.CodeClosed, "publish", nil)
	}
	if !wait {
		return ringbuf.Entry{}, core.NewError(core.CodeFull, "publish", nil)
	}
	s.wakeExecutor()
	e, err := s.slab.Claim(ctx, size)
	if errors.Is(err, ringbuf.ErrClosed) {
		return e, core.NewError(core.CodeClosed, "publish", nil)
	}
	return e, err
}

// journalSoon is called after a commit whose publisher waits: at page it journals on the spot if
// the lock is free; else, and at stronger levels, where a write may block, the executor does.
func (s *shard) journalSoon(level core.Ack) {
	if level <= core.AckPage && s.help() {
		return
	}
	s.urge()
	s.wakeExecutor()
}

// journalLater is called after a commit that nobody waits for right now. An executor that is awake
// finds it; one that falls behind is helped, so that a producer pays for its own backlog.
func (s *shard) journalLater() {
	if !s.awake.Load() {
		s.wakeExecutor()
	} else if s.slab.Pending() > backlogBytes {
		s.help()
	}
}
