package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// remote is a producer behind a network: it makes frames and notes what became of them.
type remote struct {
	t     testing.TB
	node  *Node
	index uint32
	id    int64
	epoch int16

	mu     sync.Mutex // guards the following
	got    []outcome
	news   chan struct{} // closed by the next outcome
	ticket uint32
}

func newRemote(t testing.TB, n *Node, id int64) *remote {
	r := &remote{t: t, node: n, id: id, news: make(chan struct{})}
	r.index = n.register(r)
	return r
}

func (r *remote) complete(_ *shard, run []outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, run...)
	close(r.news)
	r.news = make(chan struct{})
}

// recordOf encodes one record.
func recordOf(t testing.TB, key, value string) []byte {
	t.Helper()
	n, err := core.EncodedRecordSize([]byte(key), []byte(value), nil)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	core.PutRecord(b, []byte(key), []byte(value), nil, routing.Hash([]byte(key)), 0)
	return b
}

// frame makes a frame of records with the given values.
func (r *remote) frame(p *partition, baseSeq int32, values ...string) *remoteFrame {
	r.t.Helper()
	var payload []byte
	for _, v := range values {
		payload = append(payload, recordOf(r.t, "k", v)...)
	}
	r.ticket++
	f := &remoteFrame{part: p, payload: payload, producer: r.index, ticket: r.ticket, header: core.FrameHeader{
		Length: uint32(core.FrameHeaderSize + len(payload)), ProducerID: r.id, ProducerEpoch: r.epoch,
		BaseSeq: baseSeq, PayloadCRC: core.Checksum(payload), Records: uint16(len(values)),
		Version: core.FrameVersion,
	}}
	if err := core.CheckProduced(&f.header, f.payload, core.DefaultRecordBytes, false); err != nil {
		r.t.Fatalf("CheckProduced: %v", err)
	}
	return f
}

func (r *remote) commit(f *remoteFrame) {
	r.t.Helper()
	if err := r.node.commitFrame(soon(r.t), f, true); err != nil {
		r.t.Fatalf("commitFrame: %v", err)
	}
}

// outcomes waits until there are n outcomes in all, and gives them.
func (r *remote) outcomes(n int) []outcome {
	r.t.Helper()
	for {
		r.mu.Lock()
		got, news := r.got, r.news
		r.mu.Unlock()
		if len(got) >= n {
			return got
		}
		receive(r.t, fmt.Sprintf("outcome %d of %d", len(got)+1, n), news)
	}
}

// send commits a frame and gives its outcome.
func (r *remote) send(p *partition, baseSeq int32, values ...string) outcome {
	r.t.Helper()
	f := r.frame(p, baseSeq, values...)
	r.commit(f)
	list := r.outcomes(int(r.ticket))
	o := list[len(list)-1]
	if o.ticket != f.ticket || o.part != p || o.records != int32(len(values)) {
		r.t.Fatalf("outcome %+v of ticket %d", o, f.ticket)
	}
	return o
}

// wantStored fails unless the outcome is that of a record stored at offset.
func wantStored(t testing.TB, what string, o outcome, offset int64, duplicate bool) {
	t.Helper()
	if o.err != nil || o.offset != offset || o.duplicate != duplicate || o.time == 0 {
		t.Errorf("%s: offset %d, duplicate %v, time %d, error %v; want offset %d, duplicate %v",
			what, o.offset, o.duplicate, o.time, o.err, offset, duplicate)
	}
}

// storedFrames gives the headers and payloads in a partition's log.
func storedFrames(t testing.TB, p *partition) (headers []core.FrameHeader, payloads [][]byte) {
	t.Helper()
	r := p.log.Reader(p.log.Start())
	defer r.Close()
	for {
		run, err := r.Next(p.log.End())
		if err != nil {
			t.Fatal(err)
		}
		if run == nil {
			return headers, payloads
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			headers = append(headers, h)
			payloads = append(payloads, bytes.Clone(run[core.FrameHeaderSize:h.Length]))
			run = run[h.Size():]
		}
	}
}

func TestRemoteFramesAreStoredOnce(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			b := one(t, leat.TopicConfig{Ack: level})
			p, r := b.partition(0), newRemote(t, b.node, 7)
			large := string(bytes.Repeat([]byte("large"), inlineBytes))
			first := r.send(p, 10, "a", "b")
			wantStored(t, "first", first, 0, false)
			wantStored(t, "by reference", r.send(p, 12, large), 2, false)
			again := r.send(p, 10, "a", "b")
			wantStored(t, "the first again", again, 0, true)
			if again.time != first.time {
				t.Errorf("the original's time is %d, the duplicate tells %d", first.time, again.time)
			}
			wantStored(t, "by reference again", r.send(p, 12, large), 2, true)
			wantError(t, "a gap", r.send(p, 14, "x").err, core.ErrOutOfSequence)
			wantStored(t, "the next", r.send(p, 13, "c"), 3, false)
			r.epoch = 2
			wantError(t, "a newer epoch, not at 0", r.send(p, 14, "x").err, core.ErrOutOfSequence)
			wantStored(t, "a newer epoch", r.send(p, 0, "d"), 4, false)
			r.epoch = 1
			wantError(t, "an older epoch", r.send(p, 1, "x").err, leat.ErrProducerFenced)
			r.id, r.epoch = 0, 0
			wantStored(t, "anonymous", r.send(p, 0, "e"), 5, false)
			wantStored(t, "anonymous again", r.send(p, 0, "e"), 6, false)

			sub := b.subscribe("t", leat.From(leat.Earliest))
			if got, want := values(take(t, sub, 7)), "a b "+large+" c d e e"; got != want {
				t.Errorf("read %.80q, want %.80q", got, want)
			}
			headers, _ := storedFrames(t, p)
			if len(headers) != 6 || headers[0].ProducerID != 7 || headers[0].BaseSeq != 10 ||
				headers[3].ProducerEpoch != 2 || headers[5].ProducerID != 0 {
				t.Errorf("stored frames: %+v", headers)
			}
		})
	}
}

