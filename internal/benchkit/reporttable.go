package benchkit

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// microsUnit begins the unit of a latency; then comes which one it is.
const microsUnit = "µs, "

// spreadMax is the share of the median that the quartiles may be apart before the report says so.
const spreadMax = 0.05

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	const columns = "level\tmedian\tinterval\tunit\tratio\tfloor\tp50\tp99\tp99.9\tmax\tallocs/op"
	scenario := ""
	for i := range r.Rows {
		row := &r.Rows[i]
		if i == 0 || row.Scenario != scenario {
			scenario = row.Scenario
			title := strings.ToUpper(r.Scenario)
			if scenario != "" {
				title += " " + scenario
				fmt.Fprintf(table, "\n%s%s\n", row.About, mark(row))
			}
			fmt.Fprintf(table, "%s\t%s\n", title, columns)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, row.Level, row.figure(row.Value),
			row.interval(), row.shownUnit(), row.ratio(), row.floor(), row.Latency.columns("\t"), row.allocs())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, strings.Join(r.foot(), "\n")+"\n")
	return err
}

// mark is what is said of a scenario with more busy threads than processors.
func mark(row *Row) string {
	if row.Oversubscribed {
		return " († more busy threads than processors)"
	}
	return ""
}

// figure writes a value of the row.
func (row *Row) figure(v float64) string {
	if strings.HasPrefix(row.Unit, microsUnit) {
		return micros(v)
	}
	return figure(v)
}

func (row *Row) interval() string {
	if len(row.Rounds) < 2 {
		return ""
	}
	return fmt.Sprintf("%s to %s", row.figure(row.Interval.Lo), row.figure(row.Interval.Hi))
}

func (row *Row) ratio() string {
	if row.Floor == "" {
		return ""
	}
	text := fmt.Sprintf("%.3g", row.Ratio)
	if row.RatioInterval != nil && len(row.Rounds) > 1 {
		text += fmt.Sprintf(" (%.3g to %.3g)", row.RatioInterval.Lo, row.RatioInterval.Hi)
	}
	return text
}

// ratios says how one of ours did against everybody.
func (row *Row) ratios() string {
	var parts []string
	for _, r := range row.Ratios {
		parts = append(parts, fmt.Sprintf("%.3g × %s (%.3g to %.3g)",
			r.Ratio, r.Against, r.Interval.Lo, r.Interval.Hi))
	}
	return strings.Join(parts, ", ")
}

// title is the name with that of the scenario.
func (row *Row) title() string {
	if row.Scenario == "" {
		return row.Name
	}
	return row.Scenario + ": " + row.Name
}

// shownUnit leaves out the unit of a latency, which stands beside each number.
func (row *Row) shownUnit() string { return strings.TrimPrefix(row.Unit, microsUnit) }

func (row *Row) floor() string {
	if row.Floor == "" {
		return ""
	}
	return row.figure(row.FloorValue) + " " + row.Floor
}

func (row *Row) allocs() string {
	if row.AllocsPerOp == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", *row.AllocsPerOp)
}

// columns are p50, p99, p99.9 and the maximum.
func (l *Latency) columns(separator string) string {
	values := make([]string, 4)
	if l != nil {
		values = []string{micros(l.P50), micros(l.P99), micros(l.P999), micros(l.Max)}
	}
	return strings.Join(values, separator)
}

