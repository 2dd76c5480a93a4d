package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// dumpOptions are the flags of leat log dump.
type dumpOptions struct {
	topic      string
	partitions []int32
	from       int64
	count      int64
	frames     bool
}

func newLogDump(a *app) *cobra.Command {
	var o dumpOptions
	cmd := &cobra.Command{
		Use:   "dump DIR",
		Short: "Print the records or frames of a data folder",
		Long: "Prints the records of each log in order, one a line: topic, partition, offset, time, key, value,\n" +
			"headers; with -o json the same as leat sub does. Of a damaged log it prints what is readable\n" +
			"before and behind the damage, and the exit code is 1.",
		Example: examples("leat log dump data --topic trades --from 1 --count 1",
			"leat log dump data --topic trades --frames"),
		Args: oneArgument("DIR"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if o.from < 0 || o.count < 0 {
			return usagef(cmd, "--from %d --count %d: want 0 or more", o.from, o.count)
		}
		return a.dumpLogs(cmd.Context(), args[0], o)
	}
	addLogFilter(cmd, &o.topic, &o.partitions)
	cmd.Flags().Int64Var(&o.from, "from", 0, "the first offset, in each log")
	cmd.Flags().Int64Var(&o.count, "count", 0, "end after so many lines; 0 for all")
	cmd.Flags().BoolVar(&o.frames, "frames", false, "print frames instead of records")
	return cmd
}

// frameDoc is one frame of leat log dump --frames. The keys are stable.
type frameDoc struct {
	Topic      string `json:"topic"`
	Partition  int32  `json:"partition"`
	File       string `json:"file"`
	Position   int64  `json:"position"`
	Bytes      int64  `json:"bytes"` // with header and padding
	Type       string `json:"type"`
	Index      uint64 `json:"index"`
	Offset     int64  `json:"offset"`
	Records    uint16 `json:"records"`
	Time       string `json:"time"`
	Term       uint32 `json:"term"`
	Producer   int64  `json:"producer"` // 0 for none
	Epoch      int16  `json:"epoch"`
	Sequence   int32  `json:"sequence"`
	DurableLag uint16 `json:"durable_lag"` // frames written since the last one known durable
	CRC        string `json:"payload_crc"`
}

// errEnough ends a dump that has printed what was asked for.
var errEnough = errors.New("enough")

// dumper prints what a scan finds.
type dumper struct {
	app     *app
	folder  *logFolder
	options dumpOptions
	out     *bufio.Writer
	layout  layout
	headers core.HeaderDecoder
	line    []byte
	printed int64
}

func (a *app) dumpLogs(ctx context.Context, dir string, o dumpOptions) error {
	folder, err := findLogs(ctx, dir)
	if err != nil {
		return err
	}
	if err := folder.only(o.topic, o.partitions); err != nil {
		return err
	}
	shown, err := parseLayout(dumpLayout)
	if err != nil {
		return err
	}
	d := &dumper{app: a, layout: shown, folder: folder, options: o,
		out: bufio.NewWriterSize(a.stdout, chunkBytes)}
	damaged := 0
	for _, log := range folder.Logs {
		report, err := mmaplog.Scan(ctx, folder.fs, log, mmaplog.ScanOptions{From: o.from,
			Frame: func(f *mmaplog.OfflineFrame) error { return d.frame(log, f) }})
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return errors.Join(err, d.out.Flush())
		}
		if report.Class == mmaplog.OfflineDamaged { // of a log in use one look may be wrong
			if report, err = mmaplog.Scan(ctx, folder.fs, log, mmaplog.ScanOptions{From: o.from}); err != nil {
				return errors.Join(err, d.out.Flush())
			}
		}
		for _, f := range report.Damaged() {
			damaged++
			fmt.Fprintf(a.stderr, "%s/%d: %s, position %d: %s\n", printable(folder.topic(log.Topic)), log.Partition,
				printable(f.Path), f.Position, printable(f.Reason))
		}
	}
	if err := d.out.Flush(); err != nil || damaged == 0 {
		return err
	}
	return &inputError{fmt.Errorf("damaged in %d places: not everything could be printed", damaged),
		"leat log verify " + dir + " tells which offsets are missing and what to do"}
}

