package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

func TestPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		p := b.producer("t")
		var times []time.Time
		for i := range 5 {
			times = append(times, time.Now())
			publish(t, p, text(fmt.Sprint(i)))
			pass(time.Second)
		}
		for _, tt := range []struct {
			name string
			from []leat.SubscribeOption
			want string
		}{
			{"default", nil, "5 6"},
			{"latest", []leat.SubscribeOption{leat.From(leat.Latest)}, "5 6"},
			{"earliest", []leat.SubscribeOption{leat.From(leat.Earliest)}, "0 1 2 3 4 5 6"},
			{"offset 3", []leat.SubscribeOption{leat.From(leat.AtOffset(3))}, "3 4 5 6"},
			{"offset at the end", []leat.SubscribeOption{leat.From(leat.AtOffset(5))}, "5 6"},
			{"exact time", []leat.SubscribeOption{leat.From(leat.AtTime(times[2]))}, "2 3 4 5 6"},
			{"between", []leat.SubscribeOption{leat.From(leat.AtTime(times[2].Add(1)))}, "3 4 5 6"},
			{"long ago", []leat.SubscribeOption{leat.From(leat.AtTime(time.Unix(0, 0)))}, "0 1 2 3 4 5 6"},
			{"future", []leat.SubscribeOption{leat.From(leat.AtTime(times[4].Add(time.Hour)))}, "5 6"},
		} {
			defer func(sub *leat.Subscription) {
				n := strings.Count(tt.want, " ") + 1
				if got := values(take(t, sub, n)); got != tt.want {
					t.Errorf("%s: read %q, want %q", tt.name, got, tt.want)
				}
			}(b.subscribe("t", tt.from...))
		}
		for _, offset := range []int64{-1, 6, 1 << 40} {
			_, err := b.Subscribe("t", leat.From(leat.AtOffset(offset)))
			wantError(t, fmt.Sprint("offset ", offset), err, leat.ErrOffsetOutOfRange)
		}
		publish(t, p, text("5"))
		publish(t, p, text("6"))
	})
}

func TestBreakContinues(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 3, Ack: leat.AckPage})
	p := b.producer("t")
	sub := b.subscribe("t")
	for i := range 30 {
		publish(t, p, keyed(fmt.Sprint(i), fmt.Sprint(i)))
	}
	seen := map[string]bool{}
	for _, n := range []int{1, 2, 7, 20} {
		for _, m := range take(t, sub, n) {
			if seen[string(m.Value)] {
				t.Errorf("message %s came twice", m.Value)
			}
			seen[string(m.Value)] = true
		}
	}
	if len(seen) != 30 {
		t.Errorf("read %d of 30", len(seen))
	}
}

// loop runs the loop of a subscription until it ends; the answer is how many messages it had and the
// last error.
func loop(ctx context.Context, sub *leat.Subscription) <-chan error {
	ended := make(chan error, 1)
	go func() {
		var last error
		for m, err := range sub.Messages(ctx) {
			if last = err; m == nil && err == nil {
				last = errors.New("neither message nor error")
			}
		}
		ended <- last
	}()
	return ended
}

// TestLoopEnds ends loops that wait in every way; none may hang or yield an error.
func TestLoopEnds(t *testing.T) {
	for name, opts := range map[string][]leat.SubscribeOption{
		"no group": {leat.From(leat.Earliest)},
		"spin":     {leat.From(leat.Earliest), leat.Spin()},
		"group":    {leat.Group("g")},
	} {
		for ending, end := range map[string]func(*bed, *leat.Subscription, context.CancelFunc) error{
			"context": func(_ *bed, _ *leat.Subscription, cancel context.CancelFunc) error {
				cancel()
				return nil
			},
			"subscription": func(_ *bed, sub *leat.Subscription, _ context.CancelFunc) error {
				return sub.Close()
			},
			"bus": func(b *bed, _ *leat.Subscription, _ context.CancelFunc) error {
				b.open = false
				return b.Close()
			},
		} {
			t.Run(name+" by "+ending, func(t *testing.T) {
				b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
				sub := b.subscribe("t", opts...)
				publish(t, b.producer("t"), text("v"))
				ctx, cancel := context.WithCancel(soon(t))
				defer cancel()
				take(t, sub, 1)
				ended := loop(ctx, sub)
				if name != "spin" {
					s := sub.Backend().(*subscription)
					eventually(t, "the loop sleeps", s.sleeper.parked.Load)
				}
				if err := end(b, sub, cancel); err != nil {
					t.Errorf("close: %v", err)
				}
				if err := receive(t, "the loop ends", ended); err != nil {
					t.Errorf("the loop yielded %v", err)
				}
				if ending == "context" {
					publish(t, b.producer("t"), text("again"))
					if got := values(take(t, sub, 1)); got != "again" {
						t.Errorf("a later loop read %q", got)
					}
				} else if err := receive(t, "a later loop ends at once", loop(soon(t), sub)); err != nil {
					t.Errorf("a later loop yielded %v", err)
				}
				for range 2 {
					if err := sub.Close(); err != nil {
						t.Errorf("Close of the subscription: %v", err)
					}
				}
			})
		}
	}
}

