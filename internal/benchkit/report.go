package benchkit

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Report is the result of one scenario. Its JSON keys are stable.
type Report struct {
	Scenario string      `json:"scenario"`
	Valid    bool        `json:"valid"`
	Problems []string    `json:"problems"` // why it is not valid
	Env      Environment `json:"env"`
	Rows     []Row       `json:"rows"`
}

// Row is one figure, the median over rounds, beside the floor measured in the same rounds.
type Row struct {
	Name       string    `json:"name"`
	Level      string    `json:"level"` // what an acknowledgement means; "-" where nothing is acknowledged
	Value      float64   `json:"value"`
	Unit       string    `json:"unit"`
	Rounds     []float64 `json:"rounds"`
	Floor      string    `json:"floor"` // what the floor is; empty if there is none
	FloorValue float64   `json:"floor_value"`
	Ratio      float64   `json:"ratio"` // median of value ÷ floor, round by round
	Latency    *Latency  `json:"latency_us,omitempty"`
	Note       string    `json:"note"`
}

func newReport(scenario string, env Environment) *Report {
	return &Report{Scenario: scenario, Valid: true, Problems: []string{}, Env: env, Rows: []Row{}}
}

// problem makes the report invalid.
func (r *Report) problem(format string, args ...any) {
	r.Valid = false
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// row adds a figure that has no floor.
func (r *Report) row(name, level, unit string, rounds []float64) *Row {
	r.Rows = append(r.Rows, Row{Name: name, Level: level, Unit: unit, Value: median(rounds), Rounds: rounds})
	return &r.Rows[len(r.Rows)-1]
}

// against sets the floor of a row; both have one value per round.
func (row *Row) against(floor string, rounds []float64) *Row {
	row.Floor, row.FloorValue, row.Ratio = floor, median(rounds), median(ratios(row.Rounds, rounds))
	return row
}

// Err is nil for a valid report; otherwise it names the first problem.
func (r *Report) Err() error {
	if r.Valid {
		return nil
	}
	return fmt.Errorf("bench %s: invalid run: %s", r.Scenario, strings.Join(r.Problems, "; "))
}

// WriteJSON writes the report as one indented document.
func (r *Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s\tlevel\tmedian\tunit\tratio\tfloor\tp50 µs\tp99\tp99.9\tmax\n",
		strings.ToUpper(r.Scenario))
	for i := range r.Rows {
		row := &r.Rows[i]
		ratio, floor := "", ""
		if row.Floor != "" {
			ratio = fmt.Sprintf("%.3g", row.Ratio)
			floor = fmt.Sprintf("%s %s", figure(row.FloorValue), row.Floor)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			row.Name, row.Level, figure(row.Value), row.Unit, ratio, floor, row.Latency.columns())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return r.writeFoot(w)
}

func (r *Report) writeFoot(w io.Writer) error {
	var b strings.Builder
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Note != "" {
			fmt.Fprintf(&b, "%s: %s\n", row.Name, row.Note)
		}
	}
	fmt.Fprintf(&b, "%s\n", r.Env.line())
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "INVALID: %s\n", problem)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *Latency) columns() string {
	if l == nil {
		return "\t\t\t"
	}
	return fmt.Sprintf("%.3g\t%.3g\t%.3g\t%.3g", l.P50, l.P99, l.P999, l.Max)
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
