package core

import "time"

// delaySkew is how much further than MaxDelay ahead of a node's clock a message from outside may be due,
// because its producer's clock is another one.
const delaySkew = int64(time.Hour)

// CheckProducedDelay is what a node must know of a record for __delay from outside, which has passed
// CheckProduced: that it is a message for the target and level of want, and one that CheckDelayed takes, due
// within bounds; and not the end of another message, or one that replaces it. now is in nanoseconds,
// maxRecordBytes is the target's. It is CodeInvalidRecord, and what CheckDelayed answers.
func CheckProducedDelay(r *Record, want Delayed, now int64, maxRecordBytes int) error {
	if r.Flags != 0 || len(r.RawHeaders) > 0 {
		return invalidFrame("a delayed message with flags %#04x and headers of %d bytes around it",
			uint16(r.Flags), len(r.RawHeaders))
	}
	record, err := DecodeDelayRecord(r)
	switch m := &record.Message; {
	case CodeOf(err) == CodeVersionTooNew && err != nil:
		return err
	case err != nil:
		return NewError(CodeInvalidRecord, produceOp, err)
	case record.Kind != DelayMessage:
		return invalidFrame("a record of __delay of kind %d: want a message", record.Kind)
	case m.Topic != want.Topic || m.Partition != want.Partition || m.Level != want.Level:
		return invalidFrame("a delayed message for partition %d of topic id %d at %v: want %d of %d at %v",
			m.Partition, m.Topic, m.Level, want.Partition, want.Topic, want.Level)
	case m.Replaces >= 0:
		return invalidFrame("a delayed message that replaces the one at %d", m.Replaces)
	case m.Scheduled:
		return invalidFrame("a delayed message that is a run of a schedule")
	case m.Relative && m.Due < int64(MinDelay):
		return invalidFrame("a delay of %v: want at least %v", time.Duration(m.Due), MinDelay)
	case !m.Relative && m.Due > now+int64(MaxDelay)+delaySkew:
		return invalidFrame("due at %v: want at most %v from now", time.Unix(0, m.Due).UTC(), MaxDelay)
	}
	return CheckDelayed(record.Message.Record, maxRecordBytes)
}
