package actors

import (
	"context"

	"github.com/leatbus/leat/core"
)

// Reset makes a group without members go on at offsets in partitions of a topic of so many, also back.
// It returns when that is stored, or with an error after which it may be. Errors: CodeGroupActive,
// CodeGroupNotFound where nothing was committed, CodePartitionUnknown, CodeOffsetOutOfRange.
func (c *Coordinator) Reset(
	ctx context.Context, group string, topicID uint64, partitions int32, offsets map[int32]int64,
) error {
	return c.administer(ctx, groupKey{group, topicID}, func(r Reply[struct{}]) any {
		return groupReset{partitions: partitions, offsets: offsets, Reply: r}
	})
}

// Delete forgets what a group without members has committed. It returns when that is stored, or with an
// error after which it may be. No Snapshot that began before may be written behind it: it would bring the
// commits back. Errors: CodeGroupActive, CodeGroupNotFound where there is nothing to forget.
func (c *Coordinator) Delete(ctx context.Context, group string, topicID uint64, partitions int32) error {
	return c.administer(ctx, groupKey{group, topicID}, func(r Reply[struct{}]) any {
		return groupErase{partitions: partitions, Reply: r}
	})
}

// administer asks the actor of a group. One that was never heard of gets none.
func (c *Coordinator) administer(ctx context.Context, key groupKey, message func(Reply[struct{}]) any) error {
	if !c.knows(key) {
		return core.NewError(core.CodeGroupNotFound, "change group "+core.Quote(key.group), nil)
	}
	pid, err := c.groupActor(key)
	if err != nil {
		return err
	}
	_, err = Call(ctx, c.system, pid, message)
	return err
}

// Uses reports whether a group has members or commits on a topic. It waits for its actor.
func (c *Coordinator) Uses(group string, topicID uint64) bool {
	key := groupKey{group, topicID}
	for _, g := range c.find(func(k groupKey) bool { return k == key }) {
		if g.pid == nil {
			return len(g.stored) > 0
		}
		state, err := Call(context.Background(), c.system, g.pid,
			func(r Reply[GroupState]) any { return groupDescribe{r} })
		return err == nil && !state.nothing()
	}
	return false
}

func (c *Coordinator) knows(key groupKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.groups[key] != nil || c.stored[key] != nil
}
