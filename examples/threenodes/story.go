package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/leatbus/leat"
)

// order is what is published. Orders of a customer are numbered, and come in their order.
type order struct {
	Customer string `json:"customer"`
	Number   int    `json:"number"`
}

const customers = 50

// story is what happens to one topic.
type story struct {
	bus    *leat.Bus
	out    io.Writer
	orders *leat.TypedTopic[order]
	home   map[int32]uint16 // the node of each partition
	next   int              // number of the next order
}

func (s *story) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// prepare waits until all nodes see each other, creates the topic, and prints where its partitions are.
func (s *story) prepare(ctx context.Context) error {
	if err := s.awaitNodes(ctx, nodes); err != nil {
		return err
	}
	if err := s.bus.CreateTopic(ctx, "orders", leat.TopicConfig{Partitions: partitions}); err != nil {
		return err
	}
	topics, err := s.bus.Topics(ctx)
	if err != nil {
		return err
	}
	s.home = map[int32]uint16{}
	for _, p := range topics[0].Partitions {
		s.home[p.Partition] = p.Node
		s.printf("partition %d is on node %d\n", p.Partition, p.Node)
	}
	s.orders = leat.TopicOf[order](s.bus, "orders")
	return nil
}

// awaitNodes waits until so many nodes are up.
func (s *story) awaitNodes(ctx context.Context, want int) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		cluster, err := s.bus.Cluster(ctx)
		if err != nil {
			return err
		}
		up := 0
		for _, n := range cluster.Nodes {
			if n.Up {
				up++
			}
		}
		if up == want {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take gives the next order.
func (s *story) take() order {
	o := order{Customer: fmt.Sprintf("customer-%02d", s.next%customers), Number: s.next}
	s.next++
	return o
}

// publishAll publishes orders while all nodes are there.
func (s *story) publishAll(ctx context.Context, count int) error {
	per := map[uint16]int{}
	for range count {
		o := s.take()
		receipt, err := s.orders.Publish(ctx, o.Customer, o)
		if err != nil {
			return err
		}
		per[s.home[receipt.Partition]]++
	}
	s.printf("%d orders were published: %d on node 1, %d on node 2, %d on node 3\n",
		count, per[1], per[2], per[3])
	return nil
}

// publishMeanwhile publishes orders while a node is away, and returns those that failed. The customers of
// its partitions fail, all others go on; a customer whose order failed has to wait, or its next one could
// overtake it.
func (s *story) publishMeanwhile(ctx context.Context, count int) (failed []order, err error) {
	waiting := map[string]bool{}
	for range count {
		o := s.take()
		if waiting[o.Customer] {
			failed = append(failed, o)
			continue
		}
		receipt, err := s.orders.Publish(ctx, o.Customer, o)
		switch {
		case err == nil && s.home[receipt.Partition] == victim:
			return nil, fmt.Errorf("partition %d took an order though its node is away", receipt.Partition)
		case err == nil:
			continue
		case !leat.Retryable(err):
			return nil, err
		}
		if len(waiting) == 0 {
			s.printf("the first that failed: %v\n  hint: %s\n", err, leat.HintFor(err))
		}
		waiting[o.Customer] = true
		failed = append(failed, o)
	}
	s.printf("%d orders went on, %d of %d customers have to wait\n", count-len(failed), len(waiting), customers)
	return failed, nil
}

// publishAgain publishes what failed, in its order, as long as errors are retriable.
func (s *story) publishAgain(ctx context.Context, failed []order) error {
	for _, o := range failed {
		for {
			_, err := s.orders.Publish(ctx, o.Customer, o)
			if err == nil {
				break
			}
			if !leat.Retryable(err) {
				return err
			}
		}
	}
	s.printf("%d orders were published again\n", len(failed))
	return nil
}

// readBack reads the topic from the start and checks that every order is there, those of a customer in
// their order. An order whose publish failed may be there twice: it had reached the node.
func (s *story) readBack(ctx context.Context) error {
	sub, err := s.orders.Subscribe(leat.From(leat.Earliest))
	if err != nil {
		return err
	}
	defer sub.Close()
	seen, last, per := map[int]bool{}, map[string]int{}, map[uint16]int{}
	twice := 0
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return err
		}
		o := m.Value
		if seen[o.Number] {
			twice++
			continue
		}
		if before, known := last[o.Customer]; known && before > o.Number {
			return fmt.Errorf("order %d of %s came after %d", o.Number, o.Customer, before)
		}
		seen[o.Number], last[o.Customer] = true, o.Number
		per[s.home[m.Partition]]++
		if len(seen) == s.next {
			break
		}
	}
	if len(seen) != s.next {
		return errors.Join(ctx.Err(), fmt.Errorf("%d of %d orders are there", len(seen), s.next))
	}
	s.printf("all %d orders are there, in order for each customer, %d of them on node %d; %d came twice\n",
		s.next, per[victim], victim, twice)
	return nil
}

func join(peers map[int]string) string {
	text := ""
	for _, id := range slices.Sorted(maps.Keys(peers)) {
		text += "," + peers[id]
	}
	return text[1:]
}
