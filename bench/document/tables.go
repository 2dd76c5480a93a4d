package document

import (
	"fmt"
	"strings"

	"github.com/leatbus/leat/internal/benchkit"
)

// Tables is the machine, the goals, and a table with a row per case for each scenario. ratio is the title of
// the column that says how the first case of a scenario, which is ours, did against the one of the row.
func Tables(r *benchkit.Report, ratio string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores, %s/%s %s, %s, %s; `%s`, %s.\n\n", r.Env.CPU, r.Env.Cores, r.Env.OS,
		r.Env.Arch, r.Env.Kernel, r.Env.FileSystem, r.Env.Go, r.Command, r.Time)
	if r.Guard != nil && !r.Guard.On {
		b.WriteString("**The machine was busy with other work and disturbed rounds were counted: these are no " +
			"figures to keep.**\n\n")
	}
	if !r.Valid {
		fmt.Fprintf(&b, "**This run is invalid:** %s\n\n", strings.Join(r.Problems, "; "))
	}
	writeGoals(&b, r)
	seen := make(map[string]bool)
	for rows := r.Rows; len(rows) > 0; {
		n := 1
		for n < len(rows) && rows[n].Scenario == rows[0].Scenario {
			n++
		}
		writeScenario(&b, r, rows[:n], ratio, seen)
		rows = rows[n:]
	}
	return b.String()
}

func writeGoals(b *strings.Builder, r *benchkit.Report) {
	if len(r.Goals) == 0 {
		return
	}
	b.WriteString("| scenario | goal | figure | met |\n|---|---|---:|---|\n")
	for _, goal := range r.Goals {
		met := "yes"
		if !goal.Met {
			met = "**no**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", goal.Scenario, goal.Goal, number(goal.Got), met)
	}
	b.WriteString("\n")
}

// writeScenario writes a table with a row per case, and below it the further figures and the notes that were
// not seen before.
func writeScenario(
	b *strings.Builder, r *benchkit.Report, rows []benchkit.Row, ratio string, seen map[string]bool,
) {
	title := rows[0].Scenario
	if rows[0].Oversubscribed {
		title += " †"
	}
	fmt.Fprintf(b, "### %s\n\n%s.\n\n", title, capital(rows[0].About))
	latency := false
	for i := range rows {
		latency = latency || rows[i].Latency != nil
	}
	b.WriteString("| | level | " + unitOf(&rows[0]) + " | " + ratio + " |")
	rule := "\n|---|---|---:|---:|"
	if latency {
		b.WriteString(" p50 | p99 | p99.9 | max |")
		rule += "---:|---:|---:|---:|"
	}
	b.WriteString(" allocations |" + rule + "---:|\n")
	var notes, more []string
	for i := range rows {
		row := &rows[i]
		if row.Unit != rows[0].Unit { // a further figure
			more = append(more, fmt.Sprintf("%s: %s %s", row.Name, number(row.Value), row.Unit))
			continue
		}
		writeCase(b, row, &rows[0], latency)
		if note := row.Name + ": " + row.Note; row.Note != "" && !seen[note] {
			notes, seen[note] = append(notes, note), true
		}
	}
	b.WriteString("\n")
	for _, list := range [][]string{more, notes} {
		if len(list) > 0 {
			b.WriteString(strings.Join(list, "; ") + ".\n\n")
		}
	}
	for _, s := range r.Skipped {
		if s.Scenario == rows[0].Scenario {
			fmt.Fprintf(b, "Left out: %s: %s.\n\n", s.Case, s.Why)
		}
	}
}

func writeCase(b *strings.Builder, row, first *benchkit.Row, latency bool) {
	ratio := ""
	for _, r := range first.Ratios {
		if r.Against == row.Name {
			ratio = fmt.Sprintf("%.3g", r.Ratio)
		}
	}
	name, value := row.Name, number(row.Value)
	if row.Role == benchkit.Ours {
		name = "**" + name + "**"
	}
	if strings.HasPrefix(row.Unit, "µs") {
		value = micros(row.Value)
	}
	fmt.Fprintf(b, "| %s | %s | %s | %s |", name, row.Level, value, ratio)
	if latency {
		if l := row.Latency; l != nil {
			fmt.Fprintf(b, " %s | %s | %s | %s |", micros(l.P50), micros(l.P99), micros(l.P999), micros(l.Max))
		} else {
			b.WriteString(" | | | |")
		}
	}
	if row.AllocsPerOp != nil {
		fmt.Fprintf(b, " %.2f", *row.AllocsPerOp)
	}
	b.WriteString(" |\n")
}

func unitOf(row *benchkit.Row) string { return strings.TrimPrefix(row.Unit, "µs, ") }

func capital(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// number writes a figure with three digits and a letter for thousands and millions.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.3g M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.3g k", v/1e3)
	case v >= 1e3:
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

// micros writes microseconds in the unit that suits.
func micros(v float64) string {
	switch {
	case v < 1:
		return fmt.Sprintf("%.0f ns", v*1e3)
	case v < 1e3:
		return fmt.Sprintf("%.3g µs", v)
	case v < 1e6:
		return fmt.Sprintf("%.3g ms", v/1e3)
	default:
		return fmt.Sprintf("%.3g s", v/1e6)
	}
}
