package killtest

import (
	"fmt"
	"slices"
)

// findingKind says in which way a history is bad.
type findingKind string

const (
	lost            findingKind = "lost"             // acknowledged, and nowhere in the log
	changed         findingKind = "changed"          // acknowledged, and other bytes are at its offset
	moved           findingKind = "moved"            // acknowledged, and at another offset or partition
	gap             findingKind = "gap"              // offsets are not dense from 0
	duplicateOffset findingKind = "duplicate offset" // two records with one offset
	duplicate       findingKind = "duplicate"        // one record at two places
	reordered       findingKind = "reordered"        // behind a later record of its producer
	phantom         findingKind = "phantom"          // never published
	damaged         findingKind = "damaged"          // not as any publisher made it
	twice           findingKind = "answered twice"   // one offset acknowledged for two records
)

type finding struct {
	kind      findingKind
	partition int
	offset    int64
	text      string
}

func (f finding) String() string {
	return fmt.Sprintf("%s: partition %d offset %d: %s", f.kind, f.partition, f.offset, f.text)
}

// maxFindings is enough to understand what went wrong.
const maxFindings = 20

// history is all that is known of a folder from outside: what was acknowledged, and how many records
// each producer had begun to publish.
type history struct {
	acks    []ack
	started map[uint64]uint64
}

// checker compares a history with what is in the log.
type checker struct {
	history  *history
	logs     [][]record // by partition, in the order of the log
	findings []finding
}

// check returns what is wrong with logs, or nothing.
func check(h *history, logs [][]record) []finding {
	c := &checker{history: h, logs: logs}
	for partition := range logs {
		c.dense(partition)
	}
	c.published()
	c.acknowledged()
	return c.findings
}

func (c *checker) report(kind findingKind, partition int, offset int64, format string, args ...any) {
	if len(c.findings) < maxFindings {
		c.findings = append(c.findings, finding{kind, partition, offset, fmt.Sprintf(format, args...)})
	}
}

// dense checks that a partition's offsets are 0, 1, 2 and so on.
func (c *checker) dense(partition int) {
	next := int64(0)
	for _, r := range c.logs[partition] {
		switch {
		case r.offset > next:
			c.report(gap, partition, r.offset, "[%d, %d) is not there", next, r.offset)
		case r.offset < next:
			c.report(duplicateOffset, partition, r.offset, "after offset %d", next-1)
		}
		next = r.offset + 1
	}
}

// producerSeen is what was found of one producer.
type producerSeen struct {
	sequences []uint64 // a bit for each
	next      []uint64 // by partition: the lowest sequence that may follow
}

// published checks that each record was published, is there once and behind its predecessors.
func (c *checker) published() {
	seen := map[uint64]*producerSeen{}
	for partition, log := range c.logs {
		for _, r := range log {
			started, known := c.history.started[r.producer]
			if r.err != nil {
				c.report(damaged, partition, r.offset, "%v", r.err)
				continue
			}
			if !known || r.sequence >= started {
				c.report(phantom, partition, r.offset, "producer %x sequence %d of %d", r.producer, r.sequence, started)
				continue
			}
			s := seen[r.producer]
			if s == nil {
				s = &producerSeen{make([]uint64, started/64+1), make([]uint64, len(c.logs))}
				seen[r.producer] = s
			}
			word, bit := &s.sequences[r.sequence/64], uint64(1)<<(r.sequence%64)
			switch {
			case *word&bit != 0:
				c.report(duplicate, partition, r.offset, "producer %x sequence %d", r.producer, r.sequence)
			case r.sequence < s.next[partition]:
				c.report(reordered, partition, r.offset, "producer %x sequence %d after %d",
					r.producer, r.sequence, s.next[partition]-1)
			}
			*word |= bit
			s.next[partition] = max(s.next[partition], r.sequence+1)
		}
	}
}

// acknowledged checks that each acknowledged record is where the acknowledgement says, unchanged.
func (c *checker) acknowledged() {
	answered := make([][]bool, len(c.logs)) // by place in the log
	for partition, log := range c.logs {
		answered[partition] = make([]bool, len(log))
	}
	for _, a := range c.history.acks {
		partition := int(a.partition)
		if partition < 0 || partition >= len(c.logs) {
			c.report(lost, partition, a.offset, "acknowledged in a partition that is not there")
			continue
		}
		at := place(c.logs[partition], a.offset)
		if at < 0 {
			c.elsewhere(a, "no")
			continue
		}
		if answered[partition][at] {
			c.report(twice, partition, a.offset, "producer %x sequence %d is the second", a.producer, a.sequence)
		}
		answered[partition][at] = true
		switch r := &c.logs[partition][at]; {
		case r.producer != a.producer || r.sequence != a.sequence:
			c.elsewhere(a, "another")
		case r.hash != a.hash || r.err != nil:
			c.report(changed, partition, a.offset, "producer %x sequence %d: hash %016x, acknowledged %016x",
				a.producer, a.sequence, r.hash, a.hash)
		}
		if len(c.findings) == maxFindings {
			return // the search elsewhere is slow
		}
	}
}

// place returns where in a log an offset is first, or -1. In a good log it is where it should be.
func place(log []record, offset int64) int {
	if 0 <= offset && offset < int64(len(log)) && log[offset].offset == offset {
		return int(offset)
	}
	return slices.IndexFunc(log, func(r record) bool { return r.offset == offset })
}

// elsewhere tells what became of an acknowledged record that is not at its offset.
func (c *checker) elsewhere(a ack, there string) {
	for partition, log := range c.logs {
		for _, r := range log {
			if r.producer == a.producer && r.sequence == a.sequence {
				c.report(moved, int(a.partition), a.offset, "producer %x sequence %d is at %d/%d",
					a.producer, a.sequence, partition, r.offset)
				return
			}
		}
	}
	c.report(lost, int(a.partition), a.offset, "producer %x sequence %d; %s record is there",
		a.producer, a.sequence, there)
}
