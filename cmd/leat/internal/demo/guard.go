package demo

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/clock"
)

// How often the guard looks, and how often figures are shown.
const (
	guardEvery = 10 * time.Millisecond
	showEvery  = 250 * time.Millisecond
)

// watch holds the publishers back when the slow audience falls too far behind, and shows figures. It
// returns the first error of a reader, or nil when ctx ends.
func (s *stage) watch(ctx context.Context) error {
	shown, published := s.start, int64(0)
	for {
		select {
		case err := <-s.readFailed:
			return err
		default:
		}
		topic, err := s.topic(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s.guard(topic)
		if now := s.clock.Mono(); s.cfg.Live != nil && now-shown >= int64(showEvery) {
			f := s.figures(topic, now)
			f.Rate = float64(f.Published-published) * 1e9 / float64(now-shown)
			shown, published = now, f.Published
			s.cfg.Live(f)
		}
		if clock.Sleep(ctx, s.clock, guardEvery) != nil {
			return nil
		}
	}
}

// guard stops the publishers when a partition is full of what the slow audience has not read, and
// lets them go on when a tenth of that is free again.
func (s *stage) guard(topic *leat.TopicInfo) {
	var most int64
	for i := range topic.Partitions {
		part := &topic.Partitions[i]
		most = max(most, backlog(part, s.slow.parts[part.Partition].next.Load()))
	}
	switch {
	case most >= backlogBytes:
		s.hold.Store(true)
	case most < backlogBytes/10*9:
		s.hold.Store(false)
	}
}

// backlog is how many bytes of a partition a reader at offset next has not read.
func backlog(part *leat.PartitionInfo, next int64) int64 {
	kept := part.End - part.Start
	if kept <= 0 {
		return 0
	}
	// All records have one size, and share frame headers about evenly.
	return int64(float64(part.Bytes) * float64(part.End-max(next, part.Start)) / float64(kept))
}

func (s *stage) figures(topic *leat.TopicInfo, now int64) Figures {
	published := s.published()
	return Figures{
		Elapsed:    time.Duration(now - s.start),
		Published:  published,
		Plain:      s.plain.handled(),
		Shared:     s.shared.handled(),
		SlowBehind: max(0, published-s.slow.handled()),
		DiskBytes:  diskBytes(topic),
		Held:       s.hold.Load(),
	}
}

func (s *stage) published() int64 {
	var sum int64
	for _, p := range s.publishers {
		sum += p.acked.Load()
	}
	return sum
}

func diskBytes(topic *leat.TopicInfo) int64 {
	var sum int64
	for i := range topic.Partitions {
		sum += topic.Partitions[i].Bytes
	}
	return sum
}
