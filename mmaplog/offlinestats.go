package mmaplog

import (
	"github.com/leatbus/leat/core"
)

// offlineSetMax is how many different keys or producers are told apart; beyond it a count is a least one.
const offlineSetMax = 1 << 20

// OfflineStats sums up what frames hold. It belongs to one goroutine.
type OfflineStats struct {
	KeyBytes    int64
	ValueBytes  int64
	HeaderBytes int64
	Keyed       int64 // records with a key
	Tombstones  int64 // records without a value, stubs not counted
	Removed     int64 // stubs that compaction left
	Kafka       int64 // records of Kafka batches, whose content is not looked at
	Largest     int64 // bytes of the largest record

	keys      map[uint64]struct{}
	producers map[int64]struct{}
}

// NewOfflineStats starts at zero.
func NewOfflineStats() *OfflineStats {
	return &OfflineStats{keys: map[uint64]struct{}{}, producers: map[int64]struct{}{}}
}

// Keys is how many different keys there are, told apart by their 64-bit hashes; exact is false if there
// are more than that.
func (s *OfflineStats) Keys() (n int64, exact bool) {
	return int64(len(s.keys)), len(s.keys) < offlineSetMax
}

// Producers is how many different producers with an id there are; exact is false if there are more.
func (s *OfflineStats) Producers() (n int64, exact bool) {
	return int64(len(s.producers)), len(s.producers) < offlineSetMax
}

// Add takes a frame. The error, CodeCorrupt, says that its records are not what its header says.
func (s *OfflineStats) Add(f *OfflineFrame) error {
	h := &f.Header
	if h.ProducerID != 0 {
		remember(s.producers, h.ProducerID)
	}
	switch h.Type() {
	case core.FrameKafka:
		s.Kafka += int64(h.Records)
	case core.FrameData:
		return EachRecord(f, func(_ int64, r *core.Record) error {
			s.record(r)
			return nil
		})
	}
	return nil
}

func (s *OfflineStats) record(r *core.Record) {
	size := int64(len(r.Key) + len(r.Value) + len(r.RawHeaders))
	s.KeyBytes += int64(len(r.Key))
	s.ValueBytes += int64(len(r.Value))
	s.HeaderBytes += int64(len(r.RawHeaders))
	s.Largest = max(s.Largest, size)
	switch {
	case r.Flags&core.FlagRemoved != 0:
		s.Removed++
		return
	case r.Flags&core.FlagNullValue != 0:
		s.Tombstones++
	}
	if r.Flags&core.FlagNullKey == 0 {
		s.Keyed++
		remember(s.keys, r.KeyHash)
	}
}

func remember[K comparable](set map[K]struct{}, k K) {
	if len(set) < offlineSetMax {
		set[k] = struct{}{}
	}
}

// EachRecord calls each for every record of a data frame with its offset. Its slices are valid as long as the
// frame's. Errors: CodeCorrupt if the records are not what the header says, and that of each.
func EachRecord(f *OfflineFrame, each func(offset int64, r *core.Record) error) error {
	rest := f.Payload
	for i := range int64(f.Header.Records) {
		r, n, err := core.DecodeRecord(rest)
		if err != nil {
			return err
		}
		if err := each(f.Header.BaseOffset+i, &r); err != nil {
			return err
		}
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return core.Errorf(core.CodeCorrupt, "read frame", "%d bytes behind the %d records at offset %d",
			len(rest), f.Header.Records, f.Header.BaseOffset)
	}
	return nil
}