// TestCloseInsideLoop closes a subscription from within its own loop, and one whose handler is busy.
func TestCloseInsideLoop(t *testing.T) {
	for _, group := range []string{"", "g"} {
		b := one(t, leat.TopicConfig{Ack: leat.AckPage})
		var opts []leat.SubscribeOption
		if group != "" {
			opts = append(opts, leat.Group(group))
		}
		sub := b.subscribe("t", append(opts, leat.From(leat.Earliest))...)
		for i := range 5 {
			publish(t, b.producer("t"), text(fmt.Sprint(i)))
		}
		n := 0
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 2 {
				if err := sub.Close(); err != nil {
					t.Error(err)
				}
				if string(m.Value) != "1" {
					t.Errorf("the message at hand changed to %q", m.Value)
				}
			}
		}
		if n != 2 {
			t.Errorf("%d messages, want the loop to end after the second", n)
		}
	}
}

// TestReadAtPage: on a topic at disk, ReadAt(AckPage) shows what no sync covers yet; the default does
// not.
func TestReadAtPage(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	publish(t, b.producer("t"), text("warm")) // the segment is there
	early, late := b.subscribe("t", leat.ReadAt(leat.AckPage)), b.subscribe("t")
	hung, release := b.hangSync()
	b.producer("t").PublishAsync(text("v"), nil)
	receive(t, "sync", hung)
	if got := values(take(t, early, 1)); got != "v" {
		t.Errorf("read %q at page", got)
	}
	s := late.Backend().(*subscription)
	ended := make(chan int64, 1)
	go func() {
		for m := range late.Messages(soon(t)) {
			ended <- b.partition(0).log.DurableEnd() - m.Offset
			return
		}
	}()
	eventually(t, "the loop sleeps", s.sleeper.parked.Load)
	select {
	case <-ended:
		t.Error("the default showed a record before its sync")
	default:
	}
	release()
	if ahead := receive(t, "message", ended); ahead < 1 {
		t.Error("the default showed a record before its sync")
	}
}

// TestReadAtDisk: on a topic at page, ReadAt(AckDisk) waits for the sync.
func TestReadAtDisk(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	sub := b.subscribe("t", leat.ReadAt(leat.AckDisk))
	for i := range 20 {
		publish(t, b.producer("t"), text(fmt.Sprint(i)))
	}
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if durable := b.partition(0).log.DurableEnd(); m.Offset >= durable {
			t.Errorf("offset %d shown, durable end %d", m.Offset, durable)
		}
		if m.Offset == 19 {
			break
		}
	}
}

