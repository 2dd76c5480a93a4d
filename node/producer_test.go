package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/routing"
)

// TestReceiptsTellWhereMessagesAre publishes by every verb and finds each message where its receipt
// says.
func TestReceiptsTellWhereMessagesAre(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	p := b.producer("t")
	type place struct {
		partition int32
		offset    int64
	}
	var mu sync.Mutex
	told := map[place]leat.Receipt{}
	content := map[place]string{}
	note := func(r leat.Receipt, key, value string) {
		mu.Lock()
		defer mu.Unlock()
		at := place{r.Partition, r.Offset}
		if other, ok := content[at]; ok {
			t.Errorf("%v was told to both %q and %q", at, other, value)
		}
		told[at], content[at] = r, key+"="+value
	}
	for i := range 40 {
		key, value := fmt.Sprint("key", i%7), fmt.Sprint("value", i)
		switch i % 3 {
		case 0:
			note(publish(t, p, keyed(key, value)), key, value)
		case 1:
			p.PublishAsync(keyed(key, value), func(r leat.Receipt, err error) {
				if err != nil {
					t.Error(err)
				}
				note(r, key, value)
			})
		case 2:
			r, err := p.PublishBatch(soon(t), []leat.Message{keyed(key, value), keyed(key, value+"'")})
			if err != nil {
				t.Fatal(err)
			}
			note(r, key, value)
			r.Offset++
			note(r, key, value+"'")
		}
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	got := take(t, b.subscribe("t", leat.From(leat.Earliest)), len(told))
	next := map[int32]int64{}
	for _, m := range got {
		at := place{m.Partition, m.Offset}
		r := told[at]
		if want := content[at]; string(m.Key)+"="+string(m.Value) != want {
			t.Errorf("at %v: %s=%s, want %s", at, m.Key, m.Value, want)
		}
		if m.Topic != "t" || r.Topic != "t" || r.Duplicate || r.Time.IsZero() {
			t.Errorf("at %v: receipt %+v of message %+v", at, r, m)
		}
		if m.Offset != next[m.Partition] {
			t.Errorf("partition %d: offset %d after %d", m.Partition, m.Offset, next[m.Partition]-1)
		}
		next[m.Partition]++
	}
	if len(next) < 2 {
		t.Errorf("seven keys went to %d of 4 partitions", len(next))
	}
}

// TestOrderPerKey has several producers, each used by several goroutines, and checks that what one
// goroutine published for one key arrives in its order.
func TestOrderPerKey(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			b := one(t, leat.TopicConfig{Partitions: 4, Ack: level})
			const producers, publishers, keys = 3, 3, 5
			each := cut(1000, 200)
			var group sync.WaitGroup
			for range producers {
				p := b.producer("t")
				for range publishers {
					name := b.node.nextID()
					group.Go(func() { publishSequence(t, p, name, keys, each) })
				}
			}
			next := map[string]int{}
			for _, m := range take(t, b.subscribe("t", leat.From(leat.Earliest)), producers*publishers*each) {
				var n int
				if _, err := fmt.Sscan(string(m.Value), &n); err != nil {
					t.Fatal(err)
				}
				if n != next[string(m.Key)] {
					t.Fatalf("key %s: message %d where %d is due", m.Key, n, next[string(m.Key)])
				}
				next[string(m.Key)]++
			}
			group.Wait()
		})
	}
}

