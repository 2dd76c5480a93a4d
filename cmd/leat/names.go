package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// nearMax is how many letters a name may be off to be proposed.
const nearMax = 2

// explain gives an error about a name that does not exist the way out that fits a command line.
func explain(ctx context.Context, bus *leat.Bus, err error, name string) error {
	e, ours := errors.AsType[*core.Error](err)
	if !ours {
		return err
	}
	better := *e
	switch e.Code {
	case core.CodeTopicNotFound:
		better.Hint = "topics are never created implicitly: leat topic create " + name
		if near := nearest(name, topicNames(ctx, bus)); near != "" {
			better.Hint = fmt.Sprintf("did you mean %s? Otherwise create it: leat topic create %s", near, name)
		}
	case core.CodeGroupNotFound:
		better.Hint = "a group exists from its first subscription on: leat group ls"
		if near := nearest(name, groupNames(ctx, bus)); near != "" {
			better.Hint = fmt.Sprintf("did you mean %s?", near)
		}
	default:
		return err
	}
	return &better
}

// topicNames lists what there is, nothing if the server does not answer.
func topicNames(ctx context.Context, bus *leat.Bus) []string {
	var names []string
	topics, _ := bus.Topics(ctx) // a proposal is not worth an error
	for i := range topics {
		names = append(names, topics[i].Name)
	}
	return names
}

func groupNames(ctx context.Context, bus *leat.Bus) []string {
	var names []string
	groups, _ := bus.Groups(ctx) // a proposal is not worth an error
	for i := range groups {
		names = append(names, groups[i].Group)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nearest gives the closest of names, quoted and joined by or, if any is close enough.
func nearest(name string, names []string) string {
	best, found := nearMax+1, []string(nil)
	for _, other := range names {
		switch d := distance(name, other); {
		case d >= len(name) || d > nearMax || d > best:
		case d < best:
			best, found = d, []string{core.Quote(other)}
		default:
			found = append(found, core.Quote(other))
		}
	}
	return strings.Join(found, " or ")
}

// distance is how many single bytes must be put in, left out or changed to make a into b
// (Levenshtein 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// findTopic describes one topic, or answers TOPIC_NOT_FOUND with the nearest names.
func findTopic(ctx context.Context, bus *leat.Bus, op, name string) (*leat.TopicInfo, error) {
	if err := core.ValidateName("topic", name); err != nil {
		return nil, err
	}
	topics, err := bus.Topics(ctx)
	if err != nil {
		return nil, err
	}
	for i := range topics {
		if topics[i].Name == name {
			return &topics[i], nil
		}
	}
	return nil, explain(ctx, bus, core.NewError(core.CodeTopicNotFound, op+" "+core.Quote(name), nil), name)
}
