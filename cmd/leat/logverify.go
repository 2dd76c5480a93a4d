package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/mmaplog"
)

// logReportDoc is what leat log verify tells of one log. The keys are stable.
type logReportDoc struct {
	Topic     string       `json:"topic"`
	TopicID   uint64       `json:"topic_id"`
	Partition int32        `json:"partition"`
	State     string       `json:"state"` // clean, open end or damaged
	Start     int64        `json:"start"`
	End       int64        `json:"end"` // first offset that is not there
	Segments  int          `json:"segments"`
	Frames    int64        `json:"frames"`
	Records   int64        `json:"records"`
	Bytes     int64        `json:"bytes"`
	Findings  []findingDoc `json:"findings"`
	Unknown   []string     `json:"unknown"` // files
}

type findingDoc struct {
	State    string `json:"state"` // open end, damaged, or clean for what is only worth knowing
	File     string `json:"file"`
	Position int64  `json:"position"`
	From     int64  `json:"from"` // offsets that cannot be read
	To       int64  `json:"to"`   // first one behind them; -1 where nobody can tell
	Reason   string `json:"reason"`
	Advice   string `json:"advice"`
}

// verifyDoc is the result of leat log verify.
type verifyDoc struct {
	Folder  string         `json:"folder"`
	State   string         `json:"state"` // the worst of the logs
	Logs    []logReportDoc `json:"logs"`
	Unknown []string       `json:"unknown"` // files outside the logs
}

func newLogVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Check every frame of a data folder",
		Long: "Reads every segment header, frame and payload, compares checksums, the chain, offsets and the\n" +
			"links between segments, and tells where something is damaged, which offsets that concerns and what to\n" +
			"do. The exit code is 1 if durable data is damaged. An open end is none: a crash leaves it, or a node\n" +
			"is writing there.",
		Example: examples("leat log verify data", "leat log verify data/t/16/0 -o json"),
		Args:    oneArgument("DIR"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.verifyLogs(cmd.Context(), args[0]) },
	}
}

func (a *app) verifyLogs(ctx context.Context, dir string) error {
	folder, err := findLogs(ctx, dir)
	if err != nil {
		return err
	}
	doc := &verifyDoc{Folder: dir, Logs: []logReportDoc{}, Unknown: orEmpty(folder.Unknown)}
	progress := a.startLogProgress(folder)
	worst, damaged := mmaplog.OfflineClean, 0
	for _, log := range folder.Logs {
		report, err := mmaplog.Scan(ctx, folder.fs, log, mmaplog.ScanOptions{Progress: progress.add})
		if errors.Is(err, fs.ErrNotExist) {
			continue // a topic that was removed meanwhile
		}
		if err != nil {
			progress.live.Done()
			return err
		}
		if worst = max(worst, report.Class); report.Class == mmaplog.OfflineDamaged {
			damaged++
		}
		doc.Logs = append(doc.Logs, folder.describe(report))
	}
	progress.live.Done()
	doc.State = worst.String()
	if err := a.write(doc, func() error { return a.writeVerify(doc) }); err != nil || damaged == 0 {
		return err
	}
	return &inputError{fmt.Errorf("%d of %d logs are damaged", damaged, len(doc.Logs)),
		"restore the named files from a copy; without one, see: leat log repair --help"}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (f *logFolder) describe(r *mmaplog.OfflineReport) logReportDoc {
	doc := logReportDoc{Topic: f.topic(r.Log.Topic), TopicID: r.Log.Topic, Partition: r.Log.Partition,
		State: r.Class.String(), Start: r.Start, End: r.End, Segments: len(r.Segments), Frames: r.Frames,
		Records: r.Records, Bytes: r.Bytes, Findings: []findingDoc{}, Unknown: orEmpty(r.Unknown)}
	for _, f := range r.Findings {
		doc.Findings = append(doc.Findings, describeFinding(f))
	}
	return doc
}

func describeFinding(f mmaplog.OfflineFinding) findingDoc {
	return findingDoc{State: f.Class.String(), File: f.Path, Position: f.Position, From: f.From, To: f.To,
		Reason: f.Reason, Advice: f.Advice}
}

func (a *app) writeVerify(doc *verifyDoc) error {
	grid := newGrid(a.stdout, "topic", "#partition", "#segments", "#frames", "#records", "#offsets", "#size",
		"state")
	for i := range doc.Logs {
		l := &doc.Logs[i]
		grid.row(l.Topic, strconv.Itoa(int(l.Partition)), strconv.Itoa(l.Segments), grouped(l.Frames),
			grouped(l.Records), offsetRange(l.Start, l.End), humanBytes(l.Bytes), l.State)
	}
	if err := grid.flush(); err != nil {
		return err
	}
	unknown := doc.Unknown
	for i := range doc.Logs {
		for _, f := range doc.Logs[i].Findings {
			writeFinding(a, &doc.Logs[i], &f)
		}
		unknown = append(unknown, doc.Logs[i].Unknown...)
	}
	return a.writeUnknown(unknown)
}

func writeFinding(a *app, l *logReportDoc, f *findingDoc) {
	state := f.State
	if state == mmaplog.OfflineClean.String() {
		state = "note"
	}
	fmt.Fprintf(a.stdout, "\n%s in %s/%d\n  %s, position %d\n", state, printable(l.Topic), l.Partition,
		printable(f.File), f.Position)
	writeOffsets(a, f)
	fmt.Fprintf(a.stdout, "  %s\n", printable(f.Reason))
	if f.Advice != "" {
		fmt.Fprintf(a.stdout, "  → %s\n", f.Advice)
	}
}

func writeOffsets(a *app, f *findingDoc) {
	switch {
	case f.To > f.From:
		fmt.Fprintf(a.stdout, "  offsets [%d, %d) cannot be read\n", f.From, f.To)
	case f.To < 0:
		fmt.Fprintf(a.stdout, "  from offset %d on\n", f.From)
	}
}

func offsetRange(start, end int64) string { return fmt.Sprintf("[%d, %d)", start, end) }
