package httpdoor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// place is where reading goes on in one partition: at an offset, or where nothing was read yet perhaps at a
// time.
type place struct {
	partition int32
	at        leat.Position
}

// places are a cursor: by partition, each once. As text they are partition:offset or partition:@nanoseconds,
// separated by commas, as in 0:124,1:99.
type places []place

// String is the text that parsePlaces reads.
func (p places) String() string { return string(p.append(nil)) }

func (p places) append(dst []byte) []byte {
	for i := range p {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, int64(p[i].partition), 10)
		dst = append(dst, ':')
		if p[i].at.Kind == core.PositionTime {
			dst = append(dst, '@')
		}
		dst = strconv.AppendInt(dst, p[i].at.Value, 10)
	}
	return dst
}

// positions are the places as a subscription takes them.
func (p places) positions() map[int32]leat.Position {
	all := make(map[int32]leat.Position, len(p))
	for i := range p {
		all[p[i].partition] = p[i].at
	}
	return all
}

// index gives the place of a partition, nil if there is none.
func (p places) index(partition int32) *place {
	// Most often all partitions are there.
	if i := int(partition); i < len(p) && p[i].partition == partition {
		return &p[i]
	}
	i, found := slices.BinarySearchFunc(p, partition, func(a place, n int32) int {
		return cmp.Compare(a.partition, n)
	})
	if !found {
		return nil
	}
	return &p[i]
}

// passed notes that everything before next was delivered.
func (p places) passed(partition int32, next int64) {
	if at := p.index(partition); at != nil {
		at.at = leat.AtOffset(next)
	}
}

// parsePlaces reads a cursor.
func parsePlaces(text string) (places, error) {
	var all places
	for part := range strings.SplitSeq(text, ",") {
		number, where, found := strings.Cut(part, ":")
		partition, err := strconv.ParseUint(number, 10, 31)
		if !found || err != nil || partition >= core.MaxPartitions || !canonical(number) {
			return nil, notPlaces(part)
		}
		digits, isTime := strings.CutPrefix(where, "@")
		value, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || !canonical(digits) {
			return nil, notPlaces(part)
		}
		at := leat.AtOffset(int64(value))
		if isTime {
			at.Kind = core.PositionTime
		}
		if n := len(all); n > 0 && all[n-1].partition >= int32(partition) {
			return nil, fmt.Errorf("partition %d after %d: want them in order, each once", partition,
				all[n-1].partition)
		}
		all = append(all, place{int32(partition), at})
	}
	return all, nil
}

// canonical refuses signs and leading zeros, so that a cursor has one spelling.
func canonical(digits string) bool {
	return digits != "" && digits[0] != '+' && (digits == "0" || digits[0] != '0')
}

func notPlaces(part string) error {
	return fmt.Errorf("found %s, want a cursor as it was given out: partition:offset, separated by commas",
		core.Quote(part))
}

// start says where a client wants to begin: at a position in every partition, or at places.
type start struct {
	at     leat.Position
	places places // instead of at, if not nil
}

// parseStart reads earliest, latest, an offset, @ and a time, or a cursor.
func parseStart(text string) (start, error) {
	switch {
	case text == "earliest":
		return start{at: leat.Earliest}, nil
	case text == "latest":
		return start{at: leat.Latest}, nil
	case strings.HasPrefix(text, "@"):
		at, err := time.Parse(time.RFC3339Nano, text[1:])
		if err != nil || at.Year() < 1970 || at.Year() >= 2262 {
			return start{}, fmt.Errorf("found %s, want a time as in @2026-01-31T12:00:00Z", core.Quote(text))
		}
		return start{at: leat.AtTime(at)}, nil
	case strings.Contains(text, ":"):
		all, err := parsePlaces(text)
		return start{places: all}, err
	}
	offset, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return start{}, fmt.Errorf("found %s, want earliest, latest, an offset, @TIME or a cursor",
			core.Quote(text))
	}
	return start{at: leat.AtOffset(int64(offset))}, nil
}

// Gap is a range of offsets that a cursor has not seen and that are gone by now.
type Gap struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from" doc:"First offset that is gone"`
	To        int64 `json:"to" doc:"Offset at which reading goes on"`
}

// resolve makes places of a start, in all partitions of a topic or in one. What retention took from a cursor
// is a gap.
func (s *start) resolve(info *leat.TopicInfo, only int32) (places, []Gap, error) {
	op := "read topic " + core.Quote(info.Name)
	if int(only) >= len(info.Partitions) {
		return nil, nil, core.Errorf(core.CodePartitionUnknown, op, "partition %d, the topic has %d", only,
			len(info.Partitions))
	}
	if s.places != nil {
		return s.resume(info, only, op)
	}
	var all places
	for i := range info.Partitions {
		p := &info.Partitions[i]
		if only >= 0 && p.Partition != only {
			continue
		}
		at := s.at
		switch at.Kind {
		case core.PositionEarliest:
			at = leat.AtOffset(p.Start)
		case core.PositionLatest:
			at = leat.AtOffset(p.HighWater)
		case core.PositionOffset:
			if at.Value < p.Start || at.Value > p.HighWater {
				return nil, nil, outOfRange(op, at.Value, p)
			}
		}
		all = append(all, place{p.Partition, at})
	}
	return all, nil, nil
}

// resume goes on at a cursor.
func (s *start) resume(info *leat.TopicInfo, only int32, op string) (places, []Gap, error) {
	var gaps []Gap
	all := slices.Clone(s.places)
	if only >= 0 {
		all = slices.DeleteFunc(all, func(p place) bool { return p.partition != only })
		if len(all) == 0 {
			return nil, nil, refuse(400, op, "the cursor has no partition %d", only)
		}
	}
	for i := range all {
		n := all[i].partition
		if int(n) >= len(info.Partitions) {
			return nil, nil, core.Errorf(core.CodePartitionUnknown, op, "partition %d, the topic has %d", n,
				len(info.Partitions))
		}
		if all[i].at.Kind == core.PositionTime {
			continue
		}
		p := &info.Partitions[n]
		if at := all[i].at.Value; at < p.Start {
			gaps = append(gaps, Gap{Partition: n, From: at, To: p.Start})
			all[i].at.Value = p.Start
		} else if at > max(p.End, p.HighWater) {
			return nil, nil, outOfRange(op, at, p)
		}
	}
	return all, gaps, nil
}

func outOfRange(op string, offset int64, p *leat.PartitionInfo) error {
	return core.Errorf(core.CodeOffsetOutOfRange, op, "offset %d, partition %d has [%d, %d)", offset,
		p.Partition,
		p.Start, p.HighWater)
}
