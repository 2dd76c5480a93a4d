package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leatbus/leat"
)

// cause sums up letters that died of the same.
type cause struct {
	letters int
	example leat.DeadLetter
}

// inspect prints the dead letters by cause, with one of each, and returns the name of their topic.
func (s *story) inspect(ctx context.Context) (name string, err error) {
	topics, err := s.bus.DeadLetters(ctx)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(topics, func(t leat.DeadLetterTopic) bool {
		return t.Topic == topic && t.Group == group
	})
	if at < 0 {
		return "", fmt.Errorf("group %s has no dead letters", group)
	}
	causes := map[string]*cause{}
	for _, p := range topics[at].Partitions {
		if err := s.inspectPartition(ctx, topics[at].Name, p.Partition, causes); err != nil {
			return "", err
		}
	}
	fmt.Fprintf(s.out, "%s has %d letters:\n", topics[at].Name, topics[at].Pending())
	for _, why := range slices.Sorted(maps.Keys(causes)) {
		c, l := causes[why], &causes[why].example
		fmt.Fprintf(s.out, "  %4d %s, for example %s/%d, offset %d, attempts %d, key %s: %q\n       %.60s\n",
			c.letters, why, l.Origin.Topic, l.Origin.Partition, l.Origin.Offset, l.Origin.Attempts, l.Key,
			l.Origin.Reason, l.Value)
	}
	return topics[at].Name, nil
}

// inspectPartition reads all letters of a partition, a page at a time. Reading changes nothing.
func (s *story) inspectPartition(ctx context.Context, name string, partition int32,
	causes map[string]*cause) error {
	read := leat.DeadLetterRead{Partition: partition, Limit: 500}
	for {
		page, err := s.bus.ReadDeadLetters(ctx, name, read)
		if err != nil {
			return err
		}
		for i := range page.Letters {
			why := causeOf(&page.Letters[i])
			if causes[why] == nil {
				causes[why] = &cause{example: page.Letters[i]}
			}
			causes[why].letters++
		}
		if read.From = page.Next; page.Next == page.End {
			return nil
		}
	}
}

// causeOf names what a letter died of: the code of the error, and what the reason begins with.
func causeOf(l *leat.DeadLetter) string {
	switch l.Origin.Code {
	case leat.CodeAttemptsExhausted:
		return "attempts used up"
	case leat.CodeRejected:
		reason, _, _ := strings.Cut(l.Origin.Reason, ":")
		return "rejected, " + reason
	}
	return fmt.Sprintf("LEAT-%d", l.Origin.Code)
}