// publishSequence publishes n messages round its keys, mixing the verbs.
func publishSequence(t *testing.T, p *leat.Producer, name uint64, keys, n int) {
	for i := range n {
		m := keyed(fmt.Sprint(name, ".", i%keys), fmt.Sprint(i/keys))
		var err error
		switch {
		case i%97 == 96:
			_, err = p.Publish(soon(t), m)
		case i%31 == 30:
			_, err = p.PublishBatch(soon(t), []leat.Message{m})
		default:
			p.PublishAsync(m, func(_ leat.Receipt, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestCallbacksInOrder checks that callbacks of one producer come one at a time and, per partition,
// in publish order, also where some records wait for the disk.
func TestCallbacksInOrder(t *testing.T) {
	for name, opts := range map[string][]leat.ProducerOption{
		"page":            {},
		"stronger than t": {leat.WithAck(leat.AckDisk)},
	} {
		t.Run(name, func(t *testing.T) {
			b := one(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
			p := b.producer("t", opts...)
			var busy atomic.Bool
			last, count := map[int32]int{}, 0
			n := cut(20_000, 2_000)
			for i := range n {
				p.PublishAsync(keyed(fmt.Sprint(i%50), "v"), func(r leat.Receipt, err error) {
					if !busy.CompareAndSwap(false, true) {
						t.Error("two callbacks at the same time")
					}
					defer busy.Store(false)
					if err != nil {
						t.Error(err)
					}
					if before, ok := last[r.Partition]; ok && i <= before {
						t.Errorf("partition %d: callback of publish %d after that of %d", r.Partition, i, before)
					}
					last[r.Partition] = i
					count++
				})
			}
			if err := p.Flush(soon(t)); err != nil {
				t.Fatal(err)
			}
			if count != n {
				t.Errorf("%d callbacks before Flush returned, want %d", count, n)
			}
		})
	}
}

func TestNullAndEmptyDiffer(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	var sent []leat.Message
	for _, key := range [][]byte{nil, {}, []byte("k")} {
		for _, value := range [][]byte{nil, {}, []byte("v")} {
			m := leat.Message{Key: key, Value: value}
			sent = append(sent, m)
			publish(t, p, m)
		}
	}
	check := func(b *bed) {
		t.Helper()
		for i, m := range take(t, b.subscribe("t", leat.From(leat.Earliest)), len(sent)) {
			if fmt.Sprintf("%#v %#v", m.Key, m.Value) != fmt.Sprintf("%#v %#v", sent[i].Key, sent[i].Value) {
				t.Errorf("message %d: %#v %#v, want %#v %#v", i, m.Key, m.Value, sent[i].Key, sent[i].Value)
			}
		}
	}
	check(b)
	check(b.reopen())
}

func TestHeaders(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	many := make([]leat.Header, core.MaxHeaders)
	for i := range many {
		many[i] = leat.Header{Key: fmt.Sprint("h", i), Value: bytes.Repeat([]byte{byte(i)}, i)}
	}
	sent := [][]leat.Header{
		nil,
		{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "", Value: []byte{}}},
		many,
		{{Key: "last", Value: []byte("one")}},
	}
	for _, headers := range sent {
		publish(t, p, leat.Message{Key: []byte("k"), Value: []byte("v"), Headers: headers})
	}
	for i, m := range take(t, b.subscribe("t", leat.From(leat.Earliest)), len(sent)) {
		if fmt.Sprint(m.Headers) != fmt.Sprint(sent[i]) || string(m.Value) != "v" {
			t.Errorf("message %d: headers %v, want %v", i, m.Headers, sent[i])
		}
	}
	_, err := p.Publish(soon(t), leat.Message{Headers: append(many, leat.Header{})})
	wantError(t, "65 headers", err, leat.ErrInvalidRecord)
	big := []leat.Header{{Key: "k", Value: make([]byte, core.MaxHeaderBytes)}}
	_, err = p.Publish(soon(t), leat.Message{Headers: big})
	wantError(t, "headers of more than 16 KiB", err, leat.ErrInvalidRecord)
	_, err = p.Publish(soon(t), leat.Message{Key: make([]byte, core.MaxKeyBytes+1)})
	wantError(t, "key of more than 32 KiB", err, leat.ErrInvalidRecord)
}

// TestRecordLimits tries records of exactly the limit and of one byte more, by every verb.
func TestRecordLimits(t *testing.T) {
	for _, tt := range []struct{ configured, limit int }{
		{0, core.DefaultRecordBytes}, {1000, 1000}, {core.MaxRecordBytes, core.MaxRecordBytes},
	} {
		t.Run(fmt.Sprint(tt.configured), func(t *testing.T) {
			b := one(t, leat.TopicConfig{Ack: leat.AckPage, MaxRecordBytes: tt.configured})
			p := b.producer("t")
			fits := make([]byte, tt.limit-core.RecordHeaderSize)
			rand.NewChaCha8([32]byte{}).Read(fits)
			publish(t, p, leat.Message{Value: fits})
			over := leat.Message{Value: append(fits[:len(fits):len(fits)], 1)}
			_, err := p.Publish(soon(t), over)
			wantError(t, "Publish", err, leat.ErrRecordTooLarge)
			wantError(t, "TryPublish", p.TryPublish(over), leat.ErrRecordTooLarge)
			_, err = p.PublishBatch(soon(t), []leat.Message{text("a"), over})
			wantError(t, "PublishBatch", err, leat.ErrRecordTooLarge)
			answer := make(chan error, 1)
			p.PublishAsync(over, func(_ leat.Receipt, err error) { answer <- err })
			wantError(t, "PublishAsync", receive(t, "callback", answer), leat.ErrRecordTooLarge)
			publish(t, p, text("still works"))
			got := take(t, b.subscribe("t", leat.From(leat.Earliest)), 2)
			if !bytes.Equal(got[0].Value, fits) || string(got[1].Value) != "still works" {
				t.Errorf("read %d and %q", len(got[0].Value), got[1].Value)
			}
		})
	}
}

// TestLargeRecords sends records on both sides of the size from which they go by reference.
func TestLargeRecords(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	p := b.producer("t")
	random := rand.NewChaCha8([32]byte{1})
	sizes := []int{inlineBytes - 100, inlineBytes - core.RecordHeaderSize, inlineBytes, inlineBytes + 1,
		60_000, 64 << 10, 70_000, 300_000, 1_000_000}
	sent := map[string][]byte{}
	for round := range 3 {
		for _, size := range sizes {
			value := make([]byte, size)
			random.Read(value)
			key := fmt.Sprint(round, " ", size)
			sent[key] = bytes.Clone(value)
			p.PublishAsync(leat.Message{Key: []byte(key), Value: value}, nil)
			clear(value) // the caller may reuse it
		}
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	for _, m := range take(t, b.subscribe("t", leat.From(leat.Earliest)), len(sent)) {
		if !bytes.Equal(m.Value, sent[string(m.Key)]) {
			t.Errorf("record %s: other content", m.Key)
		}
	}
	bodies := b.node.bodies
	if bodies.mu.Lock(); bodies.bytes != 0 || len(bodies.spare) != len(bodies.all) {
		t.Errorf("%d bytes and %d buffers still in use", bodies.bytes, len(bodies.all)-len(bodies.spare))
	}
	bodies.mu.Unlock()
}

func TestPublishBatch(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	p := b.producer("t")
	batch := make([]leat.Message, core.MaxBatchRecords)
	for i := range batch {
		batch[i] = keyed("k", fmt.Sprint(i))
	}
	r, err := p.PublishBatch(soon(t), batch)
	if err != nil || r.Offset != 0 {
		t.Fatalf("receipt %+v, error %v", r, err)
	}
	if next := publish(t, p, keyed("k", "next")); next.Offset != core.MaxBatchRecords {
		t.Errorf("offset %d after the batch", next.Offset)
	}
	got := take(t, b.subscribe("t", leat.From(leat.Earliest)), core.MaxBatchRecords+1)
	for i, m := range got[:core.MaxBatchRecords] {
		if string(m.Value) != fmt.Sprint(i) {
			t.Fatalf("message %d of the batch is %q", i, m.Value)
		}
	}
	other := "k2"
	for b.node.topicNamed("t").table.Partition(routing.Slot(routing.Hash([]byte(other)))) == r.Partition {
		other += "x"
	}
	for _, tt := range []struct {
		name  string
		batch []leat.Message
		want  error
	}{
		{"no message", nil, leat.ErrInvalidRecord},
		{"too many", append(batch, keyed("k", "4096")), leat.ErrInvalidRecord},
		{"mixed", []leat.Message{keyed("k", "a"), keyed(other, "b")}, leat.ErrMixedPartitions},
	} {
		_, err := p.PublishBatch(soon(t), tt.batch)
		wantError(t, tt.name, err, tt.want)
	}
	if next := publish(t, p, keyed("k", "end")); next.Offset != core.MaxBatchRecords+1 {
		t.Errorf("offset %d: a refused batch left something", next.Offset)
	}
}

// TestBatchTakesNullKeysAlong: null keys have no partition of their own, so they never make a batch
// span several, wherever in the batch they stand.
func TestBatchTakesNullKeysAlong(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 16, Ack: leat.AckPage})
	p := b.producer("t")
	want := publish(t, p, keyed("k", "first")).Partition
	for _, batch := range [][]leat.Message{
		{keyed("k", "a"), text("b"), text("c")},
		{text("a"), keyed("k", "b"), text("c")},
		{text("a"), text("b"), keyed("k", "c")},
	} {
		r, err := p.PublishBatch(soon(t), batch)
		if err != nil || r.Partition != want {
			t.Errorf("batch %+v: receipt %+v, error %v; want partition %d", batch, r, err, want)
		}
	}
}

// TestBatchIsSeenWhole polls the mark consumers read by while batches are published.
func TestBatchIsSeenWhole(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	const size = 60 // of about 1 KiB: a batch fills most of a frame, and three do not fit a step
	batch := make([]leat.Message, size)
	for i := range batch {
		batch[i].Value = make([]byte, 1000)
	}
	var stop atomic.Bool
	var watch sync.WaitGroup
	part := b.partition(0)
	watch.Go(func() {
		for !stop.Load() {
			if mark := part.highWater.Load(); mark%size != 0 {
				t.Errorf("high-water mark %d shows part of a batch of %d", mark, size)
				return
			}
		}
	})
	var publishers sync.WaitGroup
	for range 3 {
		publishers.Go(func() {
			for range cut(100, 20) {
				if _, err := p.PublishBatch(soon(t), batch); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishers.Wait()
	stop.Store(true)
	watch.Wait()
}

// TestTryPublishFull fills a ring that nobody drains.
func TestTryPublishFull(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	resume := b.stall()
	n := 0
	var err error
	for ; err == nil && n < slabBytes; n++ {
		err = p.TryPublish(text(fmt.Sprint(n)))
	}
	resume()
	wantError(t, "TryPublish", err, leat.ErrFull)
	if !leat.Retryable(err) {
		t.Errorf("%v is not retryable", err)
	}
	accepted := n - 1
	if accepted < 1000 {
		t.Errorf("full after %d records", accepted)
	}
	for i, m := range take(t, b.subscribe("t", leat.From(leat.Earliest)), accepted) {
		if string(m.Value) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Value)
		}
	}
}

// hangSync makes every sync of a file hang until release, which may be called again. One alone might be that
// of a segment that is prepared, which nothing waits for.
func (b *bed) hangSync() (hung <-chan struct{}, release func()) { return b.hang("sync") }

// hangMapSync makes every sync of records written through a map hang until release. Other syncs go on,
// those of segments that are prepared among them: the journal waits for these when a segment is full.
func (b *bed) hangMapSync() (hung <-chan struct{}, release func()) { return b.hang("msync") }

func (b *bed) hang(what string) (hung <-chan struct{}, release func()) {
	reached, wait := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.fs.Hook(func(op, _ string) {
		if op == what {
			once.Do(func() { close(reached) })
			<-wait
		}
	})
	release = sync.OnceFunc(func() { close(wait) })
	b.t.Cleanup(release)
	return reached, release
}

// TestInFlightLimit holds the disk back until as many records are in flight as may be.
func TestInFlightLimit(t *testing.T) {
	for _, tt := range []struct {
		name    string
		policy  leat.FullPolicy
		size    int
		records int
	}{
		{"fail by records", leat.Fail, 8, core.MaxInFlightRecords},
		{"drop by bytes", leat.DropNewest, 64 << 10, core.MaxInFlightBytes / (64<<10 + core.RecordHeaderSize)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := one(t, leat.TopicConfig{Ack: leat.AckPage})
			p := b.producer("t", leat.WithAck(leat.AckDisk), leat.WithFullPolicy(tt.policy))
			_, release := b.hangMapSync()
			var good, full atomic.Int64
			answer := func(_ leat.Receipt, err error) {
				switch {
				case err == nil:
					good.Add(1)
				case errors.Is(err, leat.ErrFull):
					full.Add(1)
				default:
					t.Error(err)
				}
			}
			m := leat.Message{Value: make([]byte, tt.size)}
			const over = 10
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range tt.records + 1 + over {
					p.PublishAsync(m, answer)
				}
			}()
			receive(t, "PublishAsync returns although too much is in flight", done)
			eventually(t, "callbacks say ErrFull while the disk hangs", func() bool { return full.Load() >= over })
			if good.Load() != 0 {
				t.Errorf("%d good answers before the sync", good.Load())
			}
			release()
			if err := p.Flush(soon(t)); err != nil {
				t.Fatal(err)
			}
			if n := good.Load(); n < int64(tt.records) || n > int64(tt.records)+1 {
				t.Errorf("%d accepted, want about %d", n, tt.records)
			}
			if n := good.Load() + full.Load(); n != int64(tt.records+1+over) {
				t.Errorf("%d answers, want %d", n, tt.records+1+over)
			}
		})
	}
}

// TestInFlightBlocks: the default policy waits for room and loses nothing.
func TestInFlightBlocks(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t", leat.WithAck(leat.AckDisk))
	_, release := b.hangMapSync()
	var sent, answered atomic.Int64
	const n = 200
	m := leat.Message{Value: make([]byte, 64<<10)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			p.PublishAsync(m, func(_ leat.Receipt, err error) {
				if err != nil {
					t.Error(err)
				}
				answered.Add(1)
			})
			sent.Add(1)
		}
	}()
	answers := &b.backendOf(p).answers
	eventually(t, "a publisher waits for room", func() bool { return answers.blocked.Load() == 1 })
	if sent.Load() >= n || answered.Load() != 0 {
		t.Errorf("%d sent, %d answered while the disk hangs", sent.Load(), answered.Load())
	}
	release()
	receive(t, "the publisher goes on", done)
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	if answered.Load() != n {
		t.Errorf("%d answers, want %d", answered.Load(), n)
	}
}

// backendOf finds the data plane of the producer opened last.
func (b *bed) backendOf(*leat.Producer) *producer {
	list := *b.node.producers.Load()
	return list[len(list)-1].(*producer)
}

func TestFlush(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	p := b.producer("t")
	if err := p.Flush(soon(t)); err != nil {
		t.Errorf("Flush of nothing: %v", err)
	}
	_, release := b.hangSync()
	returned := make(chan struct{})
	p.PublishAsync(text("a"), func(leat.Receipt, error) { <-returned })
	ctx, cancel := context.WithCancel(t.Context())
	flushed := make(chan error, 1)
	go func() { flushed <- p.Flush(ctx) }()
	cancel()
	if err := receive(t, "Flush ends with its context", flushed); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v, want context canceled", err)
	} else if text := err.Error(); !strings.Contains(text, `topic "t"`) ||
		!strings.Contains(text, "1 published and not answered") || strings.Contains(text, "actors:") {
		t.Errorf("Flush: %v; want what was tried and found", err)
	}
	release()
	var done atomic.Bool
	go func() {
		err := p.Flush(soon(t))
		if !done.Load() {
			t.Error("Flush returned before the callback did")
		}
		flushed <- err
	}()
	eventually(t, "the record is synced", func() bool { return b.partition(0).log.DurableEnd() == 1 })
	a := &b.backendOf(p).answers
	eventually(t, "its callback runs", func() bool { return uint32(a.done.Load()) == 1 })
	if err := p.Flush(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "callbacks") {
		t.Errorf("Flush while a callback runs: %v", err)
	}
	done.Store(true)
	close(returned)
	if err := receive(t, "Flush returns", flushed); err != nil {
		t.Error(err)
	}
}

// TestCloseDrains closes a bus with much in flight: all of it is answered and stored.
func TestCloseDrains(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			b := one(t, leat.TopicConfig{Partitions: 2, Ack: level})
			p := b.producer("t")
			const n = 5000
			var good atomic.Int64
			for i := range n {
				p.PublishAsync(keyed(fmt.Sprint(i), "v"), func(_ leat.Receipt, err error) {
					if err == nil {
						good.Add(1)
					}
				})
			}
			b = b.reopen()
			if good.Load() != n {
				t.Errorf("%d of %d answered well before Close returned", good.Load(), n)
			}
			take(t, b.subscribe("t", leat.From(leat.Earliest)), n)
		})
	}
}

