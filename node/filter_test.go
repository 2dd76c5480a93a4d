package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/filter"
)

// endsSoon is a context that has ended when it was asked so often.
type endsSoon struct {
	context.Context
	left int
}

func (c *endsSoon) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestFilterEndsWithItsContext: a loop that nothing passes to ends in the middle of what there is.
func TestFilterEndsWithItsContext(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	const n = 20
	for range n { // a frame each
		publish(t, p, text("x"))
	}
	backend, err := b.node.OpenSubscription("t", leat.SubscribeOptions{From: leat.Earliest,
		Filter: `key == "a"`})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	var m leat.Message
	if err := backend.Next(&endsSoon{soon(t), 5}, &m); !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %v, want that its context was canceled", err)
	}
	if next := backend.(*subscription).cursors[0].next; next == 0 || next >= n {
		t.Errorf("the loop has looked at %d of %d messages", next, n)
	}
}

// thinWorld is a run of the log as a reader with a filter gets it.
type thinWorld struct {
	run   []byte
	want  map[int64][]byte // by offset: records that pass
	first int64
	end   int64
}

// randomRun makes frames of records whose headers say whether they pass.
func randomRun(t *testing.T, dice *rand.Rand) *thinWorld {
	w := &thinWorld{want: map[int64][]byte{}, first: dice.Int64N(1000)}
	w.end = w.first
	passes := dice.IntN(2) == 0
	for range 1 + dice.IntN(6) {
		h := core.FrameHeader{BaseOffset: w.end, Time: 7, Version: core.FrameVersion}
		var payload []byte
		for range 1 + dice.IntN(40) {
			if dice.IntN(1+dice.IntN(12)) == 0 {
				passes = !passes
			}
			record := make([]byte, core.RecordHeaderSize)
			switch {
			case dice.IntN(10) == 0:
				core.PutRemoved(record, 3)
			default:
				headers := []core.Header{{Key: "p", Value: fmt.Append(nil, passes)}}
				value := bytes.Repeat([]byte("v"), dice.IntN(50))
				size, err := core.EncodedRecordSize(nil, value, headers)
				if err != nil {
					t.Fatal(err)
				}
				record = make([]byte, size)
				core.PutRecord(record, nil, value, headers, 0, 3)
				if passes {
					w.want[w.end] = record
				}
			}
			payload = append(payload, record...)
			h.Records++
			w.end++
		}
		h.Length, h.PayloadCRC = uint32(core.FrameHeaderSize+len(payload)), core.Checksum(payload)
		frame := make([]byte, core.FrameHeaderSize)
		h.Encode(frame, 0)
		w.run = append(append(w.run, frame...), payload...)
	}
	return w
}

// check reads what is sent: frames that follow each other from an offset on, with the records that pass.
func (w *thinWorld) check(sent []byte, from int64) error {
	at, found := from, 0
	for len(sent) > 0 {
		h := core.ParseFrameHeader(sent)
		payload := sent[core.FrameHeaderSize:h.Length]
		sent = sent[h.Size():]
		if h.BaseOffset != at || h.Records == 0 || h.CheckPayload(payload) != nil {
			return fmt.Errorf("frame %+v where %d follows", h, at)
		}
		if h.Type() == core.FrameEmpty {
			at = h.NextOffset()
			continue
		}
		for ; len(payload) > 0; at++ {
			r, n, err := core.DecodeRecord(payload)
			if err != nil {
				return err
			}
			if !r.Removed() && !bytes.Equal(payload[:n], w.want[at]) {
				return fmt.Errorf("offset %d: sent %q, want %q", at, payload[:n], w.want[at])
			}
			if !r.Removed() {
				found++
			}
			payload = payload[n:]
		}
		if at != h.NextOffset() {
			return fmt.Errorf("a frame up to %d has records up to %d", h.NextOffset(), at)
		}
	}
	want := 0
	for offset := range w.want {
		if offset >= from {
			want++
		}
	}
	if at != w.end || found != want {
		return fmt.Errorf("sent up to %d with %d records, want %d with %d", at, found, w.end, want)
	}
	return nil
}

