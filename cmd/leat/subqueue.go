package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// lending is how leat sub joins a queue group.
type lending struct {
	queue, keyShared bool
	held, attempts   int64 // 0: nothing was said
	lease            span
}

func (l *lending) add(cmd *cobra.Command) {
	l.lease.kind = &leases
	flags := cmd.Flags()
	flags.BoolVar(&l.queue, "queue", false, "the members of the group share the messages, not the partitions")
	flags.BoolVar(&l.keyShared, "key-shared", false, "as --queue, and messages with one key come one by one")
	flags.Var(newPositive(func(n int64) { l.held = n }, 1<<20), "max-held",
		"messages to have at a time, with --queue or --key-shared (1000, or --count)")
	flags.Var(&l.lease, "lease", "how long a message is this member's, with --queue or --key-shared (30s)")
	flags.Var(newPositive(func(n int64) { l.attempts = n }, 1<<31-1), "max-attempts",
		"deliveries until a message is a dead letter, with --queue or --key-shared (16)")
}

// on reports whether messages are lent.
func (l *lending) on() bool { return l.queue || l.keyShared }

func (l *lending) check(cmd *cobra.Command, s *subscribing) error {
	switch {
	case l.queue && l.keyShared:
		return usagef(cmd, "--queue and --key-shared: want one of them")
	case !l.on() && (l.held != 0 || l.attempts != 0 || l.lease.value != 0):
		return usagef(cmd, "--max-held, --lease and --max-attempts need --queue or --key-shared")
	case l.on() && s.group == "":
		return usagef(cmd, "--queue and --key-shared need --group")
	case l.on() && s.readAt != "":
		return usagef(cmd, "--read-at: a queue group reads at the level of the topic")
	}
	return nil
}

// options join the group. No more is asked for than is printed.
func (l *lending) options(count int64) []leat.SubscribeOption {
	config := leat.QueueConfig{Lease: l.lease.value, MaxAttempts: int32(l.attempts)}
	join := leat.Queue(config)
	if l.keyShared {
		join = leat.KeyShared(config)
	}
	held := l.held
	if held == 0 && count > 0 {
		held = min(count, core.QueueMaxHeld)
	}
	return []leat.SubscribeOption{join, leat.MaxHeld(int(held))}
}

// settled waits until it is stored what was acknowledged, and tells of what was so too late.
func (a *app) settled(ctx context.Context, sub *leat.Subscription, late int64) error {
	asking, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err := sub.Commit(asking)
	stale := core.CodeOf(err) == core.CodeStaleAck
	if late > 0 || stale {
		many := "some"
		if !stale {
			many = grouped(late)
		}
		fmt.Fprintf(a.stderr, "printed when their lease was over, so that they come again: %s (raise --lease or "+
			"lower --max-held)\n", many)
	}
	if stale {
		return nil
	}
	return a.late("commit", err)
}
