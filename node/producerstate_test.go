package node

import (
	"fmt"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// fill sends frames of about 1 KiB until the partition's log has n segments, and gives the next sequence.
func fill(r *remote, p *partition, seq int32, n int) int32 {
	for p.log.Segments() < n {
		r.send(p, seq, string(make([]byte, 1000)))
		seq++
	}
	return seq
}

// TestProducersSurviveARestart, with a saved state and without, closed and cut off.
func TestProducersSurviveARestart(t *testing.T) {
	for _, segments := range []int{1, 3} {
		for _, crash := range []bool{false, true} {
			t.Run(fmt.Sprintf("segments %d, crash %v", segments, crash), func(t *testing.T) {
				cfg := leat.TopicConfig{Ack: leat.AckDisk, SegmentBytes: core.MinSegmentBytes}
				b := one(t, cfg)
				p, r := b.partition(0), newRemote(t, b.node, 7)
				r.epoch = 5
				seq := fill(r, p, 0, segments)
				last := r.send(p, seq, "last of a life")
				if crash {
					after := b.fs.Crash(1)
					b.close()
					b = openBed(t, after, WithTopic("t", cfg))
				} else {
					b = b.reopen(WithTopic("t", cfg))
				}
				p, r = b.partition(0), newRemote(t, b.node, 7)
				if epoch, next, known := p.producerState(7); epoch != 5 || next != seq+1 || !known {
					t.Fatalf("producerState = %d, %d, %v; want 5, %d, true", epoch, next, known, seq+1)
				}
				r.epoch = 5
				again := r.send(p, seq, "last of a life")
				wantStored(t, "a retry", again, last.offset, true)
				if again.time != last.time {
					t.Errorf("stored at %d, the retry after the restart tells %d", last.time, again.time)
				}
				wantStored(t, "the next", r.send(p, seq+1, "x"), last.offset+1, false)
				r.epoch = 4
				wantError(t, "an epoch before", r.send(p, seq+2, "x").err, core.ErrProducerFenced)
			})
		}
	}
}

// TestStateOfProducersIsSaved after a roll, and not for topics without identified producers.
func TestStateOfProducersIsSaved(t *testing.T) {
	cfg := leat.TopicConfig{Ack: leat.AckPage, SegmentBytes: core.MinSegmentBytes}
	b := newBed(t, WithTopic("t", cfg), WithTopic("plain", cfg))
	p, r := b.partition(0), newRemote(t, b.node, 7)
	fill(r, p, 0, 3)
	plain, other := b.producer("plain"), b.node.topicNamed("plain").partitions[0]
	for other.log.Segments() < 3 {
		publish(t, plain, text(string(make([]byte, 4000))))
	}
	has := func(p *partition) bool {
		f, err := b.fs.Open(fmt.Sprintf("data/t/%d/0/state", p.topic.id), mmaplog.ReadOnly)
		if err != nil {
			return false
		}
		size, err := f.Size()
		return err == nil && size > 1024 // they come behind the rest
	}
	eventually(t, "the state is saved", func() bool { return has(p) })
	b.close()
	if has(other) {
		t.Error("a state of producers where there are none")
	}
}
