package benchkit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

const (
	openTopic      = "open"
	openPartitions = 4
)

// filled is what the filling process was acknowledged, one JSON line.
type filled struct {
	Acked []int64 `json:"acked"` // by partition: one more than the highest acknowledged offset
	Bytes int64   `json:"bytes"`
}

// Open measures reopening after an unclean end: another process fills the folder at page and is
// killed while it goes on publishing; then the folder is opened and every acknowledged record must be
// there. Bytes is how much it fills, 1 GiB; Rounds is 1, and nothing warms up.
func Open(ctx context.Context, o Options) (_ *Report, err error) {
	if o.Bytes == 0 {
		o.Bytes = 1 << 30
	}
	if o.Rounds == 0 {
		o.Rounds = 1
	}
	b, err := newBench("open", o)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	var opens samples
	for round := range o.Rounds {
		dir := filepath.Join(b.dir, fmt.Sprintf("round-%d", round))
		b.progress("fill %d MiB and kill, round %d", o.Bytes>>20, round+1)
		acked, err := b.fillAndKill(ctx, dir)
		if err != nil {
			return nil, err
		}
		b.progress("reopen, round %d", round+1)
		seconds, err := b.reopen(ctx, dir, acked)
		if err != nil {
			return nil, err
		}
		opens.add(round, seconds)
	}
	row := b.report.row(fmt.Sprintf("reopen %d MB after kill -9", o.Bytes/1e6), "page", "s", opens)
	row.Note = "until the bus is open; the page cache is warm, as after the death of a process"
	return b.report, nil
}

// fillAndKill runs the filler until it says what it was acknowledged, and kills it.
func (b *bench) fillAndKill(ctx context.Context, dir string) (filled, error) {
	if b.Filler == nil {
		return filled{}, errors.New("benchkit: Open needs a Filler")
	}
	command, err := b.Filler(ctx, dir, b.Bytes)
	if err != nil {
		return filled{}, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return filled{}, err
	}
	if err := command.Start(); err != nil {
		return filled{}, fmt.Errorf("benchkit: start the filler: %w", err)
	}
	line, readErr := bufio.NewReader(output).ReadBytes('\n')
	killErr := command.Process.Kill()
	waitErr := command.Wait()
	if readErr != nil {
		return filled{}, fmt.Errorf("benchkit: the filler ended early: %w", errors.Join(waitErr, ctx.Err()))
	}
	if killErr != nil {
		return filled{}, fmt.Errorf("benchkit: kill the filler: %w", killErr)
	}
	var f filled
	if err := json.Unmarshal(line, &f); err != nil || len(f.Acked) != openPartitions {
		return f, fmt.Errorf("benchkit: the filler said %q: want a line of JSON", line)
	}
	return f, nil
}

// reopen opens the folder and compares it with what was acknowledged.
func (b *bench) reopen(ctx context.Context, dir string, f filled) (seconds float64, err error) {
	start := b.clock.Mono()
	bus, err := node.Open(ctx, dir)
	seconds = float64(b.clock.Mono()-start) / 1e9
	if err != nil {
		return seconds, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	topic, err := topicInfo(ctx, bus, openTopic)
	if err != nil {
		return seconds, err
	}
	var records int64
	for _, p := range topic.Partitions {
		records += p.End - p.Start
		if acked := f.Acked[p.Partition]; p.HighWater < acked {
			b.report.problem("partition %d: %d of %d acknowledged records are there", p.Partition, p.HighWater, acked)
		}
		if p.Err != nil {
			b.report.problem("partition %d: %v", p.Partition, p.Err)
		}
	}
	if f.Bytes < b.Bytes {
		b.report.problem("%d of %d bytes filled, in %d records", f.Bytes, b.Bytes, records)
	}
	return seconds, nil
}

func topicInfo(ctx context.Context, bus *leat.Bus, name string) (leat.TopicInfo, error) {
	topics, err := bus.Topics(ctx)
	if err != nil {
		return leat.TopicInfo{}, err
	}
	for i := range topics {
		if topics[i].Name == name {
			return topics[i], nil
		}
	}
	return leat.TopicInfo{}, fmt.Errorf("benchkit: no topic %q among %d", name, len(topics))
}

// FillAndWait is the process that Open kills: it publishes bytes to a new bus in dir, tells on w what
// was acknowledged, and goes on publishing until ctx ends or the process does.
func FillAndWait(ctx context.Context, dir string, bytes int64, w io.Writer) (err error) {
	cfg := leat.TopicConfig{Partitions: openPartitions, Ack: leat.AckPage}
	bus, err := node.Open(ctx, dir, node.WithTopic(openTopic, cfg))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	producer, err := bus.Producer(openTopic)
	if err != nil {
		return err
	}
	const valueBytes = 1000
	f := filled{Acked: make([]int64, openPartitions)}
	var refused error
	done := func(r leat.Receipt, err error) {
		if err != nil {
			refused = err
			return
		}
		f.Acked[r.Partition] = max(f.Acked[r.Partition], r.Offset+1)
	}
	l := newLoad(valueBytes)
	for ; f.Bytes < bytes; f.Bytes += valueBytes {
		producer.PublishAsync(l.message(0), done)
	}
	// After Flush no callback runs any more.
	if err := producer.Flush(ctx); err != nil || refused != nil {
		return errors.Join(err, refused)
	}
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s\n", line); err != nil {
		return err
	}
	for ctx.Err() == nil {
		producer.PublishAsync(l.message(0), nil)
	}
	return ctx.Err()
}
