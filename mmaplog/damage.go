package mmaplog

import "fmt"

// Damaged says which durable records cannot be read. It is the cause of the CodeCorrupt that opening a log
// answers, for errors.As. Nothing of it was cut.
type Damaged struct {
	From, To int64  // offsets; To is the first one behind that may be whole
	Segment  string // path of the file
	Position int64  // in it, where the damage begins
	Reason   string
}

// Error tells where the damage is, and why it is known to be one.
func (d *Damaged) Error() string {
	return fmt.Sprintf("segment %s, position %d: %s, but offset %d was durable", d.Segment, d.Position, d.Reason,
		d.From)
}
