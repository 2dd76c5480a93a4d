package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// burials gives up records at these offsets.
func burials(offsets ...int64) []burial {
	var list []burial
	for _, at := range offsets {
		list = append(list,
			burial{offset: at, attempts: 3, code: core.CodeHandlerFailed, reason: fmt.Sprint("no ", at)})
	}
	return list
}

// bury gives up records of a partition of topic "t" for group "g" and waits until all are answered.
func (b *bed) bury(partition int, list []burial) []error {
	b.t.Helper()
	var mu sync.Mutex
	errs, called := make([]error, len(list)), make([]int, len(list))
	b.node.bury(soon(b.t), "g", b.partition(partition), list, func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		errs[i] = err
		called[i]++
	})
	for i, n := range called {
		if n != 1 {
			b.t.Errorf("done was called %d times for burial %d", n, i)
		}
	}
	return errs
}

func (b *bed) mustBury(partition int, list []burial) {
	b.t.Helper()
	if err := errors.Join(b.bury(partition, list)...); err != nil {
		b.t.Fatalf("bury: %v", err)
	}
}

// fillDead publishes n records to a partition of topic "t".
func (b *bed) fillDead(partition int32, n int) {
	b.t.Helper()
	p := b.producer("t", leat.WithPartitioner(leat.Manual))
	for i := range n {
		m := keyed(fmt.Sprint("k", i%3), fmt.Sprintf("v%d", i))
		m.Partition, m.Headers = partition, []leat.Header{{Key: "n", Value: fmt.Append(nil, i)}}
		publish(b.t, p, m)
	}
}

// letters reads all that is pending of a partition of "t.dlq.g", in pages of three.
func (b *bed) letters(partition int32, filter leat.DeadLetterFilter) []leat.DeadLetter {
	b.t.Helper()
	var list []leat.DeadLetter
	for from := int64(0); ; {
		page, err := b.ReadDeadLetters(soon(b.t), "t.dlq.g",
			leat.DeadLetterRead{Partition: partition, From: from, Limit: 3, Filter: filter})
		if err != nil {
			b.t.Fatalf("ReadDeadLetters: %v", err)
		}
		list = append(list, page.Letters...)
		if from = page.Next; from >= page.End {
			return list
		}
	}
}

func letterValues(list []leat.DeadLetter) string {
	var all []string
	for i := range list {
		all = append(all, string(list[i].Value))
	}
	return strings.Join(all, " ")
}

// counts describes "t.dlq.g": pending, redriven, dropped.
func (b *bed) counts() [3]int64 {
	b.t.Helper()
	list, err := b.DeadLetters(soon(b.t))
	if err != nil || len(list) > 1 {
		b.t.Fatalf("DeadLetters = %+v, %v", list, err)
	}
	if len(list) == 0 {
		return [3]int64{}
	}
	t := &list[0]
	if t.Name != "t.dlq.g" || t.Topic != "t" || t.Group != "g" {
		b.t.Errorf("dead letters of %+v", t)
	}
	return [3]int64{t.Pending(), t.Redriven(), t.Dropped()}
}

func (b *bed) wantCounts(what string, pending, redriven, dropped int64) {
	b.t.Helper()
	if got := b.counts(); got != [3]int64{pending, redriven, dropped} {
		b.t.Errorf("%s: pending, redriven and dropped are %v, want %d %d %d", what, got, pending, redriven, dropped)
	}
}