// TestFramesAndRecordsInOneStep journals both kinds, of several producers, in one step.
func TestFramesAndRecordsInOneStep(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			b := one(t, leat.TopicConfig{Ack: level})
			p, plain := b.partition(0), b.producer("t")
			r, other := newRemote(t, b.node, 7), newRemote(t, b.node, 8)
			resume := b.stall()
			if err := plain.TryPublish(text("p1")); err != nil {
				t.Fatal(err)
			}
			r.commit(r.frame(p, 0, "r1", "r2"))
			other.commit(other.frame(p, 5, "o1"))
			for range 2 {
				if err := plain.TryPublish(text("p2")); err != nil {
					t.Fatal(err)
				}
			}
			r.commit(r.frame(p, 2, "r3"))       // follows what is not written yet
			r.commit(r.frame(p, 0, "r1", "r2")) // and so does a duplicate of it
			r.commit(r.frame(p, 4, "r5"))       // a gap
			r.commit(r.frame(p, 3, "r4"))
			resume()
			got := r.outcomes(5)
			wantStored(t, "r1", got[0], 1, false)
			wantStored(t, "r3", got[1], 6, false)
			wantStored(t, "r1 again", got[2], 1, true)
			wantError(t, "r5", got[3].err, core.ErrOutOfSequence)
			wantStored(t, "r4", got[4], 7, false)
			wantStored(t, "o1", other.outcomes(1)[0], 3, false)
			sub := b.subscribe("t", leat.From(leat.Earliest))
			if got, want := values(take(t, sub, 8)), "p1 r1 r2 o1 p2 p2 r3 r4"; got != want {
				t.Errorf("read %q, want %q", got, want)
			}
		})
	}
}

// TestFailedWriteForgetsFrames: what a failed write took along is neither known nor a duplicate.
func TestFailedWriteForgetsFrames(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	p, r, plain := b.partition(0), newRemote(t, b.node, 7), b.producer("t")
	wantStored(t, "before", r.send(p, 0, "a"), 0, false)
	resume := b.stall()
	b.fs.FailWrites(fmt.Errorf("full: %w", syscall.ENOSPC))
	if err := plain.TryPublish(text("lost")); err != nil {
		t.Fatal(err)
	}
	r.commit(r.frame(p, 1, "b"))
	r.commit(r.frame(p, 2, "c"))
	r.commit(r.frame(p, 1, "b")) // a duplicate of what will not be there
	r.commit(r.frame(p, 0, "a")) // and one of what is
	resume()
	got := r.outcomes(5)[1:]
	for i, what := range []string{"b", "c", "b again"} {
		wantError(t, what, got[i].err, leat.ErrStorageFull)
	}
	wantStored(t, "a again", got[3], 0, true)
	b.fs.FailWrites(nil)
	if epoch, next, known := p.producerState(7); epoch != 0 || next != 1 || !known {
		t.Errorf("producerState = %d, %d, %v; want 0, 1, true", epoch, next, known)
	}
	wantError(t, "c without b", r.send(p, 2, "c").err, core.ErrOutOfSequence)
	wantStored(t, "b", r.send(p, 1, "b"), 1, false)
	wantStored(t, "c", r.send(p, 2, "c"), 2, false)
}

// TestDuplicatesWaitForTheOriginal: a duplicate is answered when its level holds for the original, at
// once if it does already.
func TestDuplicatesWaitForTheOriginal(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p, r := b.partition(0), newRemote(t, b.node, 7)
	hung, release := b.fs.HangNextSync()
	wantStored(t, "at page", r.send(p, 0, "a"), 0, false)
	again := r.frame(p, 0, "a")
	again.level = core.AckDisk
	r.commit(again)
	receive(t, "the sync", hung)
	if n := len(r.outcomes(1)); n != 1 {
		t.Fatalf("%d outcomes while the disk hangs", n)
	}
	release()
	wantStored(t, "at disk", r.outcomes(2)[1], 0, true)
	eventually(t, "all is durable", func() bool { return p.log.DurableEnd() == 1 })
	again.ticket++
	r.commit(again)
	wantStored(t, "what is durable", r.outcomes(3)[2], 0, true)
}

