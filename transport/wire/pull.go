package wire

// PullBody asks a node to lend messages of the partitions it has to somebody who is no member of the group.
type PullBody struct {
	Topic string `json:"topic"`
	Group string `json:"group"`
	Mode  uint8  `json:"mode,omitempty"` // a core.GroupMode; 0: that of the members, else a queue
	Max   int    `json:"max"`
	// From is where a group begins that is new.
	From   PositionBody    `json:"from"`
	Config QueueConfigBody `json:"config"`
}

// PulledAnswer has what was lent. It is empty where there is nothing now.
type PulledAnswer struct {
	Messages []LentBody `json:"messages,omitempty"`
}

// LentBody is leat.Lent.
type LentBody struct {
	Loan    LoanBody     `json:"loan"`
	Attempt int32        `json:"attempt"`
	Time    int64        `json:"time"` // nanoseconds since 1970
	Key     *[]byte      `json:"key,omitempty"`
	Value   *[]byte      `json:"value,omitempty"`
	Headers []HeaderBody `json:"headers,omitempty"`
	TTL     int64        `json:"ttl,omitempty"` // nanoseconds
	ID      []byte       `json:"id,omitempty"`  // it need not be UTF-8
}

// LoanBody is leat.Loan.
type LoanBody struct {
	Partition int32 `json:"p"`
	Offset    int64 `json:"o"`
	Slot      int32 `json:"s"`
	Epoch     int64 `json:"e"`
}

// LoansBody says what became of messages that the node has lent.
type LoansBody struct {
	Topic string     `json:"topic"`
	Group string     `json:"group"`
	Kind  SettleKind `json:"kind"`
	Delay int64      `json:"delay,omitempty"` // of SettleNack: nanoseconds, −1 for that of the policy
	// Reason is that of SettleReject, and with FeatureReasons of SettleNack. It need not be UTF-8.
	Reason []byte     `json:"reason,omitempty"`
	Loans  []LoanBody `json:"loans"`
}

// LoansAnswer has a core.Code for each loan, 0 where the answer was taken.
type LoansAnswer struct {
	Codes []uint16 `json:"codes"`
}