// TestBury: a dead letter is the record with where it comes from and why, in the partition of the same
// number, in a topic like its own; and it is there once, however often it is buried.
func TestBury(t *testing.T) {
	b := one(t, leat.TopicConfig{Partitions: 2, Ack: leat.AckPage, SegmentBytes: 1 << 20,
		MaxRecordBytes: 100_000})
	b.fillDead(1, 5)
	b.wantCounts("before the first", 0, 0, 0)
	b.mustBury(1, burials(1, 3, 4))
	b.mustBury(1, burials(3, 4, 0))
	b.wantCounts("after two calls", 4, 0, 0)
	list := b.letters(1, leat.DeadLetterFilter{})
	if got := letterValues(list); got != "v1 v3 v4 v0" {
		t.Fatalf("letters %q", got)
	}
	l := list[1]
	want := leat.DeadLetterOrigin{Topic: "t", Partition: 1, Offset: 3, Time: l.Origin.Time, Attempts: 3,
		Code: core.CodeHandlerFailed, Reason: "no 3", Group: "g"}
	if l.Origin != want || !l.Known || l.Topic != "t.dlq.g" || l.Partition != 1 || l.Offset != 1 ||
		l.Size != 2 || string(l.Key) != "k0" ||
		!reflect.DeepEqual(l.Headers, []leat.Header{{Key: "n", Value: []byte("3")}}) ||
		l.Died.UnixNano() < l.Origin.Time || l.Origin.Time == 0 {
		t.Errorf("letter %+v", l)
	}
	made := b.node.topicNamed("t.dlq.g").config()
	config := leat.TopicConfig{Partitions: 2, Ack: leat.AckPage, Retention: leat.KeepForever,
		SegmentBytes:   1 << 20,
		MaxRecordBytes: 100_000 + core.DeadLetterRoom}
	if made != config {
		t.Errorf("the topic is made as %+v, want %+v", made, config)
	}
	b = b.reopen()
	b.mustBury(1, burials(0, 1, 2))
	if got := letterValues(b.letters(1, leat.DeadLetterFilter{})); got != "v1 v3 v4 v0 v2" {
		t.Errorf("after a restart the letters are %q", got)
	}
	if got := b.letters(0, leat.DeadLetterFilter{}); len(got) != 0 {
		t.Errorf("the other partition has %v", got)
	}
}

// TestBuryWhatIsGone: what retention took is told; the others are buried.
func TestBuryWhatIsGone(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fillDead(0, 2)
	errs := b.bury(0, burials(0, 2, 1))
	if errs[0] != nil || errs[2] != nil {
		t.Errorf("errors %v", errs)
	}
	wantError(t, "no such record", errs[1], leat.ErrOffsetOutOfRange)
	b.wantCounts("two of three", 2, 0, 0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var got error
	b.node.bury(ctx, "other", b.partition(0), burials(0), func(_ int, err error) { got = err })
	if !errors.Is(got, context.Canceled) {
		t.Errorf("without a context: %v", got)
	}
	note := func(_ int, err error) { got = err }
	b.node.bury(soon(t), strings.Repeat("g", 248), b.partition(0), burials(0), note)
	wantError(t, "too long a name", got, leat.ErrInvalidName)
}

// TestBuryAll: the largest record with the most headers is buried, and where a topic grows its letters do.
func TestBuryAll(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, MaxRecordBytes: 40_000})
	p := b.producer("t")
	many := leat.Message{Value: bytes.Repeat([]byte("x"), 20_000)}
	for i := range core.MaxHeaders {
		many.Headers = append(many.Headers,
			leat.Header{Key: fmt.Sprint("h", i), Value: bytes.Repeat([]byte{1}, 200)})
	}
	publish(t, p, many)
	publish(t, p, leat.Message{Key: []byte{}, Headers: many.Headers}) // a tombstone
	b.mustBury(0, burials(0, 1))
	size := 500_000
	if err := b.AlterTopic(soon(t), "t", leat.TopicChange{MaxRecordBytes: &size}); err != nil {
		t.Fatal(err)
	}
	large := text(strings.Repeat("y", 499_000))
	publish(t, p, large)
	b.mustBury(0, burials(2))
	list := b.letters(0, leat.DeadLetterFilter{})
	if len(list) != 3 || !bytes.Equal(list[0].Value, many.Value) ||
		!reflect.DeepEqual(list[0].Headers, many.Headers) ||
		list[1].Value != nil || list[1].Key == nil || !reflect.DeepEqual(list[1].Headers, many.Headers) ||
		!bytes.Equal(list[2].Value, large.Value) {
		t.Errorf("%d letters, not what was published", len(list))
	}
}