func TestCommitFrameDoesNotWaitIfToldSo(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p, r := b.partition(0), newRemote(t, b.node, 7)
	resume := b.stall()
	sent, seq := 0, int32(0)
	var err error
	for err == nil {
		f := r.frame(p, seq, "some record of a producer")
		if err = b.node.commitFrame(context.Background(), f, false); err == nil {
			sent, seq = sent+1, seq+1
		}
	}
	wantError(t, "a full ring", err, leat.ErrFull)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.node.commitFrame(ctx, r.frame(p, seq, "x"), true); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
	resume()
	for i, o := range r.outcomes(sent) {
		wantStored(t, "let in", o, int64(i), false)
	}
	p.gate.set(true)
	wantError(t, "a closed gate", b.node.commitFrame(ctx, r.frame(p, seq, "x"), false), leat.ErrFull)
	p.gate.set(false)
}

func TestFramesOfAFencedPartition(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	p, r := b.partition(0), newRemote(t, b.node, 7)
	wantStored(t, "before", r.send(p, 0, "a"), 0, false)
	b.fs.FailNextSync(syscall.EIO)
	wantError(t, "the failed sync", r.send(p, 1, "b").err, leat.ErrLogFenced)
	err := b.node.commitFrame(soon(t), r.frame(p, 2, "c"), true)
	wantError(t, "after the fence", err, leat.ErrLogFenced)
	if err := b.closeBroken(); err == nil {
		t.Error("Close tells nothing of the fence")
	}
}

func TestCommitFrameDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.partition(0)
	done := &countingCompleter{}
	index := b.node.register(done)
	sent := int64(0)
	for _, size := range []int{100, 2 * inlineBytes} {
		r := newRemote(t, b.node, int64(size))
		f := r.frame(p, 0, string(make([]byte, size)))
		f.producer = index
		commit := func() {
			if err := b.node.commitFrame(context.Background(), f, true); err != nil {
				t.Fatal(err)
			}
			f.header.BaseSeq++
			// One that is still on its way has its buffer, and the next would need another.
			for sent++; done.stored.Load()+done.failed.Load() < sent; {
				runtime.Gosched()
			}
		}
		for range 100 {
			commit()
		}
		// What else the process does may fall into a window, but not into all of them.
		least := testing.AllocsPerRun(200, commit)
		for range 4 {
			least = min(least, testing.AllocsPerRun(200, commit))
		}
		if least > 0.1 {
			t.Errorf("payload of %d bytes: %v allocations a frame, want 0", size, least)
		}
	}
	eventually(t, "all are answered", func() bool { return done.stored.Load() == 2*(100+5*201) })
	if done.failed.Load() != 0 {
		t.Errorf("%d frames failed", done.failed.Load())
	}
}

type countingCompleter struct{ stored, failed atomic.Int64 }

func (c *countingCompleter) complete(_ *shard, run []outcome) {
	for i := range run {
		if run[i].err != nil {
			c.failed.Add(1)
		} else {
			c.stored.Add(1)
		}
	}
}

func TestRegisterReusesPlaces(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	first, second := b.node.register(&countingCompleter{}), b.node.register(&countingCompleter{})
	if first == second || first < firstProducer {
		t.Fatalf("places %d and %d", first, second)
	}
	b.node.unregister(first)
	if got := b.node.register(&countingCompleter{}); got != first {
		t.Errorf("place %d, want %d, which is free", got, first)
	}
}

// TestManyRemoteProducers: each sends its frames with retries, some while others and anonymous
// producers write, and every record is stored once and in order.
func TestManyRemoteProducers(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	const producers, frames = 6, 120
	var group sync.WaitGroup
	for id := range int64(producers) {
		group.Go(func() {
			r := newRemote(t, b.node, id+1)
			part := b.partition(int(id) % 3)
			var offsets []int64
			for i := range int32(frames) {
				o := r.send(part, 2*i, "x", "y")
				wantStored(t, "frame", o, o.offset, false)
				offsets = append(offsets, o.offset)
				if back := i % 7; back <= min(i, 4) {
					wantStored(t, "retry", r.send(part, 2*(i-back), "x", "y"), offsets[i-back], true)
				}
				if _, next, known := part.producerState(id + 1); next != 2*i+2 || !known {
					t.Errorf("next sequence %d, known %v, want %d", next, known, 2*i+2)
				}
			}
		})
		group.Go(func() {
			p := b.producer("t")
			for range frames {
				publish(t, p, text("anonymous"))
			}
		})
	}
	group.Wait()
	seen := map[int64]int32{}
	for i := range 3 {
		headers, _ := storedFrames(t, b.partition(i))
		for _, h := range headers {
			if h.ProducerID == 0 {
				continue
			}
			if h.BaseSeq != seen[h.ProducerID] {
				t.Fatalf("producer %d: sequence %d where %d is due", h.ProducerID, h.BaseSeq, seen[h.ProducerID])
			}
			seen[h.ProducerID] += int32(h.Records)
		}
	}
	for id := range int64(producers) {
		if seen[id+1] != 2*frames {
			t.Errorf("producer %d stored %d records, want %d", id+1, seen[id+1], 2*frames)
		}
	}
}
