package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leatbus/leat/internal/benchkit"
)

// markdown is the whole of the report that readers of the document want to see.
func markdown(r *benchkit.Report) string {
	var b strings.Builder
	if !r.Valid {
		fmt.Fprintf(&b, "**This run is invalid:** %s\n\n", strings.Join(r.Problems, "; "))
	}
	writeGoals(&b, r)
	writeScenarios(&b, r, "Messages per second, in millions", false, func(row *benchkit.Row) bool {
		return row.Unit == "msgs/s"
	}, func(row *benchkit.Row) string { return fmt.Sprintf("%.1f", row.Value/1e6) })
	writeScenarios(&b, r, "Latency, p50 / p99", true, func(row *benchkit.Row) bool {
		return row.Latency != nil
	}, func(row *benchkit.Row) string { return nanos(row.Latency.P50) + " / " + nanos(row.Latency.P99) })
	writeScenarios(&b, r, "Processor time, % of a core", true, func(row *benchkit.Row) bool {
		return strings.HasPrefix(row.Unit, "%")
	}, func(row *benchkit.Row) string { return fmt.Sprintf("%.3f", row.Value) })
	for _, s := range r.Skipped {
		fmt.Fprintf(&b, "Skipped: %s, %s: %s.\n", s.Scenario, s.Case, s.Why)
	}
	fmt.Fprintf(&b, "† more busy threads than cores. %s, %d cores, %s/%s %s, %s; `%s`, %s.\n",
		r.Env.CPU, r.Env.Cores, r.Env.OS, r.Env.Arch, r.Env.Kernel, r.Env.Go, r.Command, r.Time)
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
		fmt.Fprintf(b, "| %s | %s | %.3g | %s |\n", marked(r, goal.Scenario), goal.Goal, goal.Got, met)
	}
	b.WriteString("\n")
}

// marked is the scenario's name, with a dagger if it oversubscribes the cores.
func marked(r *benchkit.Report, scenario string) string {
	for i := range r.Rows {
		if r.Rows[i].Scenario == scenario && r.Rows[i].Oversubscribed {
			return scenario + " †"
		}
	}
	return scenario
}

// writeScenarios writes a table with a line per scenario and a column per case. Behind the figure of a peer
// or floor stands what the ring makes of it: its rate over theirs, or its latency.
func writeScenarios(
	b *strings.Builder, r *benchkit.Report, title string, less bool, in func(*benchkit.Row) bool,
	figure func(*benchkit.Row) string,
) {
	var scenarios, cases []string
	rows := make(map[[2]string]*benchkit.Row)
	for i := range r.Rows {
		row := &r.Rows[i]
		if !in(row) {
			continue
		}
		if !slices.Contains(scenarios, row.Scenario) {
			scenarios = append(scenarios, row.Scenario)
		}
		if !slices.Contains(cases, row.Name) {
			cases = append(cases, row.Name)
		}
		rows[[2]string{row.Scenario, row.Name}] = row
	}
	if len(scenarios) == 0 {
		return
	}
	rule := "higher is better; in brackets the rate of the first column over it"
	if less {
		rule = "lower is better; in brackets the first column over it"
	}
	fmt.Fprintf(b, "%s (%s):\n\n| scenario | %s |\n|---|%s\n", title, rule, strings.Join(cases, " | "),
		strings.Repeat("---:|", len(cases)))
	for _, scenario := range scenarios {
		first := rows[[2]string{scenario, cases[0]}]
		fmt.Fprintf(b, "| %s |", marked(r, scenario))
		for _, name := range cases {
			b.WriteString(" " + withRatio(rows[[2]string{scenario, name}], first, figure) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func withRatio(row, first *benchkit.Row, figure func(*benchkit.Row) string) string {
	if row == nil {
		return ""
	}
	text := figure(row)
	if first == nil {
		return text
	}
	for _, ratio := range first.Ratios {
		if ratio.Against == row.Name {
			return fmt.Sprintf("%s (%.2f)", text, ratio.Ratio)
		}
	}
	return text
}

// nanos writes microseconds in the unit that suits.
func nanos(micros float64) string {
	if micros < 1 {
		return fmt.Sprintf("%.0f ns", micros*1e3)
	}
	return fmt.Sprintf("%.3g µs", micros)
}