// TestBuryAgainAfterDeletion: topics are deleted and made anew, and no letter is taken for one of before.
func TestBuryAgainAfterDeletion(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, Partitions: 2})
	b.fillDead(1, 1)
	b.mustBury(1, burials(0))
	if err := b.DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateTopic(soon(t), "t", leat.TopicConfig{Ack: leat.AckPage, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	b.fillDead(1, 1) // the same topic, partition, offset and value
	b.mustBury(1, burials(0))
	b.fillDead(2, 1)
	b.mustBury(2, burials(0)) // the letters have two partitions
	b.wantCounts("of topics of the same name", 3, 0, 0)
	if err := b.DeleteTopic(soon(t), "t.dlq.g"); err != nil {
		t.Fatal(err)
	}
	b.wantCounts("deleted", 0, 0, 0)
	b.mustBury(1, burials(0))
	b.wantCounts("made anew", 1, 0, 0)
	if n := len(b.letters(1, leat.DeadLetterFilter{})); n != 1 {
		t.Errorf("%d letters", n)
	}
}

func TestReadDeadLetters(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage})
	b.fillDead(0, 9)
	b.mustBury(0, burials(0, 1, 2, 3, 4, 5, 6, 7, 8))
	all := b.letters(0, leat.DeadLetterFilter{})
	for _, tt := range []struct {
		what   string
		filter leat.DeadLetterFilter
		want   string
	}{
		{"all", leat.DeadLetterFilter{}, "v0 v1 v2 v3 v4 v5 v6 v7 v8"},
		{"of a key", leat.DeadLetterFilter{Key: []byte("k1")}, "v1 v4 v7"},
		{"of a header", leat.DeadLetterFilter{Headers: []leat.Header{{Key: "n", Value: []byte("6")}}}, "v6"},
		{"of another code", leat.DeadLetterFilter{Code: core.CodeRejected}, ""},
		{"since", leat.DeadLetterFilter{Since: all[8].Died.UnixNano() + 1}, ""},
	} {
		if got := letterValues(b.letters(0, tt.filter)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.what, got, tt.want)
		}
	}
	page, err := b.ReadDeadLetters(soon(t), "t.dlq.g", leat.DeadLetterRead{From: 2, To: 4, Bare: true})
	if err != nil || len(page.Letters) != 2 || page.Next != 4 || page.End != 4 || page.Letters[0].Value != nil ||
		page.Letters[0].Size != 2 {
		t.Errorf("bare [2, 4) = %+v, %v", page, err)
	}
	read := func(name string, r leat.DeadLetterRead) error {
		_, err := b.ReadDeadLetters(soon(t), name, r)
		return err
	}
	wantError(t, "another topic", read("t", leat.DeadLetterRead{}), leat.ErrTopicNotFound)
	wantError(t, "no topic", read("t.dlq.h", leat.DeadLetterRead{}), leat.ErrTopicNotFound)
	wantError(t, "no partition", read("t.dlq.g", leat.DeadLetterRead{Partition: 1}), leat.ErrPartitionUnknown)
	wantError(t, "limit", read("t.dlq.g", leat.DeadLetterRead{Limit: 4097}), leat.ErrInvalidConfig)
	wantError(t, "limit", read("t.dlq.g", leat.DeadLetterRead{Limit: -1}), leat.ErrInvalidConfig)
}

// TestSettleDeadLetters: what was settled is not read again, also after restarts and power cuts, and counts
// stay right.
func TestSettleDeadLetters(t *testing.T) {
	b := one(t, leat.TopicConfig{})
	b.fillDead(0, 6)
	b.mustBury(0, burials(0, 1, 2, 3, 4, 5))
	settle := func(s leat.DeadLetterSettle) int64 {
		t.Helper()
		n, err := b.Backend().SettleDeadLetters(soon(t), "t.dlq.g", s)
		if err != nil {
			t.Fatalf("SettleDeadLetters: %v", err)
		}
		return n
	}
	if n := settle(leat.DeadLetterSettle{Runs: [][2]int64{{1, 3}, {5, 6}}}); n != 3 {
		t.Errorf("settled %d", n)
	}
	if n := settle(leat.DeadLetterSettle{Runs: [][2]int64{{0, 2}, {9, 1 << 62}}, Dropped: true}); n != 1 {
		t.Errorf("dropped %d", n)
	}
	b.wantCounts("settled", 2, 3, 1)
	after := b.fs.Crash(3)
	b = b.reopen()
	b.wantCounts("after a restart", 2, 3, 1)
	b.close()
	b = openBed(t, after)
	b.wantCounts("after a power cut", 2, 3, 1)
	if got := letterValues(b.letters(0, leat.DeadLetterFilter{})); got != "v3 v4" {
		t.Errorf("left are %q", got)
	}
	// A job keeps another one away until it ends.
	settle(leat.DeadLetterSettle{Job: 7})
	_, err := b.ReadDeadLetters(soon(t), "t.dlq.g", leat.DeadLetterRead{Job: 8})
	wantError(t, "another job reads", err, leat.ErrRedriving)
	_, err = b.Backend().SettleDeadLetters(soon(t), "t.dlq.g",
		leat.DeadLetterSettle{Job: 8, Runs: [][2]int64{{0, 9}}})
	wantError(t, "another job settles", err, leat.ErrRedriving)
	settle(leat.DeadLetterSettle{Job: 7, Done: true})
	settle(leat.DeadLetterSettle{Job: 8, Runs: [][2]int64{{0, 9}}, Done: true})
	if _, err := b.ReadDeadLetters(soon(t), "t.dlq.g", leat.DeadLetterRead{Job: 8}); err != nil {
		t.Errorf("a request that the end has overtaken: %v", err)
	}
	settle(leat.DeadLetterSettle{Job: 9, Done: true})
	b.wantCounts("all", 0, 5, 1)
}

