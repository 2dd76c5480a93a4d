package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

var badNames = []string{
	"../x", "..", ".", "", "a/b", `a\b`, strings.Repeat("n", 250), "a\x00b", "a\nb", "\x1b[31m", "__x", "__meta",
	"ä", "\xff", " ",
}

// TestBadNames hands bad names to every call that takes one. Each is refused, nothing is created
// outside the folder, and the bus works as before.
func TestBadNames(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	for _, name := range badNames {
		_, err := Open(t.Context(), "elsewhere", withFS(b.fs), WithTopic(name, leat.TopicConfig{}))
		wantError(t, fmt.Sprintf("WithTopic(%q)", name), err, leat.ErrInvalidName)
		if err != nil && strings.ContainsAny(err.Error(), "\x00\n\x1b\xff") {
			t.Errorf("the error shows control bytes: %q", err.Error())
		}
		wantError(t, fmt.Sprintf("CreateTopic(%q)", name),
			b.CreateTopic(soon(t), name, leat.TopicConfig{}), leat.ErrInvalidName)
		wantError(t, fmt.Sprintf("DeleteTopic(%q)", name), b.DeleteTopic(soon(t), name), leat.ErrInvalidName)
		_, err = b.Producer(name)
		wantError(t, fmt.Sprintf("Producer(%q)", name), err, leat.ErrInvalidName)
		_, err = b.Subscribe(name)
		wantError(t, fmt.Sprintf("Subscribe(%q)", name), err, leat.ErrInvalidName)
		if name != "" { // no group
			_, err = b.Subscribe("t", leat.Group(name))
			wantError(t, fmt.Sprintf("Group(%q)", name), err, leat.ErrInvalidName)
		}
	}
	if _, err := b.fs.ReadDir("elsewhere"); err == nil {
		t.Error("a refused Open made a folder")
	}
	longest := strings.Repeat("n", core.MaxNameBytes)
	if err := b.CreateTopic(soon(t), longest, leat.TopicConfig{Ack: leat.AckPage}); err != nil {
		t.Errorf("a name of %d bytes: %v", len(longest), err)
	}
	publish(t, b.producer(longest), text("v"))
	publish(t, b.producer("t"), text("v"))
}

func TestMissingTopic(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	_, err := b.Producer("nothing")
	wantError(t, "Producer", err, leat.ErrTopicNotFound)
	_, err = b.Subscribe("nothing", leat.Group("g"))
	wantError(t, "Subscribe", err, leat.ErrTopicNotFound)
	wantError(t, "DeleteTopic", b.DeleteTopic(soon(t), "nothing"), leat.ErrTopicNotFound)
	wantError(t, "CreateTopic", b.CreateTopic(soon(t), "t", leat.TopicConfig{}), leat.ErrTopicExists)
}