// TestOvertakenByRetention: a subscription that retention overtook is told once and goes on at the
// start of what is kept.
func TestOvertakenByRetention(t *testing.T) {
	b := one(t, leat.TopicConfig{
		Ack: leat.AckPage, SegmentBytes: core.MinSegmentBytes, RetentionBytes: 2 * core.MinSegmentBytes,
	})
	p := b.producer("t")
	sub := b.subscribe("t", leat.From(leat.Earliest))
	for i := range 400 {
		p.PublishAsync(leat.Message{Key: fmt.Append(nil, i), Value: make([]byte, 8<<10)}, nil)
		if i%20 == 0 {
			publish(t, p, text("pace"))
		}
	}
	if err := p.Flush(soon(t)); err != nil {
		t.Fatal(err)
	}
	log := b.partition(0).log
	eventually(t, "retention moves the start", func() bool { return log.Start() > 0 && log.Segments() < 5 })
	// It must not move it once more while the subscription reads on from there.
	if err := b.AlterTopic(soon(t), "t", leat.TopicChange{RetentionBytes: new(int64(1 << 30))}); err != nil {
		t.Fatal(err)
	}
	end := log.End()
	failures, next := 0, int64(-1)
	for next < end {
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				wantError(t, "overtaken", err, leat.ErrOffsetOutOfRange)
				failures++
				break
			}
			if next >= 0 && m.Offset != next {
				t.Fatalf("offset %d where %d is due", m.Offset, next)
			}
			if next = m.Offset + 1; next == end {
				break
			}
		}
		if failures > 1 {
			t.Fatal("told twice")
		}
	}
	if failures != 1 {
		t.Errorf("told %d times, want once", failures)
	}
}

// TestManySubscribersWake parks more subscriptions than the journal wakes itself: all must wake, at
// every record.
func TestManySubscribersWake(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	const n = 200
	var got [3]atomic.Int64
	var group sync.WaitGroup
	var sleepers []*sleeper
	for range n {
		sub := b.subscribe("t")
		sleepers = append(sleepers, sub.Backend().(*subscription).sleeper)
		group.Go(func() {
			for m, err := range sub.Messages(soon(t)) {
				if err != nil {
					t.Error(err)
					return
				}
				got[m.Offset].Add(1)
				if m.Offset == int64(len(got)-1) {
					return
				}
			}
		})
	}
	for i := range got {
		eventually(t, "all sleep", func() bool {
			for _, s := range sleepers {
				if !s.parked.Load() {
					return false
				}
			}
			return true
		})
		publish(t, p, text("v"))
		eventually(t, "all read it", func() bool { return got[i].Load() == n })
	}
	group.Wait()
}

// TestMessageIsReused: the loop gives one message again and again; a clone stays as it was.
func TestMessageIsReused(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	p := b.producer("t")
	for i := range 3 {
		publish(t, p, leat.Message{Key: fmt.Append(nil, "k", i), Value: fmt.Append(nil, "v", i),
			Headers: []leat.Header{{Key: "h", Value: fmt.Append(nil, "x", i)}}})
	}
	var same *leat.Message
	var clones []*leat.Message
	for m, err := range b.subscribe("t", leat.From(leat.Earliest)).Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if same != nil && m != same {
			t.Error("the loop made a new message")
		}
		same = m
		clones = append(clones, m.Clone())
		for i := range m.Value { // a subscriber may scribble into what it got
			m.Key[i], m.Value[i], m.Headers[0].Value[i] = '!', '!', '!'
		}
		if len(clones) == 3 {
			break
		}
	}
	for i, m := range clones {
		if got, want := fmt.Sprintf("%s %s %s", m.Key, m.Value, m.Headers[0].Value),
			fmt.Sprintf("k%d v%d x%d", i, i, i); got != want {
			t.Errorf("clone %d: %s, want %s", i, got, want)
		}
	}
	if got := values(take(t, b.subscribe("t", leat.From(leat.Earliest)), 3)); got != "v0 v1 v2" {
		t.Errorf("the log has %q", got)
	}
}

