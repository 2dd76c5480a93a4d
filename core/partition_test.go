package core

import (
	"fmt"
	"math"
	"testing"
)

// partitionRig drives a partition as the shell does and keeps what it said last.
type partitionRig struct {
	t   *testing.T
	p   *Partition
	now int64
	out Effects
}

func newPartitionRig(t *testing.T, level Ack) *partitionRig {
	return &partitionRig{t: t, p: NewPartition(level, 0, 0), now: 1}
}

func (r *partitionRig) step(in PartitionInput) []Effect {
	r.out.Reset()
	r.p.Step(&in, r.now, &r.out)
	return r.out.List
}

// want fails unless a step has exactly these effects.
func (r *partitionRig) want(what string, got []Effect, want ...Effect) {
	r.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s: effects %+v, want %+v", what, got, want)
	}
}

func batch(id int64, epoch int16, baseSeq, records int32) PartitionInput {
	return PartitionInput{Kind: InputAppend, ProducerID: id, ProducerEpoch: epoch, BaseSeq: baseSeq,
		Records: records}
}

// publish plans a batch and, if it is to be appended, writes it.
func (r *partitionRig) publish(in PartitionInput) Effect {
	r.t.Helper()
	got := r.step(in)
	if len(got) != 1 {
		r.t.Fatalf("append %+v: %d effects, want 1", in, len(got))
	}
	verdict := got[0]
	if verdict.Kind == EffectAppend {
		in.Kind, in.Offset = InputWritten, verdict.Hi
		r.step(in)
	}
	return verdict
}

func (r *partitionRig) wantPublish(what string, in PartitionInput, want Effect) {
	r.t.Helper()
	if got := r.publish(in); got != want {
		r.t.Errorf("%s: publish %+v = %+v, want %+v", what, in, got, want)
	}
}

func appended(lo, hi int64) Effect  { return Effect{Kind: EffectAppend, Lo: lo, Hi: hi} }
func duplicate(lo, hi int64) Effect { return Effect{Kind: EffectDuplicate, Lo: lo, Hi: hi} }
func rejected(code Code) Effect     { return Effect{Kind: EffectReject, Code: code} }
func highWater(lo, hi int64) Effect { return Effect{Kind: EffectHighWater, Lo: lo, Hi: hi} }

func TestHighWaterFollowsTheLevel(t *testing.T) {
	tests := []struct {
		level             Ack
		atWrite, atSync   bool
		startAt, visibleA int64 // high-water mark of a log [0, 10) that is durable to 4
	}{
		{AckNone, true, false, 10, 13},
		{AckRing, true, false, 10, 13},
		{AckPage, true, false, 10, 13},
		{AckDisk, false, true, 4, 4},
		{AckDefault, false, true, 4, 4},
		{AckQuorumPage, false, true, 4, 4},
		{AckQuorum, false, true, 4, 4},
	}
	for _, tt := range tests {
		r := &partitionRig{t: t, p: NewPartition(tt.level, 10, 4), now: 1}
		if got := r.p.HighWater(); got != tt.startAt {
			t.Errorf("%v: starts at %d, want %d", tt.level, got, tt.startAt)
		}
		written := r.step(PartitionInput{Kind: InputWritten, Records: 3, Offset: 13})
		if tt.atWrite {
			r.want(tt.level.String()+" written", written, highWater(10, 13))
		} else {
			r.want(tt.level.String()+" written", written)
		}
		if got := r.p.HighWater(); got != tt.visibleA {
			t.Errorf("%v: %d after the write, want %d", tt.level, got, tt.visibleA)
		}
		synced := r.step(PartitionInput{Kind: InputSynced, Offset: 13})
		if tt.atSync {
			r.want(tt.level.String()+" synced", synced, highWater(4, 13))
		} else {
			r.want(tt.level.String()+" synced", synced)
		}
		if r.p.LogEnd() != 13 || r.p.DurableEnd() != 13 || r.p.HighWater() != 13 {
			t.Errorf("%v: ends at %d, %d, %d; want 13", tt.level, r.p.LogEnd(), r.p.DurableEnd(), r.p.HighWater())
		}
		r.want("the same sync again", r.step(PartitionInput{Kind: InputSynced, Offset: 13}))
		r.want("an older sync", r.step(PartitionInput{Kind: InputSynced, Offset: 11}))
		r.want("an empty write", r.step(PartitionInput{Kind: InputWritten, Offset: 13}))
	}
}

