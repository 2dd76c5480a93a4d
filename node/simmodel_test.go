package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// simModel knows what was published, answered and delivered, and checks it.
type simModel struct {
	t *testing.T

	mu       sync.Mutex // guards the following
	acked    map[string]leat.Receipt
	failed   int
	troubles []trouble
	group    [][]int // by partition and offset: how often the group was given it
	plain    []*plainReader
}

// trouble is a time in which the node could not be reached.
type trouble struct{ from, to time.Time }

// plainReader is what a subscription without a group was given: everything, from the first offset on.
type plainReader struct {
	values [][]string // by partition and offset
}

func newSimModel(t *testing.T, partitions int) *simModel {
	return &simModel{t: t, acked: map[string]leat.Receipt{}, group: make([][]int, partitions)}
}

// simValue is message n of a producer.
func simValue(producer string, n int, random *rand.Rand) []byte {
	value := fmt.Appendf(nil, "%s/%d/", producer, n)
	return append(value, make([]byte, random.IntN(1<<(3+random.IntN(8))))...)
}

// nameOf is the part of a value that tells it from all others.
func nameOf(value []byte) string { return string(value[:bytes.LastIndexByte(value, '/')]) }

// answer notes what a publish came to.
func (m *simModel) answer(name string, r leat.Receipt, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		if _, twice := m.acked[name]; twice {
			m.t.Errorf("%s was answered twice", name)
		}
		m.acked[name] = r
	case unavailable(err):
		m.failed++
		if !m.troubledLocked(time.Now()) {
			m.t.Errorf("%s failed, though the node could be reached: %v", name, err)
		}
	default:
		m.t.Errorf("%s: %v", name, err)
	}
}

const (
	unreachableAfter = 1800 * time.Millisecond
	backWithin       = 2500 * time.Millisecond
)

// troubledLocked reports whether a publish may fail now: the node could not be reached for long, and is not
// back for long. Who has not come back between two troubles takes them for one.
func (m *simModel) troubledLocked(now time.Time) bool {
	end := now
	for i := len(m.troubles) - 1; i >= 0; i-- {
		each := m.troubles[i]
		if !each.to.IsZero() && end.Sub(each.to) > backWithin+time.Second { // packets of the handshake get lost too
			return false
		}
		if end = each.from; now.Sub(end) >= unreachableAfter {
			return true
		}
	}
	return false
}

func (m *simModel) troubleBegins() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.troubles = append(m.troubles, trouble{from: time.Now()})
}

func (m *simModel) troubleEnds() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.troubles[len(m.troubles)-1].to = time.Now()
}

// read notes what a plain subscription was given next.
func (m *simModel) read(r *plainReader, msg *leat.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if want := int64(len(r.values[msg.Partition])); msg.Offset != want {
		m.t.Errorf("a plain subscription got offset %d of partition %d, want %d",
			msg.Offset, msg.Partition, want)
		return
	}
	r.values[msg.Partition] = append(r.values[msg.Partition], nameOf(msg.Value))
}

// deliver notes what a member was given. Nothing before it may be missing.
func (m *simModel) deliver(msg *leat.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.group[msg.Partition]
	switch at := int64(len(seen)); {
	case msg.Offset > at:
		m.t.Errorf("a member got offset %d of partition %d, but nobody has got %d", msg.Offset, msg.Partition, at)
	case msg.Offset == at:
		m.group[msg.Partition] = append(seen, 1)
	default:
		seen[msg.Offset]++
	}
}

// committed checks what the group has committed at one moment.
func (m *simModel) committed(infos []leat.GroupInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, info := range infos {
		for _, p := range info.Partitions {
			if delivered := int64(len(m.group[p.Partition])); p.Committed > delivered {
				m.t.Errorf("partition %d is committed up to %d, but delivered up to %d",
					p.Partition, p.Committed, delivered)
			}
		}
	}
}

// duplicates is how many deliveries of the group were not the first.
func (m *simModel) duplicates() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, seen := range m.group {
		for _, times := range seen {
			n += times - 1
		}
	}
	return n
}

// readTo reports whether everything below the ends of the partitions was read by all.
func (m *simModel) readTo(ends []int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, end := range ends {
		if got := int64(len(m.group[n])); got != end {
			return fmt.Errorf("the group was given [0, %d) of partition %d, want [0, %d)", got, n, end)
		}
		for i, r := range m.plain {
			if got := int64(len(r.values[n])); got != end {
				return fmt.Errorf("subscription %d was given [0, %d) of partition %d, want [0, %d)",
					i, got, n, end)
			}
		}
	}
	return nil
}

// check compares the log with everything that was told about it.
func (m *simModel) check(log [][]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, records := range log {
		last := map[string]int{}
		for offset, name := range records {
			producer, number := splitName(m.t, name)
			if before, ok := last[producer]; ok && number <= before {
				m.t.Errorf("partition %d, offset %d: %s behind %s/%d", n, offset, name, producer, before)
			}
			last[producer] = number
			for i, r := range m.plain {
				if got := r.values[n][offset]; got != name {
					m.t.Errorf("partition %d, offset %d: subscription %d got %s, the log has %s",
						n, offset, i, got, name)
				}
			}
		}
	}
	for name, r := range m.acked {
		if records := log[r.Partition]; r.Offset < 0 || r.Offset >= int64(len(records)) {
			m.t.Errorf("%s: receipt for offset %d of partition %d, which has %d",
				name, r.Offset, r.Partition, len(records))
		} else if got := records[r.Offset]; got != name {
			m.t.Errorf("%s: at offset %d of partition %d is %s", name, r.Offset, r.Partition, got)
		}
	}
}

func splitName(t *testing.T, name string) (producer string, number int) {
	at := bytes.LastIndexByte([]byte(name), '/')
	number, err := strconv.Atoi(name[at+1:])
	if err != nil {
		t.Errorf("a record that nobody published: %s", name)
	}
	return name[:at], number
}