// TestConfig: a configuration out of bounds, or other than the stored one, names the field.
func TestConfig(t *testing.T) {
	stored := leat.TopicConfig{Partitions: 2, Ack: leat.AckPage, RetentionBytes: 1 << 20,
		SegmentBytes: 1 << 20, MaxRecordBytes: 1000}
	b := one(t, stored)
	b.close()
	for field, change := range map[string]func(*leat.TopicConfig){
		"Partitions":       func(c *leat.TopicConfig) { c.Partitions = 3 },
		"Ack":              func(c *leat.TopicConfig) { c.Ack = leat.AckDisk },
		"Retention":        func(c *leat.TopicConfig) { c.Retention = leat.KeepForever },
		"RetentionBytes":   func(c *leat.TopicConfig) { c.RetentionBytes = 0 },
		"RetentionRecords": func(c *leat.TopicConfig) { c.RetentionRecords = 7 },
		"SegmentBytes":     func(c *leat.TopicConfig) { c.SegmentBytes = 2 << 20 },
		"MaxRecordBytes":   func(c *leat.TopicConfig) { c.MaxRecordBytes = 0 },
		"TTL":              func(c *leat.TopicConfig) { c.TTL = time.Second },
		"DedupWindow":      func(c *leat.TopicConfig) { c.DedupWindow = time.Hour },
	} {
		cfg := stored
		change(&cfg)
		_, err := Open(soon(t), "data", withFS(b.fs), WithTopic("t", cfg))
		wantError(t, field, err, leat.ErrConfigMismatch)
		if err != nil && !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	for field, cfg := range map[string]leat.TopicConfig{
		"Partitions":       {Partitions: core.MaxPartitions + 1},
		"Retention":        {Retention: time.Millisecond},
		"RetentionBytes":   {RetentionBytes: -1},
		"RetentionRecords": {RetentionRecords: -1},
		"SegmentBytes":     {SegmentBytes: 1000},
		"MaxRecordBytes":   {MaxRecordBytes: 17 << 20},
		"TTL":              {TTL: time.Microsecond},
	} {
		_, err := Open(soon(t), "new", withFS(b.fs), WithTopic("bad", cfg))
		wantError(t, field, err, core.ErrInvalidConfig)
		if err != nil && !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	for _, bytes := range []int64{-1, 0, 1 << 20} {
		_, err := Open(soon(t), "new", withFS(b.fs), WithUnsyncedMax(bytes))
		wantError(t, fmt.Sprint("UnsyncedMax ", bytes), err, core.ErrInvalidConfig)
	}
	_, err := Open(soon(t), "new", withFS(b.fs), WithFlushEvery(-1))
	wantError(t, "FlushEvery", err, core.ErrInvalidConfig)
	again := openBed(t, b.fs, WithTopic("t", stored))
	publish(t, again.producer("t"), text("v"))
}

// TestSecondOpen: a folder has one bus at a time, in this process and among processes.
func TestSecondOpen(t *testing.T) {
	dir := t.TempDir()
	bus := openBus(t, dir, WithTopic("t", leat.TopicConfig{Ack: leat.AckPage}))
	p := openProducer(t, bus, "t")
	_, err := Open(soon(t), dir)
	wantError(t, "second Open in this process", err, leat.ErrLocked)
	out, err := child(t, os.Args[0], "second process", dir).CombinedOutput()
	said := string(out)
	if err != nil || !strings.HasPrefix(said, "3004\n") || !strings.Contains(said, "stop that process") {
		t.Errorf("a second process says %q, %v; want LEAT-3004 with a hint", out, err)
	}
	publish(t, p, text("goes on"))
	if err := bus.Close(); err != nil {
		t.Fatal(err)
	}
	out, err = child(t, os.Args[0], "second process", dir).CombinedOutput()
	if err != nil || string(out) != "opened\n" {
		t.Errorf("after Close a second process says %q, %v", out, err)
	}
}

func TestNewerVersion(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	publish(t, b.producer("t"), text("v"))
	b.close()
	write := func(content string) {
		f, err := b.fs.Open(filepath.Join("data", "FORMAT"), mmaplog.ReadWrite)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte(content), 0); err != nil {
			t.Fatal(err)
		}
	}
	write("leat data format 2\n")
	_, err := Open(soon(t), "data", withFS(b.fs))
	wantError(t, "Open", err, leat.ErrVersionTooNew)
	write("leat data fromat 1\n")
	_, err = Open(soon(t), "data", withFS(b.fs))
	wantError(t, "Open", err, leat.ErrCorrupt)
	write("leat data format 1\n")
	again := openBed(t, b.fs)
	if got := values(take(t, again.subscribe("t", leat.From(leat.Earliest)), 1)); got != "v" {
		t.Errorf("read %q: a refused Open changed something", got)
	}
}

// TestDamagedPartition flips a byte of durable data between two runs: that partition refuses with
// ErrCorrupt and everything else works.
func TestDamagedPartition(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			b := one(t, leat.TopicConfig{Partitions: 2, Ack: level}, WithTopic("other", leat.TopicConfig{}))
			p := b.producer("t", leat.WithPartitioner(leat.Manual), leat.WithAck(leat.AckDisk))
			for i := range 20 {
				for number := range int32(2) {
					publish(t, p, leat.Message{Partition: number, Value: fmt.Appendf(nil, "value-%d-of-%d", i, number)})
				}
			}
			publish(t, b.producer("other"), text("v"))
			file := b.segments(0)[0]
			b.close()
			flip(t, b.fs, file, position(t, b.fs, file, "value-2-of-0"))
			// With the clean mark in it nothing is read before somebody asks for it.
			if err := b.fs.Remove(filepath.Join(filepath.Dir(file), "state")); err != nil {
				t.Fatal(err)
			}
			b = openBed(t, b.fs)
			_, err := b.producer("t", leat.WithPartitioner(leat.Manual)).Publish(soon(t), leat.Message{Partition: 0})
			wantError(t, "publish to the damaged partition", err, leat.ErrCorrupt)
			if err != nil && !strings.Contains(err.Error(), filepath.Base(file)) {
				t.Errorf("%v does not name the segment", err)
			}
			topics, err := b.Topics(soon(t))
			if err != nil || len(topics) != 2 || topics[1].Name != "t" {
				t.Fatalf("topics %+v, %v", topics, err)
			}
			if parts := topics[1].Partitions; !errors.Is(parts[0].Err, leat.ErrCorrupt) || parts[1].Err != nil {
				t.Errorf("partitions say %v and %v", parts[0].Err, parts[1].Err)
			}
			r := publish(t, b.producer("t", leat.WithPartitioner(leat.Manual)), leat.Message{Partition: 1})
			if r.Offset != 20 {
				t.Errorf("offset %d in the sound partition, want 20", r.Offset)
			}
			if got := values(take(t, b.subscribe("other", leat.From(leat.Earliest)), 1)); got != "v" {
				t.Errorf("other topic: read %q", got)
			}
		})
	}
}

