package node

import (
	"github.com/leatbus/leat/core"
)

// deadLetter is a record that a queue group gives up, and why.
type deadLetter struct {
	part     *partition
	offset   int64
	group    string
	attempts int32
	code     core.Code // CodeRejected or CodeAttemptsExhausted
	reason   string    // what Message.Reject was told; empty after a restart
}

// bury makes d a dead letter. done is called once, on any goroutine, also before bury returns: with nil when
// the dead letter is stored at the level of its topic, else with why it is not. bury does not block.
//
// This build has no dead letters: the record stays with its group, and is tried to be buried again after the
// longest delay of its Retry.
func (n *Node) bury(d deadLetter, done func(error)) {
	done(core.Errorf(core.CodeUnsupported, d.part.op("bury a record of"), "offset %d", d.offset))
}
