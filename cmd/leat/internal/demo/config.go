package demo

import (
	"fmt"
	"time"

	"github.com/leatbus/leat"
)

// The shape of the load.
const (
	topicName     = "demo"
	partitions    = 4
	publishers    = 2
	keyCount      = 1024 // split evenly among the publishers
	sharedMembers = 3

	// RateMax is the highest rate a run may be asked for, in messages per second.
	RateMax = 100_000_000
)

// Bounds on disk. Retention cuts whole segments, and the log prepares one ahead, so a partition
// takes up to two segments more than it retains.
const (
	// DiskBytes is the most a run keeps on disk.
	DiskBytes      = 1 << 30
	segmentBytes   = 16 << 20
	retentionBytes = DiskBytes/partitions - 4*segmentBytes
	// backlogBytes is how far a partition may run ahead of the slow audience. What arrives between two
	// looks of the guard must still fit below retentionBytes.
	backlogBytes = retentionBytes - 2*segmentBytes
)

// Config says what to run. For and Rate must be above 0.
type Config struct {
	For   time.Duration // how long to publish
	Rate  int64         // messages per second from all publishers, at most RateMax
	Break Fault         // what the handler of the plain audience is made to see
	Dir   string        // where the temporary folder is made; empty means the system's place
	Live  func(Figures) // called at most four times a second by one goroutine; nil for none
}

// Figures is the state of a run under way.
type Figures struct {
	Elapsed    time.Duration
	Published  int64 // acknowledged
	Rate       float64
	Plain      int64 // handled by the group of one
	Shared     int64 // handled by the group of three
	SlowBehind int64
	DiskBytes  int64
	Held       bool // publishers wait for the slow audience
}

// String is one line for people.
func (f Figures) String() string {
	held := ""
	if f.Held {
		held = "  held back for the slow one"
	}
	return fmt.Sprintf("%5.1f s  published %d (%.2f M/s)  behind: plain %d  shared %d  slow %d  disk %d MiB%s",
		f.Elapsed.Seconds(), f.Published, f.Rate/1e6, max(0, f.Published-f.Plain), max(0, f.Published-f.Shared),
		f.SlowBehind, f.DiskBytes>>20, held)
}

// Card is the result of a run. The JSON keys are stable.
type Card struct {
	Published     int64   `json:"published"` // acknowledged
	Delivered     int64   `json:"delivered"` // handled by the two groups together
	Lost          int64   `json:"lost"`
	Duplicated    int64   `json:"duplicated"`
	Reordered     int64   `json:"reordered"`
	MsgsPerSec    float64 `json:"msgs_per_sec"` // acknowledged publishes per second
	P50           float64 `json:"p50_us"`
	P99           float64 `json:"p99_us"`
	P999          float64 `json:"p999_us"`
	Max           float64 `json:"max_us"`
	Altered       int64   `json:"altered"` // messages whose bytes are not what was published
	Level         string  `json:"level"`
	Partitions    int     `json:"partitions"`
	Seconds       float64 `json:"seconds"`        // first publish to last acknowledgement
	SlowDelivered int64   `json:"slow_delivered"` // checked up to where it came
	SlowBehind    int64   `json:"slow_behind"`
	HeldSeconds   float64 `json:"held_seconds"` // publishers waited for the slow audience
	DiskBytes     int64   `json:"disk_bytes"`   // records kept at the end
}

// Err is nil if nothing was lost, repeated, reordered or altered.
func (c *Card) Err() error {
	if c.Lost == 0 && c.Duplicated == 0 && c.Reordered == 0 && c.Altered == 0 {
		return nil
	}
	return fmt.Errorf("demo: of %d messages %d lost, %d duplicated, %d reordered, %d altered",
		c.Published, c.Lost, c.Duplicated, c.Reordered, c.Altered)
}

func topicConfig() leat.TopicConfig {
	return leat.TopicConfig{
		Partitions:     partitions,
		Ack:            leat.AckPage,
		RetentionBytes: retentionBytes,
		SegmentBytes:   segmentBytes,
	}
}
