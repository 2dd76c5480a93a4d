package core

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// CommitVersion is the version byte of commit keys and values this build writes, and the newest it
// reads.
const CommitVersion = 1

const (
	commitKind       = 1  // kind of a key in __groups; other kinds are reserved
	commitKeyFixed   = 16 // a key without the group's name
	commitValueBytes = 24
)

// Commit is one committed offset of a group, a record of __groups. The layout is in docs/format.md.
type Commit struct {
	Group      string
	TopicID    uint64
	Partition  int32
	Generation int32 // of the assignment it was made under
	Offset     int64 // the first offset not done
	Time       int64 // nanoseconds since 1970
	Removed    bool  // the value was null: there is no commit any more, the fields after Partition are 0
}

// Supersedes reports whether c counts and not old, another stored commit of the same key: that of the
// higher generation does, for offsets go back only by a reset, which begins one; of one generation, that
// of the higher offset, for a snapshot may stand behind newer commits.
func (c *Commit) Supersedes(old *Commit) bool {
	return cmp.Or(cmp.Compare(c.Generation, old.Generation), cmp.Compare(c.Offset, old.Offset)) > 0
}

// EncodeCommitKey appends the key of c's record to dst: what names a commit.
func EncodeCommitKey(dst []byte, c *Commit) []byte {
	le := binary.LittleEndian
	dst = append(dst, CommitVersion, commitKind)
	dst = le.AppendUint16(dst, uint16(len(c.Group)))
	dst = le.AppendUint32(dst, uint32(c.Partition))
	dst = le.AppendUint64(dst, c.TopicID)
	return append(dst, c.Group...)
}

// EncodeCommitValue appends the value of c's record to dst. A removed commit has a null value
// instead: publish nil.
func EncodeCommitValue(dst []byte, c *Commit) []byte {
	le := binary.LittleEndian
	dst = append(dst, CommitVersion, 0, 0, 0)
	dst = le.AppendUint32(dst, uint32(c.Generation))
	dst = le.AppendUint64(dst, uint64(c.Offset))
	return le.AppendUint64(dst, uint64(c.Time))
}

// DecodeCommit reads a record of __groups; a nil value removes the commit. A newer version of key
// or value is CodeVersionTooNew, everything else wrong is CodeCorrupt. It does not keep its input.
func DecodeCommit(key, value []byte) (Commit, error) {
	c, err := decodeCommitKey(key)
	if err != nil {
		return Commit{}, err
	}
	if value == nil {
		c.Removed = true
		return c, nil
	}
	if err := c.decodeValue(value); err != nil {
		return Commit{}, err
	}
	return c, nil
}

func decodeCommitKey(key []byte) (Commit, error) {
	if err := checkCommitVersion(key, commitKeyFixed); err != nil {
		return Commit{}, err
	}
	le := binary.LittleEndian
	group, partition := key[commitKeyFixed:], le.Uint32(key[4:])
	c := Commit{Partition: int32(partition), TopicID: le.Uint64(key[8:])}
	switch {
	case key[1] != commitKind:
		return c, corruptCommit("key of kind %d", key[1])
	case int(le.Uint16(key[2:])) != len(group):
		return c, corruptCommit("group of %d bytes, %d left", le.Uint16(key[2:]), len(group))
	case partition >= MaxPartitions || c.TopicID == 0:
		return c, corruptCommit("topic id %d, partition %d", c.TopicID, partition)
	}
	c.Group = string(group)
	if err := ValidateStoredName("group", c.Group); err != nil {
		return c, NewError(CodeCorrupt, "read commit", err)
	}
	return c, nil
}

func (c *Commit) decodeValue(value []byte) error {
	if err := checkCommitVersion(value, commitValueBytes); err != nil {
		return err
	}
	le := binary.LittleEndian
	c.Generation = int32(le.Uint32(value[4:]))
	c.Offset = int64(le.Uint64(value[8:]))
	c.Time = int64(le.Uint64(value[16:]))
	if len(value) != commitValueBytes || value[1]|value[2]|value[3] != 0 || c.Generation < 0 || c.Offset < 0 {
		return corruptCommit("value of %d bytes, generation %d, offset %d", len(value), c.Generation, c.Offset)
	}
	return nil
}

func checkCommitVersion(src []byte, atLeast int) error {
	switch {
	case len(src) > 0 && src[0] > CommitVersion:
		return Errorf(CodeVersionTooNew, "read commit", "version %d, this build reads up to %d",
			src[0], CommitVersion)
	case len(src) < atLeast || src[0] == 0:
		return corruptCommit("%d bytes, at least %d", len(src), atLeast)
	}
	return nil
}

func corruptCommit(format string, args ...any) error {
	return NewError(CodeCorrupt, "read commit", fmt.Errorf(format, args...))
}

// GroupsPartition is the partition of __groups that holds all commits of a group. It follows the
// rule for keys (docs/format.md, routing), with the group's name as the key, and never changes.
func GroupsPartition(group string) int32 {
	slot := xxhash.Sum64String(group) >> 50
	return int32(slot * GroupsPartitions >> 14)
}
