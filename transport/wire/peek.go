package wire

// Bounds of one PeekAnswer.
const (
	MaxPeekRecords = 1_000   // that are answered
	MaxPeekScan    = 100_000 // that are looked at
	MaxPeekBytes   = 1 << 20 // of keys, values and headers that are answered, but for the last record
	MaxPeekRead    = 64 << 20
)

// FeaturePeekID says that a node finds records by the id of their message.
const FeaturePeekID uint64 = 1 << 13

// PeekBody asks for records of one partition.
type PeekBody struct {
	Topic     string       `json:"topic"`
	Partition int32        `json:"p"`
	From      PositionBody `json:"from"`             // default: the first record kept
	To        PositionBody `json:"to"`               // default: the high-water mark
	Key       []byte       `json:"key"`              // null: any
	Filter    string       `json:"filter,omitempty"` // only with FeatureFilters
	ID        []byte       `json:"id,omitempty"`     // of the message; only with FeaturePeekID
	// Remembered, with ID, asks for what the partition remembers, and not for a look at other records.
	Remembered bool  `json:"remembered,omitempty"`
	Limit      int   `json:"limit"`
	Scan       int64 `json:"scan"`
	// ValueBytes is how much of a key and a value is answered; 0: all.
	ValueBytes int `json:"valueBytes,omitempty"`
}

// PositionBody is a core.Position.
type PositionBody struct {
	Kind  uint8 `json:"k"`
	Value int64 `json:"v,omitempty"`
}

// PeekAnswer has the records that fit, in order. A limit may end it early.
type PeekAnswer struct {
	Records []PeekedBody `json:"records,omitempty"`
	Scanned int64        `json:"scanned"`
	Next    int64        `json:"next"` // first offset not looked at
	Done    bool         `json:"done,omitempty"`
}

// PeekedBody is one record; null is no key, or a tombstone.
type PeekedBody struct {
	Offset     int64        `json:"o"`
	Time       int64        `json:"t"` // nanoseconds since 1970
	Key        []byte       `json:"k"`
	Value      []byte       `json:"v"`
	KeyBytes   int          `json:"kn"` // of the whole key, as the next of the value
	ValueBytes int          `json:"vn"`
	Headers    []HeaderBody `json:"h,omitempty"`
	ID         []byte       `json:"id,omitempty"`  // of the message
	TTL        int64        `json:"ttl,omitempty"` // of the message, nanoseconds
}
