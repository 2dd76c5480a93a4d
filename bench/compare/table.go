package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteJSON writes the result as one indented document.
func (r *Result) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteMarkdown writes the result as a table for a page.
func (r *Result) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| scenario | case | what | base | new | change | p | |\n|---|---|---|---|---|---|---|---|\n")
	for i := range r.Rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r.Rows[i].cells(), " | "))
	}
	fmt.Fprintf(&b, "\n%s", r.foot("- "))
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteTable writes the result for a terminal.
func (r *Result) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCENARIO\tcase\twhat\tbase\tnew\tchange\tp\t")
	for i := range r.Rows {
		fmt.Fprintln(table, strings.Join(r.Rows[i].cells(), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, r.foot(""))
	return err
}

func (r *Row) cells() []string {
	verdict := string(r.Verdict)
	if r.Why != "" {
		verdict += ": " + r.Why
	}
	return []string{
		r.Scenario, r.Case, r.What + ", " + r.Unit, fmt.Sprintf("%.4g", r.Base), fmt.Sprintf("%.4g", r.New),
		fmt.Sprintf("%+.1f %%", r.Change*100), fmt.Sprintf("%.3f", r.P), verdict,
	}
}

func (r *Result) foot(mark string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%sbase %s, new %s\n", mark, known(r.Base), known(r.New))
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "%sWARNING: %s\n", mark, warning)
	}
	if r.Failed() {
		fmt.Fprintf(&b, "%sFAILED: p < %.2g and worse by more than %.0f %% of a rate or %.0f %% of a latency, "+
			"more allocations, or a case that is gone\n", mark, alpha, rateMax*100, latencyMax*100)
	}
	return b.String()
}

func known(commit string) string {
	if commit == "" {
		return "unknown commit"
	}
	return commit
}