func TestAppendPlansOnly(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	for range 3 {
		r.want("plan", r.step(batch(0, 0, 0, 5)), appended(0, 5))
		r.want("plan", r.step(batch(7, 0, 0, 2)), appended(0, 2))
	}
	if r.p.LogEnd() != 0 || r.p.HighWater() != 0 {
		t.Errorf("ends at %d, %d after plans; want 0", r.p.LogEnd(), r.p.HighWater())
	}
	r.wantPublish("after failed writes", batch(7, 0, 0, 2), appended(0, 2))
	r.wantPublish("the next", batch(7, 0, 2, 1), appended(2, 3))
}

func TestAnonymousProducersAreNeverChecked(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	r.wantPublish("first", batch(0, 3, 9, 1), appended(0, 1))
	r.wantPublish("same again", batch(0, 3, 9, 1), appended(1, 2))
	r.wantPublish("older epoch", batch(0, 2, 0, MaxBatchRecords+1), appended(2, 2+MaxBatchRecords+1))
}

func TestAppendRefusesImpossibleBatches(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	for _, in := range []PartitionInput{
		batch(0, 0, 0, 0), batch(0, 0, 0, -1), batch(7, 0, 0, 0), batch(-1, 0, 0, 1),
		batch(7, 0, -1, 1), batch(7, 0, 0, MaxBatchRecords+1), batch(7, 0, 0, math.MinInt32),
	} {
		r.wantPublish("impossible", in, rejected(CodeInvalidRecord))
	}
	if r.p.LogEnd() != 0 {
		t.Errorf("log ends at %d", r.p.LogEnd())
	}
}

func TestIdempotence(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	const id = 77
	for i := range int32(6) { // sequences [10i, 10i+10) at offsets [10i, 10i+10)
		r.wantPublish("in sequence", batch(id, 1, 10*i, 10), appended(int64(10*i), int64(10*i+10)))
	}
	tests := []struct {
		what string
		in   PartitionInput
		want Effect
	}{
		{"newest again", batch(id, 1, 50, 10), duplicate(50, 60)},
		{"oldest in the window", batch(id, 1, 10, 10), duplicate(10, 20)},
		{"part of one", batch(id, 1, 32, 5), duplicate(32, 37)},
		{"older than the window", batch(id, 1, 0, 10), rejected(CodeOutOfSequence)},
		{"across two", batch(id, 1, 35, 10), rejected(CodeOutOfSequence)},
		{"across the end", batch(id, 1, 55, 10), rejected(CodeOutOfSequence)},
		{"gap of one", batch(id, 1, 61, 1), rejected(CodeOutOfSequence)},
		{"far ahead", batch(id, 1, math.MaxInt32, 1), rejected(CodeOutOfSequence)},
		{"older epoch", batch(id, 0, 60, 1), rejected(CodeProducerFenced)},
		{"negative epoch", batch(id, -1, 60, 1), rejected(CodeInvalidRecord)},
		{"newer epoch, not at 0", batch(id, 2, 60, 1), rejected(CodeOutOfSequence)},
		{"another producer, anywhere", batch(78, 0, 1_000, 1), appended(60, 61)},
		{"in sequence still", batch(id, 1, 60, 1), appended(61, 62)},
		{"newer epoch", batch(id, 9, 0, 2), appended(62, 64)},
		{"again", batch(id, 9, 0, 2), duplicate(62, 64)},
		{"the epoch before", batch(id, 1, 61, 1), rejected(CodeProducerFenced)},
		{"newer epoch goes on", batch(id, 9, 2, 1), appended(64, 65)},
	}
	for _, tt := range tests {
		r.wantPublish(tt.what, tt.in, tt.want)
	}
}

func TestSequencesWrap(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	const id, end = 5, math.MaxInt32 // the last sequence
	r.wantPublish("up to the last", batch(id, 0, end-1, 1), appended(0, 1))
	r.wantPublish("over the end", batch(id, 0, end, 3), appended(1, 4)) // end, 0, 1
	r.wantPublish("after the wrap", batch(id, 0, 2, 1), appended(4, 5))
	r.wantPublish("the wrapped one again", batch(id, 0, end, 3), duplicate(1, 4))
	r.wantPublish("its part after 0", batch(id, 0, 0, 2), duplicate(2, 4))
	r.wantPublish("a gap", batch(id, 0, 4, 1), rejected(CodeOutOfSequence))
	r.wantPublish("a negative one", batch(id, 0, math.MinInt32, 1), rejected(CodeInvalidRecord))
	r.wantPublish("the next", batch(id, 0, 3, 1), appended(5, 6))

	exact := newPartitionRig(t, AckPage)
	exact.wantPublish("ends at the last", batch(id, 0, end-1, 2), appended(0, 2))
	exact.wantPublish("begins at 0", batch(id, 0, 0, 1), appended(2, 3))
}

