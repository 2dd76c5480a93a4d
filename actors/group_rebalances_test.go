package actors

import (
	"fmt"
	"slices"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestRebalancesAreCounted: by group and reason, and the names that clients can give are bounded.
func TestRebalancesAreCounted(t *testing.T) {
	var c Coordinator
	c.rebalances.add("b", core.GroupLeave)
	c.rebalances.add("a", core.GroupTick)
	c.rebalances.add("b", core.GroupJoin)
	c.rebalances.add("b", core.GroupJoin)
	c.rebalances.add("b", core.GroupRevoked) // a part of an earlier one
	want := []RebalanceCount{{"a", "expired", 1}, {"b", "join", 2}, {"b", "leave", 1}}
	if got := c.Rebalances(); !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
	for i := range maxRebalanceGroups {
		c.rebalances.add(fmt.Sprint("g", i), core.GroupJoin)
	}
	got := c.Rebalances()
	at := slices.Index(got, RebalanceCount{otherGroups, "join", 2})
	if at < 0 || len(got) > maxRebalanceGroups+3 {
		t.Errorf("%d rows; want those of %d groups, and 2 joins of others", len(got), maxRebalanceGroups)
	}
}

func TestKindOf(t *testing.T) {
	for name, want := range map[string]string{"node": "node", "topic/16": "topic", "topic/16/3": "partition",
		"group/16/g/x": "group", "member/m1": "member", "producer/4": "producer"} {
		if got := kindOf(name, false); got != want {
			t.Errorf("%s is a %s; want %s", name, got, want)
		}
		if got := kindOf(name, true); got != "user" {
			t.Errorf("%s of a user is a %s", name, got)
		}
	}
}
