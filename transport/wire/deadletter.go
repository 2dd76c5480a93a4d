package wire

// DeadLettersAnswer lists the topics of dead letters with the partitions of the answering node.
type DeadLettersAnswer struct {
	Topics []DeadLettersBody `json:"topics,omitempty"`
}

// DeadLettersBody is leat.DeadLetterTopic.
type DeadLettersBody struct {
	Name  string `json:"name"`
	Topic string `json:"topic"`
	Group string `json:"group"`
	// Placement has the node of each partition, 0 for a node that is alone.
	Placement []uint16                  `json:"placement"`
	Local     []DeadLetterPartitionBody `json:"local,omitempty"`
}

// DeadLetterPartitionBody is leat.DeadLetterPartition.
type DeadLetterPartitionBody struct {
	Partition int32      `json:"p"`
	Start     int64      `json:"start"`
	End       int64      `json:"end"`
	Pending   int64      `json:"pending"`
	Redriven  int64      `json:"redriven"`
	Dropped   int64      `json:"dropped"`
	Code      uint16     `json:"code,omitempty"` // why the rest is not known
	Error     *ErrorBody `json:"error,omitempty"`
}

// DeadLetterReadBody is leat.DeadLetterRead.
type DeadLetterReadBody struct {
	Topic     string               `json:"topic"` // of the dead letters
	Partition int32                `json:"p"`
	From      int64                `json:"from,omitempty"`
	To        int64                `json:"to,omitempty"`
	Limit     int                  `json:"limit"`
	Bare      bool                 `json:"bare,omitempty"`
	Job       int64                `json:"job,omitempty"`
	Filter    DeadLetterFilterBody `json:"filter"`
}

// DeadLetterFilterBody is core.DeadLetterFilter.
type DeadLetterFilterBody struct {
	Key     *[]byte      `json:"key,omitempty"`
	Code    uint16       `json:"code,omitempty"`
	Since   int64        `json:"since,omitempty"`
	Until   int64        `json:"until,omitempty"`
	Headers []HeaderBody `json:"headers,omitempty"`
}

// HeaderBody is core.Header.
type HeaderBody struct {
	Key   string `json:"k"`
	Value []byte `json:"v"`
}

// DeadLetterPageBody is leat.DeadLetterPage.
type DeadLetterPageBody struct {
	Letters []DeadLetterBody `json:"letters,omitempty"`
	Next    int64            `json:"next"`
	End     int64            `json:"end"`
}

// DeadLetterBody is leat.DeadLetter without topic and partition, which were asked for.
type DeadLetterBody struct {
	Offset  int64        `json:"o"`
	Died    int64        `json:"died"` // nanoseconds since 1970
	Key     *[]byte      `json:"key,omitempty"`
	Value   *[]byte      `json:"value,omitempty"`
	Headers []HeaderBody `json:"headers,omitempty"`
	Size    int          `json:"size"`
	// Origin is missing for a record that is no dead letter.
	Origin *DeadLetterOriginBody `json:"origin,omitempty"`
}

// DeadLetterOriginBody is core.DeadLetterOrigin.
type DeadLetterOriginBody struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"p"`
	Offset    int64  `json:"o"`
	Time      int64  `json:"time"` // nanoseconds since 1970
	Attempts  int32  `json:"attempts"`
	Code      uint16 `json:"code"`
	Reason    []byte `json:"reason,omitempty"` // it need not be UTF-8
	Group     string `json:"group"`
}

// DeadLetterSettleBody is leat.DeadLetterSettle.
type DeadLetterSettleBody struct {
	Topic     string     `json:"topic"` // of the dead letters
	Partition int32      `json:"p"`
	Job       int64      `json:"job,omitempty"`
	Runs      [][2]int64 `json:"runs,omitempty"`
	Dropped   bool       `json:"dropped,omitempty"`
	Done      bool       `json:"done,omitempty"`
}

// DeadLetterSettled is the answer: how many of the letters were pending before.
type DeadLetterSettled struct {
	Settled int64 `json:"settled"`
}
