package killtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// folder is a data folder in which one child continues what the one before left.
type folder struct {
	dir     string // holds data/ and what the children write beside it
	level   string
	history history
	session uint64
	newest  [partitions]uint64 // the newest segment of each partition at the last check
}

// kill is what one kill came to.
type kill struct {
	acked    int
	inFlight int
	// acrossRoll: in some partition the session had acknowledged records before the newest segment,
	// which it had begun, and none in it. inRoll: and there that segment had no record yet.
	acrossRoll, inRoll bool
	torn               int // partitions that ended in an incomplete frame
	checked            int // acknowledgements compared, those of earlier children in the folder included
}

// counts reports whether the kill hit a bus under load.
func (k *kill) counts() bool { return k.acked >= ackedMin && k.inFlight > 0 }

func newFolder(dir, level string) *folder {
	return &folder{dir: dir, level: level, history: history{started: map[uint64]uint64{}}}
}

func (f *folder) data() string { return filepath.Join(f.dir, "data") }

// next describes the next child.
func (f *folder) next(seed uint64) childSpec {
	f.session++
	return childSpec{Data: f.data(), Level: f.level, Session: f.session, Seed: seed,
		Acks:    filepath.Join(f.dir, fmt.Sprintf("acks-%d", f.session)),
		Started: filepath.Join(f.dir, fmt.Sprintf("started-%d", f.session))}
}

// run starts a child, kills it and checks the folder. It returns what the checker found.
func (f *folder) run(spec childSpec, at moment) (kill, []finding, error) {
	p, err := startChild(spec)
	if err != nil {
		return kill{}, nil, err
	}
	defer p.stdin.Close()
	if err := p.awaitAcks(ackedMin); err != nil {
		return kill{}, nil, err
	}
	if err := p.killAt(at); err != nil {
		return kill{}, nil, err
	}
	k, err := f.addHistory(spec)
	if err != nil {
		return k, nil, err
	}
	logs, err := f.read(&k)
	if err != nil {
		return k, nil, err
	}
	k.checked = len(f.history.acks)
	return k, check(&f.history, logs), nil
}

// addHistory takes over what a child wrote beside the bus.
func (f *folder) addHistory(spec childSpec) (kill, error) {
	acks, err := readAcks(spec.Acks)
	if err != nil {
		return kill{}, err
	}
	started, err := readStarted(spec.Started)
	if err != nil {
		return kill{}, err
	}
	k := kill{acked: len(acks), inFlight: -len(acks)}
	for publisher, count := range started {
		f.history.started[producerID(spec.Session, publisher)] = count
		k.inFlight += int(count)
	}
	f.history.acks = append(f.history.acks, acks...)
	return k, errors.Join(os.Remove(spec.Acks), os.Remove(spec.Started))
}

// read reads the log with the independent reader.
func (f *folder) read(k *kill) ([][]record, error) {
	views, err := readTopic(f.data(), topicID, partitions)
	if err != nil {
		return nil, err
	}
	var ackedEnd [partitions]int64 // behind the last offset this session had acknowledged
	for _, a := range f.history.acks[len(f.history.acks)-k.acked:] {
		ackedEnd[a.partition] = max(ackedEnd[a.partition], a.offset+1)
	}
	logs := make([][]record, partitions)
	for i, view := range views {
		logs[i] = view.records
		if view.torn != "" {
			k.torn++
		}
		began := view.newest.id != f.newest[i] && view.newest.previous != 0
		if began && 0 < ackedEnd[i] && ackedEnd[i] <= view.newest.base {
			k.acrossRoll = true
			k.inRoll = k.inRoll || view.bare()
		}
		f.newest[i] = view.newest.id
	}
	return logs, nil
}

// checkBus opens the bus on the folder and checks what a subscription from the start delivers.
func (f *folder) checkBus(ctx context.Context) (delivered int, findings []finding, err error) {
	bus, err := node.Open(ctx, f.data(), node.WithTopic(topicName, topicConfig(f.level)))
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	topics, err := bus.Topics(ctx)
	if err != nil {
		return 0, nil, err
	}
	var want int64
	for _, p := range topics[0].Partitions {
		want += p.HighWater - p.Start
	}
	sub, err := bus.Subscribe(topicName, leat.From(leat.Earliest))
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	logs := make([][]record, partitions)
	for m, err := range sub.Messages(ctx) {
		if err != nil {
			return delivered, nil, err
		}
		logs[m.Partition] = append(logs[m.Partition], makeRecord(m.Offset, m.Key, m.Value))
		if delivered++; int64(delivered) == want {
			break
		}
	}
	if int64(delivered) != want {
		return delivered, nil, fmt.Errorf("%d messages delivered of %d: %w", delivered, want, ctx.Err())
	}
	return delivered, check(&f.history, logs), nil
}

// describe puts findings into a test's message.
func describe(findings []finding) string {
	lines := make([]string, len(findings))
	for i, f := range findings {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n\t")
}
