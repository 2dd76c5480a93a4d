package benchkit

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the report as a section with a table per scenario.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# bench %s\n\n", r.Scenario)
	if !r.Valid {
		b.WriteString("**This run is invalid.** The reasons are at the end.\n\n")
	}
	for start := 0; start < len(r.Rows); {
		end := start + 1
		for end < len(r.Rows) && r.Rows[end].Scenario == r.Rows[start].Scenario {
			end++
		}
		writeMarkdownTable(&b, r.Rows[start:end])
		start = end
	}
	if len(r.Goals) > 0 {
		b.WriteString("| scenario | goal | got | |\n|---|---|---|---|\n")
		for _, goal := range r.Goals {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(goal.Scenario), cell(goal.Goal), figure(goal.Got),
				metOrMissed(goal.Met))
		}
		b.WriteString("\n")
	}
	for _, line := range r.foot() {
		if !strings.HasPrefix(line, "goal ") {
			fmt.Fprintf(&b, "- %s\n", cell(line))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeMarkdownTable writes the rows of one scenario.
func writeMarkdownTable(b *strings.Builder, rows []Row) {
	first := &rows[0]
	if first.Scenario != "" {
		fmt.Fprintf(b, "## %s\n\n%s%s\n\n", first.Scenario, first.About, mark(first))
	}
	latencies, allocs, baseline := false, false, ""
	for i := range rows {
		latencies = latencies || rows[i].Latency != nil
		allocs = allocs || rows[i].AllocsPerOp != nil
		if baseline == "" {
			baseline = rows[i].Floor
		}
	}
	columns := []string{"case", "", "level", "median", "interval", "unit"}
	if baseline != "" {
		columns = append(columns, "ratio to "+cell(baseline))
	}
	if latencies {
		columns = append(columns, "p50", "p99", "p99.9", "max")
	}
	if allocs {
		columns = append(columns, "allocs/op")
	}
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for i := range rows {
		row := &rows[i]
		cells := []string{cell(row.Name), string(row.Role), row.Level, row.figure(row.Value), row.interval(),
			row.shownUnit()}
		if baseline != "" {
			cells = append(cells, row.ratio())
		}
		if latencies {
			cells = append(cells, row.Latency.columns(" | "))
		}
		if allocs {
			cells = append(cells, row.allocs())
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	b.WriteString("\n")
}

// cell is text that cannot end a cell of a table.
func cell(text string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text) }