// TestDamagedPartitionGoesOn: where damage is skipped, the partition takes records, a subscription that comes
// to the lost ones says which, and one that starts behind them reads the rest.
func TestDamagedPartitionGoesOn(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	p := b.producer("t")
	for i := range 6 {
		publish(t, p, text(fmt.Sprint("value-", i)))
	}
	file := b.segments(0)[0]
	b.close()
	flip(t, b.fs, file, position(t, b.fs, file, "value-2"))
	if err := b.fs.Remove(filepath.Join(filepath.Dir(file), "state")); err != nil {
		t.Fatal(err)
	}
	b = openBed(t, b.fs, WithOnDamage(mmaplog.SkipWithGap))
	if r := publish(t, b.producer("t"), text("value-6")); r.Offset != 6 {
		t.Errorf("the next record has offset %d, want 6", r.Offset)
	}
	sub := b.subscribe("t", leat.From(leat.Earliest), leat.Group("g"))
	before := take(t, sub, 2)
	if got := values(before); got != "value-0 value-1" {
		t.Errorf("before the damage: %q", got)
	}
	if err := before[1].Ack(); err != nil {
		t.Error(err)
	}
	var m leat.Message
	var damaged *mmaplog.Damaged
	err := sub.Backend().Next(soon(t), &m)
	wantError(t, "read on", err, leat.ErrCorrupt)
	if !errors.As(err, &damaged) || damaged.From != 2 || damaged.To != 3 {
		t.Errorf("the error is %v, want one of [2, 3)", err)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	if err := b.ResetGroup(soon(t), "g", "t", leat.AtOffset(3)); err != nil {
		t.Fatal(err)
	}
	if got := values(take(t, b.subscribe("t", leat.Group("g")), 4)); got != "value-3 value-4 value-5 value-6" {
		t.Errorf("behind the damage: %q", got)
	}
}

// TestFullDisk fills the simulated disk: publishing says so, retryably; reading and other topics with
// room go on, and publishing resumes when there is space again.
func TestFullDisk(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			b := one(t, leat.TopicConfig{Ack: level, SegmentBytes: core.MinSegmentBytes},
				WithTopic("roomy", leat.TopicConfig{Ack: leat.AckPage}))
			roomy := b.producer("roomy")
			publish(t, roomy, text("v"))
			fillAndRecover(t, b.Bus, func() { b.fs.LimitSpace(0) }, func() {
				publish(t, roomy, text("goes on while there is room in its segment"))
				b.fs.LimitSpace(-1)
			})
		})
	}
}

