package leat

import (
	"context"
	"math/bits"
	"runtime"
	"time"

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

// Acks of a queue are collected where nothing depends on them: of a key-shared group the next message of the
// key does, and of a group that may leave few records unsettled any next one.
const (
	tellMost         = 256                  // records acked that are told at once
	tellWait         = 2 * time.Millisecond // how long fewer wait
	patientUnsettled = 4096                 // what a group must at least be able to leave unsettled
)

// writerState is what the writer of a stream does.
type writerState uint8

const (
	writerRuns    writerState = iota
	writerIdles               // there is nothing to write
	writerLingers             // there are acks, which wait for more
)

// settleLocked leaves what the user says to the writer; the next COMMIT confirms it.
func (s *queueSession) settleLocked(kind wire.SettleKind, g *remoteGrant, which uint64, delay int64,
	reason string) {
	s.doubt = true
	if kind != wire.SettleAck {
		s.tellLocked(kind, g, which, delay, reason)
		return
	}
	s.addLocked(kind, g, which, 0, "")
	if s.kept += bits.OnesCount64(which); s.kept >= s.tellFrom {
		s.signalLocked()
	} else if s.writer == writerIdles {
		s.wakeLocked() // so that it lingers
	}
}

// tellLocked leaves something to the writer that is to be written at once.
func (s *queueSession) tellLocked(kind wire.SettleKind, g *remoteGrant, which uint64, delay int64,
	reason string) {
	s.addLocked(kind, g, which, delay, reason)
	s.signalLocked()
}

func (s *queueSession) addLocked(kind wire.SettleKind, g *remoteGrant, which uint64, delay int64,
	reason string) {
	grant := g.grant
	grant.Left = which
	s.settles.add(settleRun{kind: kind, delay: delay, reason: reason},
		wire.QueueEntry{Partition: g.partition, Grant: grant})
}

// signalLocked has the writer write everything there is. What it is woken for was noted before.
func (s *queueSession) signalLocked() {
	s.hurry = true
	if s.writer != writerRuns {
		s.wakeLocked()
	}
}

func (s *queueSession) wakeLocked() {
	s.writer = writerRuns
	select {
	case s.wake <- struct{}{}:
	default: // a token is left from before: the writer looks again by that
	}
}

// write is the writer's goroutine: one write takes everything there is.
func (s *queueSession) write() {
	var frames []byte
	var taken settleQueue
	clock := s.queue().client.clock
	renewal, patience := clock.NewTimer(s.renewEvery()), clock.NewTimer(time.Hour)
	defer renewal.Stop()
	defer patience.Stop()
	lingers := false
	for {
		select { // also where there is always something to write
		case <-renewal.C():
			s.renew()
			renewal.Reset(s.renewEvery())
		default:
		}
		var state writerState
		frames, state = s.gather(frames[:0], &taken)
		if state == writerLingers && !lingers {
			patience.Reset(tellWait)
		}
		lingers = state == writerLingers
		if len(frames) > 0 {
			if _, err := s.stream.Write(frames); err != nil {
				s.stream.Reset(0) // the reader sees it, too
				return
			}
			if cap(frames) > chunkKept {
				frames = nil
			}
		}
		if state == writerRuns {
			continue
		}
		select {
		case <-s.wake:
			runtime.Gosched() // the loop, which has just answered for one message, goes on to the next
		case <-renewal.C():
			s.renew()
			renewal.Reset(s.renewEvery())
		case <-patience.C():
			s.hasten(lingers)
		case <-s.stop:
			return
		}
	}
}

// chunkKept is the largest buffer that a writer keeps.
const chunkKept = 64 << 10

// hasten has what has waited for long enough be written, if that was what was waited for.
func (s *queueSession) hasten(lingers bool) {
	q := s.queue()
	q.mu.Lock()
	defer q.mu.Unlock()
	s.hurry = s.hurry || lingers
}

// gather encodes what there is to say, unless that can wait, and gives what the writer does then.
func (s *queueSession) gather(dst []byte, taken *settleQueue) ([]byte, writerState) {
	q := s.queue()
	q.mu.Lock()
	if !s.hurry {
		defer q.mu.Unlock()
		if s.writer = writerIdles; len(s.settles.list) > 0 {
			s.writer = writerLingers
		}
		return dst, s.writer
	}
	s.hurry, s.kept, s.writer = false, 0, writerRuns
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
	return dst, writerRuns
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
