package core

import (
	"encoding/binary"
	"fmt"
	"time"
)

// CatalogueKind is the kind of a catalogue record. Its numbers are stored.
type CatalogueKind uint8

// The kinds of catalogue records.
const (
	CatalogueCreated CatalogueKind = 1 // topic ID exists from here on
	CatalogueDeleted CatalogueKind = 2 // topic ID is gone; only ID counts
	CatalogueMark    CatalogueKind = 3 // ids below ID have been given; only ID counts
	CatalogueAltered CatalogueKind = 4 // topic ID has another retention and record limit
	CataloguePlaced  CatalogueKind = 5 // topic ID, which was there without, has a placement; Time: of __groups
)

// CatalogueRecordVersion is the newest version byte this build writes and reads. A record carries the
// lowest version that has what it says.
const CatalogueRecordVersion = 4

// The flags of a record.
const (
	catalogueInCluster = 1 // it has a catalogue version and, behind the name, a placement
	catalogueKeeps     = 2 // it says how long and how records are kept; without it: for ever, and all
	catalogueSpans     = 4 // it has spans of time that count for messages; without it they are 0
)

// catalogueSpansBytes is what a record with catalogueSpans has behind what catalogueKeeps adds.
const catalogueSpansBytes = 16

// catalogueKeepsBytes is what a record with catalogueKeeps has behind its fixed part.
const catalogueKeepsBytes = 24

// catalogueFixedBytes is a catalogue record without the name.
const catalogueFixedBytes = 48

// CatalogueRecord is one change of the catalogue, the value of one record of __meta. The layout is
// in docs/format.md.
type CatalogueRecord struct {
	Kind   CatalogueKind
	ID     uint64
	Time   int64       // of the creation, nanoseconds since 1970
	Config TopicConfig // without defaults
	Name   string

	// In a cluster: the version of the catalogue with this change, 0 within a snapshot, and who leads the
	// partitions of a topic that is created or placed.
	Version   uint64
	Placement Placement
}

func (r *CatalogueRecord) inCluster() bool { return r.Version != 0 || r.Placement != "" }

// keeps reports whether the record says more of what is kept than the first versions could.
func (r *CatalogueRecord) keeps() bool {
	return r.configures() && (r.Config.Retention != KeepForever || r.Config.RetentionRecords != 0 ||
		r.Config.Cleanup != CleanupDelete)
}

// spans reports whether the record has spans of time that count for messages.
func (r *CatalogueRecord) spans() bool {
	return r.configures() && r.Config.TTL|r.Config.DedupWindow != 0
}

// configures reports whether the record has a configuration.
func (r *CatalogueRecord) configures() bool {
	return r.Kind == CatalogueCreated || r.Kind == CatalogueAltered
}

// version is the first version of the format that has what the record says.
func (r *CatalogueRecord) version() uint8 {
	switch {
	case r.spans():
		return 4
	case r.keeps():
		return 3
	case r.inCluster() || r.Kind == CatalogueAltered:
		return 2
	}
	return 1
}

// Encode appends the record to dst.
func (r *CatalogueRecord) Encode(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, r.version(), uint8(r.Kind))
	dst = le.AppendUint16(dst, uint16(len(r.Name)))
	dst = le.AppendUint32(dst, uint32(r.Config.Partitions))
	dst = le.AppendUint64(dst, r.ID)
	dst = le.AppendUint64(dst, uint64(r.Time))
	dst = le.AppendUint64(dst, uint64(r.Config.RetentionBytes))
	dst = le.AppendUint64(dst, uint64(r.Config.SegmentBytes))
	dst = le.AppendUint32(dst, uint32(r.Config.MaxRecordBytes))
	flags := uint8(0)
	if r.inCluster() {
		flags |= catalogueInCluster
	}
	if r.keeps() {
		flags |= catalogueKeeps
	}
	if r.spans() {
		flags |= catalogueSpans
	}
	dst = append(dst, uint8(r.Config.Ack), flags, 0, 0)
	if r.keeps() {
		dst = le.AppendUint64(dst, uint64(r.Config.Retention))
		dst = le.AppendUint64(dst, uint64(r.Config.RetentionRecords))
		dst = le.AppendUint64(dst, uint64(r.Config.Cleanup))
	}
	if r.spans() {
		dst = le.AppendUint64(dst, uint64(r.Config.TTL))
		dst = le.AppendUint64(dst, uint64(r.Config.DedupWindow))
	}
	if r.inCluster() {
		dst = le.AppendUint64(dst, r.Version)
	}
	dst = append(dst, r.Name...)
	return append(dst, r.Placement...)
}