// fillAndRecover publishes to "t" until the disk is full, and then makes room.
func fillAndRecover(t *testing.T, bus *leat.Bus, fill, free func()) {
	t.Helper()
	p := openProducer(t, bus, "t")
	stored := 0
	send := func() error {
		m := leat.Message{Key: fmt.Append(nil, stored), Value: make([]byte, 10_000)}
		_, err := p.Publish(soon(t), m)
		if err == nil {
			stored++
		}
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	fill()
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		err = send()
	}
	wantError(t, "Publish", err, leat.ErrStorageFull)
	if !leat.Retryable(err) {
		t.Errorf("%v is not retryable", err)
	}
	wantError(t, "Publish again", send(), leat.ErrStorageFull)
	answer := make(chan error, 1)
	p.PublishAsync(leat.Message{Value: make([]byte, 10_000)}, func(_ leat.Receipt, err error) { answer <- err })
	wantError(t, "PublishAsync", receive(t, "callback", answer), leat.ErrStorageFull)
	readAll(t, bus, stored)
	free()
	eventually(t, "publishing resumes", func() bool { return send() == nil })
	for range 50 {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	readAll(t, bus, stored)
}

// readAll reads topic "t" and checks that its keys count from 0 to n.
func readAll(t *testing.T, bus *leat.Bus, n int) {
	t.Helper()
	sub, err := bus.Subscribe("t", leat.From(leat.Earliest))
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for i, m := range take(t, sub, n) {
		if string(m.Key) != fmt.Sprint(i) || m.Offset != int64(i) {
			t.Fatalf("record %d has key %s and offset %d", i, m.Key, m.Offset)
		}
	}
}

// TestFullDiskAtFirstRecord: there is not even room for the first segment.
func TestFullDiskAtFirstRecord(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckDisk})
	b.fs.LimitSpace(1000)
	_, err := b.producer("t").Publish(soon(t), text("v"))
	wantError(t, "Publish", err, leat.ErrStorageFull)
	b.fs.LimitSpace(-1)
	if r := publish(t, b.producer("t"), text("v")); r.Offset != 0 {
		t.Errorf("offset %d: a refused record took one", r.Offset)
	}
}

