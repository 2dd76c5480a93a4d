package leat_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// runs is a subscription whose batches a test makes.
type runs struct {
	fakeSubscription
	list []leat.BatchRun
}

func (r *runs) NextBatch(_ context.Context, run *leat.BatchRun) error {
	if len(r.list) == 0 {
		return leat.ErrClosed
	}
	*run = r.list[0]
	r.list = r.list[1:]
	return nil
}

type runsBackend struct {
	*fakeBackend
	sub *runs
}

func (b runsBackend) OpenSubscription(string, leat.SubscribeOptions) (leat.SubscriptionBackend, error) {
	return b.sub, nil
}

// frame encodes values as one frame of the log.
func frame(t *testing.T, base int64, values ...string) []byte {
	t.Helper()
	payload := make([]byte, core.FrameHeaderSize)
	for _, v := range values {
		size, err := core.EncodedRecordSize(nil, []byte(v), nil)
		if err != nil {
			t.Fatal(err)
		}
		record := make([]byte, size)
		core.PutRecord(record, nil, []byte(v), nil, 0, 0)
		payload = append(payload, record...)
	}
	h := core.FrameHeader{Length: uint32(len(payload)), BaseOffset: base, Records: uint16(len(values)),
		Version: core.FrameVersion}
	h.Encode(payload, 0)
	return payload
}

func subscribeRuns(
	t *testing.T, list []leat.BatchRun, o ...leat.SubscribeOption,
) (*leat.Subscription, *fakeBackend) {
	t.Helper()
	f := &fakeBackend{}
	bus := leat.NewBus(runsBackend{f, &runs{fakeSubscription{f}, list}})
	sub, err := bus.Subscribe("t", o...)
	if err != nil {
		t.Fatal(err)
	}
	return sub, f
}

// TestBatchBeginsWithinAFrame: messages before First are not given, and several frames are one run.
func TestBatchBeginsWithinAFrame(t *testing.T) {
	frames := slices.Concat(frame(t, 3, "3", "4", "5"), frame(t, 6, "6", "7", "8"))
	run := leat.BatchRun{First: 5, Next: 9, Frames: frames}
	sub, _ := subscribeRuns(t, []leat.BatchRun{run})
	for b, err := range sub.Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for m, err := range b.Messages() {
			if err != nil {
				t.Fatal(err)
			}
			got += string(m.Value)
		}
		if got != "5678" {
			t.Errorf("read %q, want 5678", got)
		}
	}
}

// TestBatchOfDamage: frames and records that are wrong end the loop with an error, once, and never panic.
func TestBatchOfDamage(t *testing.T) {
	whole := frame(t, 0, "a", "b")
	for at := range whole {
		for _, bit := range []byte{1, 0x80} {
			damaged := slices.Clone(whole)
			damaged[at] ^= bit
			sub, _ := subscribeRuns(t, []leat.BatchRun{{Next: 2, Frames: damaged}})
			failures := 0
			for b := range sub.Batches(t.Context()) {
				for _, err := range b.Messages() {
					if err != nil {
						failures++
					}
				}
			}
			if failures > 1 {
				t.Fatalf("byte %d: %d errors", at, failures)
			}
		}
	}
}

// TestBatchesAutoAck: a batch is acked as a whole when the next is asked for; an ack that fails ends the
// loop.
func TestBatchesAutoAck(t *testing.T) {
	list := []leat.BatchRun{{First: 0, Next: 4}, {First: 4, Next: 6}, {First: 6, Next: 7}}
	sub, f := subscribeRuns(t, list, leat.Group("g"), leat.AutoAck())
	var last error
	for b, err := range sub.Batches(t.Context()) {
		if last = err; err != nil {
			continue
		}
		if b.Next == 6 {
			f.ackErr = leat.ErrFenced
		}
		if b.Next == 7 {
			t.Error("the loop goes on after an ack failed")
		}
	}
	if !errors.Is(last, leat.ErrFenced) {
		t.Errorf("the loop ends with %v, want ErrFenced", last)
	}
	if !slices.Equal(f.acks, []int64{3, 5}) {
		t.Errorf("acked %v, want 3 and 5", f.acks)
	}
}

// TestBatchesEnd: errors end the loop, silently or yielded once.
func TestBatchesEnd(t *testing.T) {
	for err, silent := range map[error]bool{
		leat.ErrClosed: true, context.Canceled: true, leat.ErrCorrupt: false,
	} {
		f := &fakeBackend{next: []any{err}}
		sub, openErr := leat.NewBus(f).Subscribe("t")
		if openErr != nil {
			t.Fatal(openErr)
		}
		var yielded []error
		for b, err := range sub.Batches(t.Context()) {
			if yielded = append(yielded, err); b != nil {
				t.Error("a batch came with an error")
			}
		}
		if silent != (len(yielded) == 0) || len(yielded) > 1 || !silent && !errors.Is(yielded[0], err) {
			t.Errorf("%v: yielded %v", err, yielded)
		}
	}
}

// TestBatchReleasesOnce: whatever is called afterwards.
func TestBatchReleasesOnce(t *testing.T) {
	released := 0
	list := []leat.BatchRun{{Next: 1, Frames: frame(t, 0, "a"), Release: func() { released++ }}}
	sub, f := subscribeRuns(t, list, leat.Group("g"))
	for b := range sub.Batches(t.Context()) {
		b.Release()
		b.Release()
		for range b.Messages() {
			t.Error("a released batch has a message")
		}
		if err := b.Ack(); err != nil || len(f.acks) != 1 {
			t.Errorf("ack after release: %v, %v", f.acks, err)
		}
	}
	if released != 1 {
		t.Errorf("released %d times", released)
	}
}
