package core

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

const (
	producerNameKind     = 2 // kind of a key in __groups
	producerNameKeyFixed = 16
	producerNameBytes    = 24
)

// MaxProducerNames is how many names of producers (WithID) one node keeps.
const MaxProducerNames = 100_000

// ProducerName is what a node knows of a producer with a name (WithID) of one topic: who has the name, and
// the epoch that fences everybody who had it before. It is a record of __groups; the layout is in
// docs/format.md.
type ProducerName struct {
	Name       string
	TopicID    uint64
	Instance   uint64 // random, of the producer that has the name; 0 for one in the node's process
	ProducerID int64  // NamedProducerID of the name
	Epoch      int16
	Removed    bool // the value was null; the fields after TopicID are 0
}

// NamedProducerID is the producer id of a name: 63 bits of its hash, never 0.
func NamedProducerID(name string) int64 { return max(int64(xxhash.Sum64String(name)&(1<<63-1)), 1) }

// Supersedes reports whether p counts and not old, another stored record of the same key: that of the newer
// epoch does, for a snapshot may stand behind newer records.
func (p *ProducerName) Supersedes(old *ProducerName) bool { return epochAfter(p.Epoch, old.Epoch) }

// IsProducerName reports whether the key of a record of __groups is that of a producer's name.
func IsProducerName(key []byte) bool { return len(key) > 1 && key[1] == producerNameKind }

// EncodeKey appends the key of p's record to dst.
func (p *ProducerName) EncodeKey(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, CommitVersion, producerNameKind)
	dst = le.AppendUint16(dst, uint16(len(p.Name)))
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint64(dst, p.TopicID)
	return append(dst, p.Name...)
}

// EncodeValue appends the value of p's record to dst. A name that is removed has a null value instead.
func (p *ProducerName) EncodeValue(dst []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, CommitVersion, 0)
	dst = le.AppendUint16(dst, uint16(p.Epoch))
	dst = le.AppendUint32(dst, 0)
	dst = le.AppendUint64(dst, p.Instance)
	return le.AppendUint64(dst, uint64(p.ProducerID))
}

// DecodeProducerName reads a record of __groups that IsProducerName; a nil value removes the name. A newer
// version is CodeVersionTooNew, everything else wrong is CodeCorrupt. It does not keep its input.
func DecodeProducerName(key, value []byte) (ProducerName, error) {
	if err := checkCommitVersion(key, producerNameKeyFixed); err != nil {
		return ProducerName{}, err
	}
	le := binary.LittleEndian
	name := key[producerNameKeyFixed:]
	p := ProducerName{TopicID: le.Uint64(key[8:])}
	if !IsProducerName(key) || int(le.Uint16(key[2:])) != len(name) || le.Uint32(key[4:]) != 0 ||
		p.TopicID == 0 {
		return ProducerName{}, corruptProducerName("key of kind %d with a name of %d bytes, %d left, topic id %d",
			key[1], le.Uint16(key[2:]), len(name), p.TopicID)
	}
	p.Name = string(name)
	if err := ValidateStoredName("producer", p.Name); err != nil {
		return ProducerName{}, NewError(CodeCorrupt, "read producer name", err)
	}
	if value == nil {
		p.Removed = true
		return p, nil
	}
	if err := p.decodeValue(value); err != nil {
		return ProducerName{}, err
	}
	return p, nil
}

func (p *ProducerName) decodeValue(value []byte) error {
	if err := checkCommitVersion(value, producerNameBytes); err != nil {
		return err
	}
	le := binary.LittleEndian
	p.Epoch = int16(le.Uint16(value[2:]))
	p.Instance = le.Uint64(value[8:])
	p.ProducerID = int64(le.Uint64(value[16:]))
	if len(value) != producerNameBytes || value[1] != 0 || le.Uint32(value[4:]) != 0 || p.Epoch < 0 ||
		p.ProducerID != NamedProducerID(p.Name) {
		return corruptProducerName("value of %d bytes, epoch %d, producer id %d of name %s",
			len(value), p.Epoch, p.ProducerID, Quote(p.Name))
	}
	return nil
}

func corruptProducerName(format string, args ...any) error {
	return NewError(CodeCorrupt, "read producer name", fmt.Errorf(format, args...))
}
