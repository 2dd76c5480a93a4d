package benchkit

import (
	"fmt"
	"runtime"
)

// Ratio is how a case did against another one, round by round.
type Ratio struct {
	Against  string   `json:"against"`
	Ratio    float64  `json:"ratio"` // median of the rounds
	Interval Interval `json:"interval"`
}

// GoalResult is a goal and what became of it.
type GoalResult struct {
	Scenario string  `json:"scenario"`
	Goal     string  `json:"goal"` // in words
	Got      float64 `json:"got"`
	Met      bool    `json:"met"`
}

// Skipped is a case that could not run here.
type Skipped struct {
	Scenario string `json:"scenario"`
	Case     string `json:"case"`
	Why      string `json:"why"`
}

// writeRows puts the scenario into the report and judges what only the whole run can tell.
func (r *scenarioRun) writeRows() {
	taken := 0
	for _, kept := range r.kept {
		if kept != nil && (kept.taken || r.guard.judge(kept.watched) != "") {
			taken++
		}
	}
	if taken > 0 {
		r.report.problem("%s: %d of %d rounds are disturbed, after %d that were discarded and repeated",
			r.scenario.Name, taken, r.Rounds, r.discarded)
	}
	for i, c := range r.cases {
		if values := r.values(i, r.scenario.Measure); len(values) > 0 {
			r.writeRow(i, c, values)
		}
	}
	for i := range r.scenario.Goals {
		r.writeGoal(&r.scenario.Goals[i])
	}
}

func (r *scenarioRun) writeRow(index int, c *caseRun, values []float64) {
	level := c.Level
	if level == "" {
		level = "-"
	}
	row := r.report.row(c.Name, level, r.unit(), values)
	row.Scenario, row.About, row.Role, row.Note = r.scenario.Name, r.scenario.About, c.Role, c.Note
	row.Better = "higher"
	if r.scenario.Measure != ByRate {
		row.Better = "lower"
	}
	row.Oversubscribed = r.scenario.Threads > runtime.GOMAXPROCS(0)
	r.writeLatency(index, row)
	r.writeAllocs(index, row)
	if base := r.scenario.Baseline; base != "" && base != c.Name {
		if mine, floors := r.pairs(c.Name, base, r.scenario.Measure); len(mine) > 0 {
			each := ratios(mine, floors)
			row.Floor, row.FloorValue, row.Ratio = base, median(floors), median(each)
			interval := medianInterval(each)
			row.RatioInterval = &interval
		}
	}
	if c.Role == Ours {
		row.Ratios = r.ratiosOf(c)
	}
	r.writeMore(index, c)
}

func (r *scenarioRun) unit() string {
	switch {
	case r.scenario.Measure == ByP50:
		return microsUnit + "p50"
	case r.scenario.Measure == ByP99:
		return microsUnit + "p99"
	case r.scenario.Measure == ByAllocs:
		return "allocs/op"
	case r.scenario.Unit == "":
		return "ops/s"
	default:
		return r.scenario.Unit
	}
}

// each calls f with every sample of a case that counts.
func (r *scenarioRun) each(index int, f func(*Sample)) {
	for _, kept := range r.kept {
		if kept != nil && kept.samples[index] != nil {
			f(kept.samples[index])
		}
	}
}

func (r *scenarioRun) values(index int, m Measure) (values []float64) {
	r.each(index, func(s *Sample) { values = append(values, s.value(m)) })
	return values
}

func (r *scenarioRun) writeLatency(index int, row *Row) {
	var latencies []Latency
	var curves [][]Quantile
	r.each(index, func(s *Sample) {
		if s.Latency != nil {
			latencies = append(latencies, *s.Latency)
			if s.Curve != nil {
				curves = append(curves, s.Curve)
			}
			row.P99Rounds = append(row.P99Rounds, s.Latency.P99)
		}
	})
	if len(latencies) > 0 {
		latency := medianLatency(latencies)
		row.Latency, row.Curve = &latency, medianCurve(curves)
	}
}

func (r *scenarioRun) writeAllocs(index int, row *Row) {
	var allocs []float64
	r.each(index, func(s *Sample) {
		if s.AllocsPerOp != nil {
			allocs = append(allocs, *s.AllocsPerOp)
		}
	})
	if len(allocs) > 0 {
		perOp := median(allocs)
		row.AllocsPerOp = &perOp
	}
}