// TestThin: what is sent of a run has the records that pass, unchanged and at their offsets, and no others;
// and it is not more than with a stub for each of the others.
func TestThin(t *testing.T) {
	f, err := filter.Compile(`header("p") == "true"`)
	if err != nil {
		t.Fatal(err)
	}
	b := one(t, leat.TopicConfig{})
	p := b.partition(0)
	var s sender
	for seed := range uint64(300) {
		dice := rand.New(rand.NewPCG(seed, 1))
		w := randomRun(t, dice)
		c := &sendCursor{part: p, filter: matcherFor(f, p)}
		for _, from := range []int64{w.first, w.first + dice.Int64N(int64(core.ParseFrameHeader(w.run).Records))} {
			sent := s.thin(c, w.run, from)
			if err := w.check(sent, from); err != nil {
				t.Fatalf("LEAT_SEED=%d, from %d of [%d, %d): %v", seed, from, w.first, w.end, err)
			}
			if len(sent) > len(w.run)+core.FrameHeaderSize {
				t.Errorf("LEAT_SEED=%d: %d bytes are sent of %d", seed, len(sent), len(w.run))
			}
			given := int64(0)
			for offset := range w.want {
				if offset >= from {
					given++
				}
			}
			if gone := s.thinner.takeGone(); gone != w.end-from-given {
				t.Errorf("LEAT_SEED=%d: %d records left out, want %d", seed, gone, w.end-from-given)
			}
		}
	}
	w := randomRun(t, rand.New(rand.NewPCG(1, 2)))
	h := core.ParseFrameHeader(w.run)
	w.run[core.FrameHeaderSize] = 1 // a length that no record has
	sent := s.thin(&sendCursor{part: p, filter: matcherFor(f, p)}, w.run, w.first)
	if !bytes.Equal(sent[:h.Size()], w.run[:h.Size()]) {
		t.Error("a damaged frame is not sent as it is")
	}
}

// TestQueueFilterOfTheNextMembers: when all members have left, others bring another filter, also for what the
// first did not settle.
func TestQueueFilterOfTheNextMembers(t *testing.T) {
	for n, mode := range map[int]leat.SubscribeOption{10: leat.Queue(), 2: leat.KeyShared()} {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		p := b.producer("t")
		for i := range 200 {
			publish(t, p, keyed(fmt.Sprint(i%5), fmt.Sprint(i)))
		}
		first := b.subscribe("t", leat.Group("g"), mode, leat.Filter(`key in ["1", "2"]`))
		for _, m := range take(t, first, n) {
			if k := string(m.Key); k != "1" && k != "2" {
				t.Errorf("a message with key %s", k)
			}
			if string(m.Key) == "1" {
				if err := m.Ack(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		b = b.reopen()
		second := b.subscribe("t", leat.Group("g"), mode, leat.Filter(`key == "2"`))
		for i := range 40 {
			m := take(t, second, 1)[0]
			if want := fmt.Sprint(5*i + 2); string(m.Value) != want || m.Attempt != 1 {
				t.Errorf("message %d is %s, attempt %d; want %s for the first time", i, m.Value, m.Attempt, want)
			}
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		if err := second.Commit(soon(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "everything is settled", func() bool {
			infos, err := b.Groups(soon(t))
			return err == nil && len(infos) == 1 && infos[0].Partitions[0].LagRecords == 0
		})
	}
}

// TestFilterIsRefused at the node, too: by streams with the code only, and by the request that asks why.
func TestFilterIsRefused(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	for _, options := range [][]leat.SubscribeOption{nil, {leat.Group("g")}, {leat.Group("q"), leat.Queue()}} {
		_, err := b.Subscribe("t", append(options, leat.Filter(`key = "a"`))...)
		wantError(t, "an expression that is none", err, leat.ErrInvalidConfig)
		if !strings.Contains(fmt.Sprint(err), "column 5") {
			t.Errorf("%v: want the column", err)
		}
	}
	if infos, err := b.Groups(soon(t)); err != nil || len(infos) != 0 {
		t.Errorf("groups were made: %+v, %v", infos, err)
	}
}
