package core

// GroupMode is how the members of a group share a topic.
type GroupMode uint8

// The modes of a group.
const (
	// GroupStream: each partition is read by one member, in order.
	GroupStream GroupMode = iota
	// GroupQueue: each record goes to one member, whatever its partition and key.
	GroupQueue
	// GroupKeyShared: as GroupQueue, and the records of a key come one after the other.
	GroupKeyShared
)

var groupModeNames = [...]string{"stream", "queue", "key-shared"}

// String is the name of the mode.
func (m GroupMode) String() string {
	if int(m) < len(groupModeNames) {
		return groupModeNames[m]
	}
	return "unknown"
}

// Differs names the first field in which other says something else than c; what other leaves at zero says
// nothing. Ordered and Filtered are not compared.
func (c *QueueConfig) Differs(other *QueueConfig) string {
	switch {
	case other.Lease != 0 && other.Lease != c.Lease:
		return "Lease"
	case other.MaxUnsettled != 0 && other.MaxUnsettled != c.MaxUnsettled:
		return "MaxUnsettled"
	case other.MaxAttempts != 0 && other.MaxAttempts != c.MaxAttempts:
		return "MaxAttempts"
	case other.Retry != (Backoff{}) && other.Retry != c.Retry:
		return "Retry"
	case other.Rate != 0 && other.Rate != c.Rate:
		return "Rate"
	}
	return ""
}