// DecodeCatalogueRecord reads what Encode wrote, all of src. A record of a newer version is
// CodeVersionTooNew, everything else wrong is CodeCorrupt. It does not keep src.
func DecodeCatalogueRecord(src []byte) (CatalogueRecord, error) {
	if len(src) > 0 && src[0] > CatalogueRecordVersion {
		return CatalogueRecord{}, Errorf(CodeVersionTooNew, "read catalogue",
			"version %d, this build reads up to %d", src[0], CatalogueRecordVersion)
	}
	if len(src) < catalogueFixedBytes {
		return CatalogueRecord{}, corruptCatalogue("%d bytes, a record has at least %d",
			len(src), catalogueFixedBytes)
	}
	le := binary.LittleEndian
	var tail catalogueTail
	if src[0] == 0 || !tail.split(src) || src[46]|src[47] != 0 {
		return CatalogueRecord{}, corruptCatalogue("version %d, %d bytes, name of %d",
			src[0], len(src), le.Uint16(src[2:]))
	}
	partitions, recordBytes := le.Uint32(src[4:]), le.Uint32(src[40:])
	if partitions > MaxPartitions || recordBytes > MaxRecordBytes {
		return CatalogueRecord{}, corruptCatalogue("%d partitions, records of %d bytes",
			partitions, recordBytes)
	}
	r := CatalogueRecord{
		Kind: CatalogueKind(src[1]),
		ID:   le.Uint64(src[8:]),
		Time: int64(le.Uint64(src[16:])),
		Config: TopicConfig{
			Partitions:     int(partitions),
			Ack:            Ack(src[44]),
			RetentionBytes: int64(le.Uint64(src[24:])),
			SegmentBytes:   int64(le.Uint64(src[32:])),
			MaxRecordBytes: int(recordBytes),
		},
		Name: string(tail.name), Version: tail.version, Placement: Placement(tail.placement),
	}
	if r.configures() {
		r.Config.Retention, r.Config.RetentionRecords = tail.retention, tail.records
		r.Config.Cleanup, r.Config.TTL = tail.cleanup, tail.ttl
		r.Config.DedupWindow = tail.dedup
	}
	if src[0] != r.version() {
		return CatalogueRecord{}, corruptCatalogue("kind %d in version %d", r.Kind, src[0])
	}
	return r, r.validate()
}

// catalogueTail is what follows the fixed part of a record.
type catalogueTail struct {
	retention       time.Duration
	records         int64
	cleanup         Cleanup
	ttl, dedup      time.Duration
	version         uint64
	name, placement []byte
}

// split finds the parts; it reports whether their lengths are possible.
func (t *catalogueTail) split(src []byte) bool {
	le := binary.LittleEndian
	nameLen, flags := int(le.Uint16(src[2:])), src[45]
	rest := src[catalogueFixedBytes:]
	t.retention = KeepForever
	if flags&catalogueKeeps != 0 {
		if len(rest) < catalogueKeepsBytes || le.Uint64(rest[16:]) >= uint64(cleanupEnd) {
			return false
		}
		t.retention, t.records = time.Duration(le.Uint64(rest)), int64(le.Uint64(rest[8:]))
		t.cleanup = Cleanup(rest[16])
		rest = rest[catalogueKeepsBytes:]
	}
	if flags&catalogueSpans != 0 {
		if len(rest) < catalogueSpansBytes {
			return false
		}
		t.ttl, t.dedup = time.Duration(le.Uint64(rest)), time.Duration(le.Uint64(rest[8:]))
		rest = rest[catalogueSpansBytes:]
	}
	switch flags &^ (catalogueKeeps | catalogueSpans) {
	case 0:
		t.name = rest
	case catalogueInCluster:
		if len(rest) < 8+nameLen {
			return false
		}
		t.version = le.Uint64(rest)
		t.name, t.placement = rest[8:8+nameLen], rest[8+nameLen:]
	default:
		return false
	}
	return len(t.name) == nameLen && len(t.placement)%2 == 0
}

// validate checks what the catalogue relies on. A level that this build cannot give is no damage.
func (r *CatalogueRecord) validate() error {
	switch {
	case r.ID == GroupTopicID && r.Kind == CataloguePlaced:
		return r.validatePlaced()
	case r.ID < FirstTopicID || r.ID == ^uint64(0):
		return corruptCatalogue("topic id %d", r.ID)
	case r.Kind == CatalogueDeleted || r.Kind == CatalogueMark:
		if *r != (CatalogueRecord{Kind: r.Kind, ID: r.ID, Version: r.Version}) {
			return corruptCatalogue("kind %d with more than an id", r.Kind)
		}
		return nil
	case r.Kind == CatalogueAltered:
		return r.validateAltered()
	case r.Kind == CataloguePlaced:
		return r.validatePlaced()
	case r.Kind != CatalogueCreated:
		return corruptCatalogue("kind %d", r.Kind)
	case r.Config.Ack == AckDefault || r.Config.Ack >= ackEnd:
		return corruptCatalogue("ack level %d", uint8(r.Config.Ack))
	case r.Placement != "" && !r.Placement.valid(r.Config.Partitions):
		return corruptCatalogue("%d partitions, placed %d", r.Config.Partitions, r.Placement.Partitions())
	}
	if err := ValidateName("topic", r.Name); err != nil {
		return NewError(CodeCorrupt, "read catalogue", err)
	}
	if err := r.Config.Validate(r.Name); err != nil && CodeOf(err) != CodeLevelUnavailable {
		return NewError(CodeCorrupt, "read catalogue", err)
	}
	return nil
}

// validateAltered checks a record that changes a topic.
func (r *CatalogueRecord) validateAltered() error {
	changed := TopicConfig{}.withChangeable(r.Config)
	whole := TopicConfig{Partitions: 1, Ack: AckDisk, SegmentBytes: MinSegmentBytes}.withChangeable(changed)
	if *r != (CatalogueRecord{Kind: CatalogueAltered, ID: r.ID, Config: changed, Version: r.Version}) ||
		whole.Validate("") != nil {
		return corruptCatalogue("topic %d altered to %+v", r.ID, r.Config)
	}
	return nil
}

func corruptCatalogue(format string, args ...any) error {
	return NewError(CodeCorrupt, "read catalogue", fmt.Errorf(format, args...))
}