// refusals publishes by every verb and wants one error.
func refusals(t *testing.T, p *leat.Producer, want error) {
	t.Helper()
	_, err := p.Publish(soon(t), text("x"))
	wantError(t, "Publish", err, want)
	_, err = p.PublishBatch(soon(t), []leat.Message{text("x")})
	wantError(t, "PublishBatch", err, want)
	wantError(t, "TryPublish", p.TryPublish(text("x")), want)
	answer := make(chan error, 1)
	p.PublishAsync(text("x"), func(_ leat.Receipt, err error) { answer <- err })
	wantError(t, "PublishAsync", receive(t, "callback", answer), want)
	p.PublishAsync(text("x"), nil)
}

func TestPublishAfterClose(t *testing.T) {
	for _, used := range []bool{false, true} {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		p, q := b.producer("t"), b.producer("t")
		if used {
			for _, p := range []*leat.Producer{p, q} {
				p.PublishAsync(text("a"), func(leat.Receipt, error) {})
			}
		}
		for range 2 {
			if err := p.Close(); err != nil {
				t.Errorf("Close of a producer: %v", err)
			}
		}
		refusals(t, p, leat.ErrClosed)
		publish(t, q, text("others go on"))
		b.close()
		refusals(t, q, leat.ErrClosed)
		_, err := b.Producer("t")
		wantError(t, "Producer", err, leat.ErrClosed)
		_, err = b.Subscribe("t")
		wantError(t, "Subscribe", err, leat.ErrClosed)
		receive(t, "Done", b.Done())
		if err := b.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

// TestIndexOfClosedProducerIsReused: an answer must never reach a later producer.
func TestIndexOfClosedProducerIsReused(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	sizes := map[int]bool{}
	for round := range 20 {
		p := b.producer("t")
		var got atomic.Int64
		for i := range 50 {
			p.PublishAsync(text(fmt.Sprint(i)), func(r leat.Receipt, err error) {
				if err != nil || r.Offset != int64(50*round+i) {
					t.Errorf("round %d, publish %d: %+v, %v", round, i, r, err)
				}
				got.Add(1)
			})
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if got.Load() != 50 {
			t.Errorf("%d answers before Close returned", got.Load())
		}
		sizes[len(*b.node.producers.Load())] = true
	}
	if len(sizes) != 1 {
		t.Errorf("the table of producers grew: %v", sizes)
	}
}

func TestAckNone(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckDisk})
	p := b.producer("t", leat.WithAck(leat.AckNone))
	want := b.node.topicNamed("t").table.Partition(routing.Slot(routing.Hash([]byte("k"))))
	check := func(r leat.Receipt, err error) {
		t.Helper()
		if err != nil || r.Offset != -1 || !r.Time.IsZero() || r.Topic != "t" || r.Partition != want {
			t.Errorf("receipt %+v, error %v", r, err)
		}
	}
	check(p.Publish(soon(t), keyed("k", "a")))
	check(p.PublishBatch(soon(t), []leat.Message{keyed("k", "b"), keyed("k", "c")}))
	answered := make(chan struct{})
	p.PublishAsync(keyed("k", "d"), func(r leat.Receipt, err error) { check(r, err); close(answered) })
	receive(t, "callback", answered)
	if got := values(take(t, b.subscribe("t", leat.From(leat.Earliest)), 4)); got != "a b c d" {
		t.Errorf("read %q", got)
	}
}

// TestStrongerLevelDelaysItsOwnReceipt: on a topic at page, a publish at disk waits for the sync and
// nothing else does.
func TestStrongerLevelDelaysItsOwnReceipt(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	strong, normal := b.producer("t", leat.WithAck(leat.AckDisk)), b.producer("t")
	sub := b.subscribe("t", leat.From(leat.Earliest))
	hung, release := b.hangMapSync()
	answered := make(chan leat.Receipt, 1)
	go func() { answered <- publish(t, strong, text("a")) }()
	receive(t, "a sync starts at once", hung)
	if r := publish(t, normal, text("b")); r.Offset != 1 {
		t.Errorf("receipt %+v", r)
	}
	if got := values(take(t, sub, 2)); got != "a b" {
		t.Errorf("read %q before the sync", got)
	}
	select {
	case r := <-answered:
		t.Errorf("receipt %+v before the sync", r)
	default:
	}
	release()
	if r := receive(t, "receipt", answered); r.Offset != 0 {
		t.Errorf("receipt %+v", r)
	}
}

// TestWeakerLevelIsNeverGiven: a producer that asks for page on a topic at disk waits for the disk.
func TestWeakerLevelIsNeverGiven(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	weak := b.producer("t", leat.WithAck(leat.AckPage))
	hung, release := b.hangSync()
	answered := make(chan leat.Receipt, 2)
	go func() { answered <- publish(t, weak, text("a")) }()
	weak.PublishAsync(text("b"), func(r leat.Receipt, _ error) { answered <- r })
	receive(t, "sync", hung)
	select {
	case r := <-answered:
		t.Errorf("receipt %+v before the sync", r)
	default:
	}
	release()
	receive(t, "receipt", answered)
	receive(t, "receipt", answered)
	if durable := b.partition(0).log.DurableEnd(); durable != 2 {
		t.Errorf("durable end %d behind two receipts", durable)
	}
}

func TestLevelUnavailable(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	for _, level := range []leat.Ack{leat.AckRing, leat.AckQuorumPage, leat.AckQuorum, 200} {
		_, err := b.Producer("t", leat.WithAck(level))
		wantError(t, "Producer at "+level.String(), err, leat.ErrLevelUnavailable)
		err = b.CreateTopic(soon(t), "other", leat.TopicConfig{Ack: level})
		wantError(t, "CreateTopic at "+level.String(), err, leat.ErrLevelUnavailable)
		_, err = b.Subscribe("t", leat.ReadAt(level))
		wantError(t, "ReadAt "+level.String(), err, leat.ErrLevelUnavailable)
	}
	publish(t, b.producer("t"), text("still works"))
}

// TestStickyPartition: null keys stay with one partition for 64 KiB and visit all of them.
func TestStickyPartition(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 4, Ack: leat.AckPage})
	p := b.producer("t")
	const size = 1 << 10
	m := leat.Message{Value: make([]byte, size-core.RecordHeaderSize)}
	counts, runs, last := map[int32]int{}, 0, int32(-1)
	const n = 8 * routing.StickyBytes / size
	for range n {
		r := publish(t, p, m)
		if counts[r.Partition]++; r.Partition != last {
			runs++
			last = r.Partition
		}
	}
	if runs < 8 || runs > 9 {
		t.Errorf("%d runs in %d KiB, want one in 64 KiB", runs, n)
	}
	for number := range int32(4) {
		if counts[number] != n/4 {
			t.Errorf("partition %d got %d of %d", number, counts[number], n)
		}
	}
}

