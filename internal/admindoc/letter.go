package admindoc

import (
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/messagedoc"
)

// LetterTopic is the dead letters of one group on one topic.
type LetterTopic struct {
	Name     string `json:"name" doc:"Of the topic that keeps them"`
	Topic    string `json:"topic"`
	Group    string `json:"group"`
	Pending  int64  `json:"pending" doc:"Neither redriven nor dropped, of nodes that are reached"`
	Redriven int64  `json:"redriven"`
	Dropped  int64  `json:"dropped"`

	PerPartition []LetterPartition `json:"per_partition"`
}

// LetterPartition is one partition of them.
type LetterPartition struct {
	Partition int32  `json:"partition"`
	Node      uint16 `json:"node"`
	Pending   int64  `json:"pending"`
	Redriven  int64  `json:"redriven"`
	Dropped   int64  `json:"dropped"`
	Error     string `json:"error,omitempty" doc:"Why the figures are not known"`
}

// Letter is one dead letter, perhaps cut. Topic, partition, offset and time are its own.
type Letter struct {
	PeekedMessage `yaml:",inline"`
	Origin        *LetterOrigin `json:"origin,omitempty" doc:"Absent where somebody else published it"`
}

// LetterOrigin tells where a dead letter comes from and why it is one.
type LetterOrigin struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Time      string `json:"time" format:"date-time" doc:"When it was appended there"`
	Group     string `json:"group"`
	Attempts  int32  `json:"attempts"`
	Code      string `json:"code" example:"LEAT-7002"`
	Reason    string `json:"reason"`
}

// LetterTopicOf describes a topic of dead letters.
func LetterTopicOf(t *leat.DeadLetterTopic) LetterTopic {
	doc := LetterTopic{Name: t.Name, Topic: t.Topic, Group: t.Group, Pending: t.Pending(),
		Redriven: t.Redriven(), Dropped: t.Dropped(), PerPartition: []LetterPartition{}}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		doc.PerPartition = append(doc.PerPartition, LetterPartition{Partition: p.Partition, Node: p.Node,
			Pending: p.Pending, Redriven: p.Redriven, Dropped: p.Dropped, Error: errorText(p.Err)})
	}
	return doc
}

// LetterOf describes a dead letter, key and value cut to so many bytes; 0 is all.
func LetterOf(l *leat.DeadLetter, preview int) Letter {
	m := leat.Peeked{KeyBytes: len(l.Key), ValueBytes: len(l.Value), Message: leat.Message{Topic: l.Topic,
		Partition: l.Partition, Offset: l.Offset, Time: l.Died, Key: l.Key, Value: l.Value, Headers: l.Headers}}
	if preview > 0 {
		m.Key, m.Value = m.Key[:min(len(m.Key), preview)], m.Value[:min(len(m.Value), preview)]
	}
	doc := Letter{PeekedMessage: PeekedOf(&m)}
	if o := &l.Origin; l.Known {
		doc.Origin = &LetterOrigin{Topic: o.Topic, Partition: o.Partition, Offset: o.Offset,
			Time: timeText(time.Unix(0, o.Time)), Group: o.Group, Attempts: o.Attempts, Code: o.Code.String(),
			Reason: messagedoc.ValidText(o.Reason)}
	}
	return doc
}

// timeText is a time with nine digits.
func timeText(at time.Time) string { return at.UTC().Format(messagedoc.TimeLayout) }
