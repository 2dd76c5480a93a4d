package log

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

const (
	sustainedTimes  = 20 // times the usual length: 30 s of it make the ten minutes of the goal
	windows         = 10 // parts of a run: the first is held against the last
	sequentialName  = "sequential write"
	sequentialBytes = 1 << 30
)

// The names of the further figures of sustained, which goals refer to.
const (
	lastToFirst  = "last tenth over first"
	worstStall   = "worst stall"
	unsyncedMost = "unsynced at most"
	stallChunk   = 64 // appends between two looks at the clock
	saturatedNap = 500 * time.Microsecond
	bytesPerMega = 1e6

	sequentialOut   = 8 << 20   // between two looks at the disk
	sequentialAhead = 256 << 20 // as mmaplog.Options.UnsyncedMax
)

// sustained appends as fast as the log lets its producers, and then syncs.
func (s *suite) sustained() benchkit.Scenario {
	scenario, p := s.scenario("sustained-256", fmt.Sprintf(
		"append %d B one by one at full speed, waiting only while the log is saturated; counted in what is "+
			"written to the log, up to the last sync; time × %d", recordBytesLarge, sustainedTimes))
	scenario.Unit = "MB/s"
	var b *burster
	scenario.Cases = []benchkit.Case{
		{Name: ours.name, Role: benchkit.Ours, Level: levelPage,
			Note: "256 of 320 bytes are the record",
			Run: func(ctx context.Context, round int) (sample benchkit.Sample, err error) {
				if b == nil {
					if b, err = newBurster(p, &ours, recordBytesLarge, 1, s.length); err != nil {
						return sample, err
					}
				}
				if err := errors.Join(b.store.sync(), drain(p.dir)); err != nil {
					return sample, err
				}
				return b.sustain(ctx, s.sustainedLength(round))
			}},
		s.sequentialCase(p),
	}
	return scenario
}

func (s *suite) sustainedLength(round int) time.Duration {
	if round == benchkit.WarmUp {
		return s.length
	}
	return sustainedTimes * s.length
}

// sustain appends for a time.
func (b *burster) sustain(ctx context.Context, length time.Duration) (benchkit.Sample, error) {
	log := b.store.(*oursStore).log
	record := b.records[0]
	perWindow := make([]int64, windows)
	before, number := log.AppendedBytes(), b.next
	var stall time.Duration
	var unsynced int64
	start := time.Now()
	for now := start; now.Sub(start) < length; {
		for range stallChunk {
			setNumber(record, b.next)
			b.next++
			if err := b.store.append(record); err != nil {
				return benchkit.Sample{}, err
			}
		}
		unsynced = max(unsynced, log.UnsyncedBytes())
		for log.Saturated() && ctx.Err() == nil {
			time.Sleep(saturatedNap)
		}
		if ctx.Err() != nil {
			return benchkit.Sample{}, ctx.Err()
		}
		done := time.Now()
		stall = max(stall, done.Sub(now))
		perWindow[min(int(done.Sub(start)*windows/length), windows-1)] += stallChunk
		now = done
	}
	if err := b.store.sync(); err != nil {
		return benchkit.Sample{}, err
	}
	took := time.Since(start)
	ratio := 0.0
	if perWindow[0] > 0 {
		ratio = float64(perWindow[windows-1]) / float64(perWindow[0])
	}
	return benchkit.Sample{
		Ops: b.next - number, Rate: float64(log.AppendedBytes()-before) / bytesPerMega / took.Seconds(),
		More: []benchkit.Figure{
			{Name: lastToFirst, Value: ratio, Unit: "ratio", Better: "higher",
				Note: "records appended in the last tenth of a round over those in its first"},
			{Name: worstStall, Value: stall.Seconds() * 1e3, Unit: "ms", Better: "lower",
				Note: fmt.Sprintf("longest time for %d appends, with the wait of a saturated log", stallChunk)},
			{Name: unsyncedMost, Value: float64(unsynced) / (1 << 20), Unit: "MiB", Better: "lower"},
		},
	}, nil
}

// sequentialCase overwrites a file in a circle, piece by piece, and is never further ahead of the disk than
// a log may be, so that every byte gets there; at the end it syncs.
func (s *suite) sequentialCase(p *places) benchkit.Case {
	var file *os.File
	piece := make([]byte, 1<<20)
	copy(piece, newRecord(recordBytesLarge))
	return benchkit.Case{Name: sequentialName, Role: benchkit.Floor, Level: levelPage,
		Note: "1 MiB pieces in a circle over 1 GiB that was written before, at most 256 MiB ahead of the disk, " +
			"one fdatasync at the end",
		Run: func(ctx context.Context, round int) (sample benchkit.Sample, err error) {
			if file == nil {
				dir, err := p.folder()
				if err != nil {
					return sample, err
				}
				if file, err = os.Create(filepath.Join(dir, "floor")); err != nil {
					return sample, err
				}
				p.later(file.Close)
				if _, err := writeCircle(ctx, file, piece, 0, sequentialBytes); err != nil {
					return sample, err
				}
			}
			if err := drain(p.dir); err != nil {
				return sample, err
			}
			start := time.Now()
			n, err := writeCircle(ctx, file, piece, s.sustainedLength(round), 0)
			return benchkit.Sample{Ops: n / int64(len(piece)),
				Rate: float64(n) / bytesPerMega / time.Since(start).Seconds()}, err
		}}
}

// writeCircle writes for a time and at least a number of bytes, syncs, and gives the number of bytes.
func writeCircle(
	ctx context.Context, file *os.File, piece []byte, length time.Duration, least int64,
) (int64, error) {
	n := int64(0)
	for start := time.Now(); n < least || time.Since(start) < length; n += int64(len(piece)) {
		at := n % sequentialBytes
		piece[len(piece)-1]++
		if _, err := file.WriteAt(piece, at); err != nil {
			return n, err
		}
		if end := at + int64(len(piece)); end%sequentialOut == 0 {
			behind := (end + sequentialBytes - sequentialAhead) % sequentialBytes
			err := errors.Join(startWriteOut(file, end-sequentialOut, sequentialOut),
				writeOut(file, behind, sequentialOut))
			if err != nil {
				return n, err
			}
		}
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
	}
	return n, syncData(file)
}
