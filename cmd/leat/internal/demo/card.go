package demo

import "context"

// card sums up a run that is over: all goroutines have ended.
func (s *stage) card(seconds float64) Card {
	sent := make([]uint64, len(s.keys))
	var held int64
	for _, p := range s.publishers {
		for key, n := range p.sent {
			sent[key] += n
		}
		held = max(held, p.held)
	}
	plain, shared := s.plain.sequences.Against(sent), s.shared.sequences.Against(sent)
	slow := s.slow.sequences.Seen()
	latency := s.plain.latency.Summary()
	published := s.published()
	card := Card{
		Published:     published,
		Delivered:     plain.Delivered + shared.Delivered,
		Lost:          plain.Lost + shared.Lost + slow.Lost,
		Duplicated:    plain.Duplicated + shared.Duplicated + slow.Duplicated,
		Reordered:     plain.Reordered + shared.Reordered + slow.Reordered,
		MsgsPerSec:    float64(published) / seconds,
		P50:           latency.P50,
		P99:           latency.P99,
		P999:          latency.P999,
		Max:           latency.Max,
		Altered:       s.plain.altered.Load() + s.shared.altered.Load() + s.slow.altered.Load(),
		Level:         topicConfig().Ack.String(),
		Partitions:    partitions,
		Seconds:       seconds,
		SlowDelivered: slow.Delivered,
		SlowBehind:    published - slow.Delivered,
		HeldSeconds:   float64(held) / 1e9,
	}
	// Only for show: a run that was checked is not failed by it.
	if topic, err := s.topic(context.Background()); err == nil {
		card.DiskBytes = diskBytes(topic)
	}
	return card
}