func TestEpochsWrap(t *testing.T) {
	tests := []struct {
		a, b  int16
		after bool
	}{
		{1, 0, true}, {0, 1, false}, {0, 0, false}, {32767, 32766, true}, {0, 32767, true}, {32767, 0, false},
		{5, 32760, true}, {32760, 5, false}, {16383, 0, true}, {0, 16383, false},
		{16384, 0, false}, {0, 16384, false}, {16385, 0, false}, {0, 16385, true},
	}
	for _, tt := range tests {
		if got := epochAfter(tt.a, tt.b); got != tt.after {
			t.Errorf("epochAfter(%d, %d) = %v, want %v", tt.a, tt.b, got, tt.after)
		}
	}
	for from, want := range map[int16]int16{0: 1, 32766: 32767, 32767: 0} {
		if got := NextProducerEpoch(from); got != want || !epochAfter(got, from) {
			t.Errorf("NextProducerEpoch(%d) = %d, want %d, which is after it", from, got, want)
		}
	}
	r := newPartitionRig(t, AckPage)
	r.wantPublish("the last epoch", batch(5, 32767, 40, 1), appended(0, 1))
	r.wantPublish("the first one, not at 0", batch(5, 0, 41, 1), rejected(CodeOutOfSequence))
	r.wantPublish("the first one", batch(5, 0, 0, 1), appended(1, 2))
	r.wantPublish("the last again", batch(5, 32767, 41, 1), rejected(CodeProducerFenced))
}

func TestProducerTellsWhatComesNext(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	wantNext := func(what string, epoch int16, seq int32, known bool) {
		t.Helper()
		if e, s, k := r.p.Producer(7); e != epoch || s != seq || k != known {
			t.Errorf("%s: Producer = %d, %d, %v; want %d, %d, %v", what, e, s, k, epoch, seq, known)
		}
	}
	wantNext("nothing written", 0, 0, false)
	r.publish(batch(7, 3, math.MaxInt32, 2))
	wantNext("wrapped", 3, 1, true)
	r.step(batch(7, 3, 1, 1))
	wantNext("only planned", 3, 1, true)
	in := batch(7, 4, 0, 5)
	in.Kind, in.Offset = InputAdded, 7
	r.step(in)
	wantNext("in the write under way", 4, 5, true)
	r.step(PartitionInput{Kind: InputDropped})
	wantNext("dropped", 3, 1, true)
	r.now += ProducerIdleNanos
	r.step(PartitionInput{Kind: InputSynced})
	wantNext("expired", 0, 0, false)
}

// TestOneWriteOfManyBatches: batches of a write are judged as if the ones before were stored.
func TestOneWriteOfManyBatches(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	added := func(in PartitionInput, end, time int64) {
		in.Kind, in.Offset, in.Time = InputAdded, end, time
		r.want("added", r.step(in))
	}
	round := func() {
		added(batch(7, 1, 0, 2), 5, 11) // [3, 5), behind 3 anonymous records that had no step
		added(batch(8, 0, 9, 1), 6, 11)
		added(batch(7, 1, 2, 1), 10, 11)
		again := duplicate(3, 5)
		again.Time = 11
		r.want("the first again", r.step(batch(7, 1, 0, 2)), again)
		r.want("a gap", r.step(batch(7, 1, 4, 1)), rejected(CodeOutOfSequence))
		r.want("an older epoch", r.step(batch(7, 0, 3, 1)), rejected(CodeProducerFenced))
		r.want("the next", r.step(batch(7, 1, 3, 1)), appended(10, 11))
		added(batch(7, 2, 0, 1), 11, 11)
		r.want("the epoch before", r.step(batch(7, 1, 3, 1)), rejected(CodeProducerFenced))
		r.want("what the new epoch did not write", r.step(batch(7, 2, 7, 1)), rejected(CodeOutOfSequence))
		if r.p.LogEnd() != 0 || r.p.HighWater() != 0 {
			t.Errorf("ends at %d, %d before the write", r.p.LogEnd(), r.p.HighWater())
		}
	}
	round()
	r.want("dropped", r.step(PartitionInput{Kind: InputDropped}))
	r.want("as if it had never been", r.step(batch(7, 1, 2, 1)), appended(0, 1))
	round()
	r.want("written, with two more", r.step(PartitionInput{Kind: InputWritten, Offset: 13}), highWater(0, 13))
	stored := duplicate(10, 11)
	stored.Time = 11
	r.wantPublish("a retry", batch(7, 2, 0, 1), stored)
	r.wantPublish("the next", batch(7, 2, 1, 1), appended(13, 14))
}

