package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/internal/messagedoc"
	"github.com/leatbus/leat/mmaplog"
)

// statsDoc is the result of leat log stats. The keys are stable.
type statsDoc struct {
	Folder  string        `json:"folder"`
	Logs    []logStatsDoc `json:"logs"`
	Unknown []string      `json:"unknown"` // files outside the logs
}

// logStatsDoc sums up one log.
type logStatsDoc struct {
	Topic     string `json:"topic"`
	TopicID   uint64 `json:"topic_id"`
	Partition int32  `json:"partition"`
	State     string `json:"state"`
	Start     int64  `json:"start"`
	End       int64  `json:"end"`
	FirstTime string `json:"first_time,omitempty"` // RFC 3339, UTC; of the first and last frame
	LastTime  string `json:"last_time,omitempty"`

	Segments  int     `json:"segments"`
	FileBytes int64   `json:"file_bytes"` // of the segment files, room for more included
	Bytes     int64   `json:"bytes"`      // of the frames
	Fill      float64 `json:"fill"`       // part of the files' room for frames that has frames
	Frames    int64   `json:"frames"`
	Records   int64   `json:"records"`

	RecordsPerFrame float64 `json:"records_per_frame"`
	BytesPerRecord  float64 `json:"bytes_per_record"` // on disk, everything included
	KeyBytes        int64   `json:"key_bytes"`
	ValueBytes      int64   `json:"value_bytes"`
	HeaderBytes     int64   `json:"header_bytes"`
	LargestRecord   int64   `json:"largest_record"`

	Keyed          int64    `json:"keyed"` // records with a key
	Keys           int64    `json:"keys"`  // different ones
	KeysExact      bool     `json:"keys_exact"`
	Tombstones     int64    `json:"tombstones"`
	Removed        int64    `json:"removed"` // by compaction
	Producers      int64    `json:"producers"`
	ProducersExact bool     `json:"producers_exact"`
	Unknown        []string `json:"unknown"`
}

func newLogStats(a *app) *cobra.Command {
	var topic string
	var partitions []int32
	cmd := &cobra.Command{
		Use:   "stats DIR",
		Short: "Sum up what a data folder holds",
		Long: "Reads every frame and tells, per log, how many segments, frames and records there are, from when\n" +
			"to when, how large they are, how full the segments, how many different keys and producers. Compaction\n" +
			"would keep one record per key.",
		Example: examples("leat log stats data", "leat log stats data --topic trades -o json"),
		Args:    oneArgument("DIR"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.sumUpLogs(cmd.Context(), args[0], topic, partitions)
	}
	addLogFilter(cmd, &topic, &partitions)
	return cmd
}

// addLogFilter adds the flags that choose logs.
func addLogFilter(cmd *cobra.Command, topic *string, partitions *[]int32) {
	cmd.Flags().StringVar(topic, "topic", "", "only this topic, by name or id")
	cmd.Flags().Int32SliceVar(partitions, "partition", nil, "only these partitions, as in 0,3")
}

func (a *app) sumUpLogs(ctx context.Context, dir, topic string, partitions []int32) error {
	folder, err := findLogs(ctx, dir)
	if err != nil {
		return err
	}
	doc := &statsDoc{Folder: dir, Logs: []logStatsDoc{}, Unknown: orEmpty(folder.Unknown)}
	if err := folder.only(topic, partitions); err != nil {
		return err
	}
	progress := a.startLogProgress(folder)
	for _, log := range folder.Logs {
		one, err := folder.sumUp(ctx, log, progress.add)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a topic that was removed meanwhile
		}
		if err != nil {
			progress.live.Done()
			return err
		}
		doc.Logs = append(doc.Logs, one)
	}
	progress.live.Done()
	return a.write(doc, func() error { return a.writeStats(doc) })
}

// sumUp reads one log.
func (f *logFolder) sumUp(ctx context.Context, log mmaplog.OfflineLog,
	progress func(int64)) (logStatsDoc, error) {
	stats := mmaplog.NewOfflineStats()
	report, err := mmaplog.Scan(ctx, f.fs, log, mmaplog.ScanOptions{
		Frame:    func(frame *mmaplog.OfflineFrame) error { return stats.Add(frame) },
		Again:    func() { stats = mmaplog.NewOfflineStats() },
		Progress: progress,
	})
	if err != nil {
		return logStatsDoc{}, err
	}
	doc := logStatsDoc{
		Topic: f.topic(log.Topic), TopicID: log.Topic, Partition: log.Partition, State: report.Class.String(),
		Start: report.Start, End: report.End,
		FirstTime: frameTime(report.FirstTime), LastTime: frameTime(report.LastTime),
		Segments: len(report.Segments), FileBytes: report.FileBytes, Bytes: report.Bytes, Frames: report.Frames,
		Records: report.Records, RecordsPerFrame: ratio(report.Records, report.Frames),
		BytesPerRecord: ratio(report.Bytes, report.Records), KeyBytes: stats.KeyBytes, ValueBytes: stats.ValueBytes,
		HeaderBytes: stats.HeaderBytes, LargestRecord: stats.Largest, Keyed: stats.Keyed,
		Tombstones: stats.Tombstones,
		Removed:    stats.Removed, Unknown: orEmpty(report.Unknown),
	}
	doc.Keys, doc.KeysExact = stats.Keys()
	doc.Producers, doc.ProducersExact = stats.Producers()
	room := int64(0)
	for _, s := range report.Segments {
		room += s.Room
	}
	doc.Fill = ratio(report.Bytes, room)
	return doc, nil
}

// ratio is a / b to three digits behind the point, 0 without b.
func ratio(a, b int64) float64 {
	if b == 0 {
		return 0
	}
	return float64(a*1000/b) / 1000
}

func frameTime(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(messagedoc.TimeLayout)
}

func (a *app) writeStats(doc *statsDoc) error {
	grid := newGrid(a.stdout, "topic", "#partition", "#segments", "#on disk", "#full", "#frames", "#records",
		"#bytes/record", "#keys", "#producers", "#offsets", "last", "state")
	unknown := doc.Unknown
	for i := range doc.Logs {
		l := &doc.Logs[i]
		unknown = append(unknown, l.Unknown...)
		last := "-"
		if len(l.LastTime) > 19 {
			last = l.LastTime[:19] + "Z"
		}
		grid.row(l.Topic, strconv.Itoa(int(l.Partition)), strconv.Itoa(l.Segments), humanBytes(l.FileBytes),
			strconv.FormatFloat(l.Fill*100, 'f', 1, 64)+" %", grouped(l.Frames), grouped(l.Records),
			strconv.FormatFloat(l.BytesPerRecord, 'f', 1, 64), atLeast(l.Keys, l.KeysExact),
			atLeast(l.Producers, l.ProducersExact), offsetRange(l.Start, l.End), last, l.State)
	}
	if err := grid.flush(); err != nil {
		return err
	}
	return a.writeUnknown(unknown)
}

func atLeast(n int64, exact bool) string {
	if exact {
		return grouped(n)
	}
	return "≥ " + grouped(n)
}

func (a *app) writeUnknown(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	text := "\nfiles that Leat does not know and leaves alone:\n"
	for _, path := range paths {
		text += "  " + printable(path) + "\n"
	}
	_, err := fmt.Fprint(a.stdout, text)
	return err
}