// flip changes one byte of a file of the simulated disk.
func flip(t *testing.T, fs *mmaplog.MemFS, name string, at int64) {
	t.Helper()
	f, err := fs.Open(name, mmaplog.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// segments lists the segment files of a partition of topic "t".
func (b *bed) segments(number int) []string {
	b.t.Helper()
	dir := filepath.Join("data", "t", fmt.Sprint(b.node.topicNamed("t").id), fmt.Sprint(number))
	names, err := b.fs.ReadDir(dir)
	if err != nil {
		b.t.Fatal(err)
	}
	var files []string
	for _, name := range names {
		if strings.HasSuffix(name, ".seg") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files
}

// position finds where text stands in a file.
func position(t *testing.T, fs *mmaplog.MemFS, name, text string) int64 {
	t.Helper()
	f, err := fs.Open(name, mmaplog.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(b), text)
	if at < 0 {
		t.Fatalf("%s does not hold %q", name, text)
	}
	return int64(at)
}

// TestCorruptionWhileOpen flips a byte under an open bus: reading says so once and never shows the
// changed record; other partitions and topics go on.
func TestCorruptionWhileOpen(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage}, WithTopic("other", leat.TopicConfig{}))
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for i := range 4 {
		for number := range int32(2) {
			publish(t, p, leat.Message{Partition: number, Value: fmt.Appendf(nil, "value-%d-of-%d", i, number)})
		}
	}
	b = b.reopen() // so that reading goes to the disk
	file := b.segments(0)[0]
	flip(t, b.fs, file, position(t, b.fs, file, "value-2-of-0"))
	sub := b.subscribe("t", leat.From(leat.Earliest))
	var got []string
	failures := 0
	for failures < 3 && len(got) < 6 {
		for m, err := range sub.Messages(soon(t)) {
			if err != nil {
				wantError(t, "read of a damaged record", err, leat.ErrCorrupt)
				if !strings.Contains(err.Error(), filepath.Base(file)) {
					t.Errorf("%v does not name the segment", err)
				}
				failures++
				break
			}
			if got = append(got, string(m.Value)); len(got) == 6 {
				break
			}
		}
	}
	if failures > 1 {
		t.Errorf("told %d times, want once", failures)
	}
	for _, value := range []string{"value-0-of-0", "value-1-of-0", "value-0-of-1", "value-3-of-1"} {
		if !strings.Contains(strings.Join(got, " "), value) {
			t.Errorf("read %q without %s", got, value)
		}
	}
	publish(t, b.producer("t", leat.WithPartitioner(leat.Manual)), leat.Message{Partition: 1})
	other := b.subscribe("other")
	publish(t, b.producer("other"), text("goes on"))
	if got := values(take(t, other, 1)); got != "goes on" {
		t.Errorf("other topic: %q", got)
	}
}

// TestSubscriptionArguments: options that make no sense are errors, never ignored.
func TestSubscriptionArguments(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	_, err := b.Subscribe("t", leat.Group("../x"))
	wantError(t, "group name", err, leat.ErrInvalidName)
	_, err = b.Subscribe("t", leat.AutoAck())
	wantError(t, "AutoAck without a group", err, core.ErrInvalidConfig)
	wantError(t, "Ack of a message made by hand", (&leat.Message{}).Ack(), leat.ErrInvalidRecord)
	sub := b.subscribe("t")
	publish(t, b.producer("t"), text("v"))
	if err := take(t, sub, 1)[0].Ack(); err != nil {
		t.Errorf("Ack without a group: %v", err)
	}
	if err := sub.Commit(soon(t)); err != nil {
		t.Errorf("Commit without a group: %v", err)
	}
}

// TestPause: a paused partition delivers nothing until it is resumed, and the others go on.
func TestPause(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage})
	sub := b.subscribe("t")
	sub.Backend().Pause(0)
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for i := range int32(4) {
		publish(t, p, leat.Message{Partition: i % 2, Value: fmt.Append(nil, i)})
	}
	if got := values(take(t, sub, 2)); got != "1 3" {
		t.Errorf("read %q while partition 0 is paused", got)
	}
	sub.Backend().Resume(0)
	if got := values(take(t, sub, 2)); got != "0 2" {
		t.Errorf("read %q after Resume", got)
	}
}

// TestCrowdSleeps: a loop alone on its partition yields before it sleeps; in a crowd each sleeps at once.
func TestCrowdSleeps(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	first := b.subscribe("t").Backend().(*subscription)
	gone, cancel := context.WithCancel(t.Context())
	cancel() // who sleeps is told so
	if err := first.pause(gone, 1); err != nil {
		t.Errorf("a loop alone slept: %v", err)
	}
	for range loopYields {
		b.subscribe("t")
	}
	if err := first.pause(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a loop among %d did not sleep: %v", first.crowd(), err)
	}
	spinning := b.subscribe("t", leat.Spin()).Backend().(*subscription)
	if err := spinning.pause(gone, loopYields); err != nil {
		t.Errorf("a loop that is to spin slept: %v", err)
	}
}