func TestFenceDropsTheWriteUnderWay(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	in := batch(7, 0, 0, 2)
	in.Kind, in.Offset = InputAdded, 2
	r.step(in)
	r.step(PartitionInput{Kind: InputFence})
	r.want("written", r.step(PartitionInput{Kind: InputWritten, Offset: 2}), rejected(CodeLogFenced))
	if _, _, known := r.p.Producer(7); known || r.p.LogEnd() != 0 {
		t.Errorf("producer known: %v, log end %d after a write that was fenced", known, r.p.LogEnd())
	}
}

func TestProducersExpire(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	r.wantPublish("first", batch(1, 4, 0, 1), appended(0, 1))
	r.now += ProducerIdleNanos - 1
	r.wantPublish("just before", batch(1, 4, 0, 1), duplicate(0, 1))
	r.now++
	r.wantPublish("expired: starts anywhere, in any epoch", batch(1, 0, 40, 1), appended(1, 2))
	r.wantPublish("and is known again", batch(1, 0, 40, 1), duplicate(1, 2))
	r.now -= 100 * ProducerIdleNanos
	r.wantPublish("a clock that goes back", batch(1, 0, 40, 1), duplicate(1, 2))
	r.now += 100*ProducerIdleNanos + ProducerIdleNanos/2
	r.wantPublish("a batch keeps it alive", batch(1, 0, 41, 1), appended(2, 3))
	r.now += ProducerIdleNanos - 1
	r.wantPublish("for an hour from then", batch(1, 0, 41, 1), duplicate(2, 3))
}

// TestManyExpireInBoundedSteps: the expired are gone for check at once and from memory soon.
func TestManyExpireInBoundedSteps(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	const n = 10 * expiredPerStep
	for id := range int64(n) {
		r.publish(batch(id+1, 0, 0, 1))
	}
	r.now += ProducerIdleNanos
	r.wantPublish("the newest expired too", batch(n, 0, 77, 1), appended(n, n+1))
	for range n / expiredPerStep {
		r.step(PartitionInput{Kind: InputSynced})
	}
	if got := len(r.p.producers.index); got != 1 {
		t.Errorf("%d producers known, want 1", got)
	}
	checkProducerTable(t, &r.p.producers)
}

func TestProducersAreBounded(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	for id := range int64(MaxProducers + 10) {
		r.publish(batch(id+1, 0, 0, 1))
		if id == 500 {
			r.publish(batch(3, 0, 1, 1)) // 3 is not among the longest idle any more
		}
	}
	if got := len(r.p.producers.index); got != MaxProducers {
		t.Errorf("%d producers known, want %d", got, MaxProducers)
	}
	if got := len(r.p.producers.slots); got != MaxProducers {
		t.Errorf("%d slots, want %d", got, MaxProducers)
	}
	checkProducerTable(t, &r.p.producers)
	for id, want := range map[int64]EffectKind{1: EffectAppend, 11: EffectAppend, 3: EffectDuplicate,
		12: EffectDuplicate, MaxProducers + 10: EffectDuplicate} {
		if got := r.step(batch(id, 0, 0, 1))[0].Kind; got != want {
			t.Errorf("first batch of producer %d again: effect %d, want %d", id, got, want)
		}
	}
}

// checkProducerTable walks the list both ways.
func checkProducerTable(t *testing.T, table *producerTable) {
	t.Helper()
	seen, last := 0, int64(math.MinInt64)
	for at := table.oldest; at != noProducer; at = table.slots[at].newer {
		p := &table.slots[at]
		if p.lastSeen < last {
			t.Fatalf("producer %d seen at %d stands after %d", p.id, p.lastSeen, last)
		}
		if p.newer == noProducer && table.newest != at ||
			p.newer != noProducer && table.slots[p.newer].older != at {
			t.Fatalf("the list is broken at slot %d", at)
		}
		if table.index[p.id] != at {
			t.Fatalf("producer %d is in slot %d, the index says %d", p.id, at, table.index[p.id])
		}
		last = p.lastSeen
		seen++
	}
	if seen != len(table.index) {
		t.Fatalf("%d producers in the list, %d in the index", seen, len(table.index))
	}
}