// foot is what has to be said below the figures, line by line.
func (r *Report) foot() (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for i := range r.Rows {
		row := &r.Rows[i]
		if note := row.Name + ": " + row.Note; row.Note != "" && !slices.Contains(lines, note) {
			lines = append(lines, note)
		}
	}
	for i := range r.Rows {
		if row := &r.Rows[i]; len(row.Ratios) > 1 {
			say("%s is %s", row.title(), row.ratios())
		}
	}
	if r.Guard != nil && len(r.Rows) > 0 {
		say("medians of the rounds; their intervals have %.3g %% confidence", r.Rows[0].Interval.Confidence*100)
	}
	lines = append(lines, r.spreadNotes()...)
	for _, goal := range r.Goals {
		say("goal %s: %s: %s: %s", metOrMissed(goal.Met), goal.Scenario, goal.Goal, figure(goal.Got))
	}
	for _, s := range r.Skipped {
		say("skipped: %s: %s: %s", s.Scenario, s.Case, s.Why)
	}
	lines = append(lines, r.Guard.lines()...)
	lines = append(lines, r.Instruments.lines()...)
	if p := r.Pressure; p != nil {
		say("machine: steal %.2f %%, processor contended %.1f s, disk %.1f s, memory %.1f s; context switches of "+
			"this process %d by itself, %d not", p.StealShare*100, p.CPUSeconds, p.IOSeconds, p.MemSeconds,
			p.Voluntary, p.Involuntary)
	}
	say("%s", r.Env.line())
	say("%s: %s", r.Time, r.Command)
	for _, problem := range r.Problems {
		say("INVALID: %s", problem)
	}
	return lines
}

func metOrMissed(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}

// spreadNotes names the rows of suites whose rounds do not agree.
func (r *Report) spreadNotes() (lines []string) {
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Spread > spreadMax && row.Better != "" && len(row.Rounds) > 2 {
			word := "note"
			if row.Spread > 2*spreadMax {
				word = "WARNING"
			}
			lines = append(lines, fmt.Sprintf("%s: %s: the quartiles of the rounds are %.0f %% of the median apart",
				word, row.title(), row.Spread*100))
		}
	}
	return lines
}

func (g *Guarding) lines() []string {
	switch {
	case g == nil:
		return nil
	case !g.On:
		return []string{"UNGUARDED: disturbed rounds were counted too; these are no figures to keep"}
	}
	line := fmt.Sprintf("canary %s: hop %.0f to %.0f ns", g.Canary, g.BestHop, g.WorstHop)
	if g.BestHop == 0 {
		line = "canary " + g.Canary
	}
	lines := []string{fmt.Sprintf("%s; %d rounds discarded; %.0f s in all", line, len(g.Discarded), g.Seconds)}
	return append(lines, g.discardLines()...)
}

// discardLines says for each round how often it was discarded, and why the last time.
func (g *Guarding) discardLines() (lines []string) {
	type round struct {
		scenario string
		number   int
	}
	times, last := make(map[round]int), make(map[round]string)
	var order []round
	for _, d := range g.Discarded {
		at := round{d.Scenario, d.Round}
		if times[at] == 0 {
			order = append(order, at)
		}
		times[at]++
		last[at] = d.Why
	}
	for _, at := range order {
		lines = append(lines, fmt.Sprintf("discarded: %s, round %d, %d ×; the last time: %s",
			at.scenario, at.number+1, times[at], last[at]))
	}
	return lines
}

func (i *Instruments) lines() []string {
	if i == nil {
		return nil
	}
	lines := []string{fmt.Sprintf("instruments: clock %.0f ns, record %.0f ns, pacing late by %s at p50, "+
		"%s at p99", i.ClockNanos, i.RecordNanos, micros(i.LateP50), micros(i.LateP99))}
	for _, note := range i.notes() {
		lines = append(lines, "WARNING: "+note)
	}
	return lines
}

// figure writes a number with four digits and the unit prefix k, M or G.
func figure(v float64) string {
	for _, step := range []struct {
		from   float64
		prefix string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= step.from {
			return fmt.Sprintf("%.4g %s", v/step.from, step.prefix)
		}
	}
	return fmt.Sprintf("%.4g", v)
}

// micros writes microseconds in the unit that suits.
func micros(v float64) string {
	switch {
	case v < 1:
		return fmt.Sprintf("%.3g ns", v*1e3)
	case v < 1e3:
		return fmt.Sprintf("%.3g µs", v)
	case v < 1e6:
		return fmt.Sprintf("%.3g ms", v/1e3)
	default:
		return fmt.Sprintf("%.3g s", v/1e6)
	}
}
