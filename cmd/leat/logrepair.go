package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/mmaplog"
)

// repairDoc is the result of leat log repair. The keys are stable.
type repairDoc struct {
	Folder  string          `json:"folder"`
	Applied bool            `json:"applied"` // false: a plan
	Steps   []repairStepDoc `json:"steps"`
	Left    []findingDoc    `json:"left"` // damage that stays
}

type repairStepDoc struct {
	Topic     string `json:"topic"` // empty for the folder itself
	Partition int32  `json:"partition"`
	Action    string `json:"action"`
	File      string `json:"file"`
	Position  int64  `json:"position"`
	Kept      string `json:"kept,omitempty"` // the file that has what was there
	From      int64  `json:"from"`           // offsets given up
	To        int64  `json:"to"`
}

func newLogRepair(a *app) *cobra.Command {
	var yes, dryRun, skip bool
	cmd := &cobra.Command{
		Use:   "repair DIR",
		Short: "Make a damaged data folder openable again",
		Long: "Tells what can be done for damaged logs, and with --yes does it: writes header pages from the\n" +
			"frames behind them, cuts torn ends, and with --skip-damage gives records up that cannot be read:\n" +
			"their offsets stay, without records. Nothing is deleted: what is overwritten or in the way is kept in\n" +
			"files whose names end in .damaged. No node may have the folder open. A copy of the file is better.",
		Example: examples("leat log repair folder", "leat log repair folder --skip-damage --yes"),
		Args:    oneArgument("DIR"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if yes && dryRun {
			return usagef(cmd, "--yes and --dry-run exclude each other")
		}
		return a.repairLogs(cmd.Context(), args[0], mmaplog.RepairOptions{SkipDamage: skip, Apply: yes})
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would be done, which is the default")
	cmd.Flags().BoolVar(&skip, "skip-damage", false, "give up records that cannot be read")
	return cmd
}

func (a *app) repairLogs(ctx context.Context, dir string, o mmaplog.RepairOptions) error {
	folder, err := findLogs(ctx, dir)
	if err != nil {
		return err
	}
	progress := a.startLogProgress(folder)
	o.Progress = progress.add
	report, err := mmaplog.Repair(ctx, folder.fs, folder.OfflineFolder, o)
	progress.live.Done()
	if report != nil && len(report.Steps)+len(report.Left) > 0 || err == nil {
		doc := folder.describeRepair(dir, o.Apply, report)
		if writeErr := a.write(doc, func() error { return a.writeRepair(doc) }); writeErr != nil {
			return writeErr
		}
	}
	if err != nil || len(report.Left) == 0 {
		return err
	}
	hint := "--skip-damage gives up the records that cannot be read"
	if o.SkipDamage {
		hint = "restore the named files from a copy"
	}
	return &inputError{fmt.Errorf("%d damages stay", len(report.Left)), hint}
}

func (f *logFolder) describeRepair(dir string, applied bool, r *mmaplog.RepairReport) *repairDoc {
	doc := &repairDoc{Folder: dir, Applied: applied, Steps: []repairStepDoc{}, Left: []findingDoc{}}
	for _, s := range r.Steps {
		step := repairStepDoc{Action: s.Action, File: s.Path, Position: s.Position, Kept: s.Kept,
			From: s.From, To: s.To}
		if id, partition, ok := strings.Cut(s.Log, "/"); ok {
			topic, _ := strconv.ParseUint(id, 10, 64)
			number, _ := strconv.ParseInt(partition, 10, 32)
			step.Topic, step.Partition = f.topic(topic), int32(number)
		}
		doc.Steps = append(doc.Steps, step)
	}
	for _, finding := range r.Left {
		doc.Left = append(doc.Left, describeFinding(finding))
	}
	return doc
}

func (a *app) writeRepair(doc *repairDoc) error {
	if len(doc.Steps) == 0 && len(doc.Left) == 0 {
		_, err := fmt.Fprintln(a.stdout, "nothing to repair")
		return err
	}
	for _, s := range doc.Steps {
		where := "the folder"
		if s.Topic != "" {
			where = fmt.Sprintf("%s/%d", s.Topic, s.Partition)
		}
		fmt.Fprintf(a.stdout, "%s in %s\n  %s", s.Action, printable(where), printable(s.File))
		if s.Position > 0 {
			fmt.Fprintf(a.stdout, ", position %d", s.Position)
		}
		fmt.Fprintln(a.stdout)
		if s.To > s.From {
			fmt.Fprintf(a.stdout, "  the records at offsets [%d, %d) are given up\n", s.From, s.To)
		}
		if s.Kept != "" {
			fmt.Fprintf(a.stdout, "  what is there is kept in %s\n", printable(s.Kept))
		}
	}
	for _, f := range doc.Left {
		fmt.Fprintf(a.stdout, "damage stays\n  %s, position %d\n", printable(f.File), f.Position)
		writeOffsets(a, &f)
		fmt.Fprintf(a.stdout, "  %s\n", printable(f.Reason))
	}
	if doc.Applied || len(doc.Steps) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(a.stdout, "nothing was changed: --yes does it")
	return err
}