// pairs gives the values of two cases in the rounds that have both.
func (r *scenarioRun) pairs(name, against string, m Measure) (values, others []float64) {
	i, j := r.index(name), r.index(against)
	for _, kept := range r.kept {
		if kept != nil && kept.samples[i] != nil && kept.samples[j] != nil {
			values = append(values, kept.samples[i].value(m))
			others = append(others, kept.samples[j].value(m))
		}
	}
	return values, others
}

func (r *scenarioRun) index(name string) int {
	for i, c := range r.cases {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// ratiosOf holds a case of ours against every case that is not.
func (r *scenarioRun) ratiosOf(c *caseRun) (all []Ratio) {
	for _, other := range r.cases {
		if other.Role == Ours {
			continue
		}
		if mine, theirs := r.pairs(c.Name, other.Name, r.scenario.Measure); len(mine) > 0 {
			each := ratios(mine, theirs)
			all = append(all, Ratio{other.Name, median(each), medianInterval(each)})
		}
	}
	return all
}

// writeMore adds a row for each further figure of a case.
func (r *scenarioRun) writeMore(index int, c *caseRun) {
	var names []string
	figures := make(map[string]*Row)
	r.each(index, func(s *Sample) {
		for _, f := range s.More {
			row, ok := figures[f.Name]
			if !ok {
				row = &Row{Name: f.Name, Unit: f.Unit, Better: f.Better, Note: f.Note}
				figures[f.Name], names = row, append(names, f.Name)
			}
			row.Rounds = append(row.Rounds, f.Value)
		}
	})
	for _, name := range names {
		figure := figures[name]
		row := r.report.row(name, r.report.Rows[len(r.report.Rows)-1].Level, figure.Unit, figure.Rounds)
		row.Better, row.Note = figure.Better, figure.Note
		row.Scenario, row.About, row.Role = r.scenario.Name, r.scenario.About, c.Role
	}
}

// writeGoal says what became of a goal. One whose cases did not run here is left out: the report lists
// them as skipped.
func (r *scenarioRun) writeGoal(goal *Goal) {
	if goal.Figure != "" {
		r.writeFigureGoal(goal)
		return
	}
	got, name := 0.0, goal.Case
	if goal.Against == "" {
		values := r.values(r.index(goal.Case), goal.Measure)
		if len(values) == 0 {
			return
		}
		got = median(values)
	} else {
		mine, theirs := r.pairs(goal.Case, goal.Against, goal.Measure)
		if len(mine) == 0 {
			return
		}
		got = median(ratios(mine, theirs))
	}
	met, sign := got >= goal.Bound, "≥"
	if goal.Measure != ByRate {
		met, sign = got <= goal.Bound, "≤"
	}
	text := fmt.Sprintf("%s, %s %s %s", name, goal.Measure, sign, figure(goal.Bound))
	switch {
	case goal.Against != "":
		text += " × " + goal.Against
	case goal.Measure == ByRate || goal.Measure == ByCost:
		text += " " + r.unit()
	case goal.Measure == ByAllocs:
		text += " per operation"
	default:
		text += " µs"
	}
	r.report.Goals = append(r.report.Goals, GoalResult{r.scenario.Name, text, got, met})
}

// writeFigureGoal says what became of a goal of a further figure.
func (r *scenarioRun) writeFigureGoal(goal *Goal) {
	var values []float64
	unit, sign := "", "≥"
	r.each(r.index(goal.Case), func(s *Sample) {
		for _, f := range s.More {
			if f.Name == goal.Figure {
				values = append(values, f.Value)
				if unit = f.Unit; f.Better == "lower" {
					sign = "≤"
				}
			}
		}
	})
	if len(values) == 0 {
		return
	}
	got := median(values)
	met := got >= goal.Bound
	if sign == "≤" {
		met = got <= goal.Bound
	}
	text := fmt.Sprintf("%s, %s %s %s %s", goal.Case, goal.Figure, sign, figure(goal.Bound), unit)
	r.report.Goals = append(r.report.Goals, GoalResult{r.scenario.Name, text, got, met})
}

// String names the measure in a sentence.
func (m Measure) String() string {
	switch m {
	case ByRate:
		return "rate"
	case ByP50:
		return "p50"
	case ByCost:
		return "cost"
	case ByAllocs:
		return "allocations"
	case ByP999:
		return "p99.9"
	default:
		return "p99"
	}
}
