package core

import "time"

// PositionKind says how a Position is meant.
type PositionKind uint8

// The kinds of Position.
const (
	PositionDefault  PositionKind = iota // latest without a group, earliest with one
	PositionEarliest                     // the first record kept
	PositionLatest                       // what is published from now on
	PositionOffset                       // the record with this offset
	PositionTime                         // the first record at or after this time
)

// Position says where a subscription starts. With a group it counts only where no commit exists.
type Position struct {
	Kind  PositionKind
	Value int64 // an offset, or nanoseconds since 1970
}

// The fixed positions.
var (
	Earliest = Position{Kind: PositionEarliest}
	Latest   = Position{Kind: PositionLatest}
)

// AtOffset starts at offset n of every partition it is applied to.
func AtOffset(n int64) Position { return Position{Kind: PositionOffset, Value: n} }

// AtTime starts at the first record appended at or after t.
func AtTime(t time.Time) Position { return Position{Kind: PositionTime, Value: t.UnixNano()} }
