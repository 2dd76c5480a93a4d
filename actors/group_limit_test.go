package actors

import (
	"strconv"
	"testing"

	"github.com/leatbus/leat/core"
)

// TestGroupsAreBounded: beyond the most groups no new one begins, and those that are known go on.
func TestGroupsAreBounded(t *testing.T) {
	b := newGroupBed(t, new(memoryLog))
	defer b.close()
	c := b.coordinator
	for i := range core.MaxGroups {
		c.stored[groupKey{strconv.Itoa(i), 16}] = commits{}
	}
	if _, err := c.groupActor(groupKey{"new", 16}); core.CodeOf(err) != core.CodeLimited {
		t.Errorf("one more: %v", err)
	}
	for range 2 {
		if _, err := c.groupActor(groupKey{"7", 16}); err != nil {
			t.Errorf("one that is known: %v", err)
		}
	}
}
