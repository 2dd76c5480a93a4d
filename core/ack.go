package core

import "fmt"

// Ack is a durability level: what must be true before a publish is answered. The order is the
// order of strength, so levels compare with <. The zero value means "the default of this bus".
type Ack uint8

// The levels of docs/promises.md, weakest first.
const (
	AckDefault    Ack = iota // the topic's level, or disk where a topic names none
	AckNone                  // answered before anything happened; Receipt.Offset is -1
	AckRing                  // the record owns a published ring slot
	AckPage                  // in the log, in the page cache: survives the process, not the power
	AckDisk                  // a sync that covers it returned without error on this node
	AckQuorumPage            // a majority has it at page
	AckQuorum                // a majority has it at disk
	ackEnd
)

var ackNames = [ackEnd]string{"default", "none", "ring", "page", "disk", "quorum-page", "quorum"}

// String gives the level's name as flags and files spell it.
func (a Ack) String() string {
	if a < ackEnd {
		return ackNames[a]
	}
	return fmt.Sprintf("ack(%d)", uint8(a))
}

// ParseAck reads a level's name; the error names the accepted ones.
func ParseAck(name string) (Ack, error) {
	for i, known := range ackNames {
		if name == known {
			return Ack(i), nil
		}
	}
	return AckDefault, &Error{Code: CodeInvalidConfig, Op: "ack level " + Quote(name),
		Hint: "use one of none, page, disk"}
}

// Available reports whether this build can honour the level, with an error that says so if not:
// a publish never silently gets less than it asked for.
func (a Ack) Available() error {
	switch a {
	case AckDefault, AckNone, AckPage, AckDisk:
		return nil
	}
	return &Error{Code: CodeLevelUnavailable, Op: "ack level " + a.String()}
}

// Or gives the level itself, or def where it is AckDefault.
func (a Ack) Or(def Ack) Ack {
	if a == AckDefault {
		return def
	}
	return a
}
