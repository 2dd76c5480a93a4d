package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

func newLog(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "log",
		Short: "Look into a data folder: check, print, sum up, repair",
		Long: "These verbs need no server: DIR is a data folder, the folder of a topic or partition inside one\n" +
			"(t/16/0), or one segment file. All but repair only read, take no lock, and may be used on the\n" +
			"folder of a running node.",
		Example: examples("leat log verify data", "leat log dump data --topic trades --count 1"),
	}
	group.AddCommand(newLogVerify(a), newLogDump(a), newLogStats(a), newLogRepair(a))
	asGroup(group)
	return group
}

// absentError says that what a command was pointed at is not there: exit code 3.
type absentError struct {
	err  error
	hint string
}

// Error is what is absent, without the hint.
func (e *absentError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *absentError) Unwrap() error { return e.err }

// logFolder is what the verbs of leat log work on.
type logFolder struct {
	*mmaplog.OfflineFolder
	fs    mmaplog.FS
	names map[uint64]string // of topics, as far as the catalogue can be read
}

func findLogs(ctx context.Context, path string) (*logFolder, error) {
	if base := filepath.Base(path); base == "." || base == ".." {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		path = absolute
	}
	disk := mmaplog.OS()
	found, err := mmaplog.FindOffline(disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &absentError{err: fmt.Errorf("there is no %s", strconv.Quote(path)),
			hint: "name a data folder (leat serve --data), a folder in its t, or a segment file"}
	}
	if err != nil {
		var ours *core.Error
		if errors.As(err, &ours) && ours.Code == core.CodeInvalidConfig {
			ours.Hint = "name a data folder (leat serve --data), a folder in its t, or a segment file"
		}
		return nil, err
	}
	f := &logFolder{OfflineFolder: found, fs: disk, names: map[uint64]string{}}
	catalogue := core.NewCatalogue()
	if f.Root != "" {
		f.readCatalogue(ctx, catalogue)
	}
	for _, t := range catalogue.List() {
		f.names[t.ID] = t.Name
	}
	return f, nil
}

// readCatalogue reads what topics there are, as far as that is readable.
func (f *logFolder) readCatalogue(ctx context.Context, catalogue *core.Catalogue) {
	meta := mmaplog.OfflineLog{Topic: core.MetaTopicID,
		Dir: filepath.Join(f.Root, "t", strconv.FormatUint(core.MetaTopicID, 10), "0")}
	apply := func(_ int64, r *core.Record) error {
		if record, err := core.DecodeCatalogueRecord(r.Value); err == nil {
			_ = catalogue.Apply(record) // names are a courtesy: ids are used without
		}
		return nil
	}
	_, _ = mmaplog.Scan(ctx, f.fs, meta, mmaplog.ScanOptions{Frame: func(frame *mmaplog.OfflineFrame) error {
		_ = mmaplog.EachRecord(frame, apply)
		return nil
	}})
}

// topic is the name of a topic, or its id.
func (f *logFolder) topic(id uint64) string {
	if name, ok := f.names[id]; ok {
		return name
	}
	return strconv.FormatUint(id, 10)
}

// only keeps the logs of a topic, given by name or id, and of some partitions; without any, all.
func (f *logFolder) only(topic string, partitions []int32) error {
	var kept []mmaplog.OfflineLog
	known := topic == ""
	for _, log := range f.Logs {
		named := topic == "" || f.topic(log.Topic) == topic || strconv.FormatUint(log.Topic, 10) == topic
		known = known || named
		if named && (len(partitions) == 0 || slices.Contains(partitions, log.Partition)) {
			kept = append(kept, log)
		}
	}
	if !known {
		return &absentError{err: fmt.Errorf("there is no log of topic %s", core.Quote(topic)),
			hint: "leat log stats lists what there is, a topic without a readable catalogue by its id"}
	}
	if len(kept) == 0 && len(partitions) > 0 {
		return &absentError{err: errors.New("there is no log of such a partition"),
			hint: "leat log stats lists what there is; a partition has no files before its first record"}
	}
	f.Logs = kept
	return nil
}

// logProgress shows on standard error how much of the files was read.
type logProgress struct {
	app   *app
	live  *liveLine
	total int64
	done  int64
	drawn int64 // monotonic ns
}

// startLogProgress looks how much there is to read.
func (a *app) startLogProgress(f *logFolder) *logProgress {
	p := &logProgress{app: a, live: newLiveLine(a), drawn: a.clock.Mono()}
	for i := range f.Logs {
		p.total += f.Logs[i].FileBytes(f.fs)
	}
	return p
}

// add is told that bytes were read.
func (p *logProgress) add(bytes int64) {
	p.done = min(p.done+bytes, p.total)
	now := p.app.clock.Mono()
	if time.Duration(now-p.drawn) < progressEvery || p.total == 0 {
		return
	}
	p.drawn = now
	p.live.Show(fmt.Sprintf("read %s of %s, %d %%", humanBytes(p.done), humanBytes(p.total), p.done*100/p.total))
}
