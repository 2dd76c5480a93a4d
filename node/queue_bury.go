package node

import (
	"context"

	"github.com/leatbus/leat/core"
)

// burial is a record that a queue group gives up.
type burial struct {
	offset   int64
	attempts int32
	code     core.Code // CodeRejected or CodeAttemptsExhausted
	reason   string    // what Message.Reject was told; empty after a restart
}

// bury calls done with the index of each record of a list once it is a dead letter of its group, stored at
// the level of the topic, or with why it is not; CodeOffsetOutOfRange says that there is nothing left to keep.
//
// This build has no dead letters: the records stay with their group, and are tried again after the longest
// delay of its Retry.
func (n *Node) bury(
	_ context.Context, group string, p *partition, list []burial, done func(i int, err error),
) {
	for i := range list {
		done(i, core.Errorf(core.CodeUnsupported, p.op("bury a record of"), "offset %d of group %s",
			list[i].offset, core.Quote(group)))
	}
}