// TestFullTmpfs fills a real file system.
func TestFullTmpfs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector runs on the heap file system only")
	}
	dir := t.TempDir()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", dir).CombinedOutput()
	if err != nil {
		t.Skipf("cannot mount a tmpfs: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			bus := openBus(t, filepath.Join(dir, level.String()),
				WithTopic("t", leat.TopicConfig{Ack: level, SegmentBytes: core.MinSegmentBytes}))
			fillAndRecover(t, bus, func() {}, func() {
				if err := os.Remove(ballast); err != nil {
					t.Error(err)
				}
			})
			if err := bus.Close(); err != nil {
				t.Error(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, level.String())); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestFailedSyncFencesOnePartition: after EIO on a sync nothing is acknowledged on that partition any
// more; its durable records can be read, and the others do not notice.
func TestFailedSyncFencesOnePartition(t *testing.T) {
	for _, level := range []leat.Ack{leat.AckPage, leat.AckDisk} {
		t.Run(level.String(), func(t *testing.T) {
			b := one(t, leat.TopicConfig{Partitions: 2, Ack: level})
			p := b.producer("t", leat.WithPartitioner(leat.Manual), leat.WithAck(leat.AckDisk))
			publish(t, p, leat.Message{Partition: 0, Value: []byte("before")})
			publish(t, p, leat.Message{Partition: 1, Value: []byte("before")})
			b.fs.FailNextSync(syscall.EIO)
			_, err := p.Publish(soon(t), leat.Message{Partition: 0, Value: []byte("lost")})
			wantError(t, "Publish", err, leat.ErrLogFenced)
			for range 3 {
				_, err = p.Publish(soon(t), leat.Message{Partition: 0, Value: []byte("after")})
				wantError(t, "Publish to the fenced partition", err, leat.ErrLogFenced)
			}
			r := publish(t, p, leat.Message{Partition: 1, Value: []byte("goes on")})
			if r.Offset != 1 {
				t.Errorf("other partition: offset %d", r.Offset)
			}
			topics, err := b.Topics(soon(t))
			if err != nil {
				t.Fatal(err)
			}
			parts := topics[0].Partitions
			if !errors.Is(parts[0].Err, leat.ErrLogFenced) || parts[1].Err != nil {
				t.Errorf("partitions say %v and %v", parts[0].Err, parts[1].Err)
			}
			sub := b.subscribe("t", leat.From(leat.Earliest), leat.ReadAt(leat.AckDisk))
			if got := take(t, sub, 3); len(got) != 3 {
				t.Errorf("read %d", len(got))
			}
			if err := b.closeBroken(); !errors.Is(err, leat.ErrLogFenced) {
				t.Errorf("Close: %v, want that a log was fenced", err)
			}
			after := openBed(t, b.fs.Crash(1))
			r = publish(t, after.producer("t", leat.WithPartitioner(leat.Manual)), leat.Message{Partition: 0})
			if r.Offset < 1 || r.Offset > 2 && level == leat.AckDisk {
				t.Errorf("after reopening: offset %d", r.Offset) // at page offsets that were seen are skipped
			}
			wantAfterFence(t, after.subscribe("t", leat.From(leat.Earliest)), r.Offset)
		})
	}
}

// wantAfterFence reads partition 0 up to offset end and the two records of partition 1.
func wantAfterFence(t *testing.T, sub *leat.Subscription, end int64) {
	t.Helper()
	others, ended := 0, false
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Partition == 1 {
			others++
		} else if m.Offset == 0 && string(m.Value) != "before" {
			t.Errorf("the acknowledged record is %q", m.Value)
		} else if m.Offset == end {
			ended = true
		}
		if ended && others == 2 {
			return
		}
	}
	t.Errorf("the loop ended with %d records of the other partition, up to the last %t", others, ended)
}

// TestFailedWriteFences: EIO on a write is the same at disk.
func TestFailedWriteFences(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckDisk})
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	publish(t, p, leat.Message{Partition: 0, Value: []byte("before")})
	publish(t, p, leat.Message{Partition: 1, Value: []byte("before")})
	b.fs.FailWrites(syscall.EIO)
	_, err := p.Publish(soon(t), leat.Message{Partition: 0, Value: []byte("lost")})
	if !errors.Is(err, core.ErrIO) && !errors.Is(err, leat.ErrLogFenced) {
		t.Errorf("Publish: %v", err)
	}
	if leat.HintFor(err) == "" {
		t.Errorf("no hint for %v", err)
	}
	b.fs.FailWrites(nil)
	_, err = p.Publish(soon(t), leat.Message{Partition: 0, Value: []byte("after")})
	if err == nil {
		t.Error("a publish after a failed write worked")
	}
	publish(t, p, leat.Message{Partition: 1, Value: []byte("goes on")})
	if err := b.closeBroken(); err == nil {
		t.Error("Close says nothing of the fenced log")
	}
	again := openBed(t, b.fs)
	if r := publish(t, again.producer("t", leat.WithPartitioner(leat.Manual)), leat.Message{}); r.Offset != 1 {
		t.Errorf("after reopening: offset %d, want 1", r.Offset)
	}
}

// TestOpenIsBoundedByItsContext: a context that has ended opens nothing and leaves nothing locked.
func TestOpenIsBoundedByItsContext(t *testing.T) {
	fs := mmaplog.Heap()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	bus, err := Open(ctx, "data", withFS(fs), WithTopic("t", leat.TopicConfig{}))
	if err == nil {
		_ = bus.Close()
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	openBed(t, fs, WithTopic("t", leat.TopicConfig{}))
}
