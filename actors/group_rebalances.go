package actors

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/leatbus/leat/core"
)

// RebalanceCount is how often the partitions of a group were given out anew for one reason.
type RebalanceCount struct {
	Group  string
	Reason string // join, leave, expired or partitions
	Count  int64
}

// maxRebalanceGroups bounds the groups that are counted by name, because names come from clients.
const maxRebalanceGroups = 10_000

// otherGroups is what further ones are counted as.
const otherGroups = "other"

// rebalances counts the rebalances of all groups.
type rebalances struct {
	mu     sync.Mutex // guards the following
	groups map[string]map[string]int64
}

// add counts one that an input has caused. A release that was asked for is part of an earlier one.
func (r *rebalances) add(group string, cause core.GroupInputKind) {
	reason := ""
	switch cause {
	case core.GroupJoin:
		reason = "join"
	case core.GroupLeave:
		reason = "leave"
	case core.GroupTick:
		reason = "expired"
	case core.GroupPartitions:
		reason = "partitions"
	default:
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups == nil {
		r.groups = make(map[string]map[string]int64)
	}
	if r.groups[group] == nil && len(r.groups) >= maxRebalanceGroups {
		group = otherGroups
	}
	if r.groups[group] == nil {
		r.groups[group] = make(map[string]int64)
	}
	r.groups[group][reason]++
}

// Rebalances gives how often groups were rebalanced since the start, sorted. Of the first 10,000 groups
// each has its own counts, the others share those of "other".
func (c *Coordinator) Rebalances() []RebalanceCount {
	r := &c.rebalances
	r.mu.Lock()
	var list []RebalanceCount
	for group, reasons := range maps.All(r.groups) {
		for reason, count := range maps.All(reasons) {
			list = append(list, RebalanceCount{group, reason, count})
		}
	}
	r.mu.Unlock()
	slices.SortFunc(list, func(a, b RebalanceCount) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}
