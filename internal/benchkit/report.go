package benchkit

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// SchemaVersion is the version of the JSON of a report. It grows when a key changes its meaning or goes;
// new keys do not count.
const SchemaVersion = 2

// Report is the result of one scenario, or of a suite of them. Its JSON keys are stable.
type Report struct {
	Schema   int         `json:"schema"`
	Scenario string      `json:"scenario"` // or the name of the suite
	Time     string      `json:"time"`     // of the start, RFC 3339 in UTC
	Command  string      `json:"command"`
	Valid    bool        `json:"valid"`
	Problems []string    `json:"problems"` // why it is not valid
	Env      Environment `json:"env"`
	Rows     []Row       `json:"rows"`

	// What follows is there for suites only.
	Goals       []GoalResult `json:"goals,omitempty"`
	Skipped     []Skipped    `json:"skipped,omitempty"`
	Guard       *Guarding    `json:"guard,omitempty"`
	Instruments *Instruments `json:"instruments,omitempty"`
	Pressure    *Pressure    `json:"pressure,omitempty"`
}

// Row is one figure, the median over rounds, beside the floor measured in the same rounds.
type Row struct {
	Scenario string    `json:"scenario,omitempty"` // of the suite
	About    string    `json:"about,omitempty"`    // of that scenario
	Name     string    `json:"name"`
	Role     Role      `json:"role,omitempty"`
	Level    string    `json:"level"` // what an acknowledgement means; "-" where nothing is acknowledged
	Value    float64   `json:"value"`
	Unit     string    `json:"unit"`
	Better   string    `json:"better,omitempty"` // "higher", "lower", or empty if neither is
	Rounds   []float64 `json:"rounds"`
	Interval Interval  `json:"interval"` // of Value
	Spread   float64   `json:"spread"`   // distance of the quartiles of Rounds ÷ Value

	Floor         string    `json:"floor"` // what the floor is; empty if there is none
	FloorValue    float64   `json:"floor_value"`
	Ratio         float64   `json:"ratio"` // median of value ÷ floor, round by round
	RatioInterval *Interval `json:"ratio_interval,omitempty"`
	Ratios        []Ratio   `json:"ratios,omitempty"` // of one of ours to every peer and floor

	Latency     *Latency   `json:"latency_us,omitempty"`
	P99Rounds   []float64  `json:"p99_rounds_us,omitempty"`
	Curve       []Quantile `json:"curve,omitempty"`
	AllocsPerOp *float64   `json:"allocs_per_op,omitempty"`
	// Oversubscribed says that more threads were busy than there are processors.
	Oversubscribed bool   `json:"oversubscribed,omitempty"`
	Note           string `json:"note"`
}

func newReport(scenario string, env Environment) *Report {
	return &Report{Schema: SchemaVersion, Scenario: scenario, Valid: true, Problems: []string{}, Env: env,
		Time: time.Now().UTC().Format(time.RFC3339), Command: commandLine(), Rows: []Row{}}
}

// commandLine is how this process was called, without the folder of its program.
func commandLine() string {
	return strings.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), " ")
}

// problem makes the report invalid.
func (r *Report) problem(format string, args ...any) {
	r.Valid = false
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// row adds a figure that has no floor.
func (r *Report) row(name, level, unit string, rounds []float64) *Row {
	r.Rows = append(r.Rows, Row{Name: name, Level: level, Unit: unit, Value: median(rounds), Rounds: rounds,
		Interval: medianInterval(rounds), Spread: spread(rounds)})
	return &r.Rows[len(r.Rows)-1]
}

// against sets the floor of a row; both have one value per round.
func (row *Row) against(floor string, rounds []float64) *Row {
	each := ratios(row.Rounds, rounds)
	row.Floor, row.FloorValue, row.Ratio = floor, median(rounds), median(each)
	interval := medianInterval(each)
	row.RatioInterval = &interval
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