// frame prints a frame, or its records.
func (d *dumper) frame(log mmaplog.OfflineLog, f *mmaplog.OfflineFrame) error {
	if d.options.frames {
		return d.print(d.describeFrame(log, f))
	}
	if f.Header.Type() != core.FrameData {
		return nil
	}
	return mmaplog.EachRecord(f, func(offset int64, r *core.Record) error {
		if offset < d.options.from || r.Flags&core.FlagRemoved != 0 {
			return nil
		}
		headers, err := d.headers.Decode(r.RawHeaders, nil)
		if err != nil {
			return err
		}
		return d.message(&leat.Message{Topic: d.folder.topic(log.Topic), Partition: log.Partition, Offset: offset,
			Time: time.Unix(0, f.Header.Time), Key: r.Key, Value: r.Value, Headers: headers})
	})
}

var frameTypes = [...]string{"data", "kafka", "config", "empty", "filler"}

func (d *dumper) describeFrame(log mmaplog.OfflineLog, f *mmaplog.OfflineFrame) frameDoc {
	h := &f.Header
	return frameDoc{
		Topic: d.folder.topic(log.Topic), Partition: log.Partition, File: f.Segment, Position: f.Position,
		Bytes: h.Size(), Type: frameTypes[h.Type()], Index: h.Index, Offset: h.BaseOffset, Records: h.Records,
		Time: frameTime(h.Time), Term: h.Term, Producer: h.ProducerID, Epoch: h.ProducerEpoch, Sequence: h.BaseSeq,
		DurableLag: h.DurableLag, CRC: fmt.Sprintf("%08x", h.PayloadCRC),
	}
}

func (d *dumper) print(f frameDoc) error {
	switch d.app.output {
	case formatJSON:
		text, err := json.Marshal(f)
		if err != nil {
			return err
		}
		return d.emit(append(text, '\n'))
	case formatYAML:
		text, err := yaml.Marshal(f)
		if err != nil {
			return err
		}
		return d.emit(append([]byte("---\n"), text...))
	}
	producer := "-"
	if f.Producer != 0 {
		producer = fmt.Sprintf("%d/%d/%d", f.Producer, f.Epoch, f.Sequence)
	}
	return d.emit(fmt.Appendf(nil, "%s %d [%d, %d) %s %s, index %d, %d bytes at %d, producer %s\n",
		printable(f.Topic), f.Partition, f.Offset, f.Offset+int64(f.Records), f.Time, f.Type, f.Index, f.Bytes,
		f.Position, producer))
}

// dumpLayout is how a record looks as a line of text.
const dumpLayout = `%t %p %o %T %k %v %h`

// message prints a record. What is in it is escaped: this is not the way to get bytes back out of a log.
func (d *dumper) message(m *leat.Message) error {
	var err error
	switch d.app.output {
	case formatJSON:
		d.line = appendMessageJSON(d.line[:0], m, d.app.stdoutTerminal)
	case formatYAML:
		d.line, err = appendMessageYAML(d.line[:0], m)
	default:
		d.line = append(bytes.TrimRight(d.layout.append(d.line[:0], dashes(m), true), " "), '\n')
	}
	if err != nil {
		return err
	}
	return d.emit(d.line)
}

// dashes shows a key or value that is not there as a dash.
func dashes(m *leat.Message) *leat.Message {
	if m.Key == nil {
		m.Key = []byte("-")
	}
	if m.Value == nil {
		m.Value = []byte("-")
	}
	return m
}

func (d *dumper) emit(text []byte) error {
	if _, err := d.out.Write(text); err != nil {
		return err
	}
	if d.printed++; d.printed == d.options.count {
		return errEnough
	}
	return nil
}