func TestRestore(t *testing.T) {
	stored := func(id int64, epoch int16, baseSeq int32, lo int64, n uint16) *FrameHeader {
		return &FrameHeader{ProducerID: id, ProducerEpoch: epoch, BaseSeq: baseSeq, BaseOffset: lo, Records: n}
	}
	p := NewPartition(AckPage, 100, 100)
	r := &partitionRig{t: t, p: p, now: 50}
	p.Restore(stored(0, 0, 0, 0, 10)) // anonymous
	p.Restore(stored(7, 1, 90, 10, 10))
	p.Restore(stored(7, 1, 200, 20, 10)) // it had expired in between
	p.Restore(stored(7, 1, 210, 30, 30))
	p.Restore(stored(8, 5, 0, 60, 1))
	p.Restore(stored(8, 2, 7, 61, 1)) // expired as well
	config := stored(9, 0, 0, 62, 1)
	config.Attrs = uint8(FrameConfig)
	p.Restore(config)
	p.Restore(stored(9, 0, 3, 63, 0))
	p.Resume(r.now)
	if got := len(p.producers.index); got != 2 {
		t.Fatalf("%d producers restored, want 2", got)
	}
	r.wantPublish("a retry after the restart", batch(7, 1, 210, 30), duplicate(30, 60))
	r.wantPublish("a retry of merged batches", batch(7, 1, 225, 5), duplicate(45, 50))
	r.wantPublish("from before it expired", batch(7, 1, 90, 10), rejected(CodeOutOfSequence))
	r.wantPublish("the next", batch(7, 1, 240, 1), appended(100, 101))
	r.wantPublish("the epoch is the last stored", batch(8, 2, 8, 1), appended(101, 102))
	r.now += ProducerIdleNanos
	r.wantPublish("idle counts from the restart", batch(7, 1, 5, 1), appended(102, 103))
}

// TestRestoreForgetsAsTheLogDid: a producer that was idle for an hour of the log's time is forgotten,
// whatever the time between the last frame and the restart.
func TestRestoreForgetsAsTheLogDid(t *testing.T) {
	p := NewPartition(AckPage, 100, 100)
	frame := func(id, lo, time int64) *FrameHeader {
		return &FrameHeader{ProducerID: id, BaseOffset: lo, Records: 1, Time: time}
	}
	p.Restore(frame(7, 0, 1))
	p.Restore(frame(8, 1, 2))
	p.Restore(frame(0, 2, 1+ProducerIdleNanos))
	r := &partitionRig{t: t, p: p, now: 100 * ProducerIdleNanos}
	p.Resume(r.now)
	r.wantPublish("idle for an hour", batch(7, 0, 0, 1), appended(100, 101))
	again := duplicate(1, 2)
	again.Time = 2
	r.wantPublish("and for a little less", batch(8, 0, 0, 1), again)
	r.now += 2
	r.wantPublish("and a little later", batch(8, 0, 0, 1), appended(101, 102))
}

func TestFence(t *testing.T) {
	for given, want := range map[Code]Code{0: CodeLogFenced, CodeIO: CodeIO, CodeClosed: CodeClosed} {
		r := newPartitionRig(t, AckDisk)
		r.wantPublish("before", batch(7, 0, 0, 2), appended(0, 2))
		planned := batch(7, 0, 2, 1)
		r.want("plan", r.step(planned), appended(2, 3))
		r.want("fence", r.step(PartitionInput{Kind: InputFence, Code: given}))
		r.want("fence again", r.step(PartitionInput{Kind: InputFence, Code: CodeStorageFull}))
		r.want("append", r.step(batch(0, 0, 0, 1)), rejected(want))
		r.want("a duplicate, which may be lost", r.step(batch(7, 0, 0, 2)), rejected(want))
		planned.Kind, planned.Offset = InputWritten, 3
		r.want("the planned write", r.step(planned), rejected(want))
		r.want("a sync that lies", r.step(PartitionInput{Kind: InputSynced, Offset: 2}))
		if r.p.LogEnd() != 2 || r.p.DurableEnd() != 0 || r.p.HighWater() != 0 {
			t.Errorf("ends at %d, %d, %d", r.p.LogEnd(), r.p.DurableEnd(), r.p.HighWater())
		}
	}
}