// TestDeadLettersGo: the log of the letters gives up what was settled, and __groups keeps what counts.
func TestDeadLettersGo(t *testing.T) {
	b := one(t, leat.TopicConfig{Ack: leat.AckPage, SegmentBytes: core.MinSegmentBytes})
	p := b.producer("t")
	var all []int64
	for range 30 {
		all = append(all, publish(t, p, text(strings.Repeat("z", 60_000))).Offset)
	}
	b.mustBury(0, burials(all...))
	grave := b.node.topicNamed("t.dlq.g").partitions[0]
	if _, err := b.Backend().SettleDeadLetters(soon(t), "t.dlq.g",
		leat.DeadLetterSettle{Runs: [][2]int64{{0, 20}, {29, 30}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "segments go", func() bool {
		_, err := b.Backend().SettleDeadLetters(soon(t), "t.dlq.g", leat.DeadLetterSettle{Runs: [][2]int64{{0, 1}}})
		return err == nil && grave.log.Start() > 10
	})
	if start := grave.log.Start(); start > 20 {
		t.Errorf("the log starts at %d, pending is 20", start)
	}
	b.wantCounts("cut", 9, 21, 0)
	home := b.node.letters.box(letterKey{grave.topic.id, 0}).home
	for home.log.Start() == 0 { // until __groups was cut behind a snapshot
		name := fmt.Sprint("n", home.log.End())
		if err := b.node.commits.storeName(soon(t), home, &core.ProducerName{Name: name, TopicID: grave.topic.id,
			ProducerID: core.NamedProducerID(name)}); err != nil {
			t.Fatal(err)
		}
		b.node.commits.cutIfRolled(home.number)
	}
	b = b.reopen()
	b.wantCounts("after a snapshot", 9, 21, 0)
}

// TestMovedThenSettled cuts the power again and again while a group buries and acknowledges: each record that
// was told to be buried is among the dead letters after the cut, and none is there twice, though what the
// group has stored of its progress is some way behind.
func TestMovedThenSettled(t *testing.T) {
	const records, step = 40, 8
	for seed := range uint64(cut(12, 3)) {
		b := one(t, leat.TopicConfig{Partitions: 2})
		b.fillDead(0, records)
		progress := int64(0) // of the group, as it is stored
		for life := uint64(0); progress < records; life++ {
			cutAfter := int64(seed*7+life*5) % step
			var fs *mmaplog.MemFS
			told := progress // records before it were buried when the power was cut
			for at := progress; at < min(progress+step, records); at++ {
				b.mustBury(0, burials(at))
				if at-progress == cutAfter {
					told, fs = at+1, b.fs.Crash(seed<<8|life)
				}
			}
			if fs == nil {
				told, fs = min(progress+step, records), b.fs.Crash(seed<<8|life)
			}
			b.close()
			b = openBed(t, fs)
			found := map[int64]int{}
			for _, l := range b.letters(0, leat.DeadLetterFilter{}) {
				if found[l.Origin.Offset]++; found[l.Origin.Offset] > 1 {
					t.Fatalf("seed %d life %d: record %d is there twice", seed, life, l.Origin.Offset)
				}
			}
			for at := range told {
				if found[at] == 0 {
					t.Fatalf("seed %d life %d: record %d is lost, told were %d", seed, life, at, told)
				}
			}
			if progress = max(progress, told-2); told == records {
				progress = records
			}
		}
		b.wantCounts(fmt.Sprint("seed ", seed), records, 0, 0)
		b.close()
	}
}