func TestManualPartitioner(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for i := range int32(9) {
		m := keyed("same", "v")
		m.Partition = i % 3
		if r := publish(t, p, m); r.Partition != i%3 || r.Offset != int64(i/3) {
			t.Errorf("message for partition %d: receipt %+v", i%3, r)
		}
	}
	for _, number := range []int32{-1, 3, 1 << 30} {
		_, err := p.Publish(soon(t), leat.Message{Partition: number})
		wantError(t, fmt.Sprint("partition ", number), err, core.ErrPartitionUnknown)
	}
	_, err := p.PublishBatch(soon(t), []leat.Message{{Partition: 0}, {Partition: 1}})
	wantError(t, "batch", err, leat.ErrMixedPartitions)
}

// TestCallbackPanic: a panic in a callback is reported and costs no other answer.
func TestCallbackPanic(t *testing.T) {
	var log lockedBuffer
	b := one(t, leat.TopicConfig{Ack: leat.AckPage}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	p := b.producer("t")
	var answered atomic.Int64
	for i := range 100 {
		p.PublishAsync(text("v"), func(leat.Receipt, error) {
			answered.Add(1)
			if i%10 == 5 {
				panic(fmt.Sprint("planted ", i))
			}
		})
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	if answered.Load() != 100 {
		t.Errorf("%d answers", answered.Load())
	}
	if got := log.String(); strings.Count(got, "planted") != 10 || !strings.Contains(got, "planted 95") {
		t.Errorf("the log says %q", got)
	}
}

// lockedBuffer is a buffer for a logger that several goroutines use.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestCancelledPublish: whoever gives up waiting must not disturb the publishes that wait where it
// waited.
func TestCancelledPublish(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	p := b.producer("t")
	publish(t, p, text("warm"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Publish(gone, text("0")); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Publish with a context that has ended: %v", err)
	}
	for round := range cut(20, 5) {
		hung, release := b.hangSync()
		var group sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for range 20 {
			group.Go(func() {
				if _, err := p.Publish(ctx, text("given up")); !errors.Is(err, context.Canceled) {
					t.Errorf("Publish: %v, want context canceled", err)
				}
			})
		}
		receive(t, "sync", hung)
		cancel()
		group.Wait()
		for i := range 20 {
			group.Go(func() {
				value := fmt.Sprint(round, ".", i)
				r := publish(t, p, text(value))
				sub := b.subscribe("t", leat.From(leat.AtOffset(r.Offset)))
				if got := values(take(t, sub, 1)); got != value {
					t.Errorf("receipt of %q names offset %d, where %q is", value, r.Offset, got)
				}
				if err := sub.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		release()
		group.Wait()
	}
	waiters := &b.node.waiters
	eventually(t, "all waiters are free again", func() bool {
		waiters.mu.Lock()
		defer waiters.mu.Unlock()
		return len(waiters.spare) == len(*waiters.all.Load())
	})
}

// TestCloseRacesWithPublish closes a producer while others publish with it: every callback comes once
// and says what became of its message.
func TestCloseRacesWithPublish(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	for round := range cut(200, 50) {
		p := b.producer("t")
		if round%2 == 0 {
			p.PublishAsync(text("first"), nil) // its actor runs already
		}
		var asked, answered, stored atomic.Int64
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				for range 50 {
					asked.Add(1)
					p.PublishAsync(text("v"), func(_ leat.Receipt, err error) {
						switch {
						case err == nil:
							stored.Add(1)
						case !errors.Is(err, leat.ErrClosed):
							t.Error(err)
						}
						answered.Add(1)
					})
				}
			})
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		eventually(t, "every publish is answered", func() bool { return answered.Load() == asked.Load() })
	}
}