func TestPartitionAssertsItsInvariants(t *testing.T) {
	step := func(in PartitionInput) func() {
		return func() { NewPartition(AckPage, 10, 5).Step(&in, 1, &Effects{}) }
	}
	wantPanic(t, "core: durable mark beyond the end of the log", func() { NewPartition(AckPage, 4, 5) })
	wantPanic(t, "core: durable mark beyond the end of the log",
		step(PartitionInput{Kind: InputSynced, Offset: 11}))
	wantPanic(t, "core: log end went back", step(PartitionInput{Kind: InputWritten, Offset: 9}))
	wantPanic(t, "core: written batch is not the planned one",
		step(PartitionInput{Kind: InputWritten, ProducerID: 1, Records: 2, Offset: 13}))
	wantPanic(t, "core: added batch overlaps the one before",
		step(PartitionInput{Kind: InputAdded, ProducerID: 1, Records: 2, Offset: 11}))
	wantPanic(t, "core: unknown partition input", step(PartitionInput{}))
}

func TestPartitionStepDoesNotAllocate(t *testing.T) {
	r := newPartitionRig(t, AckPage)
	anonymous, identified := batch(0, 0, 0, 10), batch(7, 0, 0, 10)
	publish := func(in PartitionInput) {
		in.Offset = r.p.LogEnd() + int64(in.Records)
		for _, kind := range []PartitionInputKind{InputAppend, InputWritten, InputSynced} {
			in.Kind = kind
			r.out.Reset()
			r.p.Step(&in, r.now, &r.out)
		}
	}
	publish(identified)
	wantNoAllocs(t, "Step", func() {
		r.now++
		publish(anonymous)
		identified.BaseSeq += 10
		publish(identified)
		for range 3 {
			identified.BaseSeq += 10
			identified.Kind, identified.Offset = InputAdded, r.p.addedEnd+10
			r.p.Step(&identified, r.now, &r.out)
		}
		r.p.Step(&PartitionInput{Kind: InputWritten, Offset: r.p.addedEnd}, r.now, &r.out)
		retry := identified
		retry.Kind = InputAppend
		r.out.Reset()
		r.p.Step(&retry, r.now, &r.out)
		if r.out.List[0].Kind != EffectDuplicate {
			t.Fatalf("retry: %+v", r.out.List)
		}
	})
}

func BenchmarkPartitionStep(b *testing.B) {
	for _, id := range []int64{0, 7} {
		b.Run(map[int64]string{0: "anonymous", 7: "identified"}[id], func(b *testing.B) {
			p, in, out := NewPartition(AckPage, 0, 0), batch(id, 0, 0, 64), Effects{}
			b.ReportAllocs()
			for b.Loop() {
				in.Offset = p.LogEnd() + int64(in.Records)
				for _, kind := range []PartitionInputKind{InputAppend, InputWritten, InputSynced} {
					in.Kind = kind
					out.Reset()
					p.Step(&in, 1, &out)
				}
				in.BaseSeq = (in.BaseSeq + in.Records) & sequenceMask
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
		})
	}
}

// TestStoredIsTheTwoSteps holds Stored against the steps it replaces, at each level and across syncs.
func TestStoredIsTheTwoSteps(t *testing.T) {
	for _, level := range []Ack{AckPage, AckDisk} {
		stored, stepped := NewPartition(level, 5, 5), NewPartition(level, 5, 5)
		var effects Effects
		for i := int64(0); i < 20; i++ {
			end := 6 + i
			mark := stored.Stored(end, i)
			effects.Reset()
			stepped.Step(&PartitionInput{Kind: InputAppend, Records: 1}, i, &effects)
			stepped.Step(&PartitionInput{Kind: InputWritten, Records: 1, Offset: end}, i, &effects)
			if i%3 == 0 {
				synced := PartitionInput{Kind: InputSynced, Offset: end}
				stored.Step(&synced, i, &effects)
				stepped.Step(&synced, i, &effects)
				mark = stored.HighWater()
			}
			if mark != stepped.HighWater() || stored.LogEnd() != stepped.LogEnd() {
				t.Fatalf("%v: Stored(%d) = %d and log end %d, steps give %d and %d",
					level, end, mark, stored.LogEnd(), stepped.HighWater(), stepped.LogEnd())
			}
		}
		stored.Step(&PartitionInput{Kind: InputFence}, 20, &effects)
		if got := stored.Refused(); got != CodeLogFenced {
			t.Errorf("%v: Refused after a fence = %v, want %v", level, got, CodeLogFenced)
		}
	}
}
