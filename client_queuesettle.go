package leat

import (
	"context"
	"runtime"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/wire"
)

// settleQueue is what was said of records and not written yet, in order. Its bound is what a member may hold,
// twice, and maxExtends.
type settleQueue struct {
	list    []settleRun
	entries []wire.QueueEntry
}

// settleRun is neighbours in a settleQueue that say the same.
type settleRun struct {
	kind   wire.SettleKind
	delay  int64
	reason string
	end    int // of its entries
}

const (
	settleLook  = 4    // entries that are looked at for one of the same grant
	settleFrame = 1024 // entries of one frame
)

// add appends what is said of records of a grant, as more bits of an entry if there is one among the last.
func (l *settleQueue) add(run settleRun, e wire.QueueEntry) {
	begin := 0
	if n := len(l.list); n > 0 {
		if last := &l.list[n-1]; last.kind != run.kind || last.delay != run.delay || last.reason != run.reason {
			begin = last.end
		} else if n > 1 {
			begin = l.list[n-2].end
		}
		if begin == l.list[n-1].end {
			l.list = append(l.list, run)
		}
	} else {
		l.list = append(l.list, run)
	}
	for i := len(l.entries) - 1; i >= max(begin, len(l.entries)-settleLook); i-- {
		if have := &l.entries[i]; have.Partition == e.Partition && have.Grant.Epoch == e.Grant.Epoch {
			have.Grant.Left |= e.Grant.Left
			return
		}
	}
	l.entries = append(l.entries, e)
	l.list[len(l.list)-1].end = len(l.entries)
}

func (l *settleQueue) reset() {
	clear(l.list) // reasons
	l.list, l.entries = l.list[:0], l.entries[:0]
}

// appendTo appends frames that say it.
func (l *settleQueue) appendTo(dst []byte) []byte {
	begin := 0
	for _, run := range l.list {
		for begin < run.end {
			end := min(begin+settleFrame, run.end)
			dst = wire.AppendSettle(dst, &wire.Settlement{Kind: run.kind, Delay: run.delay, Reason: run.reason,
				Entries: l.entries[begin:end]})
			begin = end
		}
	}
	return dst
}

// settleLocked leaves what the user says to the writer; the next COMMIT confirms it.
func (s *queueSession) settleLocked(kind wire.SettleKind, g *remoteGrant, which uint64, delay int64,
	reason string) {
	s.doubt = true
	s.tellLocked(kind, g, which, delay, reason)
}

// tellLocked leaves something to the writer.
func (s *queueSession) tellLocked(kind wire.SettleKind, g *remoteGrant, which uint64, delay int64,
	reason string) {
	grant := g.grant
	grant.Left = which
	s.settles.add(settleRun{kind: kind, delay: delay, reason: reason},
		wire.QueueEntry{Partition: g.partition, Grant: grant})
	s.signalLocked()
}

// signalLocked wakes the writer if it waits. What it is woken for was noted before.
func (s *queueSession) signalLocked() {
	if s.idle {
		s.idle = false
		select {
		case s.wake <- struct{}{}:
		default: // a token is left from before: the writer looks again by that
		}
	}
}

// write is the writer's goroutine: one write takes everything there is.
func (s *queueSession) write() {
	var frames []byte
	var taken settleQueue
	renewal := s.queue().client.clock.NewTimer(s.renewEvery())
	defer renewal.Stop()
	for {
		select { // also where there is always something to write
		case <-renewal.C():
			s.renew()
			renewal.Reset(s.renewEvery())
		default:
		}
		frames = s.gather(frames[:0], &taken)
		if len(frames) > 0 {
			if _, err := s.stream.Write(frames); err != nil {
				s.stream.Reset(0) // the reader sees it, too
				return
			}
			if cap(frames) > chunkKept {
				frames = nil
			}
			continue
		}
		select {
		case <-s.wake:
			runtime.Gosched() // the loop, which has just answered for one message, goes on to the next
		case <-renewal.C():
			s.renew()
			renewal.Reset(s.renewEvery())
		case <-s.stop:
			return
		}
	}
}

// chunkKept is the largest buffer that a writer keeps.
const chunkKept = 64 << 10

// gather encodes what there is to say. Where that is nothing the writer is idle.
func (s *queueSession) gather(dst []byte, taken *settleQueue) []byte {
	q := s.queue()
	q.mu.Lock()
	s.settles, *taken = *taken, s.settles
	s.extends = 0
	var commit, leave bool
	if len(s.commits) > 0 {
		commit = true
		s.sequence++
		s.sent[s.sequence] = s.commits
		s.commits, s.doubt = nil, false
	}
	if s.leaving && !s.parting {
		s.parting, leave = true, true
	}
	sequence, credit := s.sequence, int64(0)
	if s.granted != s.credited {
		s.credited, credit = s.granted, s.granted
	}
	s.idle = len(taken.list) == 0 && !commit && !leave && credit == 0
	q.mu.Unlock()
	dst = taken.appendTo(dst)
	taken.reset()
	if credit != 0 {
		h := wire.Header{Type: wire.Credit, Arg: uint64(credit)}
		dst = h.Append(dst)
	}
	if commit {
		h := wire.Header{Type: wire.Commit, Arg: sequence}
		dst = h.Append(dst)
	}
	if leave {
		h := wire.Header{Type: wire.Leave}
		dst = h.Append(dst)
	}
	return dst
}

// committed answers the calls of one COMMIT.
func (s *queueSession) committed(h *wire.Header, payload []byte) error {
	var err error
	if h.Aux != 0 {
		var body wire.ErrorBody
		if err := wire.Unmarshal(h.Type, payload, &body); err != nil {
			return err
		}
		err = body.Error(core.Code(h.Aux))
	}
	q := s.queue()
	q.mu.Lock()
	waiting, ok := s.sent[h.Arg]
	delete(s.sent, h.Arg)
	q.mu.Unlock()
	if !ok {
		return wire.Errorf("COMMITTED %d, which was not asked for", h.Arg)
	}
	for _, done := range waiting {
		done <- err
	}
	return nil
}

// Commit implements SubscriptionBackend.
func (q *remoteQueue) Commit(ctx context.Context) error {
	q.mu.Lock()
	if q.closed.Load() {
		defer q.mu.Unlock()
		return q.client.closedError(q.topic.op("commit on"))
	}
	var waiting []chan error
	for _, from := range q.sources {
		if s := from.session; s != nil {
			done := make(chan error, 1)
			s.commits = append(s.commits, done)
			s.signalLocked()
			waiting = append(waiting, done)
		}
	}
	q.mu.Unlock()
	var failed error
	for _, done := range waiting {
		select {
		case err := <-done:
			if failed == nil {
				failed = err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if failed == nil {
		failed, q.late = q.late, nil
	}
	return failed
}
